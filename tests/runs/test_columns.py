"""The columns of a table of runs: whole curves in a few numbers, bars, tags and the choice of columns."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from wdtui.analysis.axes import smoothed
from wdtui.plots.terminal.inline import EMPTY, share_bar, sparkline
from wdtui.problems.addition.config import RunConfig
from wdtui.runs.columns import RunColumns, curve, sorted_by
from wdtui.runs.digests import PLACES, Digests, Fold
from wdtui.schema.curves import Curves, Point
from wdtui.store.records import Status, StoreError
from wdtui.store.store import Store
from wdtui.support.table import Column, cut, fitting

CONFIG = RunConfig(epochs=10, width=8, train_size=64, batch_size=16)
METRICS = RunConfig.schema().metrics
ACCURACY, LOSS = METRICS["test_accuracy"], METRICS["test_loss"]


@pytest.fixture
def store(tmp_path: Path) -> Any:
    with Store(tmp_path) as opened:
        yield opened


def measure(store: Store, run_id: int, **metrics: list[float]) -> None:
    """Append points, one step after another, with these metrics."""
    run = store.run(run_id)
    claim = run.claim if run.live else store.claim(run_id, device="cpu", threads=1, versions={})
    count, first = len(next(iter(metrics.values()))), store.run(run_id).step
    rows = np.full((count, len(CONFIG.columns)), np.nan)
    for name, values in metrics.items():
        rows[:, CONFIG.columns.index(name)] = values
    points = [Point(first + at, first + at, tuple(row)) for at, row in enumerate(rows.tolist(), 1)]
    store.append(claim, points, speed=1.0, milestones={})


@given(st.lists(st.floats(1e-3, 1.0), min_size=1, max_size=40), st.data())
def test_a_fold_in_parts_is_the_fold_of_the_whole(values: list[float], data: Any) -> None:
    cut = data.draw(st.integers(0, len(values)))
    for metric in (ACCURACY, LOSS):
        steps, array = np.arange(1, len(values) + 1), np.array(values)
        whole, parts = Fold(metric, 40), Fold(metric, 40)
        whole.add(steps, array)
        parts.add(steps[:cut], array[:cut])
        parts.add(steps[cut:], array[cut:])
        one, other = whole.digest(), parts.digest()
        assert one.best == other.best == (max(values) if metric.share else min(values))
        assert one.smoothed == pytest.approx(other.smoothed, rel=1e-9)
        assert one.smoothed == pytest.approx(smoothed(array, 0.95, log=metric.log)[-1], rel=1e-6), "as the charts do"
        assert one.shape == pytest.approx(other.shape, nan_ok=True)


def test_what_is_not_measured_is_in_no_digest() -> None:
    fold = Fold(LOSS, 10)
    fold.add(np.arange(1, 4), np.array([np.nan, np.inf, np.nan]))
    assert all(map(math.isnan, (fold.digest().best, fold.digest().smoothed, *fold.digest().shape)))
    fold.add(np.arange(4, 6), np.array([0.5, -1.0]))
    assert fold.digest().best == -1 and fold.digest().smoothed == pytest.approx(0.5), "of logarithms"


def test_a_fold_counts_later_steps_than_planned_at_the_end() -> None:
    fold = Fold(ACCURACY, 10)
    fold.add(np.array([10, 20]), np.array([0.1, 0.9]))
    assert fold.digest().shape[-1] == 0.9


def test_digests_read_what_is_new_and_start_again_after_a_truncation(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = store.add_run(CONFIG)
    measure(store, run_id, test_accuracy=[0.1, 0.6, 0.4])
    digests, wanted, read = Digests(store), {"test_accuracy", "unknown"}, []
    pieces = store.pieces
    monkeypatch.setattr(store, "pieces", lambda run, after_step: read.append(after_step) or pieces(run, after_step))
    assert digests.outdated(store.run(run_id), wanted) and digests.of(store.run(run_id), "test_accuracy") is None
    digests.read([store.run(run_id)], wanted)
    assert not digests.outdated(store.run(run_id), wanted)
    old = store.run(run_id)
    measure(store, run_id, test_accuracy=[0.5])
    assert digests.outdated(store.run(run_id), wanted)
    digests.read([old], wanted)
    assert digests.outdated(store.run(run_id), wanted), "the record that was given has no more points"
    digests.read([store.run(run_id)], wanted)
    assert read == [-1, 3, 3] and digests.of(old, "test_accuracy").best == 0.6  # type: ignore[union-attr]
    store.truncate(store.run(run_id).claim, 1)
    digests.read([store.run(run_id)], wanted)
    assert read[-1] == -1 and digests.of(old, "test_accuracy").best == 0.1  # type: ignore[union-attr]


def test_points_count_once_where_reading_broke_off(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wdtui.store.store._PIECE", 1)
    run_id, digests = store.add_run(CONFIG), Digests(store)
    measure(store, run_id, test_accuracy=[0.1, 0.6])
    digests.read([store.run(run_id)], {"test_accuracy"})
    measure(store, run_id, test_accuracy=[0.5, 0.9, 0.2])
    curves = store.curves

    def broken(run: int, after_step: int = -1, **most: int) -> Curves:
        if after_step >= 3:
            raise StoreError("The file cannot be read.")
        return curves(run, after_step, **most)

    with monkeypatch.context() as patched:
        patched.setattr(store, "curves", broken)
        digests.read([store.run(run_id)], {"test_accuracy"})
    digests.read([store.run(run_id)], {"test_accuracy"})
    fresh = Digests(store)
    fresh.read([store.run(run_id)], {"test_accuracy"})
    found, expected = (one.of(store.run(run_id), "test_accuracy") for one in (digests, fresh))
    assert found and expected and found.smoothed == pytest.approx(expected.smoothed)


def test_a_run_without_points_or_that_is_gone_needs_no_reading(store: Store) -> None:
    run_id, digests = store.add_run(CONFIG), Digests(store)
    run = store.run(run_id)
    assert not digests.outdated(run, {"test_accuracy"})
    measure(store, run_id, test_accuracy=[0.5])
    run = store.run(run_id)
    store.set_status(run.claim, Status.DONE)
    store.delete([run_id])
    digests.read([run], {"test_accuracy"})
    assert digests.of(run, "test_accuracy") is None


def test_runs_sort_by_last_best_and_smoothed_value(store: Store) -> None:
    for values in ([0.9] * 4 + [0.1], [0.2, 0.2, 0.2, 0.2, 0.6], [0.3] * 5):
        measure(store, store.add_run(CONFIG), test_accuracy=values)
    none = store.add_run(CONFIG)
    runs, digests = store.runs(), Digests(store)
    columns = RunColumns.of(runs, digests)
    assert [run.id for run in sorted_by(columns.all["best:test_accuracy"], False, runs)] == [none, 3, 2, 1], "not read"
    digests.read(runs, {"test_accuracy"})
    orders = {
        kind: [run.id for run in sorted_by(columns.all[f"{kind}:test_accuracy"], False, runs)]
        for kind in ("last", "best", "smoothed")
    }
    assert orders == {"last": [2, 3, 1, none], "best": [1, 2, 3, none], "smoothed": [1, 3, 2, none]}
    assert sorted_by(columns.all["best:test_accuracy"], True, runs)[-1].id == none, "missing values stay last"


def test_the_same_columns_serve_other_runs_of_the_same_problems(store: Store) -> None:
    store.add_run(CONFIG)
    columns = RunColumns.of(store.runs())
    store.add_run(CONFIG.replace(seed=4))
    assert RunColumns.of(store.runs(), None, columns) is columns
    assert "curve:test_accuracy" not in columns.all, "the command line reads no curves"


def test_unknown_columns_of_a_choice_are_left_out(store: Store) -> None:
    columns = RunColumns.of((), Digests(store))
    keys = [column.key for column in columns.chosen(["best:weight_norm", "field:gone", "run:state"])]
    assert keys == ["run:state", "best:weight_norm"]
    assert {column.key for column in columns.chosen(["field:gone"])} == {*columns.usual}
    assert {"curve:test_accuracy", "bar:test_accuracy", "run:progress"} <= {*columns.usual}


def test_every_bar_has_a_heading_of_its_own(store: Store) -> None:
    columns = RunColumns.of((), Digests(store)).all
    titles = [column.title for key, column in columns.items() if key.startswith("bar:") or key == "run:progress"]
    assert len(titles) > 3 and "" not in titles and len({*titles}) == len(titles)


@pytest.mark.parametrize("kind", ["bar", "curve"])
def test_a_long_heading_still_says_that_it_is_of_a_bar_or_a_curve(kind: str, store: Store) -> None:
    column = RunColumns.of((), Digests(store)).all[f"{kind}:validation_bit_accuracy"]
    assert column.aligned(column.title, 16).rstrip().endswith(f" {kind}") and len(column.title) > 16


def test_every_column_can_be_written_for_every_run(store: Store) -> None:
    for status in Status:
        run_id = store.add_run(CONFIG, name=status)
        if status not in (Status.QUEUED, Status.DAMAGED):
            measure(store, run_id, test_accuracy=[0.5])
            store.set_status(store.run(run_id).claim, status)
    with store._database.writing() as connection:
        connection.execute("UPDATE runs SET seal = 1 WHERE name = 'damaged'")
    runs = store.runs()
    assert {run.status for run in runs} == {*Status}
    for column in RunColumns.of(runs, Digests(store)).all.values():
        for run in runs:
            assert len(column.cell(run, 12)) == 12
        assert len(sorted_by(column, False, runs)) == len(runs)


@pytest.mark.parametrize(
    ("note", "found"),
    [
        ("#good then #to-show", ["#good", "#to-show"]),
        ("issue #3, a#b, # and ##x", []),
        ("#Größe, #ready!", ["#Größe", "#ready"]),
        ("", []),
    ],
)
def test_words_of_a_note_that_begin_with_a_hash_are_tags(note: str, found: list[str], store: Store) -> None:
    run_id = store.add_run(CONFIG)
    store.set_note(run_id, note)
    assert store.run(run_id).tags == found


@given(st.floats(0, 1), st.integers(1, 20))
def test_a_bar_is_full_only_for_all_and_empty_only_for_nothing(share: float, width: int) -> None:
    bar = share_bar(share, width)
    assert len(bar) == width
    assert (bar == "━" * width) == (share == 1) and (bar == EMPTY * width) == (share == 0)


@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), min_size=PLACES, max_size=PLACES), st.integers(1, 40))
def test_a_curve_ends_with_its_newest_value_where_the_run_has_come(shape: list[float], cells: int) -> None:
    drawn = curve(shape, cells, ACCURACY)
    known = [place for place, value in enumerate(shape) if not math.isnan(value)]
    assert bool(drawn) == bool(known) and len(drawn) <= min(cells, PLACES)
    if known:
        alone = len(drawn.strip()) == 1
        assert drawn[-1] == sparkline([shape[known[-1]]], (0, 1), dots=alone)
        assert len(drawn) == math.ceil((known[-1] + 1) * min(cells, PLACES) / PLACES), "as far as the steps"


def test_a_gap_in_a_sparkline_is_blank_and_given_ends_are_kept() -> None:
    assert sparkline([0, math.nan, 1], (0, 1)) == "▁ ▇" and sparkline([0.5], (0, 1)) == "▄"
    assert sparkline([-3, 7], (0, 1)) == "▁▇"


@given(st.lists(st.one_of(st.floats(-2, 2), st.just(math.nan)), max_size=40))
def test_no_sparkline_reaches_the_one_in_the_row_above(values: list[float]) -> None:
    assert "█" not in sparkline(values, (0, 1)) + sparkline(values)


@pytest.mark.parametrize(("value", "drawn"), [(0, " ⣤"), (0.5, " ⠶"), (1, " ⠛")])
def test_the_only_value_of_a_curve_is_a_point_at_its_height(value: float, drawn: str) -> None:
    assert curve([math.nan, value], 20, ACCURACY) == drawn
    assert "⠶" not in curve([0.5, 0.5], 20, ACCURACY)


@given(st.lists(st.tuples(st.integers(3, 30), st.integers(0, 9), st.integers(0, 3)), min_size=1), st.integers(1, 200))
def test_columns_fit_into_the_width_and_none_is_wider_than_it_needs(
    given_columns: list[tuple[int, int, int]], width: int
) -> None:
    columns = [Column("", cells, rank, str, stretch=stretch) for cells, rank, stretch in given_columns]
    needed = {column: column.width + 5 for column in columns}
    fitted = fitting(columns, width, needed)
    assert sum(cells for _, cells in fitted) <= max(width, needed[fitted[0][0]])
    assert all(cells <= needed[column] for column, cells in fitted)


def test_a_problem_that_has_recorded_nothing_yet_has_columns() -> None:
    schema = dataclasses.replace(RunConfig.schema(), metrics={}, charts=())
    columns = RunColumns([schema], {"weight_decay": "λ"})
    assert columns.usual == (
        "run:state",
        "run:id",
        "run:name",
        "field:weight_decay",
        "run:step",
        "run:progress",
        "run:happened",
    )


@pytest.mark.parametrize(
    ("text", "cells", "between", "kept"),
    [
        ("epochs 130, seed 1234", 21, ", ", "epochs 130, seed 1234"),
        ("epochs 130, seed 1234", 20, ", ", "epochs 130, …"),
        ("best λ0.3 · 0–99 %", 15, " · ", "best λ0.3 …"),
        ("epochs 130, seed 1234", 8, ", ", "epochs …"),
        ("ok · a very long remark", 20, " · ", "ok · a very long re…"),
        ("epochs", 0, ", ", ""),
    ],
)
def test_a_text_that_is_too_long_loses_whole_parts(text: str, cells: int, between: str, kept: str) -> None:
    assert cut(text, cells, between) == kept


@given(st.lists(st.text("abλ界", min_size=1, max_size=6), min_size=1, max_size=5), st.integers(0, 30))
def test_a_text_that_is_cut_fits(parts: list[str], cells: int) -> None:
    assert cell_len(cut(", ".join(parts), cells, ", ")) <= cells
