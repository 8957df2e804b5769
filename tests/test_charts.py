from __future__ import annotations

import itertools
import re
import threading
from typing import Any

import numpy as np
import plotext
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from wdtui.plots.terminal import RUN_COLORS, RUN_MARKERS, Level, Mark, Series, decimate, draw

ANY = st.one_of(st.floats(width=64), st.sampled_from([np.nan, np.inf, -np.inf, 0.0, 1e308, -1e308, 5e-324, 1.0]))
CURVES = st.lists(st.tuples(ANY, ANY), max_size=40)
QUICK = settings(max_examples=150, deadline=None)
STEPS = np.arange(100.0)


def lines(chart: Text) -> list[str]:
    return chart.plain.split("\n")


def dots(chart: Text) -> set[tuple[int, int]]:
    """Rows and columns of the cells that hold braille."""
    return {
        (row, column)
        for row, line in enumerate(lines(chart))
        for column, char in enumerate(line)
        if "\u2800" < char <= "\u28ff"
    }


def one(y: Any, x: Any = None, **options: Any) -> Text:
    y = np.asarray(y, dtype=float)
    options = {"width": 60, "height": 14, **options}
    return draw([Series("curve", np.arange(len(y)) if x is None else x, y)], **options)


def groups(x: np.ndarray, columns: int, low: float, high: float) -> np.ndarray:
    return np.minimum((x - low) / (high - low) * columns, columns - 1).astype(int)


@QUICK
@given(st.lists(st.tuples(st.floats(0, 100), st.floats()), max_size=80), st.integers(1, 8))
def test_decimate_keeps_the_extremes_of_every_column(points: list[tuple[float, float]], columns: int) -> None:
    points.sort(key=lambda point: point[0])
    x, y = np.array(points, dtype=float).reshape(-1, 2).T
    kept_x, kept_y = decimate(x, y, columns, (0, 100))
    finite, kept = np.isfinite(y), np.isfinite(kept_y)
    assert kept.sum() <= 2 * columns + 2
    assert len(kept_x) <= 4 * columns + 3
    assert set(zip(kept_x, kept_y.astype(str), strict=True)) <= set(zip(x, y.astype(str), strict=True))
    assert (np.diff(kept_x) >= 0).all()
    before, after = groups(x[finite], columns, 0, 100), groups(kept_x[kept], columns, 0, 100)
    assert set(before) == set(after)
    for column in set(before):
        assert y[finite][before == column].min() == kept_y[kept][after == column].min()
        assert y[finite][before == column].max() == kept_y[kept][after == column].max()


@QUICK
@given(st.lists(st.sampled_from([0.0, 1.0, 2.0, np.nan]), max_size=60), st.integers(1, 6))
def test_decimate_keeps_a_gap_between_two_kept_points(values: list[float], columns: int) -> None:
    x, y = np.arange(len(values), dtype=float), np.array(values, dtype=float)
    kept_x, kept_y = decimate(x, y, columns, (0, max(len(values) - 1, 1)))
    stayed = kept_x[np.isfinite(kept_y)].astype(int)
    for left, right in itertools.pairwise(stayed):
        gap = ((kept_x > left) & (kept_x < right)).any()
        assert gap == np.isnan(y[left:right]).any()


def test_decimate_of_a_part_keeps_one_neighbour_on_each_side() -> None:
    x, _ = decimate(STEPS, STEPS, 5, (40.0, 60.0))
    assert x[0] == 39
    assert x[-1] == 61


def test_decimate_spreads_columns_evenly_over_a_logarithmic_axis() -> None:
    x = np.arange(0.0, 10_001.0)
    kept, _ = decimate(x, x, 4, (1.0, 10_000.0), x_log=True)
    assert {1.0, 9.0, 10.0, 99.0, 100.0, 999.0, 1000.0, 10_000.0} == set(kept)


