"""Zooming, panning and the cursor stay within the steps that there are, and get to all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tui_tools import Recorded, press, settle

from wdtui.config import RunConfig
from wdtui.runs.records import Status
from wdtui.schema.curves import Point
from wdtui.tui.view import View
from wdtui.tui.widgets.chart_grid import ChartGrid

WHOLE = (0.0, 1000.0)


def test_zooming_keeps_the_newest_steps_in_view() -> None:
    assert View().zoomed(0.5, WHOLE).span == pytest.approx((500, 1000))


def test_zooming_keeps_the_cursor_where_it_is() -> None:
    view = View(cursor=250.0).zoomed(0.5, WHOLE)
    assert view.span == pytest.approx((125, 625))


def test_zooming_out_ends_at_everything() -> None:
    view = View().zoomed(0.5, WHOLE).zoomed(0.5, WHOLE)
    assert view.zoomed(2, WHOLE).zoomed(2, WHOLE).span is None


def test_zooming_in_ends_somewhere() -> None:
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


def test_a_logarithmic_axis_is_halved_in_decades() -> None:
    view = View(time_log=True).zoomed(0.5, (1.0, 10_000.0))
    assert view.span == pytest.approx((100, 10_000))


async def test_the_cursor_gets_to_the_end_of_the_longest_run_also_where_another_has_more_points(
    recorded: Recorded, make_app: Callable[..., Any]
) -> None:
    recorded.add("demo", points=60)
    long = recorded.add("demo", points=1, status=Status.RUNNING)
    names = RunConfig().columns
    points = [Point(step, step, (0.5,) * len(names)) for step in range(3900, 78_001, 3900)]
    recorded.store.append(long, points, speed=1.0, milestones={})
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "m", "down", "m")
        while len(pilot.app.snapshot.shown) < 2:
            await settle(pilot)
        await press(pilot, "left")
        cursors = [pilot.app.screen.query_one(ChartGrid).view.cursor]
        await press(pilot, *("left",) * 30)
        cursors.append(pilot.app.screen.query_one(ChartGrid).view.cursor)
    assert cursors[0] == 78_000
    assert 0 < cursors[1] < 4680
