"""Where the time of a step goes: in the plain loop, in this engine, and in a batch."""

from __future__ import annotations

import torch
from torch.profiler import ProfilerActivity, profile

from wdtui.bench.engine import WARM_UPS, Epoch, opened, plain_epoch, same_epoch, timed
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.ensemble import Ensemble

KINDS = {
    "matrix products": ("mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_"),
    "BatchNorm": ("batch_norm",),
    "optimiser": ("_fused_adam",),
}
"""Operations of the CPU, by kind."""
KERNELS = {
    "matrix products": ("gemm", "gemv", "cutlass", "nvjet", "splitk"),
    "BatchNorm": ("batch_norm", "batchnorm", "bn_fw", "bn_bw"),
    "optimiser": ("adam",),
}
"""Parts of the names of CUDA's kernels, by kind. They are guesses until a profile from a GPU confirms them."""
OTHERS, BETWEEN = "other operations", "between operations"
_EPOCHS = 3


def where_time_goes(width: int, threads: int, models: int, device: str = "cpu") -> dict[str, dict[str, float]]:
    """Microseconds per model-step for each way of training: by kind of operation, and between operations.

    On CUDA these are the times of kernels. PyTorch's profiler times the operations, but slows the code between them.
    The time between operations is therefore the time of a step without the profiler minus the time of the operations.
    """
    torch.set_num_threads(threads)
    config = RunConfig(width=width)
    batch = Ensemble([config.replace(seed=seed) for seed in range(models)], device)
    ways: dict[str, tuple[int, Epoch]] = {
        "plain loop": (1, plain_epoch(config, device)),
        "wdtui": (1, same_epoch(opened(config, device))),
        f"{models} models side by side": (models, same_epoch(batch)),
    }
    return {
        name: _parts(run_epoch, count * config.steps_per_epoch, device) for name, (count, run_epoch) in ways.items()
    }


def operations(run_epoch: Epoch, device: str) -> dict[str, tuple[int, float]]:
    """How often each operation ran in one epoch, or on CUDA each kernel, and its microseconds in total."""
    on_cuda = device.startswith("cuda")
    with profile(activities=[ProfilerActivity.CUDA if on_cuda else ProfilerActivity.CPU]) as profiled:
        timed(run_epoch, device)
    events = [event for event in profiled.key_averages() if not event.is_user_annotation]
    if on_cuda:
        kernels = [event for event in events if event.device_type.name == "CUDA"]
        return {event.key: (event.count, event.self_device_time_total) for event in kernels}
    return {event.key: (event.count, event.self_cpu_time_total) for event in events}


def _parts(run_epoch: Epoch, steps: int, device: str) -> dict[str, float]:
    for _ in range(WARM_UPS):
        timed(run_epoch, device)
    whole = sum(timed(run_epoch, device) for _ in range(_EPOCHS)) / _EPOCHS / steps * 1e6
    kind = _kind_of_kernel if device.startswith("cuda") else _kind
    parts = dict.fromkeys([*KINDS, OTHERS], 0.0)
    for name, (_, microseconds) in operations(run_epoch, device).items():
        parts[kind(name)] += microseconds / steps
    return parts | {BETWEEN: max(0.0, whole - sum(parts.values())), "whole step": whole}


def _kind(name: str) -> str:
    name = name.removeprefix("aten::")
    for kind, (first, *rest) in KINDS.items():
        if name in rest or (first in name if not rest else name == first):
            return kind
    return OTHERS


def _kind_of_kernel(name: str) -> str:
    for kind, parts in KERNELS.items():
        if any(part in name.lower() for part in parts):
            return kind
    return OTHERS
