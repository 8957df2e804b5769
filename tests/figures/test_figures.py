"""Figures contain what they are for: lines, names, marks, and files that are what they seem."""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from wdtui.analysis.sweep_table import Table
from wdtui.plots.paper.curves import Subject, training_curves
from wdtui.plots.paper.style import MOST_LINES, look
from wdtui.plots.paper.sweeps import curve, family, heatmap
from wdtui.plots.paper.writing import inline_svg, save
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Curves, Point

SCHEMA = RunConfig.schema()
ACCURACIES = ("train_accuracy", "test_accuracy")
CONFIG = RunConfig(width=8, bn_epsilon=1e-2)


def curves(train: Sequence[float], test: Sequence[float], **others: Sequence[float]) -> Curves:
    """A run whose points are 100 steps apart; what is not given is 0.5."""
    given = {"train_accuracy": train, "test_accuracy": test, **others}
    names = CONFIG.columns
    return Curves.of(
        names,
        [
            Point(100 * (place + 1), place + 1, tuple(given[name][place] if name in given else 0.5 for name in names))
            for place in range(len(train))
        ],
    )


def subject(label: str = "one", **options: Any) -> Subject:
    made = curves([0.5, 1.0, 0.5, 1.0, 0.5, 1.0], [0, 0, 0.1, 0.5, 0.96, 0.97])
    return Subject(label, SCHEMA, made, {"bn_epsilon": np.full(6, 0.01)}, **options)


def words(figure: Any) -> list[str]:
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def run(*, status: str = "done", fit: int | None = 100, **latest: float) -> Any:
    steps = {"fit_step": fit, "generalise_step": None, "delay": None}
    blowups = {"count": 0, "steps": [], "median_period": None}
    return SimpleNamespace(
        status=status, steered=False, latest=latest, milestones={"milestones": steps, "blowups": blowups}
    )


def lambda_table() -> Table:
    """Fits up to λ = 0.1; two seeds each."""
    values = {0.0: 0.1, 0.01: 0.5, 0.1: 0.9, 1.0: 0.0}
    cells = [
        ((decay,), run(train_accuracy=float(decay < 1), test_accuracy=test + more, fit=9 if decay < 1 else None))
        for decay, test in values.items()
        for more in (0.0, 0.1)
    ]
    return Table.of(SCHEMA, {"weight_decay": list(values)}, cells)


# Training curves


def test_one_run_has_the_articles_panels_with_labels_and_milestones() -> None:
    figure = training_curves([subject("λ 0.1")])
    accuracy, norm, variance = figure.axes
    assert [axes.get_ylabel() for axes in figure.axes] == ["accuracy", "weight norm", "BatchNorm variance\n(log)"]
    assert len([line for line in accuracy.lines if len(np.atleast_1d(line.get_xdata())) == 6]) == 3
    said = words(figure)
    assert {"λ 0.1", "train", "validation", "test", "fit 200", "generalised 500", "step", "ε 0.01"} <= set(said)
    assert any("2 blow-ups" in one and "every 200 steps" in one for one in said)
    assert accuracy.get_xlim() == variance.get_xlim() == norm.get_xlim() == (0, 600)
    assert any(np.all(np.asarray(line.get_ydata()) == 0.01) for line in variance.lines), "the ε line"


def test_several_runs_differ_by_colour_and_style_and_have_a_legend() -> None:
    figure = training_curves([subject("a"), subject("b"), subject("c")])
    norm = figure.axes[1]
    assert len({(line.get_color(), str(line.get_linestyle())) for line in norm.lines}) == 3
    assert len({line.get_color() for line in norm.lines}) == 3
    (legend,) = figure.legends
    told = [text.get_text() for text in legend.get_texts()]
    assert told[1] == "b; fit 200, generalised 500, 2 blow-ups from 300"
    assert len({str(look(place)) for place in range(MOST_LINES)}) == MOST_LINES


def test_runs_whose_metrics_are_not_judged_have_no_milestones_in_their_legend() -> None:
    unjudged = {name: dataclasses.replace(metric, role="") for name, metric in SCHEMA.metrics.items()}
    schema = dataclasses.replace(SCHEMA, metrics=unjudged)
    (legend,) = training_curves([Subject(name, schema, subject().curves) for name in "ab"], ["test_loss"]).legends
    assert [text.get_text() for text in legend.get_texts()] == ["a", "b"] and not legend.get_title().get_text()


