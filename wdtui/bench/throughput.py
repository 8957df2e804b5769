"""The total model-steps per second of this machine: with runs in threads, in processes, and batched in each."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch

from wdtui.bench.plain import plain_network, plain_optimizer, plain_steps
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.ensemble import Ensemble
from wdtui.problems.addition.engine.tasks import make_task
from wdtui.problems.addition.engine.training import Training

_SECONDS = 2.0
PLAIN = "the plain loop, a thread for each core"


def plans(models: Sequence[int]) -> dict[str, tuple[str, int, int]]:
    """Ways to train many runs: a name, and (threads or processes, how many of them, models in each).

    0 models stands for the plain loop, the only one with a PyTorch thread for each core.
    """
    plain = {PLAIN: ("processes", 1, 0)}
    alone = {f"{count} in {where}": (where, count, 1) for where in ("threads", "processes") for count in (1, 2, 4)}
    together = {f"2 processes × {count} side by side": ("processes", 2, count) for count in models if count > 1}
    return plain | alone | together


def throughput(width: int, rounds: int, models: Sequence[int]) -> dict[str, Any]:
    """Median model-steps/s of each plan over `rounds` turns of two seconds, one PyTorch thread per worker.

    Ratios are to the plain loop.
    """
    ways = plans(models)
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    with _Workers() as workers:
        for name, (where, count, size) in ways.items():
            workers.add(name, where, count, width, size)
        for _ in range(rounds):
            for name in ways:
                speeds[name].append(workers.speed(name))
    return {
        "width": width,
        "plans": {
            name: {
                "model_steps_per_second": statistics.median(each),
                "ratio": statistics.median(a / b for a, b in zip(each, speeds[PLAIN], strict=True)),
            }
            for name, each in speeds.items()
        },
    }


class _Workers:
    """Groups of waiting workers. Each trains during its turns."""

    def __enter__(self) -> _Workers:
        self._groups: dict[str, list[tuple[Any, Any]]] = {}
        self._spawn = multiprocessing.get_context("spawn")
        return self

    def __exit__(self, *error: object) -> None:
        for group in self._groups.values():
            for pipe, worker in group:
                pipe.send(None)
                worker.join()

    def add(self, name: str, where: str, count: int, width: int, size: int) -> None:
        self._groups[name] = [self._started(where, width, size, seed) for seed in range(count)]
        for pipe, _ in self._groups[name]:
            pipe.recv()

    def speed(self, name: str) -> float:
        """Total model-steps/s of all workers of a group during one turn."""
        group = self._groups[name]
        for pipe, _ in group:
            pipe.send(_SECONDS)
        return float(sum(pipe.recv() for pipe, _ in group))

    def _started(self, where: str, width: int, size: int, seed: int) -> tuple[Any, Any]:
        ours, theirs = self._spawn.Pipe()
        kind: Callable[..., Any] = threading.Thread if where == "threads" else self._spawn.Process
        worker = kind(target=_work, args=(theirs, width, size, seed), daemon=True)
        worker.start()
        return ours, worker


def _work(pipe: Any, width: int, size: int, seed: int) -> None:
    """Train for each number of seconds received from the pipe and send model-steps/s back; None ends the loop."""
    torch.set_num_threads(1 if size else os.cpu_count() or 1)
    configs = [RunConfig(width=width, seed=100 * seed + each, epochs=1_000_000) for each in range(size or 1)]
    points = _epochs(configs, alone=size == 1, plain=size == 0)
    model_steps = configs[0].steps_per_epoch
    next(points)
    pipe.send("ready")
    while seconds := pipe.recv():
        started, count = time.perf_counter(), 0
        while time.perf_counter() - started < seconds:
            for _ in configs:
                next(points)
            count += len(configs) * model_steps
        pipe.send(count / (time.perf_counter() - started))


def _epochs(configs: list[RunConfig], *, alone: bool, plain: bool) -> Iterator[object]:
    """Yields after each epoch of each model."""
    if alone:
        yield from Training(configs[0]).points()
    elif not plain:
        yield from Ensemble(configs).points()
    network, task = plain_network(configs[0]), make_task(configs[0])
    optimizer = plain_optimizer(configs[0], network)
    while True:
        plain_steps(configs[0], network, optimizer, task.train)
        yield None
