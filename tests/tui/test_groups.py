"""The runs of a sweep are one row of the run table, which unfolds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from test_sweep_screens import finish, one_axis, sweep_of, two_axes
from tui_tools import FakeScheduler, Recorded, press, settle

from wdtui.problems.addition.config import RunConfig
from wdtui.runs.groups import Group, grouped
from wdtui.store.records import Status
from wdtui.store.sweeps import Membership
from wdtui.studies.grid import Grid
from wdtui.tui.screens.dialogs import Question
from wdtui.tui.screens.sweep import SweepView
from wdtui.tui.screens.workbench import Workbench
from wdtui.tui.widgets.run_table import RunTable

MakeApp = Callable[..., Any]
SIZE = (120, 40)


def rows(table: RunTable) -> list[str]:
    """The text of each row that is drawn."""
    return ["".join(segment.text for segment in table.render_line(y)).strip() for y in range(1, table.size.height)]


def test_a_sweep_has_one_row_where_its_first_run_is(recorded: Recorded) -> None:
    recorded.store.add_run(RunConfig(seed=7))
    one_axis(recorded)
    recorded.store.add_run(RunConfig(seed=8))
    runs, sweeps = recorded.store.runs(), recorded.store.sweeps.memberships()
    assert [membership.cells for membership in sweeps] == [21]
    first, group, last = grouped(runs, sweeps, ())
    assert isinstance(group, Group) and len(group.runs) == 21 and not isinstance(first, Group) and last is runs[-1]
    assert len(grouped(runs, sweeps, {1})) == 24, "unfolded, its runs follow its row"
    assert group.state == "▸ 2 running" and "best λ0.3" in group.summary
    assert group.field("weight_decay") == "0…1" and group.field("width") == "256"


def test_a_single_run_of_a_sweep_has_no_group(recorded: Recorded) -> None:
    run_id = recorded.store.add_run(RunConfig())
    rows = grouped(recorded.store.runs(), [Membership(1, "", 5, frozenset([run_id, 99]))], ())
    assert [type(row) for row in rows] == [type(recorded.store.run(run_id))]


def test_a_run_of_two_sweeps_counts_for_the_newer(recorded: Recorded) -> None:
    ids = [recorded.store.add_run(RunConfig(seed=seed)) for seed in range(3)]
    sweeps = [Membership(1, "", 3, frozenset(ids)), Membership(2, "", 2, frozenset(ids[:2]))]
    (alone, group) = grouped(recorded.store.runs(), sweeps, ())
    assert isinstance(group, Group) and group.sweep.id == 2 and alone.id == ids[2]  # type: ignore[union-attr]


def test_a_group_without_values_has_no_best_run(recorded: Recorded) -> None:
    sweep_of(recorded, Grid.of(RunConfig(), {"weight_decay": [0.1, 0.2]}))
    (group,) = grouped(recorded.store.runs(), recorded.store.sweeps.memberships(), ())
    assert isinstance(group, Group) and group.best is None and group.summary == "" and group.state == "▸ 2 queued"


async def test_a_sweep_is_folded_until_it_is_unfolded(recorded: Recorded, make_app: MakeApp) -> None:
    two_axes(recorded)
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, "escape")
        await settle(pilot)
        table = pilot.app.screen.query_one(RunTable)
        assert [bool(row) for row in rows(table)[:2]] == [True, False] and "S1" in rows(table)[0]
        assert [shown.run.id for shown in pilot.app.snapshot.shown] == [table.group.best.id], "it shows its best run"
        await press(pilot, "s")
        assert isinstance(pilot.app.screen, Workbench), "there is no run to steer"
        await press(pilot, "h", "down")
        assert table.selected is not None and len([row for row in rows(table) if row]) > 5
        await press(pilot, "h")
        assert table.group is not None and table.selected is None
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, SweepView)


async def test_a_filter_shows_runs_of_folded_sweeps(recorded: Recorded, make_app: MakeApp) -> None:
    one_axis(recorded)
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, "escape", "slash", "type:test>0.9", "enter")
        table = pilot.app.screen.query_one(RunTable)
        assert 1 < len([row for row in rows(table) if row]) == len(table.runs) and table.group is None
        await press(pilot, "slash", "escape")
        assert table.group is None or table.group.sweep.id == 1
        await press(pilot, "home")
        assert table.group is not None


async def test_a_run_that_is_started_is_shown_although_its_sweep_was_folded(
    recorded: Recorded, make_app: MakeApp
) -> None:
    one_axis(recorded)
    async with make_app(FakeScheduler()).run_test(size=SIZE) as pilot:
        await press(pilot, "escape")
        table = pilot.app.screen.query_one(RunTable)
        table.select(5)
        await settle(pilot)
        assert table.selected == 5 and any("#5" in row for row in rows(table))


async def test_deleting_a_sweeps_row_asks_about_all_its_runs(recorded: Recorded, make_app: MakeApp) -> None:
    sweep = sweep_of(recorded, Grid.of(RunConfig(epochs=385), {"weight_decay": [0.1, 0.3]}))
    finish(recorded, sweep, range(2), Status.DONE)
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, "escape", "d")
        assert isinstance(pilot.app.screen, Question)
        await press(pilot, "y")
        assert recorded.store.count() == 0


async def test_a_runs_config_is_copied_into_the_form(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("epsilon-1e-5", width=64)
    scheduler = FakeScheduler()
    async with make_app(scheduler).run_test(size=SIZE) as pilot:
        await press(pilot, "escape", "C", "escape", "r")
        assert recorded.store.run(scheduler.submitted[0]).config == recorded.store.run(1).config
