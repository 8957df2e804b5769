"""What the machine says of itself, with a GPU that is made up."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest

from wdtui.support import machine
from wdtui.support.machine import Gpu, Load


class FakeNvml:
    """Two GPUs, of which the second tells its name only."""

    NVML_TEMPERATURE_GPU = 0

    class NVMLError(Exception):
        pass

    def __init__(self, works: bool = True) -> None:
        self.works = works

    def nvmlInit(self) -> None:
        if not self.works:
            raise self.NVMLError("no driver")

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        return index

    def nvmlDeviceGetUUID(self, handle: int) -> Any:
        return (b"GPU-8932f937-d72c", "GPU-5a1bcd02-11aa")[handle]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:
        if uuid != "MIG-7f":
            raise self.NVMLError("not found")
        return 1

    def nvmlDeviceGetName(self, handle: int) -> Any:
        return b"Fast" if handle == 0 else "Virtual"

    def _tell(self, handle: int, value: Any) -> Any:
        if handle == 1:
            raise self.NVMLError("not supported")
        return value

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> Any:
        return self._tell(handle, SimpleNamespace(gpu=93))

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:
        return self._tell(handle, SimpleNamespace(used=12_000_000_000, total=80_000_000_000))

    def nvmlDeviceGetTemperature(self, handle: int, sensor: int) -> int:
        return int(self._tell(handle, 61))

    def nvmlDeviceGetPowerUsage(self, handle: int) -> int:
        return int(self._tell(handle, 402_400))


class LosingNvml(FakeNvml):
    """The first of its GPUs has fallen off the bus."""

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:
        if index == 0:
            raise self.NVMLError("GPU is lost")
        return index


@pytest.fixture(autouse=True)
def forget(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine._nvml.cache_clear()
    yield
    machine._nvml.cache_clear()


def test_a_gpu_reports_what_it_supports(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())  # type: ignore[arg-type]
    gpus = machine.gpus()
    assert gpus == (Gpu("Fast", 93, (12_000_000_000, 80_000_000_000), 61, 402.4), Gpu("Virtual"))
    shown = machine.load_text(Load(87.4, (3_100_000_000, 8_300_000_000), gpus))
    assert shown == "CPU 87 % · 3.1 of 8.3 GB · GPU 93 % 12.0 of 80.0 GB 61 °C 402 W · GPU"


@pytest.mark.parametrize(
    ("visible", "names"),
    [
        ("1,0", ["Virtual", "Fast"]),
        ("1", ["Virtual"]),
        ("", []),
        ("-1", []),
        ("0,7,1", ["Fast"]),
        ("GPU-5a1b,GPU-8932f937-d72c", ["Virtual", "Fast"]),
        ("GPU-5a1b, GPU-77", ["Virtual"]),
        ("MIG-7f", ["Virtual"]),
        ("MIG-gone,0", []),
    ],
)
def test_gpus_are_those_that_cuda_shows_in_its_order(
    visible: str, names: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())  # type: ignore[arg-type]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [gpu.name for gpu in machine.gpus()] == names


def test_a_gpu_that_is_lost_hides_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", LosingNvml())  # type: ignore[arg-type]
    assert [gpu.name for gpu in machine.gpus()] == ["Virtual"]


@pytest.mark.parametrize("library", [None, FakeNvml(works=False)], ids=["no library", "no driver"])
def test_missing_hardware_is_left_out(library: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library)
    machine.sample()
    load = machine.sample()
    assert load.gpus == () and 0 < load.memory[0] < load.memory[1] and 0 <= load.cpu_percent <= 100
