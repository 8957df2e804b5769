"""The Python API gives what the store holds and what training yields."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from exchange_tools import CONFIG, NAMES, stored_run

import wdtui
from wdtui.problems.addition.config import RunConfig
from wdtui.store.store import Store


def test_a_run_is_loaded_by_number_or_name(tmp_path: Path) -> None:
    expected = stored_run(tmp_path)
    for key in (1, "1", "mine", "last"):
        run = wdtui.load(key, store=tmp_path)
        assert run.config == CONFIG and run.status == "done" and len(run) == 3
        assert list(run.curves) == ["step", "epoch", *NAMES]
        np.testing.assert_array_equal(run.curves["sharpness"], expected.curves["sharpness"])
        assert run.milestones.fit_step == 1
        assert [event.kind for event in run.events] == ["steered"]
    with pytest.raises(wdtui.StoreError, match="no run theirs"):
        wdtui.load("theirs", store=tmp_path)


def test_the_repr_of_a_run_is_one_line(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        store.add_run(RunConfig(), name="mine")
    assert repr(wdtui.load(1, store=tmp_path)) == "<Run 1 'mine': queued, 0 points>"


def test_training_yields_points_by_metric_name() -> None:
    points = list(wdtui.train(CONFIG, epochs=2))
    assert [(point["step"], point["epoch"]) for point in points] == [(1, 1), (2, 2)]
    assert list(points[0]) == ["step", "epoch", *NAMES] and 0 < points[1]["train_loss"] < 1
    again = list(wdtui.train({"epochs": 2, **{name: CONFIG.to_mapping()[name] for name in
                              ("weight_decay", "train_digits", "test_digits", "train_size", "validation_size",
                               "test_size", "width", "sharpness_every")}}))  # fmt: skip
    assert [point["test_loss"] for point in again] == [point["test_loss"] for point in points]


def test_training_a_declared_problem_yields_what_it_finds() -> None:
    *_, last = wdtui.train(problem="ridge", dimensions=3, steps=4, log_every=2)
    assert last["step"] == 4 and last["test_loss"] > 0


def test_an_invalid_config_is_refused_before_the_first_point() -> None:
    with pytest.raises(wdtui.ConfigError, match="did you mean width"):
        wdtui.train(widht=3)


def test_importing_wdtui_imports_nothing_else_and_loading_no_torch(tmp_path: Path) -> None:
    stored_run(tmp_path)
    program = (
        "import sys, wdtui; assert not {'numpy', 'torch', 'wdtui.problems.addition.config'} & sys.modules.keys();"
        f"wdtui.load(1, store={str(tmp_path)!r}); assert not {{'torch', 'textual', 'typer'}} & sys.modules.keys()"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_a_missing_attribute_of_the_module_raises_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'lode'"):
        wdtui.lode  # noqa: B018
