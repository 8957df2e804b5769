"""`wdtui sweep --headless`: what it prints, stores, takes over, and goes on with; some of it in processes."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from command_line import TINY, assert_one_sentence, events, start, wdtui

from wdtui.problems.addition.config import RunConfig
from wdtui.store.store import Store
from wdtui.studies.grid import Grid

TWELVE = ("--axis", "weight_decay=0,logspace(0.01,1,3)", "--seeds", "3", "--workers", "2")
SHORT = (*TINY, "--epochs", "3")
SHORT_AND_LONG = ("--axis", "epochs=20,200", "--axis", "weight_decay=0,0.1", "--seeds", "2", "--workers", "2")
"""The first of eight cells are done at once; those after them take a second each."""
LONG = (*TINY, "--epochs", "200", "--log-every", "20")


def sweep(store: Path, *arguments: str) -> list[dict[str, Any]]:
    result = wdtui("sweep", *arguments, "--headless", "--json", store=store)
    assert result.returncode == 0, result.stderr
    return events(result.stdout)


def runs(store: Path) -> dict[int, dict[str, Any]]:
    return {run["id"]: run for run in events(wdtui("runs", "list", "--json", store=store).stdout)}


def start_fresh(*arguments: str, store: Path) -> subprocess.Popen[str]:
    """The command in a session of its own, started as a user's shell does, and so are its training processes."""
    command = [sys.executable, "-m", "wdtui", *arguments]
    environment = os.environ | {"WDTUI_HOME": str(store)}
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    return subprocess.Popen(command, env=environment, **pipes)


def wait_for_cells(process: Any, count: int) -> None:
    assert process.stdout
    for _ in range(count):
        assert '"event": "cell"' in process.stdout.readline()


def test_json_has_a_line_for_each_cell_and_a_table_with_the_spread_over_seeds(tmp_path: Path) -> None:
    *cells, summary = sweep(tmp_path, *TWELVE, *SHORT)
    assert {(cell["axes"]["weight_decay"], cell["seed"]) for cell in cells} == {
        (decay, seed) for decay in (0, 0.01, 0.1, 1) for seed in (0, 1, 2)
    }
    assert all(cell["event"] == "cell" and cell["status"] == "done" and cell["steps"] == 15 for cell in cells)
    assert summary["event"] == "summary" and summary["sweep"] == "S1" and summary["complete"]
    assert summary["states"] == {"done": 12} and summary["steps"] == 12 * 15
    assert [row["axes"] for row in summary["table"]] == [{"weight_decay": decay} for decay in (0, 0.01, 0.1, 1)]
    for row in summary["table"]:
        own = [cell["final"]["weight_norm"] for cell in cells if cell["axes"] == row["axes"]]
        assert row["weight_norm"] == {"median": sorted(own)[1], "low": min(own), "high": max(own), "count": 3}
    assert len({run["seed"] for run in cells}) == 3


def test_a_killed_sweep_resumes_to_the_same_result(tmp_path: Path) -> None:
    killed, undisturbed = tmp_path / "killed", tmp_path / "undisturbed"
    config = (*SHORT_AND_LONG, *TINY, "--log-every", "20")
    process = start_fresh("sweep", *config, "--headless", "--json", store=killed)
    wait_for_cells(process, 2)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGKILL)
    for child in children:
        child.kill()
    process.communicate(timeout=60)
    psutil.wait_procs(children, timeout=20)
    before = runs(killed)
    trained = {number for number, run in before.items() if run["status"] == "done"}
    assert 2 <= len(trained) < 8 and len(before) == 8

    result = wdtui("resume", "S1", "--workers", "2", "--json", store=killed)
    assert result.returncode == 0, result.stderr
    *cells, summary = events(result.stdout)
    assert {cell["run_id"] for cell in cells if cell["taken_over"]} == trained
    assert {cell["run_id"] for cell in cells if not cell["taken_over"]} == before.keys() - trained
    after = runs(killed)
    assert {number for number, run in after.items() if run["started"] == before[number]["started"]} == trained
    assert summary["table"] == sweep(undisturbed, *config)[-1]["table"]


@pytest.mark.usefixtures("in_threads")
def test_equal_cells_are_trained_once(tmp_path: Path) -> None:
    run = wdtui("run", "--weight-decay", "0.1", *SHORT, "--headless", "--json", store=tmp_path)
    assert run.returncode == 0
    *cells, _ = sweep(tmp_path, "--axis", "weight_decay=0.1,0.3,0.1", *SHORT)
    assert [(cell["run_id"], cell["taken_over"]) for cell in cells] == [(1, True), (2, False)]
    *cells, summary = sweep(tmp_path, "--axis", "weight_decay=0.3,0.1", *SHORT)
    assert [(cell["run_id"], cell["taken_over"]) for cell in cells] == [(1, True), (2, True)]
    assert summary["steps"] == 0 and summary["complete"] and len(runs(tmp_path)) == 2


