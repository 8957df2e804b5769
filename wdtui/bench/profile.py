"""Where the time of a step goes: in the plain loop, in this engine, and in a batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from wdtui.bench.plain import plain_network, plain_optimizer, plain_steps
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.ensemble import Ensemble
from wdtui.problems.addition.engine.steps import Steps
from wdtui.problems.addition.engine.tasks import make_task
from wdtui.problems.addition.engine.training import Training

KINDS = {
    "matrix products": ("mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_"),
    "BatchNorm": ("batch_norm",),
    "optimiser": ("_fused_adam",),
}
OTHERS, BETWEEN = "other operations", "between operations"
_EPOCHS = 3


def where_time_goes(width: int, threads: int, models: int) -> dict[str, dict[str, float]]:
    """Microseconds per model-step for each way of training: by kind of operation, and in Python between them.

    PyTorch's profiler times the operations, but slows the code between them. The time between operations is therefore
    the time of a step without the profiler minus the time of the operations.
    """
    torch.set_num_threads(threads)
    config = RunConfig(width=width)
    network, task = plain_network(config), make_task(config)
    optimizer = plain_optimizer(config, network)
    ensemble = Ensemble([config.replace(seed=seed) for seed in range(models)])
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "plain loop": (1, lambda: plain_steps(config, network, optimizer, task.train)),
        "wdtui": (1, _epoch(Training(config).steps)),
        f"{models} models side by side": (
            models,
            _epoch(ensemble.steps),
        ),
    }
    return {name: _parts(run_epoch, count * config.steps_per_epoch) for name, (count, run_epoch) in ways.items()}


def _epoch(steps: Steps) -> Callable[[], None]:
    def run() -> None:
        steps.batch = 0
        steps.run_epoch()

    return run


def _parts(run_epoch: Callable[[], object], steps: int) -> dict[str, float]:
    run_epoch()
    started = time.perf_counter()
    for _ in range(_EPOCHS):
        run_epoch()
    whole = (time.perf_counter() - started) / _EPOCHS / steps * 1e6
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run_epoch()
    parts = dict.fromkeys([*KINDS, OTHERS], 0.0)
    for event in profiled.key_averages():
        parts[_kind(event)] += event.self_cpu_time_total / steps
    return parts | {BETWEEN: max(0.0, whole - sum(parts.values())), "whole step": whole}


def _kind(event: Any) -> str:
    name = event.key.removeprefix("aten::")
    for kind, (first, *rest) in KINDS.items():
        if name in rest or (first in name if not rest else name == first):
            return kind
    return OTHERS
