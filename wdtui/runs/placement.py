"""Where runs train: on which device, how many at once, and how many as a batch.

These are decisions from measurements. PyTorch is imported only in the functions that ask about devices.

The scheduler trains each run or batch in a process of its own. On the CPU, Python threads would wait for each other
between small kernels, and so would the thread that draws the screen: at width 64 on two cores, two runs in threads made
2,588 model-steps/s together, two in processes 5,307, and one in a process 3,205 (docs/benchmarks.md). A wide run may
need more memory than there is, and the system then ends only the process that trains it. On a GPU, a CUDA error leaves
its whole process without the device, and CUDA graphs allow no other thread to use the GPU while one is recorded.
"""

from __future__ import annotations

import math
import os
from collections.abc import Hashable, Sequence

from wdtui.schema.config import Config
from wdtui.schema.steering import Plan

_MODELS_PER_GPU = 64


def has_room(
    device: str, threads: int, live: Sequence[tuple[str, int]], *, slots: int | None = None, cores: int | None = None
) -> bool:
    """Whether one more process may start beside the live ones, each given by its device and its threads.

    `slots` limits how many may run on all devices together. A GPU takes one at a time: two would share its memory and
    its time, and several MPS processes abort. The CPU takes as many as have a core for each of their threads, or as
    `slots` says, and always one.
    """
    if slots is not None and len(live) >= slots:
        return False
    beside = [other_threads for other, other_threads in live if other == device]
    if device != "cpu":
        return not beside
    return slots is not None or not beside or sum(beside) + threads <= (cores or machine_cores())


def group_size(width: int, device: str, runs: int, places: int) -> int:
    """How many of `runs` runs of a width should train as one batch, where `places` processes share them.

    On the CPU, 16 models of width 64 or 64 of width 16 are best, and more gain nothing (docs/benchmarks.md).
    """
    most = max(1, 1024 // max(width, 1)) if device == "cpu" else _MODELS_PER_GPU
    return min(most, math.ceil(runs / places))


def batch_key(config: Config, device: str, plan: Plan) -> Hashable:
    """What the runs of a batch have in common; None for a run that trains alone."""
    from wdtui.training import trainer

    return trainer(config).batch_key(config, device, plan)


def choice_of_devices(name: str) -> tuple[str, ...]:
    """The devices that a name stands for: auto and cuda mean all GPUs that PyTorch sees. Raises DeviceError."""
    from wdtui.training.devices import available_devices, resolve_device

    device = resolve_device(name)
    kind, _, _ = device.partition(":")
    if name not in ("auto", kind):
        return (device,)
    return tuple(other for other in available_devices() if other.partition(":")[0] == kind)


def suiting_threads(config: Config, device: str) -> int:
    """How many threads a run should use."""
    from wdtui.training.devices import default_threads

    return default_threads(config, device)


def machine_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
