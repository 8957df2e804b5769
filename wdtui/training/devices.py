"""The devices of this machine that PyTorch can use, and how many threads a run should use on the CPU.

Indices are PyTorch's: CUDA_VISIBLE_DEVICES decides which GPU is cuda:0. Nothing here changes that variable.
"""

from __future__ import annotations

import os

import torch

from wdtui.schema.config import Config
from wdtui.support.errors import WdtuiError

_WIDE = 1024
"""From this width on a step's operations are large enough to be shared between threads."""
_MOST_THREADS = 8


class DeviceError(WdtuiError, ValueError):
    """This machine lacks the device; the message names those that it has."""


def available_devices() -> list[str]:
    """The devices that PyTorch can use here, the fastest kind first: cuda:0, cuda:1, …, mps, cpu."""
    # device_count may ask the driver alone, and counts GPUs that this PyTorch cannot use
    devices = [f"cuda:{index}" for index in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    if torch.backends.mps.is_available():
        devices.append("mps")
    return [*devices, "cpu"]


def resolve_device(name: str) -> str:
    """Turn auto, cpu, cuda, cuda:N or mps into a device of this machine. Raises DeviceError where it has none such."""
    devices = available_devices()
    if name == "auto":
        return devices[0]
    wanted = "cuda:0" if name == "cuda" else name
    if wanted not in devices:
        raise DeviceError(f"device {name}: it is not available on this machine. Give auto or {' or '.join(devices)}.")
    return wanted


def use_device(device: str) -> None:
    """Make a GPU the default of the calling thread. Otherwise PyTorch also takes memory on the first GPU."""
    if device.startswith("cuda"):
        torch.cuda.set_device(device)


def use_full_precision(device: torch.device | str) -> None:
    """Make this process multiply float32 matrices in float32 on CUDA, not in TF32, which keeps 10 bits of 23."""
    if torch.device(device).type == "cuda":
        torch.set_float32_matmul_precision("highest")


def hardware(device: str) -> dict[str, str]:
    """What decides a run's speed and rounding on a GPU: its name, and whether TF32 is on. Empty for the CPU."""
    if not device.startswith("cuda"):
        return {}
    tf32 = "off" if torch.get_float32_matmul_precision() == "highest" else "on"
    return {"gpu": torch.cuda.get_device_name(device), "tf32": tf32}


def default_threads(config: Config, device: str) -> int:
    """How many threads should share a run's operations.

    At width 256 a second thread gains a quarter where both cores are idle. Where something else uses a core, the
    threads wait for each other between the small operations, and the run trains at a tenth of its speed
    (docs/benchmarks.md).
    """
    if device != "cpu" or config.layer_width < _WIDE:
        return 1
    return min(_MOST_THREADS, os.cpu_count() or 1)


def why_no_gpu() -> str:
    """Why PyTorch can use no GPU here; empty where it can use one."""
    if torch.cuda.is_available() or torch.backends.mps.is_available():
        return ""
    if torch.version.cuda is None:
        return "none: this PyTorch is built for the CPU only"
    return f"none: this PyTorch is built for CUDA {torch.version.cuda}, and found no GPU or driver for it"