@QUICK
@given(
    st.lists(CURVES, max_size=3),
    st.integers(1, 90),
    st.integers(1, 24),
    st.fixed_dictionaries({name: st.booleans() for name in ("x_log", "y_log", "legend", "ascii")}),
    st.one_of(st.none(), st.tuples(ANY, ANY)),
    st.one_of(st.none(), st.tuples(ANY, ANY)),
    st.lists(ANY, max_size=4),
)
def test_any_data_at_any_size_fills_exactly_the_given_cells(
    curves: list[list[tuple[float, float]]],
    width: int,
    height: int,
    options: dict[str, bool],
    x_range: tuple[float, float] | None,
    y_range: tuple[float, float] | None,
    extras: list[float],
) -> None:
    series = []
    for index, curve in enumerate(curves):
        x, y = np.array(curve, dtype=float).reshape(-1, 2).T
        series.append(Series(f"run {index}\n", x, y, RUN_COLORS[index], RUN_MARKERS[index]))
    chart = draw(
        series,
        width=width,
        height=height,
        x_range=x_range,
        y_range=y_range,
        marks=[Mark(x, "blow-up 日本") for x in extras],
        levels=[Level(y, "ε") for y in extras],
        cursor=extras[0] if extras else None,
        **options,
    )
    assert [cell_len(line) for line in lines(chart)] == [width] * height
    assert chart.plain.isascii() or not options["ascii"]


def test_curves_that_end_far_before_the_axis_are_not_drawn() -> None:
    chart = draw([Series("", [-3.6e306], [0.0])], width=12, height=4, x_range=(-1, 0))
    assert "no points yet" not in chart.plain and len(lines(chart)) == 4


@pytest.mark.parametrize("position", [1, 777, 50_000, 99_998])
@pytest.mark.parametrize("width", [12, 60, 200])
def test_a_crash_of_one_point_among_a_hundred_thousand_is_visible(position: int, width: int) -> None:
    y = np.ones(100_000)
    y[position] = 0.0
    chart = one(y, width=width, y_range=(0, 1))
    ones, zeros = (row for row, line in enumerate(lines(chart)) if line.split("┤")[0].strip() in ("1.0", "0"))
    assert {row for row, _ in dots(chart)} == {*range(ones, zeros + 1)} and zeros - ones == 10


def test_a_gap_is_not_bridged() -> None:
    y = np.ones(100)
    y[40:60] = np.nan
    columns = {column for _, column in dots(one(y, y_range=(0, 2)))}
    missing = sorted(set(range(min(columns), max(columns))) - columns)
    assert 8 <= len(missing) <= 14
    assert missing == list(range(missing[0], missing[-1] + 1))


def test_values_without_a_logarithm_are_gaps() -> None:
    assert dots(one(np.where(STEPS == 50, -1.0, 10.0), y_log=True)) == dots(
        one(np.where(STEPS == 50, np.nan, 10.0), y_log=True)
    )


def test_values_beyond_the_range_are_drawn_at_its_edge() -> None:
    assert {row for row, _ in dots(one([5.0] * 9, y_range=(0, 1)))} == {0}


def test_a_zoomed_line_continues_to_the_edge() -> None:
    columns = {column for _, column in dots(one([0.0, 1.0], x=[0, 100], x_range=(40, 60), y_range=(0, 1)))}
    assert max(columns) == 59
    assert len(columns) == 60 - min(columns)


@pytest.mark.parametrize(("y", "said"), [([], "no points yet"), ([np.nan] * 5, "no values"), ([np.inf], "no values")])
def test_a_chart_without_points_or_values_has_a_message(y: list[float], said: str) -> None:
    assert said in one(y).plain
    assert not dots(one(y))


@pytest.mark.parametrize("step", [0, 1, 30_030])
def test_a_single_point_is_drawn_large(step: int) -> None:
    assert one([3.0], x=[step]).plain.count("•") == 1
    assert one([3.0, np.nan], x=[step, step + 1], ascii=True).plain.count("*") == 1


