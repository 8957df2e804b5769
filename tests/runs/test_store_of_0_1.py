"""A store that wdtui 0.1 wrote opens, and its runs are listed, charted, resumed, forked and replayed as before."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
from command_line import wdtui

from wdtui.problems.addition.engine.training import Training
from wdtui.runs.forks import fork, replay
from wdtui.runs.runner import Runner
from wdtui.schema.curves import Curves
from wdtui.store.store import Status, Store

ARCHIVE = Path(__file__).parents[1] / "data" / "store-0.1.tar.gz"
FINISHED, INTERRUPTED, STEERED, FORKED, TRANSFORMER = 1, 2, 3, 4, 9


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "store-0.1"


def measured(curves: Curves, names: tuple[str, ...]) -> np.ndarray:
    """All values with these names of all points but their speed, [points, metrics]."""
    assert names[-1] == "steps_per_second" and {*names} <= {*curves.names}
    return np.stack([curves[name] for name in names[:-1]], axis=1)


def assert_same_run(curves: Curves, expected: Curves, exactly: bool) -> None:
    """`expected` was measured by 0.1, so that the other may have more metrics."""
    assert curves.steps.tolist() == expected.steps.tolist()
    if exactly:
        np.testing.assert_array_equal(measured(curves, expected.names), measured(expected, expected.names))
    else:
        np.testing.assert_allclose(curves["train_loss"], expected["train_loss"], rtol=1e-2)


def rounds_alike(store: Store) -> bool:
    """Whether this processor rounds as the one on which the store was written: other kinds may not."""
    run = store.run(FINISHED)
    here, there = Curves.of(run.config.columns, Training(run.config).points()), store.curves(FINISHED)
    return bool(np.array_equal(measured(here, there.names), measured(there, there.names)))


def test_runs_of_0_1_are_listed_with_their_values(folder: Path) -> None:
    with Store(folder) as store:
        runs = {run.id: run for run in store.runs()}
        assert [runs[number].status for number in (FINISHED, INTERRUPTED, STEERED, FORKED)] == [
            Status.DONE, Status.INTERRUPTED, Status.DONE, Status.DONE,
        ]  # fmt: skip
        assert {run.config.problem for run in runs.values()} == {"addition"}
        assert runs[FORKED].parent == FINISHED and runs[STEERED].steered
        assert [len(store.curves(number)) for number in (FINISHED, INTERRUPTED, STEERED, FORKED)] == [40, 18, 40, 40]
        (sweep,) = store.sweeps.all()
        assert [run.status for run in store.sweeps.runs(sweep.id) if run] == [Status.DONE] * 4


def test_runs_of_0_1_are_shown_and_exported(folder: Path) -> None:
    for command in (["list"], ["show", "steered"], ["compare", "1", "4"], ["export", "9", "--output", "-"]):
        result = wdtui("runs", *command, store=folder)
        assert result.returncode == 0, result.stderr
        assert result.stdout
    result = wdtui("sweeps", "show", "S1", store=folder)
    assert result.returncode == 0, result.stderr


def test_an_interrupted_run_of_0_1_resumes_to_the_same_bits(folder: Path) -> None:
    with Store(folder) as store:
        assert Runner(store, INTERRUPTED, device="cpu", threads=1).run() == Status.DONE
        assert_same_run(store.curves(INTERRUPTED), store.curves(FINISHED), rounds_alike(store))


def test_a_run_of_0_1_that_resumes_records_what_is_measured_now_and_keeps_its_charts(folder: Path) -> None:
    with Store(folder) as store:
        charts = store.run(INTERRUPTED).schema.charts
        Runner(store, INTERRUPTED, device="cpu", threads=1).run()
        run, curves = store.run(INTERRUPTED), store.curves(INTERRUPTED)
        assert {*run.config.columns} <= {*curves.names}
        steps, _ = curves.measured("rotation/input")
        assert 0 < len(steps) < len(curves) and steps.tolist() == curves.steps[-len(steps) :].tolist()
        assert run.schema.charts == charts and run.schema.metrics["rotation"].unit == "rad"


def test_runs_of_0_1_are_forked_and_replayed(folder: Path) -> None:
    with Store(folder) as store:
        exactly = rounds_alike(store)
        again = fork(store, store.run(FINISHED), 100, {"bn_epsilon": 1e-2})
        repeated = replay(store, store.run(STEERED))
        for number in (again, repeated):
            assert Runner(store, number, device="cpu", threads=1).run() == Status.DONE
        assert_same_run(store.curves(again), store.curves(FORKED), exactly)
        assert_same_run(store.curves(repeated), store.curves(STEERED), exactly)
