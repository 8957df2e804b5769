"""What the screens say of sharpness and of blow-ups to come, on a recorded run that blew up a third time at 18,018."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from tui_tools import Recorded

from wdtui.plots.terminal import Mark
from wdtui.problems.addition.metrics import CHARTS
from wdtui.store.records import Status
from wdtui.tui.feed import Feed, Shown
from wdtui.tui.figures import Figure, figure
from wdtui.tui.gauge import gauge
from wdtui.tui.identity import Identities
from wdtui.tui.status_line import status_line
from wdtui.tui.subjects import subjects
from wdtui.tui.view import View

ACCURACY, LOSS, SHARPNESS = (
    next(chart for chart in CHARTS if chart.name == name) for name in ("accuracy", "loss", "sharpness")
)
THIRD_BLOWUP = 18_018
_WHOLE = View()


def shown(recorded: Recorded, *run_ids: int) -> tuple[Shown, ...]:
    feed = Feed(recorded.store)
    feed.show(run_ids)
    snapshot = feed.poll()
    assert snapshot
    return snapshot.shown


@pytest.fixture
def live(recorded: Recorded) -> Shown:
    return shown(recorded, recorded.add("crash-forecast", points=228, status=Status.RUNNING))[0]


def drawn(runs: tuple[Shown, ...], chart: object = SHARPNESS, view: View = _WHOLE) -> Figure:
    return figure(chart, subjects(runs, Identities().of), view)  # type: ignore[arg-type]


def expected_marks(runs: tuple[Shown, ...], chart: object) -> list[Mark]:
    return [mark for mark in drawn(runs, chart).marks if mark.color == "dim"]


def test_a_live_run_shows_its_next_blowup(live: Shown) -> None:
    assert live.forecast and live.forecast.earliest <= THIRD_BLOWUP <= live.forecast.latest
    assert f"A blow-up is expected near step {live.forecast.step:,} (" in status_line(live)
    for chart, label in ((ACCURACY, "blow-up expected"), (LOSS, "")):
        assert expected_marks((live,), chart) == [Mark(live.forecast.step, label, "dim", line=True, glyph="△")]


def test_a_finished_run_has_no_forecast(recorded: Recorded) -> None:
    (done,) = shown(recorded, recorded.add("crash-forecast", points=228))
    assert done.forecast is None and "expected" not in status_line(done) and not expected_marks((done,), ACCURACY)


def test_several_runs_have_no_forecast(recorded: Recorded, live: Shown) -> None:
    runs = shown(recorded, 1, recorded.add("epsilon-1e-5"))
    assert not expected_marks(runs, ACCURACY)
    assert all(np.isfinite(series.y).all() for series in drawn(runs).series[1:])


def test_sharpness_lines_join_the_measurements(live: Shown) -> None:
    steps, values = live.curves.measured("sharpness")
    (series,) = drawn((live,)).series
    assert len(steps) == 228 // 5 and list(series.x) == steps.tolist() and list(series.y) == values.tolist()  # type: ignore[call-overload]
    (part,) = drawn((live,), view=View(span=(8000, 9000))).series
    assert [int(step) for step in part.x] == [7800, 8190, 8580, 8970, 9360]  # type: ignore[union-attr]


@pytest.mark.parametrize(("cursor", "at"), [(None, -1), (8600.0, 21), (0.0, 0)])
def test_the_value_at_the_cursor_is_the_nearest_measurement(live: Shown, cursor: float | None, at: int) -> None:
    from wdtui.support.text import number

    value = drawn((live,), view=dataclasses.replace(View(), cursor=cursor)).values[0]
    assert value.plain == number(float(live.curves.measured("sharpness")[1][at]))


def test_the_gauge_fills_as_the_sharpness_nears_the_level_of_the_runs_blowups(live: Shown) -> None:
    bar, source = gauge(live.curves, live.milestones)
    assert 16 <= bar.count("█") <= 20 and bar.endswith(" 5.49")
    assert source == "this run's blow-ups were near 7.25"
    (level,) = drawn((live,)).levels
    assert level.y == pytest.approx(7.25, abs=0.01)


def test_without_measurements_there_is_neither_gauge_nor_curve(recorded: Recorded) -> None:
    (run,) = shown(recorded, recorded.add("epsilon-1e-5", status=Status.RUNNING))
    assert gauge(run.curves, run.milestones) == [] and run.forecast is None
    assert all(not len(series.x) for series in drawn((run,)).series)  # type: ignore[arg-type]
