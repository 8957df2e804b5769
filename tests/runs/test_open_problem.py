"""A problem that wdtui does not know is stored, trained, stopped, resumed, steered, forked, listed and exported."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_problem import SMALL, SmallConfig

from wdtui import problems
from wdtui.exchange.export import export
from wdtui.exchange.taken import stream
from wdtui.hyperparameters import ConfigError
from wdtui.runs import forks, runner
from wdtui.runs.runner import Runner
from wdtui.runs.store import Status, Store, StoreError


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(problems._known(), SMALL.name, SMALL)
    monkeypatch.setattr(runner, "_ATTEND_SECONDS", 0.0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def train(store: Store, run_id: int) -> Status:
    return Runner(store, run_id, device="cpu").run()


def weights(store: Store, run_id: int) -> list[float]:
    return store.curves(run_id)["weight"].tolist()


def test_it_is_trained_and_listed_with_what_it_declares(store: Store) -> None:
    run_id = store.add_run(SmallConfig(pull=0.5, seed=3))
    assert train(store, run_id) == Status.DONE
    run = store.run(run_id)
    assert (run.step, run.steps, run.schema.problem) == (100, 100, "small")
    assert run.schema == SmallConfig.schema() and run.config == SmallConfig(pull=0.5, seed=3)
    assert run.title == "p0.5 s3" and run.values["rate"] == 0.05
    assert run.latest.keys() == {"train_loss", "weight", "steps_per_second"}
    assert weights(store, run_id)[-1] == pytest.approx(2 / 2.5, abs=1e-3)


def test_it_stops_and_goes_on_to_the_same_bits(store: Store) -> None:
    whole, stopped = store.add_run(SmallConfig()), store.add_run(SmallConfig())
    train(store, whole)
    first = Runner(store, stopped, device="cpu")
    attend = first.attend
    first.attend = lambda: attend() and (first.training.step < 43 or (bool(store.send(stopped, "stop")) and attend()))  # type: ignore[method-assign]
    assert first.run() == Status.STOPPED
    assert 0 < store.run(stopped).step < 100
    store.settle(stopped, Status.QUEUED)
    assert train(store, stopped) == Status.DONE
    assert weights(store, stopped) == weights(store, whole)


def test_any_field_that_is_declared_live_is_steered_and_no_other(store: Store) -> None:
    run_id = store.add_run(SmallConfig())
    store.send(run_id, "steer", {"rate": 0.2})
    store.send(run_id, "steer", {"target": 9.0})
    train(store, run_id)
    kinds = {event.kind: event.data for event in store.events(run_id)}
    assert kinds["steered"]["field"] == "rate"
    assert "target cannot be changed while a run is live; pull, rate can." in kinds["refused"]["reason"]
    assert store.run(run_id).in_force["rate"] == 0.2


def test_a_fork_changes_what_may_change_and_a_replay_has_the_same_bits(store: Store) -> None:
    parent = store.add_run(SmallConfig())
    train(store, parent)
    with pytest.raises(ConfigError, match="target decides the pairs, so a fork cannot change it"):
        forks.fork(store, store.run(parent), 50, {"target": 2.0})
    fork = forks.fork(store, store.run(parent), 50, {"pull": 4.0})
    again = forks.replay(store, store.run(fork))
    for run_id in (fork, again):
        assert train(store, run_id) == Status.DONE
    assert weights(store, fork)[:10] == weights(store, parent)[:10]
    assert weights(store, fork)[-1] < weights(store, parent)[-1]
    assert weights(store, again) == weights(store, fork)


def test_it_is_exported(store: Store, tmp_path: Path) -> None:
    run_id = store.add_run(SmallConfig())
    train(store, run_id)
    (path,) = export([stream(store, run_id)], "csv", tmp_path / "small.csv")
    rows = list(csv.DictReader(path.open()))
    np.testing.assert_array_equal([float(row["weight"]) for row in rows], weights(store, run_id))


def test_where_the_problem_is_gone_its_runs_are_still_shown(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = store.add_run(SmallConfig(pull=0.5))
    train(store, run_id)
    monkeypatch.delitem(problems._known(), SMALL.name)
    run = store.run(run_id)
    assert run.title == "p0.5 s0" and run.values["pull"] == 0.5 and run.steps == 100
    assert len(store.curves(run_id)) == 20
    with pytest.raises(StoreError, match="There is no problem small"):
        _ = run.config