def test_metrics_select_the_panels_and_missing_values_are_left_out() -> None:
    figure = training_curves([subject()], ["test_loss", "bn_variance_min/block1.norm2"])
    assert [" ".join(axes.get_ylabel().split()) for axes in figure.axes] == [
        "test loss",
        "smallest BatchNorm variance of block1.norm2 (log)",
    ]
    plain = RunConfig(width=8, batch_norm=False)
    made = Curves.of(plain.columns, [Point(10, 1, tuple(0.5 for _ in plain.columns))])
    assert len(training_curves([Subject("x", SCHEMA, made)]).axes) == 2


def test_steering_is_marked_and_epsilon_steps() -> None:
    one = subject(changes=((300, "ε → 0.1"),))
    steered = Subject(one.label, SCHEMA, one.curves, {"bn_epsilon": np.array([0.01] * 3 + [0.1] * 3)}, one.changes)
    figure = training_curves([steered])
    assert {"ε → 0.1", "ε 0.1"} <= set(words(figure))
    assert any(set(np.asarray(line.get_ydata())) == {0.01, 0.1} for line in figure.axes[2].lines)


def test_labels_above_a_panel_do_not_cross_other_stems() -> None:
    one = subject(changes=((250, "a long change of something"), (260, "another long change"), (270, "a third one")))
    marks = [text for text in training_curves([one]).axes[0].texts if text.arrow_patch is not None]
    rows = {text.get_text(): text.xyann[1] for text in marks}
    assert rows["a long change of something"] > rows["another long change"] > rows["a third one"]


def test_gaps_zeros_and_names_with_dollars_can_be_drawn(tmp_path: Path) -> None:
    made = curves([0.1, np.nan, 0.2], [0, 0, 0], train_loss=[1.0, 0.0, 1e-9], weight_norm=[np.inf, np.nan, 3])
    save(training_curves([Subject("$x^ 漢", SCHEMA, made)], ["train_loss", "weight_norm"]), tmp_path / "odd.png")
    assert (tmp_path / "odd.png").read_bytes().startswith(b"\x89PNG")


def test_long_runs_are_downsampled_without_visible_change() -> None:
    many = 20_000
    test = np.zeros(many)
    test[12_345] = 1.0
    figure = training_curves([Subject("long", SCHEMA, curves([1.0] * many, list(test)))])
    drawn = [np.asarray(line.get_ydata()) for line in figure.axes[0].lines]
    assert max(map(len, drawn)) < many / 2
    assert any(len(one) > 2 and one.max() == 1.0 and one.min() == 0.0 for one in drawn), "the one high point is kept"


# Sweeps


def test_the_curve_over_lambda_breaks_before_zero_and_marks_the_threshold() -> None:
    figure = curve(lambda_table(), ACCURACIES, title="S3")
    (axes,) = figure.axes
    assert {"S3", "//", "interpolation threshold 0.1", "train", "test", "weight decay λ (log)"} <= set(words(figure))
    ticks = {tick.get_text(): place for tick, place in zip(axes.get_xticklabels(), axes.get_xticks(), strict=True)}
    assert ticks["0"] < ticks["0.01"] and ticks["0.1"] - ticks["0.01"] == pytest.approx(ticks["1"] - ticks["0.1"])
    joined = [line for line in axes.lines if len(line.get_xdata()) == 3]
    assert len(joined) == 2 and all(min(line.get_xdata()) == pytest.approx(ticks["0.01"]) for line in joined)
    assert np.allclose(joined[1].get_ydata(), [0.55, 0.95, 0.05]), "medians"
    band = axes.collections[-1].get_paths()[0].vertices[:, 1]
    assert np.allclose([band.min(), band.max()], [0.0, 1.0]), "from the least seed to the greatest"


def test_each_quantity_has_a_panel_and_an_empty_one_has_a_message() -> None:
    figure = curve(lambda_table(), ["train_accuracy", "test_accuracy", "fit_step", "generalise_step"])
    assert [axes.get_ylabel() for axes in figure.axes] == ["accuracy", "fit step", "generalise step"]
    assert "no run has a value" in words(figure)


