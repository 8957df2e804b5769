"""Zooming and panning stay within the steps that there are."""

from __future__ import annotations

import pytest

from wdtui.tui.view import View

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
