"""Runs whose owner is gone, elsewhere or told to end: what the commands show, take over and leave behind."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import TINY, assert_one_sentence, events, start, until, wdtui
from forked import run_module
from store_tools import in_python

from wdtui.cli.main import main
from wdtui.problems.addition.config import RunConfig
from wdtui.runs.checks import CHECKS
from wdtui.schema.curves import Point
from wdtui.schema.steering import Steering
from wdtui.store import observer
from wdtui.store.checkpoints import Checkpoints
from wdtui.store.records import RunRecord
from wdtui.store.store import Status, Store

CONFIG = RunConfig(width=8, train_size=320, validation_size=50, test_size=50, epochs=4)
SIGNALS = signal.SIGUSR1, signal.SIGUSR2


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


def owned_elsewhere(store: Store) -> int:
    """A run that a process on another host trains, says the store."""
    run_id = store.add_run(CONFIG)
    store.claim(run_id, device="cpu", threads=1, versions={})
    with store._database.writing() as connection:  # which seals the row
        connection.execute("UPDATE runs SET host = 'elsewhere', domain = 'another boot', pid = 7")
    return run_id


@pytest.fixture
def heartbeats(store: Store) -> Iterator[threading.Event]:
    """Once it is set, heartbeats come to all runs."""
    beating, over = threading.Event(), threading.Event()

    def beat() -> None:
        beating.wait()
        while not over.wait(0.05):
            with sqlite3.connect(store.folder / "wdtui.sqlite3") as connection:
                connection.execute("UPDATE runs SET beats = beats + 1")

    thread = threading.Thread(target=beat)
    thread.start()
    yield beating
    over.set()
    beating.set()
    thread.join()


# An owner on another host


def test_a_run_of_a_silent_host_is_taken_over_with_a_message(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(observer, "SILENCE_SECONDS", 0.25)
    run_id = owned_elsewhere(store)
    began = time.monotonic()
    assert main(["resume", str(run_id), "--device", "cpu", "--store", str(store.folder)]) == 0
    assert time.monotonic() - began > 0.25
    said = capsys.readouterr().err
    assert "Process 7 on host elsewhere trains it. No heartbeat of it has been seen yet." in said
    assert "Waiting for one, for up to 0.25 seconds" in said and "run 1 counts as interrupted" in said
    assert store.run(run_id).status == Status.DONE


@pytest.mark.parametrize("command", [["resume", "1"], ["runs", "delete", "1", "--yes"]])
def test_a_run_of_a_living_host_is_not_taken_over(
    store: Store, heartbeats: threading.Event, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    owned_elsewhere(store)
    heartbeats.set()
    began = time.monotonic()
    assert main([*command, "--store", str(store.folder)]) == 2
    assert time.monotonic() - began < 30
    assert "is running: there is nothing" in (said := capsys.readouterr().err) or "stop it before you delete" in said
    assert store.run(1).live


def test_a_run_of_a_silent_host_can_be_deleted_after_a_while(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(observer, "SILENCE_SECONDS", 0.25)
    owned_elsewhere(store)
    assert main(["runs", "delete", "1", "--yes", "--store", str(store.folder)]) == 0
    assert store.runs() == []


def test_lists_do_not_wait_for_heartbeats(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    owned_elsewhere(store)
    began = time.monotonic()
    assert main(["runs", "list", "--store", str(store.folder)]) == 0
    assert main(["runs", "show", "1", "--store", str(store.folder)]) == 0
    assert main(["stop", "1", "--store", str(store.folder)]) == 0
    assert time.monotonic() - began < 20
    said = capsys.readouterr()
    assert "unconfirmed" in said.out and "No heartbeat of it has been seen" in said.out
    assert "Stopping run 1 with a checkpoint … Process 7 on host elsewhere trains it. No heartbeat" in said.err


def test_the_command_of_a_run_taken_over_ends_with_a_message(store: Store) -> None:
    process = start("run", *TINY, "--epochs", "1000000", "--headless", store=store.folder)
    until(lambda: bool(store.runs() and store.run(1).step), process)
    with store._database.writing() as connection:  # as a claim elsewhere would
        connection.execute("UPDATE runs SET token = token + 1, host = 'elsewhere', domain = 'another boot', pid = 7")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert said.splitlines()[-1] == (
        "wdtui: Run 1 was taken over by process 7 on host elsewhere; this process stops writing to it."
    )
    assert store.run(1).status == Status.RUNNING and not store.events(1)


# Queued runs


def queued_by_a_dead_process(store: Store) -> int:
    with in_python("store.add_run(RunConfig(width=8, train_size=320, epochs=2))", store.folder) as process:
        assert process.wait(60) == 0
    [run] = store.runs()
    return run.id


def test_an_orphan_is_shown_and_resume_trains_it(store: Store) -> None:
    run_id = queued_by_a_dead_process(store)
    run = store.run(run_id)
    assert (run.status, run.state, run.orphaned) == (Status.QUEUED, "orphaned", True)
    assert "orphaned" in wdtui("runs", "list", store=store.folder).stdout
    shown = wdtui("runs", "show", str(run_id), store=store.folder).stdout
    assert (
        "The process that queued it has ended. `wdtui resume 1` trains it, `wdtui stop 1` removes it from the queue."
        in shown
    )
    assert wdtui("resume", str(run_id), store=store.folder).returncode == 0
    assert store.run(run_id).status == Status.DONE


def test_stop_removes_an_orphan_from_the_queue(store: Store) -> None:
    run_id = queued_by_a_dead_process(store)
    assert wdtui("stop", str(run_id), store=store.folder).returncode == 0
    assert store.run(run_id).status == Status.STOPPED


def test_a_queued_run_of_a_living_process_is_not_an_orphan(store: Store) -> None:
    store.add_run(CONFIG)
    assert "queued" in wdtui("runs", "list", store=store.folder).stdout


def test_a_detached_run_belongs_to_its_process_at_once_and_the_command_imports_no_torch(store: Store) -> None:
    code = "import time; time.sleep(1e9)"  # a process that never gets as far as to claim the run
    python = store.folder / "python"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -c '{code}'\n")
    python.chmod(0o755)
    program = f"import sys; sys.executable = {str(python)!r}; from wdtui.cli.main import main; status = main();"
    program += "sys.exit('imported torch' if 'torch' in sys.modules else status)"
    command = [sys.executable, "-c", program, "run", *TINY, "--detach", "--json", "--store", str(store.folder)]
    pid = json.loads(subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout)["pid"]
    try:
        run = store.run(1)
        assert (run.state, run.pid) == ("queued", pid)
    finally:
        subprocess.run(["kill", "-9", str(pid)], check=True)
    until(lambda: store.run(1).orphaned)


@pytest.mark.parametrize("how", ["--headless", "--detach"])
def test_closed_output_adds_no_run(store: Store, how: str) -> None:
    command = f"{sys.executable} -m wdtui run {' '.join(TINY)} --epochs 2 {how} --store {store.folder} >&-"
    result = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=120)
    assert result.returncode == 1
    assert_one_sentence(result.stderr)
    assert "Standard output is closed" in result.stderr
    assert store.runs() == []


def test_a_run_that_cannot_be_detached_is_not_left_queued(store: Store) -> None:
    (store.folder / "logs").write_text("no folder, so that no process can be started")
    failed = wdtui("run", *TINY, "--detach", store=store.folder)
    assert failed.returncode == 1
    assert_one_sentence(failed.stderr)
    assert store.runs() == []


def test_a_failed_detached_resume_leaves_the_run_unchanged(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    claim = store.claim(run_id, device="cpu", threads=1, versions={})
    store.set_status(claim, Status.INTERRUPTED, "Because.")
    (store.folder / "logs").write_text("no folder, so that no process can be started")
    assert wdtui("resume", str(run_id), "--detach", store=store.folder).returncode == 1
    run = store.run(run_id)
    assert (run.status, run.reason) == (Status.INTERRUPTED, "Because.")


# Signals


@pytest.mark.parametrize("number", SIGNALS)
def test_a_warning_before_a_time_limit_ends_a_run_with_a_checkpoint(store: Store, number: signal.Signals) -> None:
    process = start("run", *TINY, "--epochs", "1000000", "--headless", store=store.folder)
    until(lambda: bool(store.runs() and store.run(1).step), process)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert_interrupted_with_a_checkpoint(store, 1, number)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_detached_process_also_stops_at_the_warning_signal(store: Store, number: signal.Signals) -> None:
    run_id = store.add_run(CONFIG.replace(epochs=1_000_000))
    process = run_module("wdtui.runs.child", [str(store.folder), str(run_id)], env={**os.environ})
    until(lambda: store.run(run_id).step > 0)
    process.send_signal(number)
    assert process.wait(60) == 128 + number
    assert_interrupted_with_a_checkpoint(store, run_id, number)


def assert_interrupted_with_a_checkpoint(store: Store, run_id: int, number: signal.Signals) -> None:
    run = store.run(run_id)
    assert run.status == Status.INTERRUPTED and run.reason.startswith(f"Stopped by {number.name} at step")
    newest = Checkpoints.of(store.folder, run).newest()
    assert newest and newest.step >= run.step > 0


# Held to its plan


@pytest.fixture
def steered(store: Store) -> RunRecord:
    """A finished run that was steered."""
    from wdtui.runs.runner import Runner

    plan = (Steering(2 * CONFIG.steps_per_epoch, "weight_decay", 0.1, 0.3),)
    Runner(store, store.add_run(CONFIG, plan=plan), device="cpu", threads=1).run()
    return store.run(1)


def checked(store: Store, capsys: pytest.CaptureFixture[str], *options: str) -> tuple[int, str]:
    code = main(["runs", "check", "1", *options, "--store", str(store.folder)])
    return code, capsys.readouterr().out


def test_a_finished_run_agrees_with_its_plan(
    store: Store, steered: RunRecord, capsys: pytest.CaptureFixture[str]
) -> None:
    code, lines = checked(store, capsys)
    assert code == 0 and [line.split()[:2] for line in lines.splitlines()] == [["ok", check] for check in CHECKS]
    code, lines = checked(store, capsys, "--json")
    assert code == 0 and [(event["check"], event["agrees"]) for event in events(lines)] == [
        (check, True) for check in CHECKS
    ]


def spoilt(store: Store, run: RunRecord, what: str) -> None:
    claim = run.claim
    step = run.config.steps_per_epoch
    kept = Checkpoints.of(store.folder, run)
    newest = kept.newest()
    assert newest
    match what:
        case "a missing point":
            with sqlite3.connect(store.folder / "wdtui.sqlite3") as connection:
                connection.execute("DELETE FROM points WHERE step = ?", (2 * step,))
        case "a point too many":
            values = (0.5,) * len(run.config.columns)
            with sqlite3.connect(store.folder / "wdtui.sqlite3") as connection:
                connection.execute("DELETE FROM points WHERE step = ?", (4 * step,))
            store.append(claim, [Point(4 * step - 1, 4, values)], speed=1.0, milestones=run.milestones)
        case "a short run":
            store.truncate(claim, 3 * step)
        case "an event too many":
            data = {"step": step, "field": "bn_epsilon", "old": 1e-5, "new": 1e-3, "epochs": 0}
            store.add_event(claim, step, "steered", data)
        case "a missing event":
            with store._database.writing() as connection:
                connection.execute("DELETE FROM events")
        case "a row of its own":
            with store._database.writing() as connection:
                connection.execute("UPDATE runs SET step = step - 1")
        case "a rotten row":
            with sqlite3.connect(store.folder / "wdtui.sqlite3") as connection:
                connection.execute("UPDATE runs SET step = step - 1")
        case "a checkpoint of another past":
            kept.save(newest.step, {**newest.position, "plan": []}, newest.tensors)
        case "a damaged checkpoint":
            path = kept.folder / f"step-{newest.step:012}.safetensors"
            path.write_bytes(path.read_bytes()[:-1] + b"\xff")


@pytest.mark.parametrize(
    ("what", "check"),
    [
        ("a missing point", "points"),
        ("a point too many", "points"),
        ("a short run", "points"),
        ("an event too many", "plan"),
        ("a missing event", "plan"),
        ("a row of its own", "row"),
        ("a rotten row", "row"),
        ("a checkpoint of another past", "checkpoints"),
        ("a damaged checkpoint", "checkpoints"),
    ],
)
def test_check_reports_contradictions_to_the_plan_and_exits_with_3(
    store: Store, steered: RunRecord, what: str, check: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoilt(store, steered, what)
    code, lines = checked(store, capsys)
    assert code == 3 and check in [line.split()[1] for line in lines.splitlines() if line.startswith("WRONG")], lines
