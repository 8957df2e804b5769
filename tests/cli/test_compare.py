"""`wdtui runs compare` says what it draws and what became of each run."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import events, wdtui

from wdtui.analysis.milestones import milestones
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Curves, Point
from wdtui.store.store import Status, Store


def add(store: Store, train: list[float], test: list[float], **changes: float) -> None:
    """A finished run with these accuracies, a point every 78 steps."""
    config = RunConfig(epochs=max(len(train), 1), **changes)  # type: ignore[arg-type]
    run_id = store.add_run(config)
    if not train:
        return
    store.claim(run_id, device="cpu", threads=1, versions={})
    rows = [
        dict.fromkeys(config.columns, 0.5) | {"train_accuracy": a, "test_accuracy": b}
        for a, b in zip(train, test, strict=True)
    ]
    points = [Point(78 * (place + 1), place + 1, tuple(row.values())) for place, row in enumerate(rows)]
    store.append(
        store.run(run_id).claim,
        points,
        speed=1.0,
        milestones=milestones(Curves.of(config.columns, points), RunConfig.schema().judged).to_json(),
    )
    store.set_status(store.run(run_id).claim, Status.DONE)


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """One run that generalises, one that blows up twice and does not, and one that is queued."""
    with Store(tmp_path) as store:
        add(store, [0.5, 1.0, 1.0, 1.0, 1.0], [0.0, 0.1, 0.5, 0.96, 0.97])
        add(store, [1.0, 0.5, 1.0, 0.5, 1.0], [0.1] * 5, bn_epsilon=1e-5)
        add(store, [], [], weight_decay=0.3)
    return tmp_path


def test_the_chart_says_which_metric_it_draws(three: Path) -> None:
    compared = wdtui("runs", "compare", "1", "2", store=three)
    assert compared.stdout.splitlines()[0] == "test accuracy"


def test_the_table_has_fit_generalisation_and_blow_ups_of_each_run(three: Path) -> None:
    compared = wdtui("runs", "compare", "1", "2", "3", store=three).stdout.splitlines()
    assert [line.split() for line in compared[-4:]] == [
        ["run", "fit", "generalised", "delay", "blow-ups", "period"],
        ["1", "156", "312", "156", "0", "–"],
        ["2", "78", "–", "–", "2", "156"],
        ["3", "–", "–", "–", "0", "–"],
    ]
    assert compared[-5] == "" and compared[-9].split()[:3] == ["run", "state", "name"]


def test_json_has_the_milestones_of_each_run_even_without_points(three: Path) -> None:
    first, second, third = events(wdtui("runs", "compare", "1", "2", "3", "--json", store=three).stdout)
    assert first["milestones"] == {"fit_step": 156, "generalise_step": 312, "delay": 156}
    assert second["blowups"]["steps"] == [156, 312]
    assert third["milestones"] == {"fit_step": None, "generalise_step": None, "delay": None}
    assert third["blowups"]["count"] == 0