def test_counts_have_whole_numbers_on_their_axis() -> None:
    cells = [((decay,), run()) for decay in (0.1, 1.0)]
    for (_, cell), count in zip(cells, (0, 2), strict=True):
        cell.milestones["blowups"]["count"] = count
    (axes,) = curve(Table.of(SCHEMA, {"weight_decay": [0.1, 1.0]}, cells), ["blowups"]).axes
    ticks = [tick for tick in axes.get_yticks() if 0 <= tick <= 2]
    assert ticks == [0, 1, 2]


def two_axes() -> Table:
    cells = [((width, decay), run(test_loss=width * (decay + 1))) for width in (8, 16) for decay in (0.0, 0.1, 1.0)]
    return Table.of(SCHEMA, {"width": [8, 16], "weight_decay": [0.0, 0.1, 1.0]}, cells[:-1])


def test_a_heatmap_has_a_number_in_each_cell() -> None:
    figure = heatmap(two_axes(), ["test_loss"], "S4")
    (axes,) = figure.axes
    cells = {text.get_position(): text.get_text() for text in axes.texts}
    assert cells[(0, 0)] == "8" and cells[(1, 1)] == "17.6" and cells[(2, 1)] == "–" and len(cells) == 6
    assert {"S4", "width H (units)", "weight decay λ"} <= set(words(figure))


def test_a_family_has_a_named_line_for_each_value_of_the_other_axis() -> None:
    figure = family(two_axes(), "weight_decay", ["test_loss"])
    assert {"H 8", "H 16"} <= set(words(figure))


def test_axes_without_numbers_can_be_drawn() -> None:
    table = Table.of(
        SCHEMA,
        {"task": ["add", "multiply"]},
        [((task,), run(test_accuracy=0.5)) for task in ("add", "multiply")],
    )
    assert {"add", "multiply"} <= set(words(curve(table, ["test_accuracy"])))


# Files


def test_equal_figures_make_equal_files(tmp_path: Path) -> None:
    for suffix in ("svg", "png"):
        paths = [tmp_path / f"{name}.{suffix}" for name in "ab"]
        for path in paths:
            save(training_curves([subject()]), path)
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_an_inline_svg_is_self_contained_and_themed() -> None:
    svg = inline_svg(curve(lambda_table(), ACCURACIES, title="<b>"), 7, 'say "λ" & more')
    assert svg.startswith("<svg ") and svg.endswith("</svg>") and "&lt;b&gt;" in svg and "<metadata" not in svg
    ids = set(re.findall(r' id="([^"]+)"', svg))
    referred = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    assert referred and referred <= ids and all(one.startswith("f7-") for one in ids)
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", svg) and "currentColor" in svg and "<style" not in svg
    assert 'aria-label="say &quot;λ&quot; &amp; more"' in svg


def test_nothing_opens_a_window() -> None:
    """In a process of its own: other tests use libraries that import pyplot."""
    code = (
        "import sys; from test_figures import subject, training_curves; training_curves([subject()]); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": path}, check=True)


@pytest.mark.parametrize(("low", "high"), [(1.5, 16.0), (2e-4, 3e-3), (1e-9, 1.0), (0.9, 11.0)])
def test_a_logarithmic_axis_is_labelled_and_has_two_round_ticks(low: float, high: float) -> None:
    made = curves([0.5] * 6, [0.5] * 6, train_loss=np.geomspace(low, high, 6).tolist())
    figure = training_curves([Subject("one", SCHEMA, made)], ["train_loss", "weight_norm"])
    loss, norm = figure.axes
    assert loss.get_yscale() == "log" and loss.get_ylabel() == "training loss (log)"
    assert norm.get_ylabel() == "weight norm"
    bottom, top = loss.get_ylim()
    shown = [(value, label.get_text()) for value, label in zip(loss.get_yticks(), loss.get_yticklabels(), strict=True)]
    assert len([label for value, label in shown if label and bottom <= value <= top]) >= 2
    assert all(f"{value:.0e}"[0] in "1235" for value, _ in shown)


def test_a_curve_over_lambda_says_that_lambda_is_on_a_logarithmic_axis() -> None:
    assert curve(lambda_table(), ACCURACIES).axes[-1].get_xlabel() == "weight decay λ (log)"
