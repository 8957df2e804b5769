"""The columns of the run table are chosen, kept and sorted by, and show curves, bars and tags."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from test_sweep_screens import one_axis
from tui_tools import Recorded, press, settle

from wdtui.problems.addition.config import RunConfig
from wdtui.runs.digests import Digests
from wdtui.store.records import Status
from wdtui.tui.widgets.run_table import RunTable

MakeApp = Callable[..., Any]
SIZE = (140, 40)


def heading(table: RunTable) -> list[str]:
    return str(table.render_line(0).text).split()


def line_of(table: RunTable, run_id: int) -> str:
    lines = (table.render_line(y).text for y in range(1, table.size.height))
    return next(line for line in lines if f"#{run_id} " in line)


async def test_chosen_columns_are_shown_and_kept_for_the_problem(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("epsilon-1e-5")
    recorded.store.set_note(1, "look at #this")
    async with make_app().run_test(size=SIZE) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape")
        usual = heading(table)
        await press(pilot, "T", "type:best weight norm", "enter", "T", "type:optimizer", "tab", "type:note", "enter")
        shown = heading(table)
        assert {"optimizer", "note", "best", "norm"} <= {*shown} and "adamw" in line_of(table, 1)
        await press(pilot, "T", "type:step", "tab", "enter")
        assert "step" not in heading(table)
    async with make_app().run_test(size=SIZE) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape")
        assert "optimizer" in heading(table) and "step" not in heading(table), "they were kept"
        await press(pilot, "T", "ctrl+u")
        assert heading(table) == usual


async def test_columns_can_be_chosen_before_there_is_a_run(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, "escape", "T", "type:created", "enter")
        recorded.add("demo", points=30)
        await settle(pilot)
        assert "created" in heading(pilot.app.screen.query_one(RunTable))


async def test_runs_are_sorted_by_a_best_value_whose_column_appears(recorded: Recorded, make_app: MakeApp) -> None:
    high = recorded.add("epsilon-1e-5")
    low = recorded.add("decay-1")
    middle = recorded.add("epsilon-1e-2")
    async with make_app().run_test(size=SIZE) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape", "o", "type:best test", "enter")
        await settle(pilot)
        assert table.order == "by best test ↓" and "test↓" in heading(table)
        assert [run.id for run in table.runs] == [high, middle, low]
        assert "by best test ↓" in str(pilot.app.screen.query_one("#runs").border_title)
        place = table.render_line(0).text.index("best test")
        await pilot.click(table, offset=(place, 0))
        await settle(pilot)
        assert [run.id for run in table.runs] == [low, middle, high] and "test↑" in heading(table)
        await press(pilot, "o", "type:newest", "enter")
        assert table.order == "" and "best" not in heading(table)


async def test_runs_out_of_sight_are_read_only_to_be_sorted(
    recorded: Recorded, make_app: MakeApp, monkeypatch: Any
) -> None:
    count = 150
    for place in range(count):
        recorded.add("demo", points=1 + place % 7, seed=place)
    read: list[int] = []
    before = Digests.read
    monkeypatch.setattr(
        Digests, "read", lambda self, runs, metrics: read.extend(run.id for run in runs) or before(self, runs, metrics)
    )
    async with make_app().run_test(size=(120, 30)) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape")
        assert 0 < len(read) <= table.size.height, "the rows in sight"
        await press(pilot, "end")
        assert len(read) <= 2 * table.size.height and 1 in read
        await press(pilot, "o", "type:smoothed test", "enter")
        while len({*read}) < count:
            await settle(pilot)
        await settle(pilot)
        values = [pilot.app.digests.of(run, "test_accuracy").smoothed for run in table.runs]
        assert values == sorted(values, reverse=True)
        read.clear()
        await settle(pilot)
        assert not read, "nothing has changed"


async def test_a_row_shows_progress_accuracy_and_curve_as_pictures(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("epsilon-1e-5")
    recorded.add("epsilon-1e-2", points=150, status=Status.RUNNING)
    recorded.store.add_run(RunConfig())
    async with make_app().run_test(size=(160, 40)) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape")
        await settle(pilot)
        done, running, queued = (line_of(table, run_id) for run_id in (1, 2, 3))
        assert "━━━╌" in running and "╌╌╌╌╌╌" in queued and "━━━━━╸" in done, "48 %, nothing, 95.8 %"
        assert "▁▁" in done and "▇" in done and "▁▁" in running and "▁" not in queued


async def test_a_curve_is_painted_again_only_when_it_differs(
    recorded: Recorded, make_app: MakeApp, monkeypatch: Any
) -> None:
    recorded.add("epsilon-1e-2", points=150, status=Status.RUNNING)
    async with make_app().run_test(size=SIZE) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape")
        await settle(pilot)
        painted: list[Any] = []
        monkeypatch.setattr(table, "refresh", lambda *regions, **how: painted.append(regions))
        table.show_read()
        assert painted == []
        recorded.store.rename(1, "name")
        await settle(pilot)
        assert sum(region.width for regions in painted for region in regions) <= 4, "of its row only the name"


async def test_a_folded_sweep_shows_the_curve_of_its_best_run(recorded: Recorded, make_app: MakeApp) -> None:
    one_axis(recorded)
    async with make_app().run_test(size=SIZE) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape")
        await settle(pilot)
        row = table.render_line(1).text
        assert table.group is not None and "▁▄▇" in row and "━" in row


async def test_tags_are_written_with_the_note_and_found_by_the_filter(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("epsilon-1e-5")
    recorded.add("demo")
    async with make_app().run_test(size=(160, 40)) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape", "n", "type:ask again ", "number_sign", "type:keep", "enter")
        assert recorded.store.run(2).note == "ask again #keep"
        assert "#keep" in line_of(table, 2)
        colour = next(segment.style.color for segment in table.render_line(1) if segment.text == "#keep")
        assert colour == next(
            segment.style.color for segment in table.render_line(1) if "#keep" in segment.text
        ) and colour != next(segment.style.color for segment in table.render_line(1) if "#2" in segment.text)
        await press(pilot, "slash", "number_sign", "type:keep")
        assert [run.id for run in table.runs] == [2]
