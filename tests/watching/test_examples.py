"""The examples of the docs train, and their runs are in the store."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest
import torch

from wdtui.store.records import Status
from wdtui.store.store import Store

EXAMPLES = Path(__file__).parents[2] / "docs/examples"


@pytest.mark.parametrize(
    ("file", "length", "metrics"),
    [
        ("watched.py", 1000, {"train_loss", "test_accuracy", "weight_norm", "running_variance_min"}),
        ("lightning_addition.py", 2, {"train_loss", "train_accuracy", "test_accuracy", "weight_norm"}),
    ],
)
def test_an_example_trains_and_is_watched(
    file: str, length: int, metrics: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if file.startswith("lightning"):
        pytest.importorskip("pytorch_lightning")
    monkeypatch.setenv("WDTUI_HOME", str(tmp_path))
    monkeypatch.setattr(sys, "argv", [file, str(length)])
    torch.set_num_threads(1)
    runpy.run_path(str(EXAMPLES / file), run_name="__main__")
    with Store(tmp_path) as store:
        (run,) = store.runs()
    assert run.status == Status.DONE and run.step == run.steps
    assert metrics <= {name for name, value in run.latest.items() if value == value}


def test_the_watched_loop_is_short() -> None:
    assert len((EXAMPLES / "watched.py").read_text().splitlines()) < 40
