"""`wdtui run --headless`: what it prints and stores, and in a process of its own what it answers to signals."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from command_line import TINY, events, in_own_process, start, until, wdtui

from wdtui.cli.main import main
from wdtui.problems.addition.config import RunConfig
from wdtui.store.store import Store


def test_json_has_a_point_for_each_epoch_and_a_summary(tmp_path: Path) -> None:
    result = in_own_process("run", *TINY, "--epochs", "7", "--headless", "--json", store=tmp_path)
    assert result.returncode == 0, result.stderr
    *points, summary = events(result.stdout)
    assert [point["epoch"] for point in points] == [1, 2, 3, 4, 5, 6, 7]
    assert [point["step"] for point in points] == [5, 10, 15, 20, 25, 30, 35]
    assert all(point["event"] == "point" and point["weight_norm"] > 0 for point in points)
    assert summary["event"] == "summary" and summary["status"] == "done" and summary["steps"] == 35
    assert summary["final"]["train_loss"] == points[-1]["train_loss"]
    assert summary["milestones"].keys() >= {"fit_step", "generalise_step"}
    assert summary["blowups"] == {"count": 0, "steps": [], "median_period": None}
    assert summary["steps_per_second"] > 0


def test_the_same_config_gives_bit_identical_points_twice(tmp_path: Path) -> None:
    """Also where the process has trained before."""

    def points(command: Any) -> list[dict[str, Any]]:
        sized = ("--width", "40", "--epochs", "3", "--train-size", "640", "--threads", "2")
        arguments = (*sized, "--shuffle", "--label-noise", "0.1")
        lines = events(command("run", *arguments, "--headless", "--json", store=tmp_path).stdout)[:-1]
        return [{name: line[name] for name in line if name not in ("run_id", "steps_per_second")} for line in lines]

    first = points(wdtui)
    assert len(first) == 3 and points(wdtui) == points(in_own_process) == first


def test_a_run_without_a_terminal_prints_lines_a_chart_and_a_summary(tmp_path: Path) -> None:
    result = wdtui("run", "demo", *TINY, "--epochs", "3", "--headless", store=tmp_path)
    assert result.returncode == 0
    assert "\x1b" not in result.stdout + result.stderr
    assert "training accuracy" in result.stdout and "The weight norm" in result.stdout
    assert "Run 1 is done: measured up to step 15 at" in result.stdout
    listed = wdtui("runs", "list", store=tmp_path).stdout
    assert "done" in listed and "demo" in listed


def test_list_and_show_label_their_speeds(tmp_path: Path) -> None:
    assert wdtui("run", *TINY, "--epochs", "8", "--headless", store=tmp_path).returncode == 0
    head, line = wdtui("runs", "list", store=tmp_path).stdout.splitlines()
    assert head.endswith("steps/s")
    last = line.split()[-1]
    shown = " ".join(wdtui("runs", "show", "1", store=tmp_path).stdout.split())
    assert f"steps/s on average, {last} at the last point." in shown or f" {last} steps/s." in shown


def test_divergence_keeps_all_points_and_names_the_step(tmp_path: Path) -> None:
    arguments = (
        "--optimizer",
        "sgd",
        "--decay",
        "l2",
        "--learning-rate",
        "900",
        "--weight-decay",
        "1000",
        "--no-batch-norm",
    )
    result = wdtui("run", *TINY, *arguments, "--epochs", "50", "--headless", "--json", store=tmp_path)
    assert result.returncode == 1
    *points, summary = events(result.stdout)
    assert summary["status"] == "diverged" and "step" in summary["reason"]
    assert points and points[-1]["train_loss"] is None
    assert wdtui("resume", "1", store=tmp_path).returncode == 2


def wait_for_points(store: Path, process: Any) -> None:
    with Store(store) as opened:
        until(lambda: any(run.step for run in opened.runs()), process)


def test_resuming_after_ctrl_c_gives_the_result_of_an_uninterrupted_run(tmp_path: Path) -> None:
    config = (*TINY, "--epochs", "250")
    process = start("run", *config, "--headless", "--json", store=tmp_path)
    wait_for_points(tmp_path, process)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    summary = events(output)[-1]
    assert process.returncode == 130
    assert summary["status"] == "interrupted" and "wdtui resume 1" in summary["reason"]

    assert wdtui("resume", "1", "--json", store=tmp_path).returncode == 0
    assert wdtui("run", *config, "--headless", store=tmp_path).returncode == 0
    interrupted, undisturbed = (events(wdtui("runs", "show", run, "--json", store=tmp_path).stdout)[0] for run in "12")
    assert interrupted["steps"] == undisturbed["steps"] == 1250
    for run in (interrupted, undisturbed):
        del run["final"]["steps_per_second"]
    assert interrupted["final"] == undisturbed["final"]


def test_a_run_is_paused_steered_resumed_and_stopped_from_another_shell(tmp_path: Path) -> None:
    process = start("run", *TINY, "--epochs", "1000000", "--headless", "--json", store=tmp_path)
    wait_for_points(tmp_path, process)

    def status() -> Any:
        return events(wdtui("runs", "list", "--json", store=tmp_path).stdout)[0]["status"]

    assert wdtui("pause", "1", store=tmp_path).returncode == 0
    until(lambda: status() == "paused", process)
    assert wdtui("resume", "1", store=tmp_path).returncode == 0
    until(lambda: status() == "running", process)
    assert wdtui("steer", "1", "--set", "bn_epsilon=0.5", store=tmp_path).returncode == 0
    until(lambda: "steered" in wdtui("runs", "show", "1", store=tmp_path).stdout, process)
    assert wdtui("stop", "last", store=tmp_path).returncode == 0
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130 and "Stopped at step" in error
    shown = wdtui("runs", "show", "1", store=tmp_path).stdout
    assert "steered bn_epsilon 0.01 → 0.5" in shown


def test_a_killed_run_is_interrupted_and_keeps_its_points(tmp_path: Path) -> None:
    process = start("run", *TINY, "--epochs", "1000000", "--headless", "--json", store=tmp_path)
    wait_for_points(tmp_path, process)
    process.kill()
    process.communicate(timeout=60)
    (run,) = events(wdtui("runs", "list", "--json", store=tmp_path).stdout)
    assert run["status"] == "interrupted" and run["step"] > 0


def test_deleting_asks_and_removes_the_run(tmp_path: Path) -> None:
    assert wdtui("run", *TINY, "--epochs", "1", "--headless", store=tmp_path).returncode == 0
    refused = wdtui("runs", "delete", "1", store=tmp_path)
    assert refused.returncode == 2 and "--yes" in refused.stderr
    assert wdtui("runs", "delete", "1", "--yes", store=tmp_path).returncode == 0
    assert f"No runs in {tmp_path} yet" in wdtui("runs", "list", store=tmp_path).stdout


def test_a_closed_pipe_does_not_lose_the_checkpoint(tmp_path: Path) -> None:
    process = start("run", *TINY, "--epochs", "1000000", "--headless", "--json", store=tmp_path)
    assert process.stdout and process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=60) == 128 + signal.SIGPIPE
    (run,) = events(wdtui("runs", "list", "--json", store=tmp_path).stdout)
    assert run["status"] == "interrupted" and "wdtui resume 1" in run["reason"]


def test_a_new_store_in_an_old_folder_ignores_old_checkpoints(tmp_path: Path) -> None:
    process = start("run", *TINY, "--epochs", "1000000", "--headless", "--json", store=tmp_path)
    wait_for_points(tmp_path, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    for file in tmp_path.glob("wdtui.sqlite3*"):
        file.unlink()
    result = wdtui("run", *TINY, "--epochs", "3", "--headless", "--json", store=tmp_path)
    assert [event.get("epoch") for event in events(result.stdout)] == [1, 2, 3, None]


def test_a_name_with_markup_is_shown_literally(tmp_path: Path) -> None:
    result = wdtui("run", *TINY, "--epochs", "1", "--headless", "--name", "[/x]\x1b[31m", store=tmp_path)
    assert result.returncode == 0 and "\x1b" not in result.stdout + result.stderr
    assert "[/x]" in wdtui("runs", "list", store=tmp_path).stdout


def test_runs_are_compared_named_and_noted(tmp_path: Path) -> None:
    for decay in ("0.1", "0.3"):
        wdtui("run", *TINY, "--epochs", "2", "--weight-decay", decay, "--headless", store=tmp_path)
    compared = wdtui("runs", "compare", "1", "2", store=tmp_path)
    assert compared.returncode == 0 and "λ 0.1" in compared.stdout and "λ 0.3" in compared.stdout
    assert wdtui("runs", "rename", "1", "mine", store=tmp_path).returncode == 0
    assert wdtui("runs", "note", "mine", "look here", store=tmp_path).returncode == 0
    shown = wdtui("runs", "show", "mine", store=tmp_path).stdout
    assert "Note: look here" in shown


def test_resume_opens_the_app_unless_headless(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from wdtui import tui
    from wdtui.cli import commands, headless
    from wdtui.store.store import Status
    from wdtui.studies.grid import Grid

    with Store(tmp_path) as store:
        run_id = store.add_run(RunConfig(width=8))
        store.set_status(store.run(run_id).claim, Status.INTERRUPTED)
        store.sweeps.add(Grid.of(RunConfig(width=8), {"weight_decay": [0.0, 0.1]}), threads=1)
    trained: list[str] = []
    opened: list[tui.Opening] = []
    monkeypatch.setattr(headless, "train", lambda store, run_id, **how: trained.append(f"run {run_id}") or 0)
    monkeypatch.setattr(commands, "train_sweep", lambda store, sweep_id, *how, **_: trained.append(f"S{sweep_id}") or 0)
    monkeypatch.setattr(tui, "open_app", lambda folder, *, device, opening: opened.append(opening) or 0)
    monkeypatch.setattr(tui, "check_terminal", lambda: None)
    for words in (["1", "--headless"], ["S1", "--headless"], ["1", "--json"], ["S1", "--json"]):
        assert main(["--store", str(tmp_path), "resume", *words]) == 0
    assert trained == ["run 1", "S1", "run 1", "S1"] and not opened
    for words in (["1", "--threads", "1"], ["S1"]):
        assert main(["--store", str(tmp_path), "resume", *words]) == 0
    assert opened == [tui.Opening(run_id=1, threads=1), tui.Opening(sweep_id=1, threads=1)] and len(trained) == 4
