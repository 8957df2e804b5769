"""One thread, as test processes side by side must not fight over the cores; and the device that is tested.

`WDTUI_TEST_DEVICE=cuda pytest tests/lab` trains on that device wherever a test names none. Tests marked `cpu_only` hold
what is claimed for the CPU alone, or compare with tensors there; they are skipped.
"""

from __future__ import annotations

import os

import pytest
import torch

from wdtui.problems.addition.engine.ensemble import Ensemble
from wdtui.problems.addition.engine.training import Training

torch.set_num_threads(1)

DEVICE = os.environ.get("WDTUI_TEST_DEVICE", "cpu")


@pytest.fixture
def device() -> str:
    return DEVICE


@pytest.fixture(autouse=True)
def trained_on(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have trainings open on the device under test."""
    if DEVICE == "cpu":
        return
    if request.node.get_closest_marker("cpu_only"):
        pytest.skip(f"It holds on the CPU alone, and WDTUI_TEST_DEVICE is {DEVICE}.")
    for opened in (Training, Ensemble):
        _, *others = opened.__init__.__defaults__ or ()
        monkeypatch.setattr(opened.__init__, "__defaults__", (DEVICE, *others))
