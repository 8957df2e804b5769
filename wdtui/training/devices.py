"""Where a run can be trained: the devices of this machine and the threads that suit a run on its CPU."""

from __future__ import annotations

import os

import torch

from wdtui.schema.config import Config
from wdtui.support.errors import WdtuiError

_WIDE = 1024
"""From this width on a step's operations are large enough to be shared between threads."""
_MOST_THREADS = 8


class DeviceError(WdtuiError, ValueError):
    """No such device here; the message names those there are."""


def available_devices() -> list[str]:
    """The devices that PyTorch can use here, the fastest kind first."""
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def resolve_device(name: str) -> str:
    """Turn auto, cpu, cuda, cuda:N or mps into a device of this machine; raises DeviceError when it has none such."""
    devices = available_devices()
    if name == "auto":
        return devices[0]
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in devices:
        raise DeviceError(f"device {name}: it is not available on this machine. Give auto or {' or '.join(devices)}.")
    return wanted


def use_full_precision(device: torch.device | str) -> None:
    """Make this process multiply float32 matrices in float32 on CUDA, not in TF32, which keeps 10 bits of 23."""
    if torch.device(device).type == "cuda":
        torch.set_float32_matmul_precision("highest")


def default_threads(config: Config, device: str) -> int:
    """How many threads a run's operations are best shared between.

    At width 256 a second thread gains a quarter where both cores are idle; but where anything else wants a core, the
    threads wait for each other between the small operations and train at a tenth of the speed (docs/benchmarks.md).
    """
    if device != "cpu" or config.layer_width < _WIDE:
        return 1
    return min(_MOST_THREADS, os.cpu_count() or 1)


def why_no_gpu() -> str:
    """Why no GPU is used here, or nothing when one is."""
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return ""
    if torch.version.cuda is None:
        return "none: this PyTorch is built for the CPU only"
    return f"none: this PyTorch is built for CUDA {torch.version.cuda}, and found no GPU or driver for it"
