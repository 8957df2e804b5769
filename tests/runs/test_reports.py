"""What the runs of a batch cost on the host: statements and transactions, counted, not timed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from store_tools import CONFIG, claim, point

from wdtui.problems.addition.config import RunConfig
from wdtui.runs import runner as runner_module
from wdtui.runs.group import Group
from wdtui.runs.retention import Writer
from wdtui.store.store import OwnershipLostError, Report, Status, Store, StoreError

TINY = RunConfig(width=16, train_size=320, validation_size=16, test_size=16, epochs=6, engine="ensemble")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


class Statements(list[str]):
    """The statements of SQLite on this thread's connection, without those of triggers."""

    def __init__(self, store: Store) -> None:
        with store._database.reading() as connection:
            connection.set_trace_callback(lambda statement: self.append(statement))

    def count(self, beginning: str) -> int:  # type: ignore[override]
        return sum(statement.startswith(beginning) for statement in self)


def trained(store: Store, monkeypatch: pytest.MonkeyPatch, runs: int) -> list[Statements]:
    """Train a batch that reports at every step, and return the statements between its steps, of each step."""
    polls: list[Statements] = []

    class Counting(runner_module.Polling):
        def __call__(self) -> bool:
            polls.append(Statements(store))
            return super().__call__()

    monkeypatch.setattr("wdtui.runs.group.Polling", Counting)
    Group(store, [store.add_run(TINY.replace(seed=seed)) for seed in range(runs)], device="cpu", threads=1).run()
    assert {run.status for run in store.runs()} == {Status.DONE}
    return polls


