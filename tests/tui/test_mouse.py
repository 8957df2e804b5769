"""The mouse does what keys do: in a chart it points, zooms and pans, on a column's title it sorts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual import events
from tui_tools import Recorded, drawn, press, settle

from wdtui.tui.view import View
from wdtui.tui.widgets.chart import ChartPanel
from wdtui.tui.widgets.chart_grid import ChartGrid
from wdtui.tui.widgets.run_table import RunTable

MakeApp = Callable[..., Any]
LAST = 10_140
"""The last step of the demo."""


async def wheel(pilot: Any, kind: type[events.MouseEvent], widget: Any, x: int, **keys: bool) -> None:
    """Turn the wheel over a widget, as the terminal tells the app."""
    place = widget.region.offset
    turn = {"delta_x": 0, "delta_y": 0, "button": 0, "shift": False, "meta": False, "ctrl": False, **keys}
    pilot.app.screen._forward_event(kind(None, place.x + x, place.y + 3, **turn))
    await settle(pilot)


async def on_the_charts(pilot: Any) -> ChartGrid:
    await press(pilot, "escape")
    await drawn(pilot)
    return pilot.app.screen.query_one(ChartGrid)


async def test_a_click_in_a_chart_sets_the_cursor_there_and_makes_it_the_current_chart(
    recorded: Recorded, make_app: MakeApp
) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        grid = await on_the_charts(pilot)
        loss = pilot.app.screen.query_one("#chart-3", ChartPanel)
        await pilot.click(loss, offset=(loss.size.width // 2, 4))
        await settle(pilot)
        assert loss.current
        assert 0.4 * LAST < (grid._view.cursor or 0) < 0.6 * LAST
        assert grid._view.cursor in pilot.app.snapshot.shown[0].curves.steps
        first = grid._view.cursor
        await pilot.click(loss, offset=(loss.size.width - 3, 4))
        await settle(pilot)
        assert first < grid._view.cursor and LAST - grid._view.cursor < 200


async def test_the_cursor_is_drawn_under_the_pointer_also_on_a_zoomed_logarithmic_axis(
    recorded: Recorded, make_app: MakeApp
) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await on_the_charts(pilot)
        await press(pilot, "l", "plus")
        panel = pilot.app.screen.query_one("#chart-1", ChartPanel)
        for x in (12, 20, 30):
            await pilot.click(panel, offset=(x, 2))
            await settle(pilot)
            rows = [panel.render_line(row).text[8:-2] for row in range(1, 6)]  # some hold the curve, which is in front
            assert min(abs(row.find("│") + 8 - x) for row in rows) <= 1, rows


async def test_a_click_beside_the_plot_only_makes_the_chart_the_current_one(
    recorded: Recorded, make_app: MakeApp
) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        grid = await on_the_charts(pilot)
        norm = pilot.app.screen.query_one("#chart-1", ChartPanel)
        await pilot.click(norm, offset=(1, 4))
        await settle(pilot)
        assert norm.current and grid._view.cursor is None


async def test_clicks_and_the_wheel_do_nothing_without_runs(make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        panel = pilot.app.screen.query_one("#chart-3", ChartPanel)
        await pilot.click(panel, offset=(20, 4))
        await wheel(pilot, events.MouseScrollUp, panel, 20)
        assert pilot.app.screen.query_one(ChartGrid)._view == View()


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
async def test_the_wheel_zooms_around_the_pointed_step(share: float, recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        grid = await on_the_charts(pilot)
        panel = pilot.app.screen.query_one("#chart-1", ChartPanel)
        x = round(share * panel.size.width)
        pointed = panel.x_at(x)
        assert pointed is not None
        await wheel(pilot, events.MouseScrollUp, panel, x)
        low, high = grid._view.span or (0, 0)
        assert high - low < LAST * 0.9
        assert panel.x_at(x) == pytest.approx(pointed, abs=LAST / 20)
        await wheel(pilot, events.MouseScrollDown, panel, x)
        assert grid._view.span is None


async def test_the_shifted_or_horizontal_wheel_pans(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        grid = await on_the_charts(pilot)
        panel = pilot.app.screen.query_one("#chart-1", ChartPanel)
        await press(pilot, "plus")
        newest = grid._view.span
        assert newest is not None
        await wheel(pilot, events.MouseScrollUp, panel, 20, shift=True)
        after_one = grid._view.span
        assert after_one is not None and after_one[0] < newest[0]
        assert after_one[1] - after_one[0] == pytest.approx(newest[1] - newest[0])
        await wheel(pilot, events.MouseScrollLeft, panel, 20)
        assert grid._view.span is not None and grid._view.span[0] < after_one[0]
        await wheel(pilot, events.MouseScrollRight, panel, 20)
        await wheel(pilot, events.MouseScrollDown, panel, 20, shift=True)
        assert grid._view.span == pytest.approx(newest)


async def test_clicking_a_columns_title_sorts_and_a_second_click_reverses(
    recorded: Recorded, make_app: MakeApp
) -> None:
    for recording in ("decay-1", "demo", "epsilon-1e-2"):
        recorded.add(recording)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape")
        table = pilot.app.screen.query_one(RunTable)
        place = table.render_line(0).text.index("λ")
        await pilot.click(table, offset=(place, 0))
        await settle(pilot)
        assert [run.id for run in table.runs] == [1, 2, 3]
        assert "λ↓" in table.render_line(0).text
        assert "by λ ↓" in str(pilot.app.screen.query_one("#runs").border_title)
        await pilot.click(table, offset=(place, 0))
        await settle(pilot)
        assert [run.id for run in table.runs] == [3, 2, 1]
        assert "λ↑" in table.render_line(0).text
        assert table.render_line(0).text.count("↑") == 1


async def test_every_columns_title_has_room_for_its_arrow(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(200, 40)) as pilot:
        await press(pilot, "escape")
        table = pilot.app.screen.query_one(RunTable)
        for title in ("state", "run", "name", "λ", "ε", "H", "seed", "step", "train", "test"):
            table.sort_by(next(key for key in table.keys if table.possible.all[key].title == title))
            assert f"{title}↓" in table.render_line(0).text


async def test_a_click_on_a_title_without_values_changes_nothing(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape")
        table = pilot.app.screen.query_one(RunTable)
        await pilot.click(table, offset=(table.size.width - 3, 0))
        await settle(pilot)
        assert table.order == ""


async def drag(pilot: Any, panel: ChartPanel, start: int, *columns: int) -> None:
    """Press the mouse at a column of a chart and move it over others, without letting it go."""
    await pilot.mouse_down(panel, offset=(start, 4))
    for column in columns:
        await pilot.hover(panel, offset=(column, 4))
    await pilot.pause()


def selected(panel: ChartPanel) -> list[int]:
    """The columns of a chart that are painted as selected, on the line in the middle."""
    colours = [style.bgcolor for segment in panel.render_line(4) for style in [segment.style] * len(segment.text)]
    return [column for column, colour in enumerate(colours) if colour != colours[0]]


async def test_a_drag_shows_what_it_selects_and_then_zooms_there(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        grid = await on_the_charts(pilot)
        panel = pilot.app.screen.query_one("#chart-1", ChartPanel)
        await drag(pilot, panel, 15, 20, 30)
        assert selected(panel) == [*range(15, 31)]
        low, high = panel.x_at(15) or 0, panel.x_at(30) or 0
        foot = panel.render_line(panel.size.height - 1).text
        assert f" {round(low):,} – {round(high):,} " in foot and len(foot) == panel.size.width
        await drag(pilot, panel, 15, 22)
        assert selected(panel) == [*range(15, 23)], "it follows the mouse back"
        await pilot.hover(panel, offset=(30, 4))
        await pilot.mouse_up(panel, offset=(30, 4))
        await settle(pilot)
        assert selected(panel) == [] and grid._view.cursor is None
        assert grid._view.span == pytest.approx((low, high), abs=LAST / 100)


async def test_a_drag_ends_at_the_end_of_the_plot_and_a_short_one_is_a_click(
    recorded: Recorded, make_app: MakeApp
) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        grid = await on_the_charts(pilot)
        panel = pilot.app.screen.query_one("#chart-1", ChartPanel)
        await drag(pilot, panel, 30, panel.size.width - 1)
        assert selected(panel)[0] == 30 and panel.x_at(selected(panel)[-1] + 1) is None
        await pilot.mouse_up(panel, offset=(panel.size.width - 1, 4))
        await settle(pilot)
        assert grid._view.span is not None
        await press(pilot, "0")
        await drag(pilot, panel, 20, 21)
        assert selected(panel) == []
        await pilot.mouse_up(panel, offset=(21, 4))
        await settle(pilot)
        assert grid._view.span is None