def test_ctrl_c_prints_how_to_continue(tmp_path: Path) -> None:
    process = start("sweep", "--axis", "epochs=2,1000000", *TINY, "--headless", "--json", store=tmp_path)
    wait_for_cells(process, 1)
    process.send_signal(signal.SIGINT)
    output = process.stdout.read()  # `communicate` would miss what `readline` has read ahead
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert_one_sentence(error)
    assert "Interrupted by Ctrl-C; 1 of 2 runs are done, and `wdtui resume S1` continues from there" in error
    summary = events(output)[-1]
    assert not summary["complete"] and summary["states"]["done"] == 1
    assert runs(tmp_path)[2]["status"] == "interrupted"


def test_ctrl_c_leaves_no_run_of_a_sweep_queued(tmp_path: Path) -> None:
    """Some are under way by then, some have a process that is still starting, some wait."""
    lengths = ("--axis", "epochs=2,1000000", "--axis", "weight_decay=0,0.1,0.2,0.3", "--engine", "alone")
    process = start_fresh("sweep", *lengths, *TINY, "--headless", "--json", "--workers", "2", store=tmp_path)
    wait_for_cells(process, 1)
    process.send_signal(signal.SIGINT)
    output = process.stdout.read()  # `communicate` would miss what `readline` has read ahead
    process.communicate(timeout=60)
    states = events(output)[-1]["states"]
    assert states.keys() == {"done", "interrupted"} and states["interrupted"] >= 4
    left = [run for run in runs(tmp_path).values() if run["status"] == "interrupted"]
    assert all(f"`wdtui resume {run['id']}`" in run["reason"] for run in left)


def test_a_failed_cell_does_not_end_the_sweep(tmp_path: Path) -> None:
    (tmp_path / "logs" / "run-2.log").mkdir(parents=True)  # its process cannot open its log
    arguments = ("--axis", "weight_decay=0.1,0.2,0.3", *SHORT, "--headless")
    result = wdtui("sweep", *arguments, "--json", store=tmp_path)
    assert result.returncode == 1
    assert_one_sentence(result.stderr)
    assert "run 2 is failed: " in result.stderr and "`wdtui resume S1`" in result.stderr
    *cells, summary = events(result.stdout)
    assert sorted((cell["run_id"], cell["status"]) for cell in cells) == [(1, "done"), (2, "failed"), (3, "done")]
    assert summary["states"] == {"done": 2, "failed": 1}
    (tmp_path / "logs" / "run-2.log").rmdir()
    result = wdtui("resume", "S1", store=tmp_path)
    assert result.returncode == 0 and "3 of 3 runs are done" in result.stdout


@pytest.mark.usefixtures("in_threads")
def test_a_cell_that_diverges_is_a_result(tmp_path: Path) -> None:
    wild = ("--optimizer", "sgd", "--decay", "l2", "--weight-decay", "1000", "--no-batch-norm")
    *cells, summary = sweep(tmp_path, "--axis", "learning_rate=1e-6,900", *wild, *TINY, "--epochs", "50")
    assert sorted(cell["status"] for cell in cells) == ["diverged", "done"]
    assert summary["complete"] and summary["table"][1]["states"] == {"diverged": 1}


@pytest.mark.usefixtures("in_threads")
def test_resuming_trains_a_deleted_run_of_a_sweep_again(tmp_path: Path) -> None:
    sweep(tmp_path, "--axis", "blocks=1,2", "--name", "depths", *SHORT)
    assert wdtui("runs", "delete", "1", "--yes", store=tmp_path).returncode == 0
    (listed,) = events(wdtui("sweeps", "list", "--json", store=tmp_path).stdout)
    assert listed["states"] == {"missing": 1, "done": 1} and listed["name"] == "depths"
    shown = events(wdtui("sweeps", "show", "depths", "--json", store=tmp_path).stdout)[0]
    assert [row["states"] for row in shown["table"]] == [{"missing": 1}, {"done": 1}]
    *cells, _ = events(wdtui("resume", "S1", "--json", store=tmp_path).stdout)
    assert [(cell["run_id"], cell["taken_over"]) for cell in cells] == [(2, True), (3, False)]


@pytest.mark.usefixtures("in_threads")
def test_without_a_terminal_it_prints_plain_lines_a_chart_and_a_table(tmp_path: Path) -> None:
    result = wdtui("sweep", "--axis", "weight_decay=0,0.1", "--seeds", "2", *SHORT, "--headless", store=tmp_path)
    assert result.returncode == 0
    assert "\x1b" not in result.stdout + result.stderr
    assert "Sweep S1: weight_decay 0, 0.1 × 2 seeds: 4 runs; 60 steps, about" in result.stderr
    ends = [re.fullmatch(r"(./4)  λ 0(\.1)?, seed [01]  done  .*", line) for line in result.stderr.splitlines()[1:]]
    assert [end[1] for end in ends if end] == ["1/4", "2/4", "3/4", "4/4"]
    assert result.stdout.splitlines()[0] == "accuracy over λ (log)"
    assert "training accuracy" in result.stdout and "4 of 4 runs are done" in result.stdout
    shown = wdtui("sweeps", "show", "last", store=tmp_path).stdout
    assert shown.splitlines()[:-1] == result.stdout.splitlines()[:-1]
    assert "weight_decay 0, 0.1 × 2 seeds" in wdtui("sweeps", "list", store=tmp_path).stdout