def test_marks_are_labelled_triangles_on_the_time_axis() -> None:
    chart = one(np.ones(30_000), marks=[Mark(3_666, "fit 3,666"), Mark(29_796, "generalise 29,796")])
    assert "▲fit 3,666" in chart.plain
    assert "generalise 29,796▲" in chart.plain


def test_many_blowups_share_one_label() -> None:
    chart = one(np.ones(1000), marks=[Mark(x, "blow-up") for x in (100, 500, 600, 700, 800)])
    assert chart.plain.count("▲") == 5
    assert chart.plain.count("▲blow-up ×5") == 1


def test_marks_beyond_the_axis_are_left_out() -> None:
    assert "▲" not in one(STEPS, marks=[Mark(1e9, "late"), Mark(float("nan"))]).plain


def test_a_level_is_a_dashed_line_with_its_name() -> None:
    (line,) = [line for line in lines(one(1e-2 / (1 + STEPS), y_log=True, levels=[Level(1e-2, "ε")])) if "ε" in line]
    assert line.count("╌") > 40


def test_a_level_near_the_curve_widens_the_range_and_a_far_one_does_not() -> None:
    curve = np.linspace(1e-4, 2e-4, 50)
    assert "ε" in one(curve, y_log=True, levels=[Level(1e-5, "ε")]).plain
    assert "ε" not in one(curve, y_log=True, levels=[Level(1e-12, "ε")]).plain


def test_the_cursor_is_a_line_behind_the_curve() -> None:
    plain, with_cursor = one(STEPS), one(STEPS, cursor=20.0)
    assert dots(plain) == dots(with_cursor)
    assert with_cursor.plain.count("│") > plain.plain.count("│") + 8


def labels_of(chart: Text) -> list[str]:
    return [line.split("┤")[0].strip() for line in lines(chart) if "┤" in line]


def test_ticks_are_few_and_round() -> None:
    chart = one(np.linspace(0, 1, 30_030), y_range=(0, 1))
    assert labels_of(chart) == ["1.0", "0.5", "0"]
    assert lines(chart)[-1].split() == ["0", "10k", "20k", "30,029"], "the last one where the data end"


def test_a_logarithmic_axis_has_powers_of_ten() -> None:
    assert labels_of(one(np.logspace(-6, -1, 50), y_log=True)) == ["1e-2", "1e-4", "1e-6"]


def test_a_narrow_logarithmic_axis_still_has_two_ticks() -> None:
    for low, high in ((56, 117), (2e-4, 9e-3), (0.9, 1.1), (3, 4)):
        assert len(set(labels_of(one(np.geomspace(low, high, 20), y_log=True)))) >= 2


def test_several_curves_are_named_beside_their_lines_or_in_a_legend() -> None:
    curves = [Series("train", STEPS, STEPS / 99), Series("test", STEPS, STEPS / 300)]
    beside = draw(curves, width=60, height=14)
    assert "train" in beside.plain
    assert "test" in beside.plain
    assert lines(draw(curves, width=60, height=14, legend=True))[0].split() == ["───", "train", "───", "test"]


def test_a_full_legend_counts_the_remaining_curves() -> None:
    curves = [Series(f"a rather long name {index}", STEPS, STEPS) for index in range(9)]
    assert lines(draw(curves, width=60, height=14, legend=True))[0].rstrip().endswith("+7")


def test_lines_differ_by_marker_too() -> None:
    curves = [Series("", STEPS, STEPS * (k + 1), RUN_COLORS[k], RUN_MARKERS[k]) for k in range(len(RUN_COLORS))]
    chart = draw(curves, width=120, height=30)
    assert all(marker in chart.plain for marker in RUN_MARKERS)
    assert len(set(RUN_MARKERS)) == len(RUN_MARKERS) == len(RUN_COLORS)


