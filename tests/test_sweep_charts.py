"""The curve and the map of a sweep: what can be read off them, at any size."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from test_sweep_table import Run

from wdtui.analysis.sweep_table import Table
from wdtui.plots.terminal.colormap import filled
from wdtui.plots.terminal.heatmap import heatmap
from wdtui.plots.terminal.sweeps import axis_positions, curve, title
from wdtui.problems.addition.config import RunConfig

SCHEMA = RunConfig.schema()
QUICK = settings(max_examples=60, deadline=None)
ACCURACIES = ("train_accuracy", "test_accuracy")
DECAYS = (0.0, 0.01, 0.1, 1.0)


def run(train: float, test: float, fit: int | None = None, status: str = "done") -> Run:
    return Run({"train_accuracy": train, "test_accuracy": test}, {"milestones": {"fit_step": fit}}, status)


def one_axis(*seeds: float) -> Table:
    """Fitting up to 0.1; test accuracy rises by so much with each seed."""
    results = {0.0: (1.0, 0.0, 9), 0.01: (1.0, 0.3, 9), 0.1: (1.0, 0.9, 9), 1.0: (0.1, 0.0, None)}
    return Table.of(
        SCHEMA,
        {"weight_decay": DECAYS},
        [((decay,), run(a, b + seed, fit)) for decay, (a, b, fit) in results.items() for seed in seeds],
    )


def two_axes(status: str = "done", rows: int = 3, columns: int = 4) -> Table:
    axes: dict[str, Any] = {"weight_decay": tuple(range(rows)), "width": tuple(range(8, 8 + columns))}
    cells = list(itertools.product(*axes.values()))
    return Table.of(
        SCHEMA,
        axes,
        [(cell, run(0, index / len(cells), status=status)) for index, cell in enumerate(cells)],
    )


def lines(chart: Text) -> list[str]:
    return chart.plain.split("\n")


def test_zero_is_at_the_left_edge_of_a_logarithmic_axis() -> None:
    zero, *others = axis_positions(SCHEMA, "weight_decay", DECAYS)
    assert others == [-2, -1, 0] and zero < -2
    assert axis_positions(SCHEMA, "blocks", (1, 2, 4)) == [1, 2, 4]
    assert axis_positions(SCHEMA, "loss", ("mse", "cross_entropy")) == [0, 1]
    assert axis_positions(SCHEMA, "normalized_weight_decay", (None, 0.05)) == [0, 1]
    assert axis_positions(SCHEMA, "weight_decay", (0.0,)) == [0]


def test_the_curve_labels_values_and_marks_the_threshold() -> None:
    chart = curve(one_axis(0.0), metrics=ACCURACIES, width=90, height=16)
    assert lines(chart)[-1].split() == ["0", "0.01", "0.1", "1"]
    assert "interpolation threshold 0.1" in chart.plain
    assert "training accuracy" in chart.plain and "test accuracy" in chart.plain


def test_bars_span_the_seeds() -> None:
    def rows_at_the_end(table: Table) -> int:
        """How many rows are touched where λ = 0.01 stands."""
        drawn = lines(curve(table, width=91, height=20, metrics=["test_accuracy"]))
        column = drawn[-1].index("0.01") + 2
        return sum("\u2800" < line[column] <= "\u28ff" for line in drawn)

    assert rows_at_the_end(one_axis(0.0, 0.0)) <= 2
    assert rows_at_the_end(one_axis(-0.2, 0.0, 0.3)) >= 7


def shaded(table: Table, metric: str, **size: int) -> Text:
    return heatmap(table, metric, colors=False, **size)


def backgrounds(chart: Text, line: int) -> list[str]:
    """The background colour of each character of a line."""
    start = sum(len(before) + 1 for before in lines(chart)[:line])
    console = Console(color_system="truecolor")
    styles = [chart.get_style_at_offset(console, start + column) for column in range(len(lines(chart)[line]))]
    return [style.bgcolor.name if style.bgcolor else "" for style in styles]


def test_the_sweep_map_shows_a_shade_and_the_median_over_seeds() -> None:
    drawn = lines(shaded(two_axes(), "test_accuracy", width=46, height=6))
    assert drawn[0].split() == ["λ", "╲", "H", "8", "9", "10", "11"]
    assert drawn[3].split() == ["2", "▓▓", "0.67", "▓▓██", "0.75", "████", "0.83", "████", "0.92", "██"]
    assert drawn[-1].rstrip() == "test  0.00   ░░▒▒▓▓██ 0.92   ▸ training", "· waiting has no room"
    wide = lines(shaded(two_axes(), "test_accuracy", width=90, height=6))
    assert wide[-1].rstrip().endswith("test accuracy  0.00     ░░░░▒▒▒▒▓▓▓▓████ 0.92   ▸ training  ✗ failed  · waiting")


def test_the_cells_of_the_map_are_filled_with_colours_that_rise_with_the_value() -> None:
    chart = heatmap(two_axes(), "test_accuracy", width=46, height=6)
    first, last = backgrounds(chart, 1), backgrounds(chart, 3)
    assert first[5] == "" and first[-40:].count("") == 0  # all but the names of the rows
    assert first[8] == "#440154" and last[-1] == "#fde725"  # the ends of viridis
    legend = backgrounds(chart, 5)
    assert {"#440154", "#fde725"} <= set(legend)


def test_numbers_on_the_map_are_light_on_dark_and_dark_on_light() -> None:
    dark, light = filled(0.0), filled(1.0)
    assert dark.color and light.color and (dark.color.name, light.color.name) == ("#ffffff", "#000000")


@pytest.mark.parametrize(("width", "height"), [(120, 40), (61, 12), (200, 9), (90, 21)])
def test_the_rows_of_the_map_are_equally_tall_and_fill_its_panel(width: int, height: int) -> None:
    chart = heatmap(two_axes(), "test_accuracy", width=width, height=height)
    colors = [backgrounds(chart, line)[10] for line in range(1, height - 1)]
    rows = [(color, len([*lines])) for color, lines in itertools.groupby(colors) if color]
    assert len({tall for _, tall in rows}) == 1 and len(rows) == 3
    assert height - 2 - sum(tall for _, tall in rows) < 3, "less than a line for each row stays blank"


def test_a_line_separates_cells_that_generalise_from_those_that_do_not() -> None:
    axes = {"weight_decay": (0.1, 0.2), "width": (8, 16)}
    results = zip(itertools.product(*axes.values()), (0.2, 0.96, 0.3, 0.4), strict=True)
    table = Table.of(SCHEMA, axes, [(cell, run(1, test)) for cell, test in results])
    drawn = lines(heatmap(table, "test_accuracy", width=60, height=9))
    assert "▐" in drawn[1] and "▐" not in drawn[4] and drawn[3].rstrip().endswith("▂▂▂")
    assert "▐ line: test 0.95" in drawn[-1]
    assert "▐ line: test accuracy 0.95" in lines(heatmap(table, "test_accuracy", width=110, height=9))[-1]
    assert "│ line: test 0.95" in lines(shaded(table, "test_accuracy", width=60, height=9))[-1]
    assert not {"▐", "▂"} & set("".join(lines(heatmap(table, "weight_norm", width=60, height=9))))


def test_a_cell_in_training_shows_its_progress() -> None:
    chart = heatmap(two_axes("running"), "test_accuracy", width=80, height=9)
    line = lines(chart)[2]
    assert abs(line.count("━") - line.count("─")) <= 4 and "━" in line  # each run is half trained
    assert "━" not in heatmap(two_axes("done"), "test_accuracy", width=80, height=9).plain


def test_large_cells_show_the_range_over_seeds() -> None:
    axes = {"weight_decay": (0.1,), "width": (8,)}
    table = Table.of(SCHEMA, axes, [((0.1, 8), run(1, test)) for test in (0.2, 0.3, 0.9)])
    assert "0.30" in (text := heatmap(table, "test_accuracy", width=40, height=9).plain) and "0.20–0.90" in text
    assert "0.20–0.90" not in heatmap(table, "test_accuracy", width=40, height=3).plain


SIGNS = [("running", "▸"), ("queued", "·"), ("failed", "✗"), ("interrupted", "◐"), ("stopped", "■"), ("paused", "‖")]


@pytest.mark.parametrize(("status", "sign"), SIGNS)
def test_a_cell_without_a_value_shows_its_state(status: str, sign: str) -> None:
    drawn = lines(heatmap(two_axes(status), "fit_step", width=80, height=6))
    assert drawn[1].split() == ["0", sign, sign, sign, sign]


@pytest.mark.parametrize(("status", "sign"), [pair for pair in SIGNS if pair[0] != "queued"])
def test_a_cell_of_an_unfinished_run_shows_its_state_and_its_value_so_far(status: str, sign: str) -> None:
    drawn = lines(shaded(two_axes(status), "test_accuracy", width=80, height=5))
    assert [word for word in drawn[2].split() if sign in word] == [
        f"{sign}{value}" for value in ("0.33", "0.42", "0.50", "0.58")
    ]
    assert "░" in drawn[2] and "▒" in drawn[2]


def test_the_signs_on_the_map_are_explained_below_it() -> None:
    axes = {"weight_decay": (0.1, 0.2), "width": (8, 16)}
    states = ("interrupted", "stopped", "failed", "done")
    cells = [
        (cell, run(0, 0.5, status=status))
        for cell, status in zip(itertools.product(*axes.values()), states, strict=True)
    ]
    drawn = lines(heatmap(Table.of(SCHEMA, axes, cells), "test_accuracy", width=120, height=5))
    assert "✗ failed" in drawn[-1] and "◐ interrupted" in drawn[-1] and "■ stopped" in drawn[-1]
    assert "paused" not in drawn[-1]


@pytest.mark.parametrize("metric", ["blowups", "train_accuracy", "weight_norm"])
def test_a_quantity_that_is_0_everywhere_has_the_lightest_shade(metric: str) -> None:
    axes: dict[str, Any] = {"weight_decay": (0.1, 0.2), "width": (8, 16)}
    zero = Run({"train_accuracy": 0.0, "weight_norm": 0.0}, {"blowups": {"count": 0}})
    drawn = lines(
        shaded(
            Table.of(SCHEMA, axes, [(cell, zero) for cell in itertools.product(*axes.values())]),
            metric,
            width=60,
            height=5,
        )
    )
    assert all("0" in line and not set(line) & set("░▒▓█") for line in drawn[1:3])


def test_unfinished_values_of_a_sweep_are_separate_lines() -> None:
    def drawn(status: str) -> str:
        return curve(
            Table.of(SCHEMA, axes, [((one,), run(0.2, 0.8, status=status)) for one in DECAYS]),
            metrics=ACCURACIES,
            width=90,
            height=16,
        ).plain

    axes = {"weight_decay": DECAYS}
    assert "test accuracy so far" in drawn("running") and "training accuracy so far" in drawn("interrupted")
    assert "test accuracy" in drawn("done") and "so far" not in drawn("done")
    part = Table.of(SCHEMA, axes, [((one,), run(0.2, 0.8, status="done" if one else "running")) for one in DECAYS])
    assert "so far" in (both := curve(part, metrics=ACCURACIES, width=90, height=16).plain) and "test accuracy " in both


def test_cells_grow_with_the_size_and_are_labelled_once() -> None:
    drawn = lines(shaded(two_axes(), "test_accuracy", width=100, height=30))
    assert sum("0.92" in line for line in drawn[:-1]) == 1
    assert sum("█████" in line for line in drawn[:-1]) == 9, "a third of the lines"


def test_a_combination_that_equals_another_cell_is_blank() -> None:
    axes = {"weight_decay": (0.1, 0.2), "width": (8, 16)}
    table = Table.of(SCHEMA, axes, [((0.1, 8), run(0, 0.5)), ((0.2, 16), run(0, 0.5))])
    drawn = lines(heatmap(table, "test_accuracy", width=40, height=4))
    assert drawn[1].split()[0] == "0.1" and drawn[1].count("0.50") == drawn[2].count("0.50") == 1
    assert lines(heatmap(Table(SCHEMA, axes, ()), "test_accuracy", width=40, height=4))[1].split() == ["0.1"]


def test_a_small_map_shows_the_part_around_the_selected_cell() -> None:
    table = two_axes(rows=30, columns=30)
    chart = heatmap(table, "test_accuracy", width=60, height=10, selected=(20, 25))
    assert " 33 " in lines(chart)[0] and " 8 " not in lines(chart)[0]
    assert any(line.split()[0] == "20" for line in lines(chart)[1:-1])
    assert chart.plain.count("[") == chart.plain.count("]") == 1


def test_a_large_selected_cell_is_framed() -> None:
    chart = heatmap(two_axes(), "test_accuracy", width=60, height=20, selected=(1, 2))
    assert chart.plain.count("┌") == chart.plain.count("┘") == 1 and "[" not in chart.plain


@QUICK
@given(st.integers(1, 120), st.integers(1, 40), st.integers(1, 5), st.integers(1, 5), st.booleans(), st.booleans())
def test_any_size_is_filled_exactly(
    width: int, height: int, rows: int, columns: int, ascii: bool, colors: bool
) -> None:
    charts = [
        heatmap(
            two_axes(rows=rows, columns=columns),
            "test_accuracy",
            width=width,
            height=height,
            colors=colors,
            ascii=ascii,
        ),
        curve(one_axis(0.0), metrics=ACCURACIES, width=width, height=height, ascii=ascii),
        heatmap(
            two_axes("queued", rows, columns), "fit_step", width=width, height=height, selected=(0, 0), ascii=ascii
        ),
    ]
    for chart in charts:
        assert [cell_len(line) for line in lines(chart)] == [width] * height
        assert chart.plain.isascii() or not ascii


def test_a_curve_is_titled_with_what_it_shows_and_which_axes_are_logarithmic() -> None:
    assert title(SCHEMA, {"weight_decay": (0, 0.1)}, ACCURACIES) == "accuracy over λ (log)"
    assert title(SCHEMA, {"weight_decay": (0,)}, ACCURACIES) == "accuracy over λ", "of 0 alone there is no logarithm"
    assert title(SCHEMA, {"label_noise": (0.1, 0.2)}, ["fit_step"]) == "fit step over label noise"
    assert title(SCHEMA, {"weight_decay": (0.01, 0.1)}, ["train_loss"]) == "training loss (log) over λ (log)"


def test_seeds_are_written_without_separators_below_a_curve() -> None:
    seeds = (1000, 2000, 3000)
    cells = [((seed,), run(1.0, 0.5)) for seed in seeds]
    assert lines(curve(Table.of(SCHEMA, {"seed": seeds}, cells), metrics=ACCURACIES, width=80, height=14))[
        -1
    ].split() == [
        "1000",
        "2000",
        "3000",
    ]
