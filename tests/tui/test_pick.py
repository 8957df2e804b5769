"""Any metric in any chart, over any axis: the picker, kept layouts, axes, smoothing, events and the comparison."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tui_tools import Recorded, press, resize, settle

from wdtui.analysis.axes import AXES, smoothed
from wdtui.analysis.milestones import Milestones
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Curves
from wdtui.tui.feed import Shown
from wdtui.tui.identity import Identities
from wdtui.tui.layouts import Layouts, Picked
from wdtui.tui.readouts import readout
from wdtui.tui.subjects import subjects
from wdtui.tui.view import View
from wdtui.tui.widgets.chart_grid import ChartGrid
from wdtui.tui.widgets.plain_text import PlainText

SIZE = (120, 40)
SCHEMA = RunConfig.schema()
MakeApp = Callable[..., Any]


def curves(**values: list[float]) -> Curves:
    steps = np.array([100, 200, 400])
    return Curves([*values], steps, steps // 50, np.column_stack([*values.values()]))


def test_the_axes_of_a_run_are_steps_epochs_seconds_and_time_constants() -> None:
    one = curves(steps_per_second=[10, 20, 40], time_constant=[1000, 1000, 500])
    places = {name: axis.of(one, 50) for name, axis in AXES.items()}
    assert places["step"].tolist() == [100, 200, 400] and places["epoch"].tolist() == [2, 4, 8]  # type: ignore[union-attr]
    assert places["time"].tolist() == [10, 15, 20]  # type: ignore[union-attr]
    assert places["decay"] == pytest.approx([0.1, 0.2, 0.6])
    assert AXES["epoch"].at(800, one, 50) == 16 and AXES["time"].at(300, one, 50) == 17.5


def test_an_axis_that_a_run_does_not_tell_is_none() -> None:
    one = curves(test_loss=[1, 2, 3])
    assert AXES["time"].of(one, 1) is AXES["decay"].of(one, 1) is AXES["epoch"].of(one, 1) is None


def test_an_unknown_speed_takes_no_time() -> None:
    assert AXES["time"].of(curves(steps_per_second=[np.nan, 0, 40]), 1).tolist() == [0, 0, 5]  # type: ignore[union-attr]


@given(st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=50), st.sampled_from([0.5, 0.9, 0.99]), st.booleans())
def test_a_smoothed_curve_stays_within_the_curve(values: list[float], share: float, log: bool) -> None:
    result = smoothed(np.array(values), share, log=log)
    assert result[0] == pytest.approx(values[0])
    assert (result >= min(values) * (1 - 1e-9)).all() and (result <= max(values) * (1 + 1e-9)).all()


def test_gaps_of_a_smoothed_curve_stay_gaps() -> None:
    result = smoothed(np.array([1.0, np.nan, 3.0, -1.0]), 0.5, log=True)
    assert np.isfinite(result).tolist() == [True, False, True, False]


def test_a_layout_is_kept_for_the_problem(tmp_path: Path) -> None:
    charts = SCHEMA.charts_of(())[:4]
    Layouts(tmp_path).put(SCHEMA, 1, Picked(("gradient_norm", "weight_norm/output")))
    names = [chart.name for chart in Layouts(tmp_path).charts(SCHEMA, charts)]
    assert names[0] == "accuracy" and "gradient_norm" in names[1]
    layouts = Layouts(tmp_path)
    layouts.swap(SCHEMA, charts, 0, 1)
    assert [chart.name for chart in Layouts(tmp_path).charts(SCHEMA, charts)][:2] == [names[1], "accuracy"]
    layouts.put(SCHEMA, 0, None)
    layouts.put(SCHEMA, 1, None)
    assert Layouts(tmp_path).charts(SCHEMA, charts) == charts


@pytest.mark.parametrize("content", ["", "[]", "{", '{"addition": 3}', '{"addition": {"x": {}, "1": {"columns": 3}}}'])
def test_a_damaged_layout_is_the_usual_one(content: str, tmp_path: Path) -> None:
    (tmp_path / "layouts.json").write_text(content)
    charts = SCHEMA.charts_of(())
    assert Layouts(tmp_path).charts(SCHEMA, charts) == charts


async def test_any_metric_is_found_and_shown_and_kept(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("epsilon-1e-5")
    async with make_app().run_test(size=SIZE) as pilot:
        await press(
            pilot, "escape", "p", "type:gradnorm", "enter", "v", "p", "type:linear1", "tab", "down", "tab", "enter"
        )
        await settle(pilot)
        grid = pilot.app.screen.query_one(ChartGrid)
        shown = [[trace.metric for trace in chart.traces] for chart in grid._charts]
        assert shown[0] == ["gradient_norm"] and ["linear1" in one for one in shown[1]] == [True, False]
        await press(pilot, "enter")
        assert pilot.app.screen.query_one(ChartGrid)._charts[0].traces[0].metric == "gradient_norm"
        await press(pilot, "v", "v", "v", "v", "v", "v", "p", "ctrl+u", "escape")
        assert grid._charts[0].name == "accuracy"
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, "escape")
        await settle(pilot)
        grid = pilot.app.screen.query_one(ChartGrid)
        assert [len(chart.traces) for chart in grid._charts][:2] == [3, 2], "the second one was kept"


async def test_the_cursor_goes_to_events_and_to_steps(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("epsilon-1e-5")
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, "escape")
        await settle(pilot)
        await press(pilot, "full_stop", "full_stop")
        grid = pilot.app.screen.query_one(ChartGrid)
        seen = pilot.app.snapshot.shown[0].milestones
        assert grid.cursor_step == seen.blowup_steps[0] > (seen.fit_step or 0)
        await press(pilot, "comma")
        assert grid.cursor_step == seen.fit_step
        await press(pilot, "g", "type:10,000", "enter")
        assert abs((grid.cursor_step or 0) - 10_000) <= 78
        await press(pilot, "g", "type:test>=0.95", "enter")
        assert grid.cursor_step == seen.generalise_step
        await press(pilot, "g", "type:test>2", "enter", "g", "type:nothing", "enter")
        said = [notice.message for notice in pilot.app._notifications]
        assert "holds at no point" in said[0] and "neither a step nor a condition" in said[1]
        await press(pilot, "X")
        assert grid._view.axis == "epoch" and grid._view.cursor is None
        await press(pilot, "full_stop", "full_stop")
        assert grid.cursor_step == seen.blowup_steps[0], "events are on every axis"


async def test_values_are_zoomed_around_the_newest(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, "escape", *["right_square_bracket"] * 4)
        grid = pilot.app.screen.query_one(ChartGrid)
        figure = grid.panels[0]._figure
        low, high = figure.y_range or (0, 0)
        assert 0.9 < low < high <= 1 and high - low == pytest.approx(1 / 16)
        await press(pilot, "0")
        assert grid.panels[0]._figure.y_range == (0, 1)


async def test_several_runs_are_compared_at_the_cursor(recorded: Recorded, make_app: MakeApp) -> None:
    for name in ("epsilon-1e-2", "epsilon-1e-5", "demo"):
        recorded.add(name)
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, "escape", "m", "down", "m", "down", "m", "left")
        status = pilot.app.screen.query_one("#status", PlainText)
        head, *rows = str(status.content).split("\n")
        assert re.split(r"\s{2,}", head.strip())[:4] == ["step 24,180", "test accuracy", "difference", "weight norm"]
        values = [row[head.index("test accuracy") : head.index("weight norm")].split() for row in rows]
        assert values[0] == ["–"], "the demo ended before"
        assert values[1][2:] == ["reference"] and re.fullmatch(r"[+−]\S+ points", " ".join(values[2][2:])), values
        assert "loss" not in head
        await resize(pilot, 200, 60)
        assert "test loss" in str(status.content), "more metrics fit into more room"
        await press(pilot, "0")
        assert status.size.height == 1


async def test_where_there_is_no_room_the_values_at_the_cursor_are_named_too(
    recorded: Recorded, make_app: MakeApp
) -> None:
    for name in ("epsilon-1e-2", "epsilon-1e-5", "demo"):
        recorded.add(name)
    async with make_app().run_test(size=(80, 24)) as pilot:
        await press(pilot, "escape", "m", "down", "m", "down", "m", "left")
        status = pilot.app.screen.query_one("#status", PlainText)
        lines = str(status.content).split("\n")
        assert lines[0].startswith("step 24,180   test accuracy   ") and status.size.height == len(lines)
        assert all(len(line) <= 76 for line in lines)
        said = " ".join(lines)
        for name in ("λ 0.1, ε 0.01", "λ 0.1, ε 1e-5", "λ 0.3, ε 0.01"):
            assert re.search(rf"{name} (\S+ %|–)", said), said


def test_a_read_out_counts_the_runs_that_have_no_room(recorded: Recorded) -> None:
    for seed in range(12):
        recorded.add("demo", seed=seed, points=20)
    shown = [Shown(run, recorded.store.curves(run.id), (), Milestones(None, None, ())) for run in recorded.store.runs()]
    text = readout("test_accuracy", subjects(shown, Identities().of), View(cursor=700.0), 76).plain
    named = text.count("seed ")
    assert text.count("\n") == 2 and 0 < named < 12 and text.endswith(f"   +{12 - named}")


async def test_seeds_of_one_config_are_a_band(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("epsilon-1e-2")
    for seed in range(3):
        recorded.add("demo", seed=seed, points=100 - seed)
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, "escape", "m", "down", "m", "down", "m", "down", "m")
        while len(pilot.app.snapshot.shown) < 4:
            await settle(pilot)
        grid = pilot.app.screen.query_one(ChartGrid)
        assert len(grid.panels[1]._figure.series) == 4, "two edges, a median and the other run"
        low, high, median, _ = grid.panels[1]._figure.series
        assert len(median.x) == 98 and (np.asarray(low.y) <= np.asarray(median.y)).all()
        assert (np.asarray(median.y) <= np.asarray(high.y)).all()
        assert "median and range of 3 seeds" in str(pilot.app.screen.query_one("#status", PlainText).content)
        await press(pilot, "B")
        assert not any("dim" in (line.color or "") for line in grid.panels[1]._figure.series)