def test_a_chart_sets_no_background() -> None:
    curve = [Series("", STEPS, STEPS, RUN_COLORS[0])]
    colored = {str(span.style) for span in draw(curve, width=60, height=14).spans}
    assert colored == {"dim", "dim #808080", RUN_COLORS[0]}


def test_no_curve_vanishes_under_another_one() -> None:
    chart = draw([Series("", STEPS, STEPS, color) for color in RUN_COLORS[:2]], width=60, height=14)
    cells = {str(span.style): span.end - span.start for span in chart.spans}
    assert {RUN_COLORS[0], RUN_COLORS[1]} <= set(cells)


def test_curves_are_named_at_their_ends() -> None:
    half = STEPS[: len(STEPS) // 2]
    chart = draw(
        [Series("low", half, half * 0), Series("high", half, half * 0 + 1)], width=60, height=14, x_range=(0, 100)
    )
    low = next(line for line in lines(chart) if "low" in line)
    assert 30 < low.index("low") < 40


def test_the_lines_of_marks_and_the_grid_are_behind_the_curves() -> None:
    bare = one(STEPS, width=60, height=14, marks=[Mark(50)])
    chart = one(STEPS, width=60, height=14, marks=[Mark(50, "blow-up", "#d7263d", line=True)])
    dots, without = ([char for char in each.plain if "\u2800" < char <= "\u28ff"] for each in (chart, bare))
    assert dots == without
    assert chart.plain.count("┊") >= 8 and "·" in chart.plain
    assert "┊" not in one(STEPS, width=60, height=14, marks=[Mark(50, "blow-up", "#d7263d")]).plain


@pytest.mark.parametrize("log", [False, True])
def test_a_run_that_would_flatten_the_others_leaves_the_chart(log: bool) -> None:
    runs = [Series("", STEPS, 1 + STEPS / 50 * k) for k in range(1, 4)] + [Series("", STEPS, 10.0 ** (STEPS / 10))]
    every, others = (labels_of(draw(runs, width=60, height=14, y_log=log, outliers=keep)) for keep in (True, False))
    assert float(others[0]) <= 10 < float(every[0].replace("k", "000").replace(",", ""))


def test_runs_that_are_merely_different_stay_in_the_chart() -> None:
    runs = [Series("", STEPS, STEPS * k) for k in range(1, 5)]
    first, second = (draw(runs, width=60, height=14, outliers=keep) for keep in (True, False))
    assert first.plain == second.plain


def test_drawing_in_many_threads_gives_the_same_charts() -> None:
    expected = [one(STEPS * k, width=40).plain for k in range(1, 5)]
    drawn: dict[int, set[str]] = {k: set() for k in range(4)}

    def work(k: int) -> None:
        for _ in range(10):
            drawn[k].add(one(STEPS * (k + 1), width=40).plain)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [drawn[k] for k in range(4)] == [{plain} for plain in expected]


def test_a_chart_does_not_change_plotexts_shared_figure() -> None:
    plotext.clear_figure()
    plotext.plot_size(30, 8)
    plotext.plot([1, 2, 3], [3, 1, 2])
    shared = plotext.build()
    one(STEPS, cursor=20.0)
    assert plotext.build() == shared
    plotext.clear_figure()


def test_a_chart_prints_nothing_even_where_plotext_shows_each_change(capfd: pytest.CaptureFixture[str]) -> None:
    plotext.interactive(True)
    try:
        one(STEPS, cursor=20.0)
    finally:
        plotext.interactive(False)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("terminal", [("1", "1"), ("20", "5"), ("300", "100")])
def test_the_size_of_the_terminal_changes_no_chart(terminal: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = one(STEPS, width=120, height=30)
    for name, value in zip(("COLUMNS", "LINES"), terminal, strict=True):
        monkeypatch.setenv(name, value)
    assert one(STEPS, width=120, height=30) == expected


def test_curves_in_the_same_cell_both_keep_their_dots() -> None:
    upper, lower = (Series("", STEPS, np.full(100, y)) for y in (1.0, 0.97))
    alone = [draw([curve], width=60, height=14, y_range=(0, 1)) for curve in (upper, lower)]
    both = draw([upper, lower], width=60, height=14, y_range=(0, 1))
    (row,) = {row for row, _ in dots(both)}
    first, second, shared = (lines(chart)[row][20] for chart in (*alone, both))
    assert first != second and ord(shared) == ord(first) | ord(second)


def test_the_cursor_reaches_the_time_axis() -> None:
    *above, axis, _ = lines(one(STEPS, cursor=20.0, y_range=(0, 1000)))
    column = axis.index("┴")
    assert {line[column] for line in above[:-1]} == {"│"}


@pytest.mark.parametrize("height", [4, 5, 6, 7, 8, 14])
@pytest.mark.parametrize("width", [24, 40, 60, 100])
def test_a_mark_removes_no_tick(width: int, height: int) -> None:
    def ticks(*marks: Mark) -> list[str]:
        chart = one([1, 1], x=[0, 10_000], width=width, height=height, y_range=(0, 1), marks=marks)
        return re.findall(r"(?<!\S)(?:0|[\d,]+000|\d+k)(?!\S)", lines(chart)[-1])

    bare = ticks()
    assert len(bare) >= 2
    for step in range(0, 10_000, 250):
        assert ticks(Mark(step, "blow-up"), Mark(step + 400, f"fit@{step}")) == bare, step


def test_marks_are_visible_in_a_low_chart() -> None:
    chart = one(np.ones(10_000), width=120, height=6, y_range=(0, 1), marks=[Mark(3_000, "fit 3,000"), Mark(9_000)])
    assert chart.plain.count("▲") == 2
    assert "fit 3,000" in chart.plain


@QUICK
@given(st.floats(-12, 12), st.floats(0.02, 12), st.integers(8, 40))
def test_a_logarithmic_axis_of_any_range_has_at_least_two_round_ticks(low: float, decades: float, height: int) -> None:
    chart = one(np.logspace(low, low + decades, 50), y_log=True, height=height)
    shown = [label for label in labels_of(chart) if label]
    assert len(shown) >= 2, chart.plain
    for label in shown:
        value = float(label.removesuffix("k").replace(",", ""))
        assert decades < 1 or f"{value:.0e}"[0] in "1235", chart.plain


@QUICK
@given(st.floats(0, 3), st.floats(0.3, 6), st.integers(30, 120))
def test_a_logarithmic_time_axis_has_at_least_two_ticks(low: float, decades: float, width: int) -> None:
    steps = np.logspace(low, low + decades, 50)
    chart = one(np.ones(50), x=steps, x_log=True, x_range=(steps[0], steps[-1]), width=width)
    assert len(lines(chart)[-1].split()) >= 2, chart.plain


@pytest.mark.parametrize("log", [False, True])
def test_a_column_of_a_chart_maps_to_its_step(log: bool) -> None:
    chart = one(STEPS + 1, x=STEPS + 1, x_log=log, cursor=50.0)
    (column, *_) = [place for place, char in enumerate(lines(chart)[0]) if char == "│" and place > 8]
    step = chart.x_at(column)
    assert step == pytest.approx(50, rel=0.05)
    assert chart.x_at(0) is None, "the margin shows no step"


def test_a_column_of_an_empty_chart_maps_to_no_step() -> None:
    assert one([]).x_at(30) is None


@QUICK
@given(st.floats(0, 40_000), st.floats(10, 90_000), st.integers(30, 120))
@example(0.0078125, 10_001.0, 30)
def test_a_time_axis_of_any_range_has_at_least_two_ticks(low: float, span: float, width: int) -> None:
    chart = one([0.5, 0.5], x=[low, low + span], x_range=(low, low + span), y_range=(0, 1), width=width)
    assert len(lines(chart)[-1].split()) >= 2, chart.plain


def pixels(chart: Text) -> np.ndarray:
    """The dots of a chart, [4 × lines, 2 × columns]."""
    codes = np.array([[ord(char) for char in line] for line in lines(chart)])
    codes = np.where((codes > 0x2800) & (codes < 0x2900), codes - 0x2800, 0)
    grid = np.zeros((4 * codes.shape[0], 2 * codes.shape[1]), dtype=bool)
    for bit, (down, across) in enumerate([(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0), (3, 1)]):
        grid[down::4, across::2] = codes >> bit & 1
    return grid


def label_rows(chart: Text) -> dict[str, int]:
    return {line.split("┤")[0].strip(): row for row, line in enumerate(lines(chart)) if "┤" in line}


@pytest.mark.parametrize("height", range(7, 40))
def test_a_share_has_evenly_spaced_ticks_from_0_to_1(height: int) -> None:
    rows = label_rows(one([0.3, 0.6], y_range=(0, 1), height=height))
    assert {"0", "1.0"} <= {*rows} or {"0", "1.00"} <= {*rows}
    assert len(rows) >= 3 and len({*np.diff([*rows.values()])}) == 1
    assert max(rows.values()) - min(rows.values()) >= 0.75 * (height - 3), "most rows are used"


@QUICK
@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(7, 40))
@example(131_250.0, 131_251.0, 8)  # more than half of the rows, and fewer from row to row
def test_a_linear_axis_of_any_range_has_evenly_spaced_ticks_three_where_there_is_room(
    low: float, span: float, height: int
) -> None:
    assume(span > 1e-5 * abs(low))
    chart = one([low, low + span], height=height, width=90)
    rows = label_rows(chart)
    assert len(rows) >= (3 if height > 7 else 2) and len({*np.diff([*rows.values()])}) == 1, chart.plain
    touched = np.flatnonzero(pixels(chart).any(axis=1)) / 4  # in rows, which have four dots each
    assert touched[-1] - touched[0] >= 0.5 * (height - 3) - 0.25, chart.plain  # up to a dot


@pytest.mark.parametrize("height", [7, 9, 10, 14, 23])
@pytest.mark.parametrize(("y_range", "log"), [((0, 1), False), ((1e-4, 1), True)])
def test_a_curve_at_the_value_of_a_tick_lies_in_the_middle_of_its_row(
    height: int, y_range: tuple[float, float], log: bool
) -> None:
    for label, row in label_rows(one([0.5, 0.6], y_range=y_range, y_log=log, height=height)).items():
        if "3" not in label:  # 3 is only about the middle of a decade
            level = pixels(one([float(label)] * 9, y_range=y_range, y_log=log, height=height))
            (touched,) = np.flatnonzero(level.any(axis=1))
            assert touched in (4 * row + 1, 4 * row + 2), label


@pytest.mark.parametrize("height", [7, 9, 10, 14, 23])
def test_values_near_a_tick_lie_at_its_height(height: int) -> None:
    for label, row in label_rows(one([0.5, 0.6], y_range=(0, 1), height=height)).items():
        near = [float(label) + 0.01 / height * side for side in (-1, 0, 1)]
        level = pixels(one(np.repeat(near, 9), y_range=(0, 1), height=height))
        assert np.flatnonzero(level.any(axis=1)).tolist() == [4 * row + 2], label


@QUICK
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=300), st.integers(20, 90), st.integers(6, 20))
def test_consecutive_points_are_joined(moves: list[float], width: int, height: int) -> None:
    drawn = pixels(one(np.cumsum(moves), width=width, height=height))
    columns = [np.flatnonzero(column) for column in drawn.T if column.any()]
    touched = np.flatnonzero(drawn.any(axis=0))
    assert (np.diff(touched) == 1).all()
    for rows in columns:
        assert (np.diff(rows) == 1).all() or len(moves) > width, "a column without a gap"
    for left, right in itertools.pairwise(columns):
        assert min(abs(a - b) for a in left for b in right) <= 1


