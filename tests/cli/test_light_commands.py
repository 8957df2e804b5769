"""What must come at once comes without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from command_line import events, wdtui


@pytest.mark.parametrize(
    "command",
    ["--help", "--version", "run --help", "plot --help", "runs list", "sweeps list", "experiments list"],
)
def test_light_commands_do_not_import_torch(command: str) -> None:
    program = (
        "import sys; from wdtui.cli.main import main; status = main(sys.argv[1:]);"
        "light = {'numpy'} if sys.argv[-1] == '--help' and 'plot' not in sys.argv else set();"
        "heavy = ({'torch', 'textual', 'matplotlib'} | light) & sys.modules.keys();"
        "sys.exit(f'imported {heavy}' if heavy else status)"
    )
    result = subprocess.run([sys.executable, "-c", program, *command.split()], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_help_lists_every_hyperparameter_with_its_default() -> None:
    from wdtui.problems.addition.config import RunConfig

    shown = wdtui("run", "--help").stdout
    assert all(field.flag in shown for field in RunConfig.fields().values())


def test_doctor_reports_no_problem_on_this_machine(tmp_path: Path) -> None:
    result = wdtui("doctor", store=tmp_path)
    assert result.returncode == 0, result.stdout
    assert "torch" in result.stdout and str(tmp_path) in result.stdout and "cpu" in result.stdout
    (extras,) = [line for line in result.stdout.splitlines() if line[7:].startswith("extras")]
    assert "plot" in extras.partition("not here")[0]


def test_experiments_are_listed_shown_and_run(tmp_path: Path) -> None:
    effect, first, *_ = wdtui("experiments", "list", store=tmp_path).stdout.splitlines()
    assert (effect, first.split()[0]) == ("first steps", "demo")
    assert "wdtui run demo" in wdtui("experiments", "show", "demo").stdout
    small = ("--width", "8", "--epochs", "1", "--seed", "0", "--threads", "1")
    result = wdtui("experiments", "run", "batchnorm-epsilon", *small, "--json", store=tmp_path)
    assert result.returncode == 0, result.stderr
    *cells, summary = events(result.stdout)
    assert sorted(cell["run_id"] for cell in cells) == [1, 2, 3, 4]
    assert summary["complete"] and len(summary["table"]) == 4
