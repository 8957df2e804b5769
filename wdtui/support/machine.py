"""The load of this machine: CPU and memory by psutil, NVIDIA GPUs by NVML if the extra `gpu` is installed.

Everything is sampled on demand. A missing GPU, driver or sensor value is left out. No torch, no UI.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib
import itertools
import math
import os
import statistics
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU at one moment. A value that it does not report is None."""

    name: str
    percent: float | None = None
    memory: tuple[int, int] | None = None
    """Bytes in use, and bytes in total."""
    celsius: float | None = None
    watts: float | None = None


@dataclasses.dataclass(frozen=True)
class Load:
    """The machine at one moment."""

    cpu_percent: float | None
    """Of all cores, since the previous sample; None at the first."""
    memory: tuple[int, int]
    """Bytes in use, and bytes in total."""
    gpus: tuple[Gpu, ...] = ()
    cores: tuple[float, ...] = ()
    """The use of each core since the previous sample, in percent; empty at the first."""
    processes: Mapping[int, tuple[float | None, int]] = dataclasses.field(default_factory=dict)
    """By process: use since the previous sample in percent of a core, None at the first, and memory in bytes."""


_samples = itertools.count()
_followed: dict[int, Any] = {}
"""The processes of the previous sample."""


def sample(pids: Iterable[int] = ()) -> Load:
    """Take a sample, also of some processes: about a millisecond without a GPU. The first loads the library of GPUs."""
    import psutil

    memory, cores = psutil.virtual_memory(), psutil.cpu_percent(None, percpu=True)
    known = bool(next(_samples))
    return Load(
        statistics.fmean(cores) if known and cores else None,
        (memory.total - memory.available, memory.total),
        gpus(),
        tuple(cores) if known else (),
        _processes({*pids}),
    )


def _processes(pids: Collection[int]) -> dict[int, tuple[float | None, int]]:
    """The use of processes that exist and may be inspected."""
    import psutil

    for pid in _followed.keys() - pids:
        del _followed[pid]
    found: dict[int, tuple[float | None, int]] = {}
    for pid in pids:
        with contextlib.suppress(psutil.Error):
            before = _followed.get(pid)
            process = _followed[pid] = before or psutil.Process(pid)
            percent = process.cpu_percent(None)
            found[pid] = percent if before else None, process.memory_info().rss
    return found


def gpus() -> tuple[Gpu, ...]:
    """The NVIDIA GPUs in PyTorch's order, so that the first is cuda:0; none without the library, a driver or a GPU.

    CUDA_VISIBLE_DEVICES limits and orders them, by index, UUID or MIG device. NVML counts in the order of the PCI bus,
    as CUDA does for equal GPUs; for different ones CUDA does so with CUDA_DEVICE_ORDER=PCI_BUS_ID.
    """
    nvml = _nvml()
    return () if nvml is None else tuple(_gpu(nvml, handle) for handle in _visible(nvml))


def available_memory(proc: Path = Path("/proc"), cgroups: Path = Path("/sys/fs/cgroup")) -> int:
    """The bytes that this process can still allocate, limited by the machine and by its cgroups (version 1 or 2).

    The limit of a container is that of its cgroup or of one above it.
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
    """The free bytes within a cgroup's limit. Caches of files count as free."""
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
    """The content of a kernel file; empty if it does not exist or cannot be read."""
    try:
        return file.read_text()
    except OSError:
        return ""


def load_text(load: Load) -> str:
    """The load as text, e.g. `CPU 87 % · 3.1 of 8.3 GB`, followed by each GPU."""
    cpu = "" if load.cpu_percent is None else f"CPU {load.cpu_percent:.0f} %"
    return " · ".join(filter(None, [cpu, gigabytes(load.memory), *map(gpu_text, load.gpus)]))


def gpu_text(gpu: Gpu) -> str:
    """One GPU as text: use, memory, temperature and power, if it reports them."""
    parts = (
        "GPU" if gpu.percent is None else f"GPU {gpu.percent:.0f} %",
        "" if gpu.memory is None else gigabytes(gpu.memory),
        "" if gpu.celsius is None else f"{gpu.celsius:.0f} °C",
        "" if gpu.watts is None else f"{gpu.watts:.0f} W",
    )
    return " ".join(filter(None, parts))


def gigabytes(memory: tuple[int, int]) -> str:
    """A part of a memory and all of it, as text."""
    return f"{memory[0] / 1e9:.1f} of {memory[1] / 1e9:.1f} GB"


@functools.cache
def _nvml() -> Any:
    """NVIDIA's library, initialised once; None if that fails."""
    try:
        nvml = importlib.import_module("pynvml")
    except ImportError:
        return None
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return None
    return nvml


def _visible(nvml: Any) -> list[Any]:
    """The handles of the GPUs that CUDA shows to this process; of one that is lost, none."""
    found, wanted = {}, os.environ.get("CUDA_VISIBLE_DEVICES")
    with contextlib.suppress(nvml.NVMLError):
        for index in range(nvml.nvmlDeviceGetCount()):
            with contextlib.suppress(nvml.NVMLError):
                found[index] = nvml.nvmlDeviceGetHandleByIndex(index)
    if wanted is None:
        return list(found.values())
    visible = []
    for name in map(str.strip, wanted.split(",")):
        try:
            visible.append(found[int(name)] if name.isdecimal() else _by_uuid(nvml, name, found.values()))
        except (KeyError, nvml.NVMLError):  # CUDA too ignores everything after an unknown device
            break
    return visible


def _by_uuid(nvml: Any, name: str, handles: Iterable[Any]) -> Any:
    """A GPU by the beginning of its UUID, or a MIG device by its name. Raises KeyError or NVMLError without one."""
    if name.startswith("MIG-"):
        return nvml.nvmlDeviceGetHandleByUUID(name)
    if name.startswith("GPU-"):
        for handle in handles:
            if _text_of(nvml.nvmlDeviceGetUUID(handle)).startswith(name):
                return handle
    raise KeyError(name)


def _text_of(value: str | bytes) -> str:
    """Text from NVML, which is bytes in some versions of its Python package."""
    return value.decode() if isinstance(value, bytes) else value


def _gpu(nvml: Any, handle: Any) -> Gpu:
    def ask(question: str, *arguments: Any) -> Any:
        try:
            return getattr(nvml, question)(handle, *arguments)
        except nvml.NVMLError:  # for example, a virtual GPU or a MIG device has no thermometer
            return None

    name = ask("nvmlDeviceGetName") or "NVIDIA GPU"
    use, memory = ask("nvmlDeviceGetUtilizationRates"), ask("nvmlDeviceGetMemoryInfo")
    milliwatts = ask("nvmlDeviceGetPowerUsage")
    return Gpu(
        _text_of(name),
        None if use is None else use.gpu,
        None if memory is None else (memory.used, memory.total),
        ask("nvmlDeviceGetTemperature", nvml.NVML_TEMPERATURE_GPU),
        None if milliwatts is None else milliwatts / 1000,
    )
