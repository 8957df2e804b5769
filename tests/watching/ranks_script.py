"""A training of two ranks, which it starts as torchrun does. Each writes down what was in force in each step."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import forked
import torch
import torch.distributed as dist
from loops import network, sgd, update
from torch.distributed.launcher.api import LaunchConfig, elastic_launch
from torch.nn.parallel import DistributedDataParallel

import wdtui


def train(folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    model = DistributedDataParallel(network())
    optimizer = sgd(model)
    torch.manual_seed(rank)
    with (
        (folder / f"rank-{rank}.log").open("w", buffering=1) as log,
        wdtui.watch(model, optimizer, steps=100_000, every=10, name="two ranks") as run,
    ):
        for step in range(1, 100_001):
            log.write(f"{step} {optimizer.param_groups[0]['lr']} {model.module[1].eps}\n")
            loss = update(model, optimizer)
            time.sleep(0.002)
            if not run.step(loss=loss):
                break
        weights = torch.cat([parameter.detach().flatten() for parameter in model.parameters()])
        torch.save(weights, folder / f"rank-{rank}.pt")
    print(f"rank {rank} of {os.environ['WORLD_SIZE']} ended after step {step}; its run is {run.id}", flush=True)
    dist.destroy_process_group()


def main() -> None:
    if "RANK" in os.environ:  # torchrun has started this
        train(Path(sys.argv[1]))
        return
    alone = LaunchConfig(  # what `torchrun --standalone --nproc-per-node 2` makes
        min_nodes=1, max_nodes=1, nproc_per_node=2, rdzv_backend="c10d", rdzv_endpoint="localhost:0", max_restarts=0,
        run_id="alone", start_method="fork" if forked.POSSIBLE else "spawn",
    )  # fmt: skip
    elastic_launch(alone, train)(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