NAMES = ("train", "validation", "test")


@QUICK
@given(st.integers(0, 2**32 - 1), st.integers(36, 90), st.integers(11, 30))
@example(9232, 36, 11)  # there is room for a shortened name only
def test_every_curve_has_its_name_with_a_blank_cell_on_each_side(seed: int, width: int, height: int) -> None:
    random = np.random.default_rng(seed)
    values = np.cumsum(random.normal(size=(3, 100)), axis=1) * random.random((3, 1))
    curves = [Series(name, STEPS, y, "", marker) for name, y, marker in zip(NAMES, values, ("", "•", "×"), strict=True)]
    chart = draw(curves, width=width, height=height, marks=[Mark(50, line=True)])
    area = [re.split("[┤│]", line, maxsplit=1)[-1] for line in lines(chart)]
    for name in ("train", "• validation", "× test"):
        shown = re.compile(f"{re.escape(name)}|{re.escape(name[:3])}[a-z]*…")
        (line,) = [f" {line} " for line in area if shown.search(line)]
        (found,) = shown.finditer(line)
        around = line[found.start() - 1] + line[found.end()]
        assert not {"·", "┊"} & {*around}, chart.plain


def test_names_that_begin_alike_are_left_out_rather_than_shortened() -> None:
    values = np.tile([0.0, 1.0], 50)
    prefixed = draw([Series(f"layer{k}.linear", STEPS, values) for k in range(3)], width=40, height=13, y_range=(0, 1))
    assert "layer" not in prefixed.plain and "laye" not in prefixed.plain
    different = draw([Series(f"{k}layer.linear", STEPS, values) for k in "abc"], width=40, height=13, y_range=(0, 1))
    assert [name for name in ("alay…", "blay…", "clay…") if name in different.plain]


