"""An I/O error at any write of SQLite's: what was committed stays, and what is gone on with has the same bits."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from fault_tools import TINY, ended, forked
from faulty_disk import fail_at, library

from wdtui.runs import forks, runner
from wdtui.runs.inspection import findings
from wdtui.runs.runner import Runner
from wdtui.runs.sweeps import complete
from wdtui.store.records import FINISHED, LIVE
from wdtui.store.store import OwnershipLostError, Report, Store, StoreError
from wdtui.studies.grid import Grid

pytestmark = pytest.mark.skipif(library() is None, reason="this Python's SQLite cannot be reached")
SHORT = TINY.replace(epochs=6, keep_every=2)
Scenario = tuple[Callable[[Store], list[int]], Callable[[Store, list[int]], None]]
"""What there is before the disk fails, whose runs are held to be right, and what is done meanwhile."""


class Inline:
    """An executor that trains at once, in the calling thread."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.at_work: set[int] = set()

    def submit(self, *run_ids: int, threads: int | None = None) -> None:
        for run_id in run_ids:
            with contextlib.suppress(StoreError):
                Runner(self.store, run_id, device="cpu", threads=1).run()

    def interrupt(self, reason: str) -> None:
        pass

    def wait(self, timeout: float | None = None) -> bool:
        return True


def train(store: Store, run_ids: list[int]) -> None:
    for run_id in run_ids:
        if store.run(run_id).status not in FINISHED:
            Runner(store, run_id, device="cpu", threads=1).run()


def sweep_of_four(store: Store) -> list[int]:
    store.sweeps.add(Grid.of(SHORT.replace(epochs=2), {"weight_decay": [0.1, 0.2], "seed": [0, 1]}))
    return []


def train_sweep(store: Store, run_ids: list[int]) -> None:
    complete(store, 1, executor=lambda: Inline(store))


def fork_of_a_run(store: Store) -> list[int]:
    parent = store.add_run(SHORT)
    train(store, [parent])
    return [forks.fork(store, store.run(parent), 3 * SHORT.steps_per_epoch, {"weight_decay": 0.5})]


SCENARIOS: dict[str, Scenario] = {
    "run": (lambda store: [store.add_run(SHORT)], train),
    "sweep": (sweep_of_four, train_sweep),
    "fork": (fork_of_a_run, train),
}


def attempt(folder: Path, scenario: Scenario, nth: int, lasting: bool = False) -> tuple[int, list[tuple[int, int]]]:
    """Prepare a store, train on a disk that fails at the n-th change; the changes there were, and what was committed.

    What was committed are runs and steps of points whose transaction said so.
    """
    prepare, work = scenario
    folder.mkdir(parents=True)
    with Store(folder / "store") as store:
        run_ids = prepare(store)
    log = os.open(folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)

    def training() -> None:
        runner._POLL_SECONDS, runner._REPORT_SHARE = 0.0, 1e9
        runner._CHECKPOINT_SECONDS, runner._CHECKPOINT_SHARE = 0.0, 1.0
        report = Store.report

        def told(self: Store, reports: Sequence[Report]) -> dict[int, OwnershipLostError]:
            lost = report(self, reports)
            rows = [(one.claim.run_id, point.step) for one in reports for point in one.points]
            os.write(log, b"".join(b"%d %d\n" % row for row in rows))
            return lost

        Store.report = told  # type: ignore
        fail_at(nth, lasting, lambda at: os.write(log, b"change\n"))
        with contextlib.suppress(StoreError), Store(folder / "store") as store:
            work(store, run_ids)

    assert ended(forked(training)) == 0
    lines = (folder / "log").read_text().splitlines()
    committed = [(int(a), int(b)) for a, b in (line.split() for line in lines if line != "change")]
    return lines.count("change"), committed


def finish(folder: Path, scenario: Scenario) -> None:
    """Go on, on a sound disk, in a process of its own."""

    def training() -> None:
        with Store(folder / "store") as store:
            scenario[1](store, [run.id for run in reversed(store.runs())])

    assert ended(forked(training)) == 0


def at_every(folder: Path, name: str, every: Callable[[int], range]) -> None:
    scenario = SCENARIOS[name]
    changes, _ = attempt(folder / "reference", scenario, nth=0)
    assert changes > 20
    reference = Store(folder / "reference" / "store")
    numbers = [run.id for run in reference.runs()]
    for nth in every(changes):
        place = folder / str(nth)
        _, committed = attempt(place, scenario, nth, lasting=nth % 2 == 0)
        with Store(place / "store") as store:
            assert store.check() is None and findings(store) == [], nth
            for run in store.runs():
                assert run.status not in LIVE, nth
                assert_begins_as_in(store, reference, run.id)
                there = set(store.curves(run.id).steps.tolist())
                assert {step for run_id, step in committed if run_id == run.id} <= there, nth
        finish(place, scenario)
        with Store(place / "store") as store:
            assert [run.id for run in store.runs()] == numbers, nth
            for run_id in numbers:
                assert len(store.curves(run_id)) == len(reference.curves(run_id)), nth
                assert_begins_as_in(store, reference, run_id)
    reference.close()
    print(f"{name}: an error at each of {len(every(changes))} of {changes} changes")


def assert_begins_as_in(store: Store, reference: Store, run_id: int) -> None:
    curves, expected = store.curves(run_id), reference.curves(run_id)
    many = len(curves)
    assert curves.steps.tolist() == expected.steps[:many].tolist()
    untimed = [name for name in curves.names if name != "steps_per_second"]
    assert all((curves[name] == expected[name][:many]).all() for name in untimed)


@pytest.mark.parametrize("name", SCENARIOS)
def test_an_error_at_a_write_loses_nothing_that_was_committed(tmp_path: Path, name: str) -> None:
    at_every(tmp_path, name, lambda changes: range(1, changes + 1, max(changes // 5, 1)))


@pytest.mark.long
@pytest.mark.parametrize("name", SCENARIOS)
def test_an_error_at_any_write_loses_nothing_that_was_committed(tmp_path: Path, name: str) -> None:
    at_every(tmp_path, name, lambda changes: range(1, changes + 1))
