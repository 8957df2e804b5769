"""The script trains what the run trained, in a process that knows no wdtui."""

from __future__ import annotations

import ast
import csv
import os
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from command_line import assert_one_sentence, wdtui
from forked import run_module

import wdtui as api
from wdtui.exchange.exported import ExchangeError, Run, load
from wdtui.exchange.script import script
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.training import Training
from wdtui.schema.curves import Curves
from wdtui.schema.steering import Plan, Steering
from wdtui.store.store import Store

TINY: dict[str, Any] = {
    "width": 8, "train_size": 256, "validation_size": 40, "test_size": 40, "epochs": 12, "weight_decay": 0.5,
}  # fmt: skip
PLAN = (
    Steering(8, "learning_rate", 1e-3, 4e-3, 3),
    Steering(16, "weight_decay", 0.5, 20.0),
    Steering(24, "bn_epsilon", 1e-2, 0.5),
)


def stored(folder: Path, config: RunConfig, plan: Plan = ()) -> Run:
    with Store(folder) as store:
        return load(store, store.add_run(config, plan=plan))


@pytest.mark.parametrize(
    ("fields", "plan"),
    [
        ({}, ()),
        ({"label_noise": 0.2, "shuffle": True, "loss": "cross_entropy", "optimizer": "adam"}, ()),
        ({"optimizer": "sgd", "decay": "decoupled", "learning_rate": 0.1, "batch_norm": False, "log_every": 5}, ()),
        ({"optimizer": "sgd", "task": "multiply", "learning_rate": 1e-3}, PLAN),
        ({"optimizer": "sgd", "decay": "decoupled", "learning_rate": 1e-3}, PLAN),
        ({}, PLAN),
    ],
)
def test_the_script_ends_where_the_run_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: dict[str, Any], plan: Plan
) -> None:
    config = RunConfig(**TINY | fields)
    expected = Curves.of(config.columns, Training(config, plan=plan).points())
    (tmp_path / "plain.py").write_text(script(stored(tmp_path, config, plan)), encoding="utf-8")
    runpy.run_path(str(tmp_path / "plain.py"))
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert [int(row["step"]) for row in rows] == expected.steps.tolist()
    for name in rows[0].keys() - {"step", "epoch"}:
        np.testing.assert_allclose([float(row[name]) for row in rows], expected[name], rtol=2e-4, atol=2e-5)


ALONE = """
import sys

def main():
    known = [name for name in sys.modules if name.partition(".")[0] == "wdtui"]  # where the process is a forked one
    sys.modules |= dict.fromkeys(["wdtui", *known])
    exec(open(sys.argv[1], encoding="utf-8").read(), {})

if __name__ == "__main__":
    main()
"""


def test_the_script_runs_in_a_process_that_cannot_import_wdtui(tmp_path: Path) -> None:
    (tmp_path / "alone.py").write_text(ALONE, encoding="utf-8")

    def alone(text: str) -> tuple[int | None, str, str]:
        (tmp_path / "plain.py").write_text(text, encoding="utf-8")
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        process = run_module("alone", [str(tmp_path / "plain.py")], env=environment)
        output, error = process.communicate(timeout=300)
        return process.returncode, output, error

    status, output, error = alone(script(stored(tmp_path, RunConfig(**TINY | {"epochs": 1}))))
    assert status == 0, error
    assert len(output.splitlines()) == 2
    assert "ModuleNotFoundError" in alone("import wdtui.exchange")[2]


def test_unsupported_runs_are_refused_in_one_sentence(tmp_path: Path) -> None:
    run = stored(tmp_path, RunConfig(**TINY | {"architecture": "transformer"}))
    with pytest.raises(ExchangeError, match="supports only the residual network"):
        script(run)
    refused = wdtui("runs", "script", str(run.id), store=tmp_path)
    assert refused.returncode == 2
    assert_one_sentence(refused.stderr)
    changed = stored(tmp_path, RunConfig(**TINY), (Steering(8, "loss", "mse", "cross_entropy"),))
    with pytest.raises(ExchangeError, match="changes loss while training"):
        script(changed)


def test_the_command_writes_a_file_or_to_stdout(tmp_path: Path) -> None:
    run = stored(tmp_path, RunConfig(**TINY))
    printed = wdtui("runs", "script", "last", store=tmp_path)
    written = wdtui("runs", "script", "1", "--output", str(tmp_path / "plain.py"), store=tmp_path)
    assert printed.returncode == written.returncode == 0
    assert printed.stdout == (tmp_path / "plain.py").read_text(encoding="utf-8") == script(run)
    assert api.load(1, store=tmp_path).config == run.config


def test_the_header_says_how_far_the_script_may_drift_from_the_run_and_why(tmp_path: Path) -> None:
    header = ast.get_docstring(ast.parse(script(stored(tmp_path, RunConfig(**TINY))))) or ""
    assert header.startswith("Run 1 of wdtui") and "rounding" in header
    assert "7.8 % of the test pairs" in header and "not the same digits" in header


@pytest.mark.parametrize("noise", [0.0, 0.2])
def test_no_line_of_the_script_assigns_a_name_to_itself(noise: float, tmp_path: Path) -> None:
    tree = ast.parse(script(stored(tmp_path, RunConfig(**TINY | {"label_noise": noise}))))
    assignments = [node for node in ast.walk(tree) if isinstance(node, ast.Assign)]
    assert not [ast.unparse(one) for one in assignments if ast.unparse(one.targets[0]) == ast.unparse(one.value)]