@pytest.mark.usefixtures("in_threads")
def test_an_experiment_is_run_as_a_sweep(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('question = "Why?"\n[config]\nepochs = 2\n[axes]\nweight_decay = "0,0.1"\nwidth = [4, 8]\n')
    result = wdtui("experiments", "run", str(file), *TINY[2:], store=tmp_path)
    assert result.returncode == 0 and "λ ╲ H" in result.stdout and "4 of 4 runs are done" in result.stdout
    (listed,) = events(wdtui("sweeps", "list", "--json", store=tmp_path).stdout)
    assert listed["experiment"] == "mine" and listed["axes"] == {"weight_decay": [0, 0.1], "width": [4, 8]}
    *cells, _ = sweep(tmp_path, str(file), *TINY[2:], "--width", "4", "--axis", "weight_decay=0.1,1")
    assert [cell["taken_over"] for cell in cells] == [True, False]


@pytest.mark.usefixtures("in_threads")
def test_a_sweep_of_a_single_run_ends_with_its_curves_as_the_run_would(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('question = "Why?"\n[config]\nepochs = 2\n')
    result = wdtui("experiments", "run", str(file), *TINY, store=tmp_path)
    assert result.returncode == 0 and "Sweep S1: mine" not in result.stdout and "1/1" in result.stderr
    assert "test accuracy" in result.stdout and "Run 1 is done: measured up to step" in result.stdout
    assert wdtui("sweeps", "show", "S1", store=tmp_path).stdout == result.stdout
    alone = wdtui("run", str(file), "--headless", *TINY, store=tmp_path).stdout

    def without_speed(text: str) -> str:
        """Where its sentence is broken into lines depends on how many digits the speed has."""
        shown, found, speed = text.partition("\nRun ")
        assert found and re.fullmatch(r"\d is done: measured up to step 10 at .* steps/s.*\.\n", speed, re.DOTALL), (
            speed
        )
        return shown

    assert without_speed(alone) == without_speed(result.stdout)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "A sweep needs an axis or several seeds"),
        (("--axis", "wieght_decay=1"), "did you mean weight_decay?"),
        (("--axis", "weight_decay=logspace(0,1,3)"), "cannot begin at 0"),
        (("--axis", "batch_size=64,9000"), "train_size 5000 and batch_size 9000 clash"),
        (("--axis", "width=8", "--width", "8"), "both as a value and as an axis"),
        (("--axis", "seed=1,2", "--seeds", "3"), "seed is already an axis"),
        (("--axis", "width=8", "--device", "cuda:77"), "it is not available on this machine"),
    ],
)
def test_bad_input_gives_a_one_sentence_error_and_leaves_nothing(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    result = wdtui("sweep", *arguments, "--headless", "--json", store=tmp_path / "store")
    assert result.returncode == 2 and result.stdout == ""
    assert_one_sentence(result.stderr)
    assert said in result.stderr
    assert not (tmp_path / "store").exists()


def test_an_unknown_sweep_gives_a_one_sentence_error(tmp_path: Path) -> None:
    for command in (("resume", "S7"), ("sweeps", "show", "S7")):
        result = wdtui(*command, store=tmp_path)
        assert result.returncode == 2
        assert_one_sentence(result.stderr)
        assert "There is no sweep S7" in result.stderr


def test_waiting_for_a_run_that_another_process_trains(tmp_path: Path) -> None:
    other = start("run", "--weight-decay", "0.1", *LONG, "--headless", "--json", store=tmp_path)
    assert other.stdout and other.stdout.readline()
    began = time.monotonic()
    *cells, _ = sweep(tmp_path, "--axis", "weight_decay=0.1,0.3", *LONG)
    other.communicate(timeout=60)
    assert {cell["run_id"] for cell in cells} == {1, 2} and time.monotonic() > began
    assert runs(tmp_path)[1]["status"] == "done" and len(runs(tmp_path)) == 2


@pytest.mark.usefixtures("in_threads")
def test_a_sweep_resumes_with_its_device_and_threads(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        base = RunConfig(width=8, train_size=320, validation_size=50, test_size=50, epochs=2)
        grid = Grid.of(base, {"weight_decay": (0.1, 0.3)})
        store.sweeps.add(grid, device="cpu", threads=2)
    assert wdtui("resume", "S1", store=tmp_path).returncode == 0
    assert [(run["device"], run["threads"]) for run in runs(tmp_path).values()] == [("cpu", 2)] * 2
    wdtui("runs", "delete", "1", "2", "--yes", store=tmp_path)
    assert wdtui("resume", "S1", "--threads", "1", store=tmp_path).returncode == 0
    assert [run["threads"] for run in runs(tmp_path).values()] == [1, 1]