def test_the_label_of_a_level_has_a_blank_cell_on_its_left() -> None:
    assert "╌ ε" in one([0.2, 0.1], levels=[Level(0.15, "ε")]).plain


def test_the_scale_of_a_growing_curve_seldom_changes() -> None:
    values = 20 + 100 * np.exp(-STEPS / 30)
    axes = [tuple(label_rows(one(values[:count], x_range=(0, 99), height=11)).items()) for count in range(20, 101)]
    assert sum(before != after for before, after in itertools.pairwise(axes)) <= 6


def test_marks_have_the_glyph_of_their_kind() -> None:
    chart = one(STEPS, marks=[Mark(20, "fit", glyph="◇"), Mark(60, "blow-up")])
    assert "◇fit" in chart.plain and "▲blow-up" in chart.plain
    assert "ofit" in one(STEPS, marks=[Mark(20, "fit", glyph="◇")], ascii=True).plain


def test_events_of_two_kinds_in_one_place_stand_beside_each_other() -> None:
    marks = [Mark(50, "", "blue", glyph="▲"), Mark(50, "", "green", glyph="●"), Mark(50, "", "blue", glyph="▲")]
    assert one(STEPS, marks=marks).plain.count("▲●") == 1
    at_the_end = [Mark(99, "", "blue", glyph="▲"), Mark(99, "", "green", glyph="●")]
    assert "●▲" in one(STEPS, marks=at_the_end).plain


def test_a_round_tick_without_room_for_its_label_keeps_its_place() -> None:
    *_, axis, labels = lines(one(np.ones(24_181), width=40))
    assert labels.split() == ["0", "10k", "24,180"]
    ticks = [column for column, char in enumerate(axis) if char == "┬"]
    assert len(ticks) == 4 and abs((ticks[2] - ticks[1]) - (ticks[1] - ticks[0])) <= 1
