"""`wdtui experiments verify`: trains what is missing, holds the claims to it, and tells by its exit status."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from command_line import assert_one_sentence, events, start, until, wdtui

from wdtui.store.store import Store

FILE = """
question = "Does weight decay shrink the weights?"
[config]
width = 8
epochs = 2
train_size = 320
validation_size = 50
test_size = 50
[axes]
weight_decay = [0.0, 100.0]
[quick.config]
epochs = 1
[[claims]]
says = "With weight decay the norm is smaller."
measure = "weight_norm"
where = { weight_decay = 100.0 }
minus = { weight_decay = 0.0 }
at_most = -0.1
"""


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    path = tmp_path / "shrinking.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


@pytest.mark.usefixtures("in_threads")
def test_verify_exits_with_0_and_trains_nothing_twice(experiment: Path, tmp_path: Path) -> None:
    first = wdtui("experiments", "verify", str(experiment), "--threads", "1", store=tmp_path / "store")
    assert first.returncode == 0, first.stderr
    assert "holds    With weight decay the norm is smaller." in first.stdout and "claimed: at most" in first.stdout
    assert "2 of 2 runs are to be trained." in first.stderr
    assert re.search(r"^\d/2 runs done  \d+/20 steps", first.stderr, re.MULTILINE), first.stderr
    again = wdtui("experiments", "verify", str(experiment), "--json", store=tmp_path / "store")
    assert again.returncode == 0 and again.stderr == ""
    (claim,) = events(again.stdout)
    assert claim["state"] == "holds" and claim["value"][0] <= -0.1 == claim["at_most"]
    runs = events(wdtui("runs", "list", "--json", store=tmp_path / "store").stdout)
    assert [(run["experiment"], run["status"]) for run in runs] == [("shrinking", "done")] * 2


@pytest.mark.usefixtures("in_threads")
def test_verify_exits_with_3_if_a_claim_fails(experiment: Path, tmp_path: Path) -> None:
    experiment.write_text(FILE.replace("at_most = -0.1", "at_least = 0.1"), encoding="utf-8")
    result = wdtui("experiments", "verify", str(experiment), "--quick", "--threads", "1", store=tmp_path / "store")
    assert result.returncode == 3, result.stderr
    assert result.stdout.startswith("fails ")
    runs = events(wdtui("runs", "list", "--json", store=tmp_path / "store").stdout)
    assert {run["config"]["epochs"] for run in runs} == {1}


def test_verify_exits_with_1_if_a_run_fails(experiment: Path, tmp_path: Path) -> None:
    """The logs of its processes have nowhere to go."""
    store = tmp_path / "store"
    store.mkdir()
    (store / "logs").write_text("in the way")
    result = wdtui("experiments", "verify", str(experiment), "--threads", "1", store=store)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr and "not run" in result.stdout


@pytest.mark.usefixtures("in_threads")
def test_runs_are_trained_by_as_many_workers_as_are_asked_for(experiment: Path, tmp_path: Path) -> None:
    verify = ("experiments", "verify", str(experiment), "--threads", "1")
    assert wdtui(*verify, "--workers", "1", store=tmp_path / "store").returncode == 0
    first, second = sorted(listed(tmp_path / "store"), key=lambda run: run["started"])
    assert first["ended"] <= second["started"]
    experiment.write_text(FORKED, encoding="utf-8")
    for options in (("--executor", "ray", "--workers", "1"), ("--executor", "ray")):
        result = wdtui(*verify, *options, store=tmp_path / "store")
        assert result.returncode == 2
        assert_one_sentence(result.stderr)


def test_running_an_experiment_with_forks_ignores_no_option(experiment: Path, tmp_path: Path) -> None:
    experiment.write_text(FORKED, encoding="utf-8")
    for options in (("--seeds", "2"), ("--workers", "2"), ("--executor", "ray")):
        result = wdtui("experiments", "run", str(experiment), *options, store=tmp_path / "store")
        assert result.returncode == 2 and "forks" in result.stderr
        assert_one_sentence(result.stderr)
    assert listed(tmp_path / "store") == []


def test_verify_refuses_in_one_sentence(experiment: Path, tmp_path: Path) -> None:
    experiment.write_text(FILE.replace("weight_norm", "weight_nrm"), encoding="utf-8")
    for arguments in ([str(experiment)], ["demoo"], ["demo", "--device", "tpu"]):
        result = wdtui("experiments", "verify", *arguments, store=tmp_path / "store")
        assert result.returncode == 2, result.stderr
        assert_one_sentence(result.stderr)


@pytest.mark.usefixtures("in_threads")
def test_known_runs_are_verified_without_torch(experiment: Path, tmp_path: Path) -> None:
    assert wdtui("experiments", "verify", str(experiment), "--threads", "1", store=tmp_path / "s").returncode == 0
    program = (
        "import sys; from wdtui.cli.main import main; status = main(sys.argv[1:]);"
        "sys.exit('imported torch' if 'torch' in sys.modules else status)"
    )
    command = [sys.executable, "-c", program, "experiments", "verify", str(experiment)]
    environment = os.environ | {"WDTUI_HOME": str(tmp_path / "s")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_show_and_list_include_the_claims(experiment: Path, tmp_path: Path) -> None:
    shown = wdtui("experiments", "show", str(experiment)).stdout
    assert "With weight decay the norm is smaller." in shown and "experiments verify" in shown and "Quick" in shown
    told = json.loads(wdtui("experiments", "show", str(experiment), "--json").stdout)
    assert told["claims"][0]["measures"] == "weight norm at the end" and told["quick"]["config"]["epochs"] == 1
    rows = {row["name"]: row for row in events(wdtui("experiments", "list", "--json", store=tmp_path).stdout)}
    assert rows["training-curves"]["claims"] == "not run" and rows["training-curves"]["effect"] == "grokking"


@pytest.mark.parametrize(("number", "workers"), [(signal.SIGINT, "2"), (signal.SIGTERM, "1"), (signal.SIGHUP, "1")])
def test_a_signal_stops_the_runs_with_a_checkpoint(
    experiment: Path, tmp_path: Path, number: signal.Signals, workers: str
) -> None:
    experiment.write_text(FILE.replace("epochs = 2", "epochs = 1_000_000").replace("100.0", "1.0"), encoding="utf-8")
    verify = ("experiments", "verify", str(experiment), "--threads", "1", "--workers", workers)
    process = start(*verify, store=tmp_path / "store")
    with Store(tmp_path / "store") as store:
        until(lambda: any(run.step for run in store.runs()), process)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number and "Traceback" not in said
    assert said.splitlines()[-1].endswith("; the same command continues from there.")
    assert {run["status"] for run in listed(tmp_path / "store")} <= {"interrupted", "stopped", "queued"}
    assert list((tmp_path / "store" / "checkpoints").glob("*/step-*.json"))


FORKED = """
question = "What does a larger ε do from the second epoch on?"
[config]
width = 8
epochs = 4
train_size = 320
validation_size = 50
test_size = 50
keep_every = 2
[axes]
seed = [0, 1]
[fork]
at_epoch = 2
branches = [{}, { bn_epsilon = 100.0 }]
[[claims]]
says = "It changes the loss by no more than 1."
measure = "train_loss"
where = { branch = "bn_epsilon=100" }
minus = { branch = "unchanged" }
between = [-1, 1]
[[claims]]
says = "There is no blow-up after it."
measure = "blowups"
where = { branch = "bn_epsilon=100" }
seeds = "all"
at_most = 0
"""


@pytest.mark.usefixtures("in_threads")
def test_the_branches_of_an_experiment_are_trained_and_checked(experiment: Path, tmp_path: Path) -> None:
    experiment.write_text(FORKED, encoding="utf-8")
    verify = ("experiments", "verify", str(experiment), "--threads", "1")
    first = wdtui(*verify, store=tmp_path / "store")
    assert first.returncode == 0, first.stdout + first.stderr
    assert "6 of 6 runs are to be trained." in first.stderr
    assert "Blow-ups after the fork: 0" in first.stdout
    runs = listed(tmp_path / "store")
    assert sorted(run["name"] for run in runs) == ["", "", *["unchanged"] * 2, *["ε → 100"] * 2]
    again = wdtui(*verify, store=tmp_path / "store")
    assert (again.returncode, again.stderr) == (0, "")
    shown = wdtui("experiments", "show", str(experiment)).stdout
    assert "forked after 2 epochs: unchanged; ε → 100." in shown and "blow-ups after the fork" in shown


def test_each_run_of_an_experiment_is_trained_and_then_its_forks(experiment: Path, tmp_path: Path) -> None:
    experiment.write_text(FORKED, encoding="utf-8")
    result = wdtui("experiments", "run", str(experiment), "--threads", "1", store=tmp_path / "store")
    assert result.returncode == 0, result.stderr
    runs = listed(tmp_path / "store")[::-1]
    branches = [(None, ""), (1, "unchanged"), (1, "ε → 100"), (None, ""), (4, "unchanged"), (4, "ε → 100")]
    assert [(run["parent"], run["name"]) for run in runs] == branches
    assert {run["status"] for run in runs} == {"done"}


def test_an_impossible_branch_gives_a_one_sentence_error(experiment: Path, tmp_path: Path) -> None:
    experiment.write_text(FORKED.replace("at_epoch = 2", "at_epoch = 4"), encoding="utf-8")
    result = wdtui("experiments", "verify", str(experiment), store=tmp_path / "store")
    assert result.returncode == 2 and "give more epochs" in result.stderr
    assert_one_sentence(result.stderr)
    assert listed(tmp_path / "store") == []


def listed(store: Path) -> list[dict[str, Any]]:
    return events(wdtui("runs", "list", "--json", store=store).stdout)
