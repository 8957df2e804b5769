"""What counts in a run now, whose hyperparameters were changed while training."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from store_tools import CONFIG, append, claim, point

from wdtui.problems.declared import Problem, config_of, declared, knob
from wdtui.runs.forks import fork
from wdtui.runs.labels import labels
from wdtui.runs.scheduler import Scheduler
from wdtui.schema.source import Source
from wdtui.schema.steering import Plan, Steering
from wdtui.store.records import RunRecord, Status
from wdtui.store.store import Store
from wdtui.support.text import number
from wdtui.tui.controls import Controls

EPOCH = CONFIG.steps_per_epoch


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


def trained(store: Store, plan: Plan, epochs: int, status: Status = Status.STOPPED) -> RunRecord:
    """A run of this plan that has come so far."""
    run_id = store.add_run(CONFIG, plan=plan)
    claim(store, run_id)
    append(store, run_id, *(point(epoch * EPOCH) for epoch in range(1, epochs + 1)))
    if status != Status.RUNNING:
        store.set_status(store.run(run_id).claim, status)
    return store.run(run_id)


STEERED = (Steering(3 * EPOCH, "weight_decay", 0.3, 0.1), Steering(6 * EPOCH, "weight_decay", 0.1, 0.01))


@pytest.mark.parametrize(
    ("epochs", "value", "written"),
    [(3, 0.3, "0.3"), (4, 0.1, "0.3→0.1"), (6, 0.1, "0.3→0.1"), (7, 0.01, "0.3→0.1→0.01")],
)
def test_the_value_in_force_is_that_of_the_last_epoch(store: Store, epochs: int, value: float, written: str) -> None:
    run = trained(store, STEERED, epochs)
    assert run.in_force["weight_decay"] == value and run.written("weight_decay") == written
    assert run.values["weight_decay"] == 0.3 and run.in_force["width"] == CONFIG.width


def test_a_live_run_shows_a_new_steering_at_once(store: Store) -> None:
    assert trained(store, STEERED, 3, Status.RUNNING).written("weight_decay") == "0.3→0.1"


def test_a_gradual_change_shows_the_value_that_it_has_reached(store: Store) -> None:
    plan = (Steering(0, "learning_rate", 0.001, 0.0001, epochs=10),)
    run = trained(store, plan, 5)
    assert run.in_force["learning_rate"] == pytest.approx(0.001 * 10**-0.5)
    assert run.written("learning_rate") == run.written("learning_rate", number) == "0.001→3.2e-4"


def test_the_values_at_the_next_point_include_pending_changes(store: Store) -> None:
    class Live(Problem):
        rate: float = knob(1.0, affects="live")
        sizes: tuple[int, int] = knob((2, 4), affects="live")

    run = store.run(store.add_run(config_of(declared(Live, Source("live.py", "Live", {})))()))
    store.send(run.id, "steer", {"rate": [0.5, 10], "sizes": [3, 5]})
    found = Controls(store, Scheduler(store)).in_force_next(run)
    assert (found["rate"], found["sizes"]) == (0.5, (3, 5))


def test_many_changes_are_shown_as_first_and_last(store: Store) -> None:
    plan = tuple(Steering(epoch * EPOCH, "bn_epsilon", 0.1 * epoch, 0.1 * (epoch + 1)) for epoch in range(1, 5))
    assert trained(store, plan, 6).written("bn_epsilon", number) == "0.1→…→0.5"


def test_a_fork_shows_the_parents_value_and_its_own(store: Store) -> None:
    parent = trained(store, (), 6)
    run = store.run(fork(store, parent, 4 * EPOCH, {"weight_decay": 0.01}))
    assert (run.written("weight_decay"), run.in_force["weight_decay"]) == ("0.3→0.01", 0.01)
    assert run.title.startswith("λ0.3→0.01 ε")


def test_a_replay_of_a_fork_has_the_new_value_only_where_it_counts(store: Store) -> None:
    forked = store.run(fork(store, trained(store, (), 6), 4 * EPOCH, {"weight_decay": 0.01}))
    run_id = store.add_run(forked.config, plan=forked.plan)
    assert store.run(run_id).written("weight_decay") == "0.3"


def test_labels_distinguish_a_steered_run_from_a_constant_one(store: Store) -> None:
    assert labels([trained(store, STEERED, 4), trained(store, (), 4)]) == ["λ 0.3→0.1", "λ 0.3"]
