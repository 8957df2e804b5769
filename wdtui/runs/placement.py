"""Where runs are best trained: in a thread or a process, beside how many others, on which device.

Pure decisions from measurements; PyTorch is imported only inside those that ask about devices.
"""

from __future__ import annotations

import math
import os
from collections.abc import Hashable, Sequence
from typing import Literal

from wdtui.schema.config import Config
from wdtui.schema.steering import Plan

RUNS_PER_GPU = 4
_MODELS_PER_GPU = 64


def placement(device: str) -> Literal["thread", "process"]:
    """Where to train a run.

    On the CPU in a process of its own. Python threads fight over the GIL between small kernels, with the one that draws
    the screen too: at width 64 on two cores, one thread per run, two runs in threads made 2,588 model-steps/s in all,
    two in processes 5,307, and one in a process 3,205 (docs/benchmarks.md). And a wide run may need more memory than
    there is: the system then ends the process that trains it, and no other. On a GPU, whose memory is another, every
    process would hold a context of its own, hundreds of MB.
    """
    return "process" if device == "cpu" else "thread"


def has_room(
    device: str, threads: int, live: Sequence[tuple[str, int]], *, slots: int | None = None, cores: int | None = None
) -> bool:
    """Whether one more run may start beside the live ones, each given by its device and threads.

    With `slots` that many may run in all. Without, a GPU takes a few, and the CPU as many as have a core for each of
    their threads; every device takes one.
    """
    if slots is not None:
        return len(live) < slots
    beside = [other_threads for other, other_threads in live if other == device]
    if device != "cpu":
        return len(beside) < RUNS_PER_GPU
    return not beside or sum(beside) + threads <= (cores or machine_cores())


def group_size(width: int, device: str, runs: int, places: int) -> int:
    """How many of so many runs of a width are best trained side by side, where as many places as that share them.

    On the CPU 16 models of width 64, or 64 of width 16, are best; more gain nothing (docs/benchmarks.md).
    """
    most = max(1, 1024 // max(width, 1)) if device == "cpu" else _MODELS_PER_GPU
    return min(most, math.ceil(runs / places))


def batch_key(config: Config, device: str, plan: Plan) -> Hashable:
    """What a run must have in common with those it is trained beside; None where it is trained alone."""
    from wdtui.training import trainer

    return trainer(config).batch_key(config, device, plan)


def choice_of_devices(name: str) -> tuple[str, ...]:
    """The devices of this machine that a name stands for: auto and cuda for all GPUs alike. Raises DeviceError."""
    from wdtui.training.devices import available_devices, resolve_device

    device = resolve_device(name)
    kind, _, _ = device.partition(":")
    if name not in ("auto", kind):
        return (device,)
    return tuple(other for other in available_devices() if other.partition(":")[0] == kind)


def suiting_threads(config: Config, device: str) -> int:
    from wdtui.training.devices import default_threads

    return default_threads(config, device)


def machine_cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
