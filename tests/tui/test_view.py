"""Zooming, panning and the cursor stay within the steps that there are, and get to all of them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from tui_tools import Recorded, drawn, press, settle

from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Point
from wdtui.store.records import Status
from wdtui.tui import key_order
from wdtui.tui.feed import Feed
from wdtui.tui.identity import Identities
from wdtui.tui.subjects import subjects, whole_span
from wdtui.tui.view import View
from wdtui.tui.widgets.chart import ChartPanel
from wdtui.tui.widgets.chart_grid import ChartGrid
from wdtui.tui.widgets.plain_text import PlainText

WHOLE = (0.0, 1000.0)


def test_zooming_keeps_the_newest_steps_in_view() -> None:
    assert View().zoomed(0.5, WHOLE).span == pytest.approx((500, 1000))


def test_zooming_keeps_the_cursor_where_it_is() -> None:
    view = View(cursor=250.0).zoomed(0.5, WHOLE)
    assert view.span == pytest.approx((125, 625))


def test_zooming_out_ends_at_the_whole_axis() -> None:
    view = View().zoomed(0.5, WHOLE).zoomed(0.5, WHOLE)
    assert view.zoomed(2, WHOLE).zoomed(2, WHOLE).span is None


def test_zooming_in_has_a_limit() -> None:
    view = View()
    for _ in range(100):
        view = view.zoomed(0.5, WHOLE)
    assert view.span is not None
    assert view.span[1] - view.span[0] > 0.05


def test_panning_stops_at_the_ends() -> None:
    view = View().zoomed(0.5, WHOLE)
    assert view.panned(-5, WHOLE).span == pytest.approx((0, 500))
    assert view.panned(5, WHOLE).span == pytest.approx((500, 1000))
    assert View().panned(1, WHOLE).span is None


def test_zooming_a_logarithmic_axis_halves_its_decades() -> None:
    view = View(time_log=True).zoomed(0.5, (1.0, 10_000.0))
    assert view.span == pytest.approx((100, 10_000))


def test_the_axis_of_runs_that_train_together_moves_seldom(recorded: Recorded) -> None:
    first, second = (recorded.add("demo", points=1, status=Status.RUNNING) for _ in range(2))
    names = RunConfig().columns
    feed = Feed(recorded.store)
    feed.show([first, second])
    ends = []
    for epoch in range(2, 400):
        point = Point(epoch * 78, epoch, (0.5,) * len(names))
        recorded.store.append(recorded.store.run(second).claim, [point], speed=1.0, milestones={})
        snapshot = feed.poll()
        assert snapshot is not None
        ends.append(whole_span(subjects(snapshot.shown, Identities().of), View())[1])
        assert epoch * 78 <= ends[-1] <= epoch * 78 * 1.15
    assert len(set(ends[200:])) < len(ends[200:]) / 8


async def test_the_cursor_reaches_the_end_of_the_longest_run(recorded: Recorded, make_app: Callable[..., Any]) -> None:
    recorded.add("demo", points=60)
    long = recorded.add("demo", points=1, status=Status.RUNNING)
    names = RunConfig().columns
    points = [Point(step, step, (0.5,) * len(names)) for step in range(3900, 78_001, 3900)]
    recorded.store.append(recorded.store.run(long).claim, points, speed=1.0, milestones={})
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "m", "down", "m")
        while len(pilot.app.snapshot.shown) < 2:
            await settle(pilot)
        await press(pilot, "left")
        cursors = [pilot.app.screen.query_one(ChartGrid)._view.cursor]
        await press(pilot, *("left",) * 30)
        cursors.append(pilot.app.screen.query_one(ChartGrid)._view.cursor)
    assert cursors[0] == 78_000
    assert 0 < cursors[1] < 4680


def test_panning_moves_the_cursor() -> None:
    view = View(cursor=900.0).zoomed(0.25, WHOLE).panned(-1, WHOLE)
    assert view.span is not None and view.span[0] <= (view.cursor or 0) <= view.span[1] < 900


def test_zooming_in_keeps_the_cursor_in_view_wherever_it_was_panned() -> None:
    view = View(cursor=900.0)
    for _ in range(20):
        view = view.zoomed(0.5, WHOLE).panned(-0.25, WHOLE).zoomed(0.5, WHOLE).panned(2, WHOLE)
        assert view.span is not None and view.cursor is not None
        assert view.span[0] <= view.cursor <= view.span[1]


def test_zooming_keeps_the_pointed_step_in_place() -> None:
    assert View().zoomed(0.5, WHOLE, around=200).span == pytest.approx((100, 600))
    assert View(cursor=900.0).zoomed(0.5, WHOLE, around=200).span == pytest.approx((100, 600))


def test_the_view_follows_a_cursor_that_leaves_it() -> None:
    view = View(span=(400, 600), cursor=400.0)
    assert view.pointing_at(350, WHOLE).span == pytest.approx((350, 550))
    assert view.pointing_at(700, WHOLE).span == pytest.approx((500, 700))
    assert view.pointing_at(500, WHOLE).span == (400, 600)


async def on_the_demo(pilot: Any) -> ChartGrid:
    await press(pilot, "escape")
    await drawn(pilot)
    return pilot.app.screen.query_one(ChartGrid)


async def test_the_cursor_is_in_view_on_a_logged_step_after_zooming_and_panning(
    recorded: Recorded, make_app: Callable[..., Any]
) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        grid = await on_the_demo(pilot)
        for key in ("left", "plus", "less_than_sign", "less_than_sign", "less_than_sign", "plus", "shift+left", "plus"):
            await press(pilot, key)
            span, cursor = grid._view.span or (0, 10_140), grid._view.cursor
            assert cursor is not None and span[0] <= cursor <= span[1], key
            assert cursor in pilot.app.snapshot.shown[0].curves.steps


async def test_the_view_follows_the_cursor_beyond_a_zoomed_part(
    recorded: Recorded, make_app: Callable[..., Any]
) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        grid = await on_the_demo(pilot)
        await press(pilot, "plus", "plus", "plus", *("left",) * 40)
        low, high = grid._view.span or (0, 0)
        assert low <= (grid._view.cursor or 0) <= high < 10_140


async def test_while_a_person_types_only_the_current_chart_is_drawn(
    recorded: Recorded, make_app: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        grid = await on_the_demo(pilot)
        assert grid._waiting == []
        monkeypatch.setattr(key_order, "TYPING_SECONDS", 1000)
        await pilot.press("left")
        assert grid._waiting and grid._current not in grid._waiting


async def test_the_0_key_resets_every_setting_of_the_charts(recorded: Recorded, make_app: Callable[..., Any]) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        grid = await on_the_demo(pilot)
        await press(pilot, "plus", "l", "L", "v", "L", "b", "left")
        assert grid._view != View()
        await press(pilot, "0")
        assert grid._view == View()


@pytest.mark.parametrize("no_color", [False, True])
@pytest.mark.parametrize("size", [(100, 30), (120, 40), (80, 24)])
async def test_a_chart_says_which_of_its_axes_are_logarithmic(
    size: tuple[int, int],
    no_color: bool,
    recorded: Recorded,
    make_app: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    recorded.add("demo")

    def said(pilot: Any) -> dict[str, tuple[bool, bool]]:
        feet = {
            panel.id: panel.render_line(panel.size.height - 1).text
            for panel in pilot.app.screen.query(ChartPanel)
            if panel.region and panel.id
        }
        return {name: ("log scale" in foot, "log time" in foot) for name, foot in feet.items()}

    async with make_app().run_test(size=size) as pilot:
        await on_the_demo(pilot)
        default = {"chart-0": False, "chart-1": False, "chart-2": True, "chart-3": True}
        shown = said(pilot)
        assert shown and shown == {name: (default[name], False) for name in shown}
        await press(pilot, "l", "L")
        assert said(pilot) == {name: (default[name] ^ (name == "chart-0"), True) for name in shown}


async def test_an_empty_chart_has_no_axis_labels(make_app: Callable[..., Any]) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "l")
        panels = list(pilot.app.screen.query(ChartPanel).filter("#chart-0, #chart-1, #chart-2, #chart-3"))
        assert len(panels) == 4
        assert not any("log" in panel.render_line(panel.size.height - 1).text for panel in panels)


async def test_the_status_line_shows_the_values_at_the_cursor(recorded: Recorded, make_app: Callable[..., Any]) -> None:
    recorded.add("epsilon-1e-2")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "0")
        status = pilot.app.screen.query_one("#status", PlainText)
        told = status.content.plain
        await press(pilot, *["left"] * 15)
        said = status.content.plain
        await press(pilot, "v")
        norm = status.content.plain
        await press(pilot, "0")
        assert status.content.plain == told
    step, _, values = said.partition("   ")
    assert step.startswith("step ") and told not in said
    assert re.fullmatch(r"accuracy   train \S+ %  validation \S+ %  test \S+ %", values)
    assert norm.startswith(f"{step}   weight norm   ")