@pytest.mark.parametrize("runs", [2, 16])
def test_a_batch_reports_in_one_transaction_and_asks_for_commands_in_one_query(
    store: Store, monkeypatch: pytest.MonkeyPatch, runs: int
) -> None:
    monkeypatch.setattr(runner_module, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(runner_module, "_REPORT_SHARE", 1e9)
    polls = trained(store, monkeypatch, runs)
    reporting = [poll for poll in polls[:-1] if poll.count("INSERT INTO points")]
    assert len(reporting) == TINY.epochs - 1  # the last points are written when the batch is disbanded
    for poll in reporting:
        assert poll.count("INSERT INTO points") == runs
        assert (poll.count("BEGIN"), poll.count("COMMIT")) == (1, 1)
        assert poll.count("SELECT") <= 6, "a query for each run"
    assert all(poll.count("SELECT") <= 1 for poll in polls[:-1] if poll not in reporting)


def test_nothing_is_asked_between_two_polls(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner_module, "_POLL_SECONDS", 1e9)
    first, *later = trained(store, monkeypatch, 3)[:-1]
    assert first and not any(later)


def test_the_runs_of_a_group_share_one_writer_of_checkpoints(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    writers = []
    begin = Writer.__init__

    def counted(writer: Writer) -> None:
        writers.append(writer)
        begin(writer)

    monkeypatch.setattr(Writer, "__init__", counted)
    trained(store, monkeypatch, 5)
    assert len(writers) == 1


def test_a_large_batch_reports_less_often(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    now, reports = [0.0], []

    def slow(some: Any) -> None:
        reports.append(now[0])
        now[0] += 0.1

    about = {"interruption": "", "run_id": 1, "store": store, "saved_at": 1e9, "checkpoint_seconds": 0.0, "lost": None}
    about["at_risk"] = False
    monkeypatch.setattr(runner_module, "report", slow)
    monkeypatch.setattr("wdtui.runs.runner.time.monotonic", lambda: now[0])
    run: Any = SimpleNamespace(**about)
    polling = runner_module.Polling([run])
    while now[0] < 40:
        assert polling()
        now[0] += 0.01
    assert [round(later - before) for before, later in itertools.pairwise(reports)] == [10, 10, 10]


def test_points_that_the_next_step_may_take_with_it_are_written_before_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But never for more than a hundredth of the time."""
    now, reports = [0.0], []

    def report(some: Any) -> None:
        reports.append(round(now[0], 3))
        now[0] += 0.001

    about = {"interruption": "", "run_id": 1, "store": store, "saved_at": 1e9, "checkpoint_seconds": 0.0, "lost": None}
    monkeypatch.setattr(runner_module, "report", report)
    monkeypatch.setattr("wdtui.runs.runner.time.monotonic", lambda: now[0])
    run: Any = SimpleNamespace(**about, at_risk=False)
    polling = runner_module.Polling([run])
    polling()
    for pause, at_risk, writes in (
        (0.15, True, 1),
        (0.15, True, 1),
        (0.04, True, 0),
        (0.09, False, 0),
        (0.5, False, 1),
    ):
        now[0] += pause
        run.at_risk, before = at_risk, len(reports)
        polling()
        assert len(reports) - before == writes, (pause, at_risk)


# What the store holds


def test_reports_of_several_runs_are_one_change(store: Store) -> None:
    claims = [claim(store, store.add_run(CONFIG)) for _ in range(3)]
    before = store.revision()
    event = (10, "steered", {"field": "weight_decay"})
    lost = store.report(
        [
            Report(claims[0], [point(10), point(20)], [event], 5.0, {"milestones": {"fit_step": 10}}, 3),
            Report(claims[1], [point(10)]),
            Report(claims[2]),
        ]
    )
    first, second, silent = (store.run(one.run_id) for one in claims)
    assert lost == {} and store.revision() == before + 1
    assert (first.step, first.speed, first.batched, first.milestones) == (20, 5.0, 3, {"milestones": {"fit_step": 10}})
    assert store.curves(first.id).steps.tolist() == [10, 20] and store.curves(second.id).steps.tolist() == [10]
    assert [(one.step, one.kind) for one in store.events(first.id)] == [(10, "steered")]
    assert first.revision == second.revision == before + 1 > silent.revision
    assert silent.beats == 2 and silent.step == 0  # the claim was the first
    assert store.report([Report(claims[0], [point(30)])]) == {}
    assert store.curves(first.id).steps.tolist() == [10, 20, 30] and not store.curves(first.id).lost


def test_a_report_of_a_run_that_was_taken_over_stops_no_other(store: Store) -> None:
    kept, taken, deleted = (claim(store, store.add_run(CONFIG)) for _ in range(3))
    store.set_status(taken, Status.INTERRUPTED)
    claim(store, taken.run_id)
    store.set_status(deleted, Status.INTERRUPTED)
    store.delete([deleted.run_id])
    lost = store.report([Report(one, [point(10)]) for one in (taken, deleted, kept)])
    assert sorted(lost) == [taken.run_id, deleted.run_id]
    assert all(isinstance(error, OwnershipLostError) for error in lost.values())
    assert "was taken over" in str(lost[taken.run_id])
    assert len(store.curves(kept.run_id)) == 1 and len(store.curves(taken.run_id)) == 0


def test_reports_are_written_all_or_not_at_all(store: Store) -> None:
    one, other = (claim(store, store.add_run(CONFIG)) for _ in range(2))
    store.report([Report(other, [point(10)])])
    with pytest.raises(StoreError, match="already has a point at this step"):
        store.report([Report(one, [point(10)]), Report(other, [point(10)])])
    assert len(store.curves(one.run_id)) == 0 and store.run(one.run_id).step == 0


def test_commands_to_several_runs_come_by_run_in_order(store: Store) -> None:
    first, second, third = (store.add_run(CONFIG) for _ in range(3))
    for run_id, kind in ((second, "pause"), (first, "checkpoint"), (second, "stop")):
        store.send(run_id, kind)
    kinds = {run_id: [one.kind for one in sent] for run_id, sent in store.commands_to([first, second, third]).items()}
    assert kinds == {first: ["checkpoint"], second: ["pause", "stop"]}
    assert store.commands_to([third]) == {}
