"""The feed: it reads what is new, once, and notices what others do to the store."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
from collections.abc import Iterator

import pytest
from tui_tools import Recorded

from wdtui.bench.layered import Layered
from wdtui.problems.addition.config import RunConfig
from wdtui.runs.sweeps import assign
from wdtui.schema.curves import Point
from wdtui.store.processes import Life
from wdtui.store.records import Status, StoreError
from wdtui.store.store import Store
from wdtui.studies.grid import Grid
from wdtui.tui.feed import Feed


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def append(store: Store, run_id: int, steps: range) -> None:
    width = len(store.run(run_id).config.columns)
    points = [Point(step, step, (0.5,) * width) for step in steps]
    store.append(store.run(run_id).claim, points, speed=1.0, milestones={})


def test_polling_without_changes_returns_none(recorded: Recorded) -> None:
    recorded.add("demo")
    feed = Feed(recorded.store)
    first = feed.poll()
    assert first is not None
    assert [run.id for run in first.runs] == [1]
    assert feed.poll() is None


def test_an_empty_store_is_reported_once(recorded: Recorded) -> None:
    feed = Feed(recorded.store)
    first = feed.poll()
    assert first is not None
    assert first.loaded
    assert feed.poll() is None


def test_only_new_points_are_read_and_earlier_snapshots_stay(recorded: Recorded) -> None:
    run_id = recorded.add("demo", points=3, status=Status.RUNNING)
    with Store(recorded.store.folder) as other:
        feed = Feed(recorded.store)
        feed.show([run_id])
        first = feed.poll()
        asked = []
        read = recorded.store.curves
        recorded.store.curves = lambda run_id, after_step=-1, **most: (
            asked.append(after_step) or read(run_id, after_step, **most)
        )  # type: ignore[method-assign, func-returns-value]
        for start in range(1000, 1300, 100):
            append(other, run_id, range(start, start + 100))
            assert feed.poll() is not None
        assert first is not None
        assert len(first.shown[0].curves) == 3
        assert asked == [234, 1099, 1199]
        latest = feed.poll() or feed._snapshot
        assert latest.shown[0].curves.steps.tolist()[3:] == list(range(1000, 1300))


def test_a_run_with_very_many_points_is_read_piece_by_piece(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wdtui.store.store._PIECE", 7)
    run_id = recorded.add("demo", points=20)
    feed = Feed(recorded.store)
    feed.show([run_id])
    lengths = []
    for _ in range(3):
        snapshot = feed.poll()
        assert snapshot is not None
        lengths.append((len(snapshot.shown[0].curves), feed.behind))
    assert lengths == [(7, True), (14, True), (20, False)]
    assert feed.poll() is None


def test_what_was_read_of_a_run_that_is_shown_no_more_is_not_read_on(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wdtui.store.store._PIECE", 7)
    feed = Feed(recorded.store)
    feed.show([recorded.add("demo", points=20)])
    feed.poll()
    feed.show([])
    assert not feed.behind


def test_a_truncated_run_is_read_again(recorded: Recorded) -> None:
    run_id = recorded.add("demo", points=20, status=Status.RUNNING)
    feed = Feed(recorded.store)
    feed.show([run_id])
    feed.poll()
    recorded.store.truncate(recorded.store.run(run_id).claim, 780)
    append(recorded.store, run_id, range(800, 803))
    snapshot = feed.poll()
    assert snapshot is not None
    assert snapshot.shown[0].curves.steps.tolist()[-4:] == [780, 800, 801, 802]


def test_runs_deleted_by_other_processes_disappear(recorded: Recorded) -> None:
    gone, kept = recorded.add("demo"), recorded.add("decay-1")
    feed = Feed(recorded.store)
    feed.show([gone, kept])
    feed.poll()
    with Store(recorded.store.folder) as other:
        other.delete([gone])
    snapshot = feed.poll()
    assert snapshot is not None
    assert [run.id for run in snapshot.runs] == [kept]
    assert [one.run.id for one in snapshot.shown] == [kept]


def test_deleted_runs_disappear_while_others_train(recorded: Recorded) -> None:
    gone, live = recorded.add("demo"), recorded.add("demo", points=20, status=Status.RUNNING)
    feed = Feed(recorded.store)
    feed.poll()
    with Store(recorded.store.folder) as other:
        other.delete([gone])
        append(other, live, range(5000, 5003))
    snapshot = feed.poll()
    assert snapshot is not None
    assert [run.id for run in snapshot.runs] == [live]


def test_a_run_whose_process_died_becomes_interrupted(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded.add("demo", points=20, status=Status.RUNNING)
    clock = Clock()
    feed = Feed(recorded.store, clock=clock)
    feed.poll()
    monkeypatch.setattr("wdtui.store.processes.life", lambda _: Life.GONE)
    assert feed.poll() is None
    clock.now += 3
    snapshot = feed.poll()
    assert snapshot is not None
    assert snapshot.runs[0].status == Status.INTERRUPTED


def test_heartbeats_do_not_change_the_snapshot(recorded: Recorded) -> None:
    run_id = recorded.add("demo", points=20, status=Status.RUNNING)
    feed = Feed(recorded.store)
    feed.show([run_id])
    feed.poll()
    recorded.store.heartbeat(recorded.store.run(run_id).claim)
    assert feed.poll() is None


def test_runs_that_are_no_longer_shown_are_freed(recorded: Recorded) -> None:
    first, second = recorded.add("demo"), recorded.add("decay-1")
    feed = Feed(recorded.store)
    feed.show([first, second])
    feed.poll()
    feed.show([second])
    snapshot = feed.poll()
    assert snapshot is not None
    assert [one.run.id for one in snapshot.shown] == [second]
    assert set(feed._curves) == {second}


def test_a_run_with_very_many_layers_keeps_fewer_points(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Layered(recorded.store, 50)
    monkeypatch.setattr("wdtui.tui.feed._MOST_VALUES", 100 * len(recorded.store.columns(run.run_id)))
    feed = Feed(recorded.store)
    feed.show([run.run_id])
    for _ in range(10):
        run.append(64)
        snapshot = feed.poll()
    assert snapshot
    (shown,) = snapshot.shown
    assert 64 <= len(shown.curves) < 300
    assert shown.curves.steps[-1] == shown.run.step == 640 * 50


def test_what_a_poll_that_failed_has_missed_is_read_by_the_next(
    recorded: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, feed = recorded.store, Feed(recorded.store)
    reading = store._database.reading
    for failing in itertools.count():  # the place of the read that fails
        assign(store, store.sweeps.get(store.sweeps.add(Grid.of(RunConfig(), {"weight_decay": (0.1, 0.3)}))))
        store.delete([store.runs()[-1].id])
        reads = iter(range(1000))

        @contextlib.contextmanager
        def reading_or_not(reads: Iterator[int] = reads, failing: int = failing) -> Iterator[sqlite3.Connection]:
            if next(reads) == failing:
                raise StoreError("The run store was locked.")
            with reading() as connection:
                yield connection

        monkeypatch.setattr(store._database, "reading", reading_or_not)
        try:
            snapshot, failed = feed.poll(), False
        except StoreError:
            snapshot, failed = feed.poll(), True
        monkeypatch.undo()
        assert snapshot is not None, failing
        assert [run.id for run in snapshot.runs] == [run.id for run in store.runs()], failing
        assert snapshot.sweeps == tuple(store.sweeps.memberships()), failing
        if not failed:
            break
    assert failing > 5
