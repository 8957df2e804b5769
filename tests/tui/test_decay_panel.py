"""The layers of a run on its screen: order, search, room, and what is painted while it trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input
from tui_tools import Recorded, press, resize, settle

from wdtui.bench.layered import Layered
from wdtui.store.records import Status
from wdtui.tui import Opening
from wdtui.tui.figures import figure
from wdtui.tui.identity import Identities
from wdtui.tui.screens.run import RunView
from wdtui.tui.screens.workbench import Workbench
from wdtui.tui.subjects import subjects
from wdtui.tui.view import View
from wdtui.tui.widgets.chart_grid import ChartGrid
from wdtui.tui.widgets.decay_panel import DecayPanel
from wdtui.tui.widgets.layer_table import LayerTable

MakeApp = Callable[..., Any]
WIDE, SMALL = (120, 40), (80, 24)


def layered(recorded: Recorded, layers: int = 100, points: int = 60, status: Status = Status.DONE) -> Layered:
    run = Layered(recorded.store, layers)
    run.append(points)
    if status != Status.RUNNING:
        recorded.store.set_status(run.claim, status)
    return run


def lines(pilot: Any) -> list[str]:
    """What the table shows, below its titles."""
    table = pilot.app.screen.query_one(LayerTable)
    return [table.render_line(y).text.rstrip() for y in range(1, table.size.height)]


def shown(pilot: Any) -> list[str]:
    return [line.split()[0] for line in lines(pilot) if line]


def title(pilot: Any) -> str:
    return str(pilot.app.screen.query_one("#decay-open").border_title)


async def test_the_layers_that_deviate_most_are_on_top(recorded: Recorded, make_app: MakeApp) -> None:
    layered(recorded)
    async with make_app().run_test(size=WIDE) as pilot:
        await press(pilot, "escape", "enter")
        assert title(pilot) == "decay · 100 layers · by deviation"
        ratios = [float(line.split()[-3]) for line in lines(pilot)]
        assert max(abs(ratio - 1) for ratio in ratios) == pytest.approx(abs(ratios[0] - 1), abs=0.02)
        assert "1/(ηλ) is 1,000 steps" in str(pilot.app.screen.query_one("#sentences").render())


async def test_o_orders_by_decay_share_and_as_in_the_network(recorded: Recorded, make_app: MakeApp) -> None:
    layered(recorded)
    async with make_app().run_test(size=WIDE) as pilot:
        await press(pilot, "escape", "enter", "o")
        assert title(pilot).endswith("by decay share")
        shares = [float(line.split()[-2]) for line in lines(pilot)]
        assert shares == sorted(shares, reverse=True)
        await press(pilot, "o")
        assert shown(pilot)[:3] == ["wte", "blocks.0.attn.q", "blocks.0.attn.k"]


async def test_a_click_on_a_title_orders(recorded: Recorded, make_app: MakeApp) -> None:
    layered(recorded)
    async with make_app().run_test(size=WIDE) as pilot:
        await press(pilot, "escape", "enter")
        header = pilot.app.screen.query_one(LayerTable).render_line(0).text
        await pilot.click(LayerTable, offset=(header.index("decay share"), 0))
        await settle(pilot)
        assert title(pilot).endswith("by decay share")


async def test_a_search_narrows_table_and_charts_until_escape(recorded: Recorded, make_app: MakeApp) -> None:
    layered(recorded)
    async with make_app().run_test(size=WIDE) as pilot:
        await press(pilot, "escape", "enter", "slash", "type:3.attn.q")
        assert shown(pilot) == ["blocks.13.attn.q", "blocks.3.attn.q"]
        assert title(pilot).startswith("decay · 2 of 100 layers")
        assert pilot.app.screen.query_one(ChartGrid)._view.layers == "3.attn.q"
        await press(pilot, "enter", "0")
        assert isinstance(pilot.app.focused, LayerTable)
        assert pilot.app.screen.query_one(ChartGrid)._view.layers == "3.attn.q"
        await press(pilot, "escape")
        assert title(pilot).startswith("decay · 100 layers")
        assert pilot.app.screen.query_one(ChartGrid)._view.layers == ""
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, Workbench)


async def test_a_search_that_finds_nothing_says_so(recorded: Recorded, make_app: MakeApp) -> None:
    layered(recorded)
    async with make_app().run_test(size=WIDE) as pilot:
        await press(pilot, "escape", "enter", "slash", "type:conv")
        assert shown(pilot) == [] and title(pilot).startswith("decay · 0 of 100 layers")


async def test_y_leaves_one_line_and_the_room_to_the_charts(recorded: Recorded, make_app: MakeApp) -> None:
    layered(recorded)
    async with make_app().run_test(size=WIDE) as pilot:
        await press(pilot, "escape", "enter")
        panel, grid = pilot.app.screen.query_one(DecayPanel), pilot.app.screen.query_one(ChartGrid)
        opened = panel.size.height
        assert opened > 10 and len([one for one in grid.panels if one.display]) == 4
        await press(pilot, "y")
        assert panel.size.height == 1 and len([one for one in grid.panels if one.display]) == 6
        assert "rotation" in str(panel.query_one("#decay-line").render())
        await press(pilot, "y")
        assert panel.size.height == opened and isinstance(pilot.app.focused, LayerTable)


async def test_where_there_is_no_room_one_line_stands_for_all_until_y(recorded: Recorded, make_app: MakeApp) -> None:
    layered(recorded)
    async with make_app().run_test(size=SMALL) as pilot:
        await press(pilot, "escape", "enter")
        panel, grid = pilot.app.screen.query_one(DecayPanel), pilot.app.screen.query_one(ChartGrid)
        assert panel.size.height == 1 and grid.display
        await pilot.click("#decay-line", offset=(5, 0))
        await settle(pilot)
        assert not grid.display and len(shown(pilot)) > 4
        await press(pilot, "y")
        assert grid.display
        await resize(pilot, *WIDE)
        assert not panel.is_open  # as it was left
        await press(pilot, "slash")
        assert panel.is_open and isinstance(pilot.app.focused, Input)


async def test_a_run_without_gauges_has_no_layers_and_says_what_decay_can_do(
    recorded: Recorded, make_app: MakeApp
) -> None:
    recorded.add("demo", points=20)
    async with make_app().run_test(size=WIDE) as pilot:
        await press(pilot, "escape", "enter")
        assert "1/(ηλ) is" in str(pilot.app.screen.query_one("#facts").render())
        await press(pilot, "y", "slash", "o")
        assert not pilot.app.screen.query_one(DecayPanel).display
        assert {one.message for one in pilot.app._notifications} == {"This run has recorded no decay gauges."}


async def test_new_points_are_painted_where_cells_have_changed(recorded: Recorded, make_app: MakeApp) -> None:
    run = layered(recorded, points=30, status=Status.RUNNING)
    async with make_app().run_test(size=WIDE) as pilot:
        await press(pilot, "escape", "enter")
        before = lines(pilot)
        run.append(30)
        await settle(pilot)
        after = lines(pilot)
        assert after != before
        assert "at 0.8" in str(pilot.app.screen.query_one("#sentences").render())


async def test_rows_of_a_live_run_rest_where_values_hardly_differ(recorded: Recorded, make_app: MakeApp) -> None:
    run = layered(recorded, points=100, status=Status.RUNNING)
    async with make_app().run_test(size=WIDE) as pilot:
        await press(pilot, "escape", "enter")
        for _ in range(5):
            before = shown(pilot)
            run.append()
            await settle(pilot)
            moved = [name for name, other in zip(before, shown(pilot), strict=True) if name != other]
            assert len(moved) <= len(before) // 2


async def test_two_thousand_layers_scroll_to_the_last(recorded: Recorded, make_app: MakeApp) -> None:
    layered(recorded, layers=2000, points=20)
    async with make_app().run_test(size=WIDE) as pilot:
        await press(pilot, "escape", "enter", "o", "o", "tab")
        pilot.app.screen.query_one(DecayPanel).focus_table()
        await settle(pilot)
        await press(pilot, "end")
        await settle(pilot)
        assert shown(pilot)[-1] == "head"


@pytest.mark.parametrize(("layers", "curves"), [(10, 10), (12, 12), (13, 12), (2000, 12)])
async def test_charts_of_many_layers_draw_the_largest_and_the_smallest(
    recorded: Recorded, make_app: MakeApp, layers: int, curves: int
) -> None:
    run = layered(recorded, layers=layers, points=20)
    async with make_app().run_test(size=WIDE) as pilot:
        await press(pilot, "escape", "enter")
        assert isinstance(pilot.app.screen, RunView)
        (subject,) = subjects(pilot.app.snapshot.shown, Identities().of)
    chart = next(one for one in recorded.store.run(run.run_id).schema.charts if one.name == "decay_share")
    drawn = figure(chart, [subject], View(per_layer=True))
    assert len(drawn.series) == curves
    assert drawn.note == ("" if layers <= 12 else f"6 largest, 6 smallest of {layers:,}")
    largest = max(subject.shown.curves.last()[name] for name in subject.shown.curves.names if "decay_share/" in name)
    assert max(float(one.y[-1]) for one in drawn.series) == pytest.approx(largest, rel=0.1)  # type: ignore[index]
    few = figure(chart, [subject], View(per_layer=True, layers="attn.q"))
    assert {one.label for one in few.series if one.label} <= {f"blocks.{at}.attn.q" for at in range(400)}


async def test_the_form_of_a_file_says_while_one_types_what_decay_can_do(make_app: MakeApp) -> None:
    file = Path(__file__).parents[2] / "docs" / "examples" / "modular_addition.py"
    async with make_app(opening=Opening(problem=str(file))).run_test(size=WIDE) as pilot:
        await settle(pilot)
        said = pilot.app.screen.query_one("#arithmetic")
        assert "1/(ηλ) is 100 steps, 7 % of this run" in str(said.render())
        await press(pilot, "up", "up", "type:0.01")
        assert "λ hardly acts: 1/(ηλ) is 10,000 steps, this run has 1,500" in str(said.render())
