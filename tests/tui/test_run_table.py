"""The table of runs keeps the selected run in sight, and writes what identifies a run in full."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tui_tools import FakeScheduler, Recorded, press, settle

from wdtui.problems.addition.config import RunConfig
from wdtui.runs.groups import Group
from wdtui.studies.grid import Grid
from wdtui.tui.screens.sweep import SweepView
from wdtui.tui.screens.workbench import Workbench
from wdtui.tui.widgets.run_table import RunTable

MakeApp = Callable[..., Any]
SIZE = (120, 30)


def rows_in_sight(table: RunTable) -> list[int | str]:
    """The runs and sweeps whose rows are drawn, from top to bottom."""
    top = table.scroll_offset.y
    rows = table._rows[top : top + table.size.height - 1]
    return [row.sweep.label if isinstance(row, Group) else row.id for row in rows]


def many(recorded: Recorded, count: int = 30) -> None:
    for seed in range(count):
        recorded.store.add_run(RunConfig(seed=seed))


async def test_a_new_run_is_visible_although_the_table_was_scrolled(recorded: Recorded, make_app: MakeApp) -> None:
    many(recorded)
    async with make_app(FakeScheduler()).run_test(size=SIZE) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape", "end")
        assert table.scroll_offset.y > 0
        await press(pilot, "r")
        assert table.selected == 31
        assert 31 in rows_in_sight(table)


@pytest.mark.parametrize("key", ["home", "end"])
async def test_a_sweep_that_was_started_is_selected_and_visible_after_leaving_it(
    key: str, recorded: Recorded, make_app: MakeApp
) -> None:
    many(recorded)
    async with make_app(FakeScheduler()).run_test(size=SIZE) as pilot:
        await press(pilot, "escape", key)
        pilot.app.start_sweep(Grid.of(RunConfig(), {"weight_decay": (0.01, 0.1, 1.0)}, 8))
        await settle(pilot)
        assert isinstance(pilot.app.screen, SweepView)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, Workbench)
        table = pilot.app.screen.query_one(RunTable)
        assert len(table.runs) > 40
        assert table.group is not None and table.group.sweep.label == "S1"
        assert "S1" in rows_in_sight(table)


async def test_after_leaving_a_sweep_too_small_for_a_row_one_of_its_runs_is_selected(
    recorded: Recorded, make_app: MakeApp
) -> None:
    many(recorded)
    async with make_app(FakeScheduler()).run_test(size=SIZE) as pilot:
        await press(pilot, "escape", "end")
        pilot.app.start_sweep(Grid.of(RunConfig(), {"weight_decay": (0.01,)}))
        await settle(pilot)
        await press(pilot, "escape")
        table = pilot.app.screen.query_one(RunTable)
        assert table.selected in pilot.app.snapshot.sweeps[0].run_ids and table.selected in rows_in_sight(table)


async def test_a_sweep_that_the_filter_hides_leaves_the_selection_as_it_is(
    recorded: Recorded, make_app: MakeApp
) -> None:
    many(recorded)
    async with make_app(FakeScheduler()).run_test(size=SIZE) as pilot:
        await press(pilot, "escape", "slash", "type:seed>20", "enter")
        table = pilot.app.screen.query_one(RunTable)
        selected = table.selected
        pilot.app.start_sweep(Grid.of(RunConfig(), {"weight_decay": (0.01, 0.1, 1.0)}))
        await settle(pilot)
        await press(pilot, "escape")
        assert table.selected == selected is not None


async def test_the_selected_run_stays_visible_when_runs_are_added_above(recorded: Recorded, make_app: MakeApp) -> None:
    many(recorded)
    async with make_app().run_test(size=SIZE) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape", *("down",) * 3)
        many(recorded, 20)
        await settle(pilot)
        assert table.selected == 27
        assert 27 in rows_in_sight(table)


async def test_a_scrolled_table_stays_when_a_run_changes(recorded: Recorded, make_app: MakeApp) -> None:
    many(recorded)
    async with make_app().run_test(size=SIZE) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape")
        table.scroll_to(y=15, animate=False)
        recorded.store.rename(3, "third")
        await settle(pilot)
        assert table.scroll_offset.y == 15


async def test_the_selected_run_is_visible_after_sorting_and_filtering(recorded: Recorded, make_app: MakeApp) -> None:
    many(recorded)
    async with make_app().run_test(size=SIZE) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape", "O")
        assert table.selected == 30 and 30 in rows_in_sight(table)
        await press(pilot, "home", "slash", "type:seed<20", "enter")
        assert table.selected in rows_in_sight(table)


async def test_seeds_and_run_numbers_are_shown_in_full_without_separators(
    recorded: Recorded, make_app: MakeApp
) -> None:
    for seed in (1234, 2**31 - 1):
        recorded.store.add_run(RunConfig(seed=seed, width=1024))
    with recorded.store._database.writing() as connection:
        connection.execute("UPDATE runs SET id = 123456 WHERE id = 2")
    async with make_app().run_test(size=(200, 40)) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape")
        newest, first = table.render_line(1).text, table.render_line(2).text
        assert " 1234 " in first and " #1 " in first and " 1,024 " in first
        assert f" {2**31 - 1} " in newest and " #123456 " in newest


async def test_wide_columns_hide_others_and_are_not_truncated(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.store.add_run(RunConfig(seed=2**31 - 1))
    async with make_app().run_test(size=(130, 40)) as pilot:
        await press(pilot, "escape")
        lines = [pilot.app.screen.query_one(RunTable).render_line(y).text for y in (0, 1)]
        assert len({len(line) for line in lines}) == 1
        assert ("seed" in lines[0]) == (str(2**31 - 1) in lines[1])
