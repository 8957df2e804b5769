"""How busy this machine is: CPU and memory by psutil, NVIDIA GPUs by NVML where the extra `gpu` is installed.

Nothing is sampled unless somebody asks, and what is not there is simply absent: no GPU, no driver, a sensor without a
value. No torch, no UI.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import itertools
import math
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU at one moment; None where it does not say."""

    name: str
    percent: float | None = None
    memory: tuple[int, int] | None = None
    """Bytes in use, and bytes there are."""
    celsius: float | None = None
    watts: float | None = None


@dataclasses.dataclass(frozen=True)
class Load:
    """The machine at one moment."""

    cpu_percent: float | None
    """Of all cores, since the sample before; None at the first."""
    memory: tuple[int, int]
    """Bytes in use, and bytes there are."""
    gpus: tuple[Gpu, ...] = ()


_samples = itertools.count()


def sample() -> Load:
    """Look once: well below a millisecond without a GPU. The first look at a GPU loads its library."""
    import psutil

    memory, since_before = psutil.virtual_memory(), psutil.cpu_percent(None)
    return Load(since_before if next(_samples) else None, (memory.total - memory.available, memory.total), gpus())


def gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs, none where the library, the driver or the hardware is missing."""
    nvml = _nvml()
    if nvml is None:
        return ()
    try:
        handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
        return tuple(_gpu(nvml, handle) for handle in handles)
    except nvml.NVMLError:
        return ()


def available_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process may still take before the system ends a process: of the machine, and of its cgroups.

    A container's limit is that of a cgroup, its own or one above; what is there is read, of version 1 and 2.
    """
    import psutil

    rooms = [psutil.virtual_memory().available]
    for line in _text(proc / "self" / "cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers in ("", "memory"):
            group = cgroups / controllers / path.lstrip("/")
            rooms += [_room(folder) for folder in (group, *group.parents) if folder.is_relative_to(cgroups)]
    return max(0, int(min(rooms)))


def _room(folder: Path) -> float:
    """What a cgroup's limit leaves; caches of files, which give way, count as free."""
    for limit, use, cache in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        most, used = _text(folder / limit).strip(), _text(folder / use).strip()
        if most.isdigit() and used.isdigit():
            stat = dict(line.split() for line in _text(folder / "memory.stat").splitlines())
            return int(most) - int(used) + int(stat.get(cache, 0))
    return math.inf


def _text(file: Path) -> str:
    """What a file of the kernel says, nothing where it is not there or not ours to read."""
    try:
        return file.read_text()
    except OSError:
        return ""


def in_words(load: Load) -> str:
    """The load in a few words, as `CPU 87 % · 3.1 of 8.3 GB`, and each GPU after it."""
    cpu = "" if load.cpu_percent is None else f"CPU {load.cpu_percent:.0f} %"
    return " · ".join(filter(None, [cpu, _gigabytes(load.memory), *map(gpu_in_words, load.gpus)]))


def gpu_in_words(gpu: Gpu) -> str:
    """One GPU in a few words: use, memory, temperature, power, as far as it says them."""
    parts = (
        "GPU" if gpu.percent is None else f"GPU {gpu.percent:.0f} %",
        "" if gpu.memory is None else _gigabytes(gpu.memory),
        "" if gpu.celsius is None else f"{gpu.celsius:.0f} °C",
        "" if gpu.watts is None else f"{gpu.watts:.0f} W",
    )
    return " ".join(filter(None, parts))


def _gigabytes(memory: tuple[int, int]) -> str:
    return f"{memory[0] / 1e9:.1f} of {memory[1] / 1e9:.1f} GB"


@functools.cache
def _nvml() -> Any:
    """NVIDIA's library, begun once; None where it cannot be."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


def _gpu(nvml: Any, handle: Any) -> Gpu:
    def asked(question: str, *arguments: Any) -> Any:
        try:
            return getattr(nvml, question)(handle, *arguments)
        except nvml.NVMLError:  # a virtual GPU, say, has no thermometer
            return None

    name = asked("nvmlDeviceGetName") or "NVIDIA GPU"
    use, memory = asked("nvmlDeviceGetUtilizationRates"), asked("nvmlDeviceGetMemoryInfo")
    milliwatts = asked("nvmlDeviceGetPowerUsage")
    return Gpu(
        name.decode() if isinstance(name, bytes) else name,
        None if use is None else use.gpu,
        None if memory is None else (memory.used, memory.total),
        asked("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        None if milliwatts is None else milliwatts / 1000,
    )
