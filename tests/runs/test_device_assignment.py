"""The devices of a machine: which there are, and whether they can train."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from wdtui.cli import doctor
from wdtui.problems.addition.engine.optimizer import StackedOptimizer
from wdtui.runs import probe
from wdtui.runs.runner import software
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


def test_a_device_that_trains_has_no_fault() -> None:
    assert probe.fault("cpu") == ""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("kill -SEGV $$", "A small training ended its process (Segmentation fault). Check the driver."),
        ("exec sleep 60", "A small training did not end within 1 s. See whether another process uses the device."),
        ("echo 'RuntimeError: no kernel image' >&2; exit 1", "A small training failed: RuntimeError: no kernel image"),
    ],
    ids=["crash", "hang", "error"],
)
def test_a_device_whose_training_goes_wrong_is_described(
    script: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    assert probe.fault("cuda:0", seconds=1.0) == said


def idle(steps: Any, *_: Any) -> None:
    """A replay that does nothing, as that of an empty graph."""


def test_a_device_on_which_training_changes_nothing_has_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(StackedOptimizer, "step", idle)
    assert probe.main("cpu") == 1
    assert capsys.readouterr().err.startswith("The loss did not change")


def test_a_device_that_gives_other_results_each_time_has_a_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    losses = iter([[[1.0], [0.5]], [[1.0], [0.4]]])
    monkeypatch.setattr(probe, "_losses", lambda device: next(losses))
    assert probe.main("cpu") == 1
    assert capsys.readouterr().err == "Two equal trainings gave different losses. The device computes wrongly.\n"


def test_doctor_tries_every_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus(monkeypatch, 2)
    monkeypatch.setattr(probe, "fault", {"cuda:0": "", "cuda:1": "A small training failed: no kernel image"}.get)
    found = {subject: (well, said) for well, subject, said in doctor._devices()}
    assert found["cuda:0"] == (True, "a small batch trained twice with the same result")
    assert found["cuda:1"] == (False, "A small training failed: no kernel image")


@pytest.mark.parametrize(("precision", "tf32"), [("highest", "off"), ("high", "on")])
def test_a_run_on_a_gpu_says_on_which_and_with_what_precision(
    monkeypatch: pytest.MonkeyPatch, precision: str, tf32: str
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_name", {"cuda:1": "NVIDIA H200"}.get)
    monkeypatch.setattr(torch, "get_float32_matmul_precision", lambda: precision)
    assert software("cuda:1") == software("cpu") | {"gpu": "NVIDIA H200", "tf32": tf32}
