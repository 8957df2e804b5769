"""`check_run` finds nothing wrong with runs of any past; what it does find is tried in tests/cli/test_owners.py."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from wdtui.problems.addition.config import RunConfig
from wdtui.runs import forks
from wdtui.runs import runner as runner_module
from wdtui.runs.checks import check_run
from wdtui.runs.group import Group
from wdtui.runs.runner import Runner
from wdtui.schema.steering import Steering
from wdtui.store.store import Status, Store

TINY = RunConfig(width=8, train_size=64, validation_size=8, test_size=8, batch_size=32, epochs=20, log_every=3)
STEPS = TINY.steps_per_epoch


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are looked for after every step."""
    monkeypatch.setattr(runner_module, "_POLL_SECONDS", 0.0)


def train(store: Store, run_id: int) -> int:
    Runner(store, run_id, device="cpu", threads=1).run()
    return run_id


def interrupted(store: Store, run_id: int, at: int) -> None:
    """Train a run up to a step."""
    runner = Runner(store, run_id, device="cpu", threads=1)
    poll_commands = runner.poll_commands

    def until_then() -> bool:
        if runner.training.step == at:
            runner.interruption = "Enough"
        return poll_commands()

    runner.poll_commands = until_then
    assert runner.run() == Status.INTERRUPTED


def assert_agrees(store: Store, run_id: int) -> None:
    assert [finding for finding in check_run(store, run_id) if finding.agrees is False] == []


def test_a_run_that_is_logged_at_intervals(store: Store) -> None:
    run_id = train(store, store.add_run(TINY))
    assert store.curves(run_id).epochs.tolist() == [3, 6, 9, 12, 15, 18, 20]
    assert_agrees(store, run_id)


@pytest.mark.parametrize("at", [0, 1, 7, 8, 9, 20, 39])
def test_a_run_that_was_steered_and_interrupted_before_and_after_it_goes_on(store: Store, at: int) -> None:
    plan = (Steering(4 * STEPS, "weight_decay", 0.1, 0.4, 3), Steering(10 * STEPS, "bn_epsilon", 1e-2, 1e-3))
    run_id = store.add_run(TINY, plan=plan)
    interrupted(store, run_id, at)
    assert_agrees(store, run_id)
    store.send(run_id, "steer", {"learning_rate": [5e-4, 4]})
    assert_agrees(store, run_id)
    train(store, run_id)
    assert len(store.run(run_id).plan) == 3 or at == 39
    assert_agrees(store, run_id)


@pytest.mark.parametrize("log_every", [3, 2])
def test_a_fork_whose_parent_was_logged_at_another_interval(store: Store, log_every: int) -> None:
    parent = train(store, store.add_run(TINY, plan=(Steering(4 * STEPS, "weight_decay", 0.1, 0.4, 3),)))
    changes = {"weight_decay": (0.0, 2), "log_every": log_every, "epochs": 25}
    fork = train(store, forks.fork(store, store.run(parent), 13 * STEPS + 1, changes))
    assert_agrees(store, fork)
    assert_agrees(store, train(store, forks.fork(store, store.run(fork), 17 * STEPS, {"bn_epsilon": 1e-4})))
    assert_agrees(store, train(store, forks.replay(store, store.run(fork))))


def test_a_run_that_diverged(store: Store) -> None:
    wild = TINY.replace(optimizer="sgd", batch_norm=False, loss="cross_entropy", learning_rate=900.0)
    run_id = train(store, store.add_run(wild))
    assert store.run(run_id).status == Status.DIVERGED
    assert_agrees(store, run_id)


def test_a_batch_of_runs(store: Store) -> None:
    config = TINY.replace(width=16, engine="ensemble")
    plan = (Steering(4 * STEPS, "weight_decay", 0.1, 0.4, 3),)
    run_ids = [store.add_run(config, plan=plan), store.add_run(config.replace(seed=1, epochs=7))]
    Group(store, run_ids, device="cpu", threads=1).run()
    for run_id in run_ids:
        assert_agrees(store, run_id)


def test_a_run_that_has_not_started(store: Store) -> None:
    assert_agrees(store, store.add_run(TINY))


@pytest.mark.parametrize("damage", ["point", "last point", "event"])
def test_damage_is_reported_as_wrong(store: Store, damage: str) -> None:
    run_id = train(store, store.add_run(TINY, plan=(Steering(4 * STEPS, "weight_decay", 0.1, 0.4),)))
    step = {"point": 6, "last point": 20}.get(damage, 0) * STEPS
    connection = sqlite3.connect(store.folder / "wdtui.sqlite3", isolation_level=None)
    if step:
        connection.execute("UPDATE points SET data = zeroblob(length(data)) WHERE step = ?", (step,))
    else:
        connection.execute("UPDATE events SET data = replace(data, '0.4', '0.5')")
    connection.close()
    finding = next(finding for finding in check_run(store, run_id) if finding.check == "checksums")
    assert finding.agrees is False and (str(step) if step else "event") in finding.says


def test_a_fork_without_a_point_of_its_parent_is_wrong(store: Store) -> None:
    parent = train(store, store.add_run(TINY))
    fork = train(store, forks.fork(store, store.run(parent), 12 * STEPS, {"weight_decay": 0.5}))
    connection = sqlite3.connect(store.folder / "wdtui.sqlite3", isolation_level=None)
    connection.execute("DELETE FROM points WHERE run_id = ? AND step = ?", (fork, 6 * STEPS))
    connection.close()
    assert [finding.check for finding in check_run(store, fork) if finding.agrees is False] == ["checksums"]
