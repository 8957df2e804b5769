"""What a run was steered to and which run it is a fork of, in its row and on its page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from test_screens import forked
from tui_tools import Recorded, press

from wdtui.problems.addition.config import RunConfig
from wdtui.runs.columns import RunColumns
from wdtui.runs.query import parse
from wdtui.schema.steering import Steering
from wdtui.store.records import RunRecord, Status
from wdtui.support.table import fitting
from wdtui.tui.widgets.run_table import RunTable

SCHEMA = RunConfig.schema()
MakeApp = Callable[..., Any]


def steer(recorded: Recorded, run_id: int, *plan: Steering) -> RunRecord:
    store = recorded.store
    store.send(run_id, "steer", {})
    assert store.take(store.run(run_id).claim, store.commands(run_id)[0], plan)
    return store.run(run_id)


def cells(run: RunRecord, width: int) -> dict[str, str]:
    columns = RunColumns.of([run]).chosen(())
    needed = {column: column.needed(run) for column in columns}
    return {column.title: column.cell(run, cells).strip() for column, cells in fitting(columns, width, needed)}


def narrow(run: RunRecord, title: str) -> str:
    """A cell where there is little room."""
    (column,) = (column for column in RunColumns.of([run]).chosen(()) if column.title == title)
    return column.cell(run, min(max(column.width, column.needed(run)), 14)).strip()


def test_the_row_of_a_steered_run_shows_the_value_in_force_and_that_it_was_steered(recorded: Recorded) -> None:
    run_id = recorded.add("epsilon-1e-2", points=40, status=Status.RUNNING)
    run = steer(recorded, run_id, Steering(1560, "weight_decay", 0.1, 0.3), Steering(1560, "bn_epsilon", 0.01, 1.3e-5))
    for width in (74, 114, 194):
        assert cells(run, width)["λ"] == "→0.3" and cells(run, width)["ε"] == "→1e-5"
    assert "λ 0.1→0.3 · ε 0.01→1.3e-5" in cells(run, 194)[""]
    assert narrow(recorded.store.run(recorded.add("epsilon-1e-2")), "λ") == "0.1"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.3, "→0.3"),
        (0.279, "→0.28"),
        (0.1234, "→0.12"),
        (0.01, "→0.01"),
        (0.003, "→3e-3"),
        (0.0123, "→1e-2"),
        (1e-4, "→1e-4"),
        (1.0, "→1"),
    ],
)
def test_a_steered_value_is_never_cut(recorded: Recorded, value: float, shown: str) -> None:
    run_id = recorded.add("epsilon-1e-2", points=40, status=Status.RUNNING)
    assert narrow(steer(recorded, run_id, Steering(1560, "weight_decay", 0.1, value)), "λ") == shown


def test_a_steered_learning_rate_is_shown_beside_the_speed(recorded: Recorded) -> None:
    run_id = recorded.add("epsilon-1e-2", points=40, status=Status.RUNNING)
    run = steer(recorded, run_id, Steering(1560, "learning_rate", 0.001, 0.0001))
    assert "learning rate 0.001→1e-4" in cells(run, 200)[""]


def test_the_row_of_a_fork_shows_parent_and_step(recorded: Recorded) -> None:
    forked(recorded)
    run = recorded.store.runs()[0]
    assert cells(run, 200)["name"] == "fork of 1 at 8,424" and narrow(run, "name") == "↳1 at 8,424"
    assert cells(run, 200)["ε"] == "→1e-5"
    recorded.store.rename(run.id, "healed")
    named = recorded.store.run(run.id)
    assert cells(named, 200)["name"] == "healed · fork of 1 at 8,424" and narrow(named, "name") == "↳1 healed"


def test_the_filter_finds_a_run_by_the_value_that_its_row_shows(recorded: Recorded) -> None:
    run_id = recorded.add("epsilon-1e-2", points=40, status=Status.RUNNING)
    run = steer(recorded, run_id, Steering(1560, "weight_decay", 0.1, 0.3))
    assert parse("λ=0.3", [SCHEMA])(run) and not parse("λ=0.1", [SCHEMA])(run)


async def test_the_table_sorts_by_the_value_in_force(recorded: Recorded, make_app: MakeApp) -> None:
    low, high, middle = (recorded.add("epsilon-1e-2", points=40, status=Status.RUNNING) for _ in range(3))
    steer(recorded, high, Steering(1560, "weight_decay", 0.1, 1.0))
    steer(recorded, middle, Steering(1560, "weight_decay", 0.1, 0.5))
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape")
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "o", "type:weight_decay", "enter")
        assert table.order == "by λ ↓"
        assert [run.id for run in table.runs] == [high, middle, low]


async def test_the_page_of_a_fork_shows_changes_and_steps(recorded: Recorded, make_app: MakeApp) -> None:
    forked(recorded)
    recorded.store.add_event(recorded.store.runs()[0].claim, 8112, "forked", {"parent": 1})
    async with make_app().run_test(size=(120, 60)) as pilot:
        await press(pilot, "escape", "enter")
        said = pilot.app.screen.query_one("#facts").content.plain
    assert "fork of run 1 at step 8,424" in said
    assert "step 8,112  begun from a checkpoint of run 1" in said
    assert "ε 1e-5 → 0.01 from step 8,424 over 50 epochs" in said
    (line,) = [line for line in said.splitlines() if "BatchNorm ε" in line or line.startswith("• ε")]
    assert line.endswith("1e-5→1.1e-5")
