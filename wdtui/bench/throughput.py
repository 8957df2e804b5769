"""The total model-steps per second of this machine: with runs in threads, in processes, and batched in each."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from wdtui.bench.engine import WARM_UPS, Epoch, median_ratio, opened, plain_epoch, timed
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.ensemble import Ensemble
from wdtui.runs.worker import sentence

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


def throughput(width: int, rounds: int, models: Sequence[int], device: str = "cpu") -> dict[str, Any]:
    """Median model-steps/s of each plan over `rounds` turns of two seconds, one PyTorch thread per worker.

    Ratios are to the plain loop. A plan that cannot run here has a sentence instead of numbers.
    """
    ways = plans(models)
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    with _Workers(width, device) as workers:
        for name, (where, count, size) in ways.items():
            workers.add(name, where, count, size)
        for _ in range(rounds):
            for name in ways:
                if name not in workers.failures and (speed := workers.speed(name)):
                    speeds[name].append(speed)
        failures = workers.failures
    return {
        "width": width,
        "plans": {
            name: {"failure": failures[name]} if name in failures else _result(each, speeds[PLAIN])
            for name, each in speeds.items()
        },
    }


def _result(speeds: list[float], plain: list[float]) -> dict[str, float | None]:
    ratio = median_ratio(speeds, plain) if len(plain) == len(speeds) else None
    return {"model_steps_per_second": statistics.median(speeds), "ratio": ratio}


class _Workers:
    """Groups of waiting workers. Each trains during its turns."""

    def __init__(self, width: int, device: str) -> None:
        self._width, self._device = width, device
        self._groups: dict[str, list[tuple[Any, Any]]] = {}
        self._spawn = multiprocessing.get_context("spawn")
        self.failures: dict[str, str] = {}
        """Why a group cannot train, by its name."""

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *error: object) -> None:
        for group in self._groups.values():
            for pipe, worker in group:
                with contextlib.suppress(OSError):  # it may have ended
                    pipe.send(None)
                worker.join()

    def add(self, name: str, where: str, count: int, size: int) -> None:
        self._groups[name] = [self._started(where, size, seed) for seed in range(count)]
        self._answers(name)

    def speed(self, name: str) -> float:
        """Total model-steps/s of all workers of a group during one turn; 0 if one has failed."""
        for pipe, _ in self._groups[name]:
            with contextlib.suppress(OSError):
                pipe.send(_SECONDS)
        return sum(self._answers(name))

    def _answers(self, name: str) -> list[float]:
        """What each worker of a group answers; nothing if one has failed."""
        answers = [_answer(pipe) for pipe, _ in self._groups[name]]
        failed = [answer for answer in answers if isinstance(answer, str)]
        if failed:
            self.failures[name] = failed[0]
            return []
        return [answer for answer in answers if isinstance(answer, float)]

    def _started(self, where: str, size: int, seed: int) -> tuple[Any, Any]:
        ours, theirs = self._spawn.Pipe()
        kind: Callable[..., Any] = threading.Thread if where == "threads" else self._spawn.Process
        worker = kind(target=_work, args=(theirs, self._width, size, seed, self._device), daemon=True)
        worker.start()
        if where == "processes":
            theirs.close()  # so that the end of the process ends the pipe
        return ours, worker


def _answer(pipe: Any) -> float | str:
    try:
        answer: float | str = pipe.recv()
    except EOFError:
        return "Its process ended without a message."
    return answer


def _work(pipe: Any, width: int, size: int, seed: int, device: str) -> None:
    """Train for each number of seconds received from the pipe and send model-steps/s back; None ends the loop.

    Sends a sentence instead, and ends, if training fails.
    """
    try:
        torch.set_num_threads(1 if size else os.cpu_count() or 1)
        configs = [RunConfig(width=width, seed=100 * seed + each, epochs=1_000_000) for each in range(size or 1)]
        run_epoch = _epoch(configs, device, plain=size == 0)
        for _ in range(WARM_UPS):
            timed(run_epoch, device)
        pipe.send(0.0)
        while seconds := pipe.recv():
            started, count = time.perf_counter(), 0
            while time.perf_counter() - started < seconds:
                timed(run_epoch, device)
                count += len(configs) * configs[0].steps_per_epoch
            pipe.send(count / (time.perf_counter() - started))
    except Exception as error:  # a driver can fail in any way
        pipe.send(sentence(error))


def _epoch(configs: list[RunConfig], device: str, *, plain: bool) -> Epoch:
    """Runs an epoch of all models, with all metrics except in the plain loop."""
    if plain:
        return plain_epoch(configs[0], device)
    points = (opened(configs[0], device) if len(configs) == 1 else Ensemble(configs, device)).points()
    return lambda: [next(points) for _ in configs]
