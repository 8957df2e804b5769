"""Measures what `wdtui.watch` costs a training loop.

    python -m wdtui.bench.watch [--every 50] [--rounds 10] [--threads 1]

Prints one JSON object. A watched and a plain loop of the same model, which has ten million parameters, take turns step
by step in one process, as the load of a shared machine changes within a second. `overhead` is the ratio of the times of
all steps, less 1. `noise` is that of a second plain loop. The gauges keep to a share of the time that has passed, which
here includes that of the plain loops, so they are measured at more points than in a loop that runs alone. On the CPU
the times are processor times of all threads, also of the recorder, as others share the machine. A step that records
nothing is timed without a model, by calls of `step` with two metrics between points.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from wdtui.bench.engine import machine
from wdtui.watching.watch import Watch, watch

_BATCH = 4
"""Small, so that a step is short and the cost of a point weighs most."""


class _Loop:
    """A loop over random data, of a model with ten million parameters."""

    def __init__(self, device: str) -> None:
        torch.manual_seed(0)
        parts = [part for _ in range(10) for part in (nn.Linear(1000, 1000), nn.BatchNorm1d(1000), nn.ReLU())]
        self.model = nn.Sequential(*parts).to(device)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), weight_decay=0.1, fused=True)
        self.x = torch.randn(_BATCH, 1000, device=device)
        self.run: Watch | None = None

    def step(self) -> float:
        """Take one step; returns the seconds that it took."""
        clock = time.perf_counter if self.x.is_cuda else time.process_time
        began = clock()
        loss: Tensor = (self.model(self.x) - self.x).square().mean()
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        if self.run:
            self.run.step(train_loss=loss)
        if self.x.is_cuda:
            torch.cuda.synchronize()
        return clock() - began


def overhead(store: Path, every: int, rounds: int, device: str) -> dict[str, float]:
    """A watched loop and two plain ones, step by step in turns."""
    loops = [plain := _Loop(device), _Loop(device), watched := _Loop(device)]
    watched.run = watch(watched.model, watched.optimizer, steps=every * (rounds + 1), every=every, store=store)
    _round(loops, every)  # the first point makes the columns
    alone, again, with_watch = zip(*(_round(loops, every) for _ in range(rounds)), strict=True)
    watched.run.close()
    return {
        "parameters": sum(parameter.numel() for parameter in plain.model.parameters()),
        "milliseconds_of_a_step": 1000 * statistics.median(alone) / every,
        "every": every,
        "overhead": sum(with_watch) / sum(alone) - 1,
        "noise": sum(again) / sum(alone) - 1,
    }


def _round(loops: Sequence[_Loop], every: int) -> list[float]:
    """The seconds that each loop took for the steps up to the next point."""
    seconds = [0.0] * len(loops)
    for _ in range(every):
        for place in random.sample(range(len(loops)), len(loops)):  # each leaves its data in the caches
            seconds[place] += loops[place].step()
    return seconds


def empty_step(store: Path, calls: int = 20_000) -> float:
    """Microseconds of a step at which no point falls, as the median of a hundred parts."""
    model = nn.Linear(10, 10)
    run = watch(model, torch.optim.SGD(model.parameters()), steps=10 * calls, every=10 * calls, store=store)
    loss, accuracy = model(torch.ones(1, 10)).mean(), torch.tensor(0.5)
    part = calls // 100
    seconds = [_timed(lambda: run.step(train_loss=loss, train_accuracy=accuracy), part) for _ in range(100)]
    run.close()
    return 1e6 * statistics.median(seconds) / part


def _timed(act: Callable[[], object], times: int) -> float:
    began = time.perf_counter()
    for _ in range(times):
        act()
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--every", type=int, default=50, help="steps from one point to the next")
    parser.add_argument("--rounds", type=int, default=10, help="points to measure over")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    parser.add_argument("--device", default="cpu")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    with tempfile.TemporaryDirectory() as folder:
        result = {
            "machine": machine(given.threads, given.device),
            "loop": overhead(Path(folder), given.every, given.rounds, given.device),
            "microseconds_of_a_step_that_records_nothing": empty_step(Path(folder)),
        }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
