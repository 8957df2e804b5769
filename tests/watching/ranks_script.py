"""A training of two ranks, each of which writes down what was in force in each step. `torchrun` starts it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from loops import network, sgd, update
from torch.nn.parallel import DistributedDataParallel

import wdtui

folder = Path(sys.argv[1])
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
