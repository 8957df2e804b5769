"""Damage in the store, as the workbench shows it: named, without costing anything else."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from tui_tools import Recorded, press, settle

from wdtui.runs.sweeps import assign
from wdtui.store.records import Status
from wdtui.studies.grid import Grid
from wdtui.tui.controls import Controls
from wdtui.tui.status_line import status_line
from wdtui.tui.widgets.run_table import RunTable

MakeApp = Callable[..., Any]


def rotten(recorded: Recorded, *statements: str) -> None:
    connection = sqlite3.connect(recorded.store.folder / "wdtui.sqlite3", isolation_level=None)
    for statement in statements:
        connection.execute(statement)
    connection.close()


async def test_a_damaged_run_is_listed_can_be_marked_and_opened_and_deleted(
    recorded: Recorded, make_app: MakeApp
) -> None:
    sound, damaged = recorded.add("demo", points=20), recorded.add("demo", points=20)
    rotten(recorded, f"UPDATE runs SET config = '{{' WHERE id = {damaged}")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape")
        table = pilot.app.screen.query_one(RunTable)
        assert [(run.id, run.status) for run in table.runs] == [(damaged, Status.DAMAGED), (sound, Status.DONE)]
        assert "damaged" in str(table.render_line(1).text)
        await press(pilot, "x", "down", "x", "enter", "escape", "up", "enter", "escape", "s")
        await settle(pilot)
        recorded.store.delete([damaged])
        await settle(pilot)
        assert [run.id for run in pilot.app.snapshot.runs] == [sound]


async def test_lost_points_are_reported_and_a_key_trains_them_again(recorded: Recorded, make_app: MakeApp) -> None:
    run_id = recorded.add("demo", points=20)
    step = int(recorded.store.curves(run_id).steps[7])
    rotten(recorded, f"UPDATE points SET data = zeroblob(length(data)) WHERE step = {step}")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape")
        [shown] = pilot.app.snapshot.shown
        assert shown.curves.lost == (step,) and len(shown.curves) == 19
        assert f"`wdtui resume {run_id}` trains it again" in status_line(shown)
        controls: Controls = pilot.app.controls
        assert "trained again" in controls.pause_or_resume(run_id)
        assert controls.scheduler.submitted == [run_id], "which reopens it"


async def test_missing_runs_and_damaged_sweeps_are_reported_at_the_start(recorded: Recorded, make_app: MakeApp) -> None:
    run = recorded.store.run(recorded.add("demo", points=5))
    store = recorded.store
    assign(store, store.sweeps.get(store.sweeps.add(Grid.of(run.config, {"weight_decay": [0.1, 0.2]}))))
    rotten(recorded, "DROP TRIGGER uncount_run", "DELETE FROM runs WHERE id = 1", "UPDATE sweeps SET spec = '{'")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        said = " ".join(notice.message for notice in app._notifications)
        assert "runs can be found" in said and "Sweep S1 is damaged" in said
