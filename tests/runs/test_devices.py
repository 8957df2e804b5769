"""The devices of a machine, as PyTorch reports them."""

from __future__ import annotations

import pytest
import torch

from wdtui.training.devices import DeviceError, available_devices, resolve_device


def gpus(monkeypatch: pytest.MonkeyPatch, count: int, *, usable: bool = True) -> None:
    """Have the driver report so many GPUs."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: usable)


def test_gpus_that_pytorch_cannot_use_are_no_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2, usable=False)
    assert available_devices() == ["cpu"] and resolve_device("auto") == "cpu"
    with pytest.raises(DeviceError, match=r"cuda:0: it is not available on this machine\. Give auto or cpu\."):
        resolve_device("cuda:0")


def test_every_gpu_is_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    assert available_devices() == ["cuda:0", "cuda:1", "cpu"]
    assert resolve_device("auto") == resolve_device("cuda") == "cuda:0"
