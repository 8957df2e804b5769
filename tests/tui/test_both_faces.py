"""What is asked of a run through the command line or the app has the same outcome and the same refusal."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tui_tools import FakeScheduler, Recorded, press, settle

from wdtui.cli.main import main
from wdtui.problems.addition.config import RunConfig
from wdtui.runs.scheduler import Scheduler
from wdtui.runs.sweeps import assign
from wdtui.store.records import Status
from wdtui.store.store import Store
from wdtui.studies.grid import Grid
from wdtui.support.store_files import log_path
from wdtui.tui.app import WorkbenchApp

Ask = Callable[..., Awaitable[str]]
"""Asks something of run 1 through a face, as keys and as a command; gives what was said."""


@pytest.fixture(params=["app", "command line"])
def ask(
    request: pytest.FixtureRequest,
    recorded: Recorded,
    make_app: Callable[..., WorkbenchApp],
    capsys: pytest.CaptureFixture[str],
) -> Ask:
    async def by_app(keys: tuple[str, ...], command: tuple[str, ...]) -> str:
        app = make_app(FakeScheduler())
        async with app.run_test(size=(120, 40)) as pilot:
            await press(pilot, "escape", *keys)
            return " ".join(note.message for note in app._notifications)

    async def by_command(keys: tuple[str, ...], command: tuple[str, ...]) -> str:
        main(["--store", str(recorded.store.folder), *command])
        return capsys.readouterr().err

    return by_app if request.param == "app" else by_command


DELETE = ("d", "y"), ("runs", "delete", "1", "--yes")
STOP = ("x",), ("stop", "1")


async def test_deleting_a_run_deletes_its_checkpoints_and_log(recorded: Recorded, ask: Ask) -> None:
    run = recorded.store.run(recorded.add("demo", points=5))
    folder, log = recorded.store.checkpoints(run).folder, log_path(recorded.store.folder, run.id)
    folder.mkdir(parents=True)
    log.parent.mkdir()
    log.write_text("what went wrong")
    await ask(*DELETE)
    assert recorded.store.runs() == [] and not folder.exists() and not log.exists()


async def test_deleting_a_live_run_is_refused_without_a_question(recorded: Recorded, ask: Ask) -> None:
    run = recorded.store.run(recorded.add("demo", points=5, status=Status.RUNNING))
    said = await ask(("d",), ("runs", "delete", "1"))
    assert f"Run 1 is being trained by process {run.pid} on host {run.host}: stop it before you delete it." in said


async def test_a_run_that_starts_while_it_is_stopped_is_still_stopped(
    recorded: Recorded, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = recorded.store.add_run(RunConfig())
    settle_run = Store.transition

    def late(self: Store, *arguments: Any) -> None:
        recorded.store.claim(run_id, device="cpu", threads=1, versions={})
        settle_run(self, *arguments)

    monkeypatch.setattr(Store, "transition", late)
    said = await ask(*STOP)
    assert "Stopping run 1 with a checkpoint …" in said
    assert [command.kind for command in recorded.store.commands(run_id)] == ["stop"]


@pytest.mark.parametrize(
    ("keys", "command", "said"),
    [
        (("x",), ("stop", "1"), "Run 1 is done: only a live or queued run can be stopped."),
        (("s",), ("steer", "1", "--set", "weight_decay=0"), "Run 1 is done: only a live run can be steered."),
        (("space",), ("resume", "1", "--headless"), "Run 1 is done: there is nothing left to train."),
    ],
    ids=["stop", "steer", "resume"],
)
async def test_app_and_command_line_refuse_with_the_same_message(
    recorded: Recorded, ask: Ask, keys: tuple[str, ...], command: tuple[str, ...], said: str
) -> None:
    recorded.add("demo", points=5)
    assert said in await ask(keys, command)


@pytest.mark.parametrize(
    ("keys", "command"),
    [
        (("space",), ("resume", "1", "--headless")),
        (("x",), ("stop", "1")),
        (("s",), ("steer", "1", "--set", "weight_decay=0")),
        (("f",), ("fork", "1", "--headless")),
        (("e", "type:mine", "enter"), ("runs", "rename", "1", "mine")),
        (("n", "type:look", "enter"), ("runs", "note", "1", "look")),
    ],
    ids=["resume", "stop", "steer", "fork", "rename", "note"],
)
async def test_both_explain_how_to_delete_a_damaged_run(
    recorded: Recorded, ask: Ask, keys: tuple[str, ...], command: tuple[str, ...]
) -> None:
    run_id = recorded.add("demo", points=5)
    connection = sqlite3.connect(recorded.store.folder / "wdtui.sqlite3", isolation_level=None)
    connection.execute("UPDATE runs SET config = '{'")
    connection.close()
    said = await ask(keys, command)
    assert f"The row of run {run_id} in the store is damaged: `wdtui runs delete {run_id}` removes it." in said
    assert recorded.store.run(run_id).damaged and recorded.store.count() == 1


async def test_forking_a_run_without_points_is_refused(recorded: Recorded, ask: Ask) -> None:
    recorded.store.add_run(RunConfig())
    said = await ask(("f",), ("fork", "1", "--headless"))
    assert "Run 1 has no points yet: there is nothing to fork." in said and recorded.store.count() == 1


async def test_steering_a_paused_run_says_when_it_takes_effect(recorded: Recorded, ask: Ask) -> None:
    recorded.add("demo", points=5, status=Status.PAUSED)
    said = await ask(("s", "type:0.5", "enter"), ("steer", "1", "--set", "weight_decay=0.5"))
    assert "Run 1 is paused. When it resumes, this takes effect: λ → 0.5." in said


async def test_stopping_a_run_mentions_an_unconfirmed_owner(recorded: Recorded, ask: Ask) -> None:
    recorded.add("demo", points=5, status=Status.RUNNING)
    with recorded.store._database.writing() as connection:  # which seals the row
        connection.execute("UPDATE runs SET host = 'elsewhere', domain = 'another boot', pid = 7")
    said = await ask(*STOP)
    assert "Process 7 on host elsewhere trains it. No heartbeat of it has been seen yet." in said


async def test_spaces_around_a_name_are_removed(recorded: Recorded, ask: Ask) -> None:
    recorded.add("demo", points=5)
    await ask(("e", "type: mine ", "enter"), ("runs", "rename", "1", " mine "))
    assert recorded.store.run(1).name == "mine"


async def test_a_sweep_is_stopped_by_a_key_and_by_a_command(recorded: Recorded, ask: Ask) -> None:
    sweep = recorded.store.sweeps.get(recorded.store.sweeps.add(Grid.of(RunConfig(), {"weight_decay": [0.0, 0.1]})))
    assign(recorded.store, sweep)
    recorded.store.claim(1, device="cpu", threads=1, versions={})
    keys, command = ("S", "enter", "x"), ("stop", "S1")
    assert "Stopping 2 runs of sweep S1 …" in await ask(keys, command)
    assert [one.kind for one in recorded.store.commands(1)] == ["stop"]
    assert recorded.store.run(2).status == Status.STOPPED
    recorded.store.set_status(recorded.store.run(1).claim, Status.STOPPED)
    said = await ask(keys, command)
    assert "Sweep S1 has no live or queued runs: there is nothing to stop." in said


# What one face alone did worse


async def test_the_app_resumes_a_run_on_its_former_device(recorded: Recorded) -> None:
    recorded.add("demo", points=5, status=Status.STOPPED)
    devices: list[Any] = []
    scheduler = FakeScheduler()
    scheduler.submit = lambda *run_ids, device=None, threads=None: devices.append((device, threads))  # type: ignore[method-assign]
    app = WorkbenchApp(recorded.store, scheduler)  # type: ignore[arg-type]
    async with app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "space")
    assert devices == [("cpu", 2)]


async def test_deleting_a_run_queued_in_the_app_succeeds(
    recorded: Recorded, make_app: Callable[..., WorkbenchApp]
) -> None:
    """It was taken out of the queue first, which then found no run to call stopped."""
    scheduler = Scheduler(recorded.store, device="cpu")
    with scheduler._changed:
        scheduler._leaving = True  # nothing begins
    app = make_app(scheduler)
    async with app.run_test(size=(120, 40)) as pilot:
        run_id = app.controls.start(RunConfig())
        await settle(pilot)
        app.controls.delete([run_id])
        assert scheduler.queue == () and scheduler.wait(10)
        assert [notice for notice in scheduler.notices() if notice.run_id == run_id] == []


@pytest.mark.parametrize("command", ["fork", "replay"])
def test_without_a_terminal_for_the_app_no_run_is_added(
    recorded: Recorded, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    recorded.add("demo", points=5)
    assert main(["--store", str(recorded.store.folder), command, "1"]) == 2
    assert "The app needs a terminal" in capsys.readouterr().err
    assert recorded.store.count() == 1
