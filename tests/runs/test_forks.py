"""Forks, replays and what is kept of a run: a run is its config and its plan, wherever it is trained from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from calls import Calls
from hypothesis import given, settings
from hypothesis import strategies as st

from wdtui.analysis.milestones import Milestones, milestones
from wdtui.problems.addition.config import RunConfig
from wdtui.runs import forks, retention, runner
from wdtui.runs.retention import MilestoneTracker
from wdtui.runs.runner import Runner
from wdtui.schema.curves import Curves
from wdtui.schema.hyperparameters import ConfigError
from wdtui.schema.steering import Steering, planned, read_change, values_at
from wdtui.store.checkpoints import Checkpoints
from wdtui.store.records import RunRecord, Status
from wdtui.store.store import Store
from wdtui.studies.branches import Branch, Branching, in_words
from wdtui.training import trainer

SCHEMA = RunConfig.schema()
TINY = RunConfig(width=4, train_size=40, validation_size=10, test_size=10, batch_size=8, epochs=20, keep_every=8)
STEPS = 5
"""Of an epoch."""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


def trained(store: Store, run_id: int) -> RunRecord:
    assert Runner(store, run_id, device="cpu", threads=1).run() == Status.DONE
    return store.run(run_id)


def parent(store: Store, **changes: Any) -> RunRecord:
    plan = (Steering(30, "bn_epsilon", 0.01, 0.3), Steering(70, "weight_decay", 0.1, 2.0, 4))
    return trained(store, store.add_run(TINY.replace(**changes), plan=plan))


def measured(curves: Curves, from_step: int = 0) -> list[list[float | None]]:
    """All values but the speed, None for NaN, which does not equal itself."""
    kept = [i for i, name in enumerate(curves.names) if name != "steps_per_second"]
    values = curves.values[curves.steps > from_step][:, kept]
    return np.where(np.isnan(values), None, values).tolist()


def assert_equal(one: Curves, other: Curves) -> None:
    assert one.steps.tolist() == other.steps.tolist()
    assert measured(one) == measured(other)


@pytest.mark.parametrize(
    ("at", "changes"),
    [
        *((at, {}) for at in (0, 3, 30, 61, 70, 80, 95)),
        (52, {"shuffle": True}),
        (52, {"normalized_weight_decay": 0.05}),
    ],
    ids=str,
)
def test_a_fork_with_nothing_changed_equals_its_parent_bit_for_bit(
    store: Store, at: int, changes: dict[str, Any]
) -> None:
    original = parent(store, **changes)
    child = trained(store, forks.fork(store, original, at, {}))
    assert (child.parent, child.parent_step) == (original.id, at - at % STEPS)
    assert_equal(store.curves(child.id), store.curves(original.id))
    told = [(event.step, event.data) for event in store.events(original.id) if event.kind == "steered"]
    assert [(event.step, event.data) for event in store.events(child.id) if event.kind == "steered"] == told


def test_a_fork_does_not_need_its_parent(store: Store) -> None:
    original = parent(store)
    changes = {"learning_rate": 0.01, "betas": (0.5, 0.6), "loss": "cross_entropy"}
    first, second = (forks.fork(store, original, 52, changes) for _ in range(2))
    trained(store, first)
    expected = store.curves(original.id)
    store.delete([original.id])
    trained(store, second)
    assert [event.kind for event in store.events(second)][:1] == ["steered"]
    assert [event.step for event in store.events(first) if event.kind == "forked"] == [40]
    assert_equal(store.curves(first), store.curves(second))
    mine = store.curves(first)
    assert measured(mine)[:10] == measured(expected)[:10] and measured(mine)[10] != measured(expected)[10]


@pytest.mark.parametrize(
    "changes",
    [{"bn_epsilon": 0.1}, {"weight_decay": (0.0, 5)}, {"bn_momentum": 0.5}, {"shuffle": True}, {"adam_epsilon": 0.1}],
    ids=str,
)
def test_a_fork_has_its_changes_from_its_step_on(store: Store, changes: dict[str, Any]) -> None:
    original = parent(store)
    child = trained(store, forks.fork(store, original, 50, changes))
    before, after = store.curves(original.id), store.curves(child.id)
    assert measured(after)[:10] == measured(before)[:10]
    assert all(one != other for one, other in zip(measured(after)[10:], measured(before)[10:], strict=True))
    for name, change in changes.items():
        assert getattr(child.config, name) == (change[0] if isinstance(change, tuple) else change)
    again = trained(store, forks.replay(store, child))
    assert_equal(store.curves(again.id), after)


def test_a_fork_may_begin_to_measure_the_sharpness(store: Store) -> None:
    original = parent(store)
    child = trained(store, forks.fork(store, original, 40, {"sharpness_every": 1}))
    before, after = store.curves(original.id), store.curves(child.id)
    assert after.measured("sharpness")[0].tolist() == after.steps[after.steps > 40].tolist()
    for name in ("train_loss", "test_accuracy"):
        assert after[name].tolist() == before[name].tolist()


def test_a_fork_of_a_finished_run_trains_it_longer(store: Store) -> None:
    original, whole = parent(store), trained(store, store.add_run(TINY.replace(epochs=26), plan=parent(store).plan))
    with pytest.raises(ConfigError, match="epochs 20 ends at step 100, and the fork starts at step 100: give more"):
        forks.fork(store, original, 100, {})
    child = trained(store, forks.fork(store, original, 100, {"epochs": 26}))
    assert_equal(store.curves(child.id), store.curves(whole.id))
    assert [event.step for event in store.events(child.id) if event.kind == "forked"] == [100]


def branch(store: Store, run_id: int, step: int) -> int:
    """A fork with nothing changed, also where the run has not come so far."""
    run = store.run(run_id)
    return forks.queue(store, [(run, Branch(run.config, step, ()))])[0]


def test_a_fork_of_a_fork_goes_on_from_the_nearest_ancestor(store: Store) -> None:
    original = parent(store)
    child = forks.fork(store, original, 60, {"learning_rate": 0.01})
    grandchild = trained(store, branch(store, child, 45))
    assert [event.data for event in store.events(grandchild.id) if event.kind == "forked"] == [{"parent": original.id}]
    assert_equal(store.curves(grandchild.id), store.curves(trained(store, child).id))


def test_a_fork_takes_nothing_after_a_later_steering_of_its_parent(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_POLL_SECONDS", 0.0)
    early = store.add_run(TINY)
    child = branch(store, early, 80)
    store.send(early, "steer", {"learning_rate": 0.5})
    trained(store, early)
    assert store.run(early).plan
    assert_equal(store.curves(trained(store, child).id), store.curves(trained(store, store.add_run(TINY)).id))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"width": 8}, "width determines the shape of the network, so a fork cannot change it"),
        ({"blocks": 1}, "blocks determines the shape"),
        ({"batch_norm": False}, "batch_norm determines the shape"),
        ({"train_size": 50}, "train_size determines the data"),
        ({"data_seed": 1}, "data_seed determines the data"),
        ({"batch_size": 4}, "batch_size determines the batches"),
        ({"seed": 1}, "seed determines how a run starts"),
        ({"optimizer": "sgd"}, "optimizer determines the optimiser's state"),
        ({"weight_decay": -1.0}, "weight_decay: -1.0 is not allowed"),
        ({"epochs": 3}, "epochs 3 ends at step 15"),
    ],
    ids=str,
)
def test_changes_that_a_fork_cannot_make_are_refused(store: Store, changes: dict[str, Any], said: str) -> None:
    original = parent(store)
    with pytest.raises(ConfigError, match=said):
        forks.fork(store, original, 50, changes)
    with pytest.raises(ConfigError, match="step 101: run 1 can be forked from step 0 to 100"):
        forks.fork(store, original, 101, {})
    assert len(store.runs()) == 1


def test_branches_can_be_added_before_their_run_is_trained(store: Store) -> None:
    branching = Branching.read(
        SCHEMA, {"at_epoch": 6, "branches": [{}, {"bn_epsilon": "0.5:4"}, {"weight_decay": 0.0}]}
    )
    run_id = store.add_run(TINY)
    parent = store.run(run_id)
    queued = forks.queue(store, [(parent, one) for one in forks.branches(parent, branching)])
    unchanged, risen, free = (trained(store, one) for one in queued)
    assert [run.name for run in (unchanged, risen, free)] == ["unchanged", "ε → 0.5 over 4 epochs", "λ → 0"]
    assert_equal(store.curves(unchanged.id), store.curves(trained(store, run_id).id))
    assert measured(store.curves(risen.id))[6] != measured(store.curves(free.id))[6]


def test_a_field_of_several_numbers_is_not_taken_for_a_gradual_change() -> None:
    assert in_words(SCHEMA, {"betas": (0.8, 0.9)}) == "betas → 0.8,0.9"
    assert in_words(SCHEMA, {"train_digits": (2, 4)}) == "train_digits → 2,4"
    branching = Branching.read(SCHEMA, {"at_epoch": 1, "branches": [{"train_digits": [2, 4]}]})
    assert branching.names(SCHEMA) == [branching.of(TINY)[0].name] == ["train_digits=2,4"]


def test_a_branch_before_a_blow_up_begins_whole_epochs_before_the_first(store: Store) -> None:
    (branch,) = Branching.read(SCHEMA, {"before_blow_up": 2, "branches": [{}]}).of(TINY)
    run = store.run(store.add_run(TINY))._replace(status_text=Status.DONE)
    for blow_ups, step in [((45, 60), 35), ((43,), 30), ((5,), 0)]:
        seen = json.dumps(Milestones(5, None, blow_ups).to_json())
        assert forks.placed(branch, run._replace(milestones_text=seen)).step == step
    without = run._replace(milestones_text=json.dumps(Milestones(5, None, ()).to_json()))
    with pytest.raises(ConfigError, match=r"Run 1 has no blow-up, and its forks begin before its first blow-up\."):
        forks.placed(branch, without)
    with pytest.raises(ConfigError, match="Run 1 has not ended yet"):
        forks.placed(branch, run._replace(status_text=Status.RUNNING))


# Plans


def test_a_gradual_change_reaches_its_value_over_several_epochs() -> None:
    plan = (Steering(20, "bn_epsilon", 1e-5, 1e-2, 3), Steering(30, "weight_decay", 0.1, 0.0, 2))
    values = [values_at(plan, step, 10) for step in (0, 10, 20, 30, 40, 50)]
    expected = [1e-5, 1e-5, 1e-4, 1e-3, 1e-2, 1e-2]
    assert [each["bn_epsilon"] for each in values] == pytest.approx(expected)
    assert [each["weight_decay"] for each in values] == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.0, 0.0])
    assert values[4]["bn_epsilon"] == 1e-2


def test_steering_replaces_later_planned_changes() -> None:
    plan = planned((), Steering(20, "bn_epsilon", 1e-5, 1e-2), Steering(10, "weight_decay", 0.1, 0.2))
    assert [one.step for one in plan] == [10, 20]
    assert planned(plan, Steering(15, "bn_epsilon", 1e-5, 1.0)) == (plan[0], Steering(15, "bn_epsilon", 1e-5, 1.0))
    assert planned(plan, Steering(25, "bn_epsilon", 1e-2, 1.0))[:2] == plan


@pytest.mark.parametrize("text", ["1e-2:", "1e-2:0", "1e-2:-3", "1e-2:x", "1e-2:1:2", ":5", "1e-2:１"])
def test_a_change_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"bn_epsilon: .* is not allowed"):
        read_change(text, RunConfig.fields()["bn_epsilon"], "epochs")


def test_a_live_run_is_steered_over_some_epochs_and_replayed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_POLL_SECONDS", 0.0)
    run_id = store.add_run(TINY)
    store.send(run_id, "steer", {"bn_epsilon": [0.5, 6]})
    run = trained(store, run_id)
    [steering] = run.plan
    assert (steering.old, steering.new, steering.epochs) == (0.01, 0.5, 6)
    again = trained(store, forks.replay(store, run))
    assert again.plan == run.plan
    assert_equal(store.curves(again.id), store.curves(run_id))


def test_the_later_of_two_changes_counts_after_a_pause(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    class Wavering(Runner):
        def wait_while_paused(self) -> bool:
            store.send(run_id, "steer", {"weight_decay": 0.5})
            store.send(run_id, "resume")
            return super().wait_while_paused()

    monkeypatch.setattr(runner, "_POLL_SECONDS", 0.0)
    run_id = store.add_run(TINY)
    store.send(run_id, "pause")
    store.send(run_id, "steer", {"weight_decay": 0.2})
    Wavering(store, run_id, device="cpu", threads=1).run()
    assert [steering.new for steering in store.run(run_id).plan] == [0.5]


# What is kept


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from((0.5, 0.96, 0.992, 1.0)), st.sampled_from((0.1, 0.95))), max_size=30))
def test_milestones_are_seen_as_they_come(accuracies: list[tuple[float, float]]) -> None:
    watch = MilestoneTracker()
    seen = [watch.add(step, *pair, pair[0]) for step, pair in enumerate(accuracies)]
    steps = np.arange(len(accuracies), dtype=np.int64)
    whole = milestones(
        Curves(("train_accuracy", "test_accuracy"), steps, steps, np.array(accuracies).reshape(-1, 2)),
        SCHEMA.judged,
    )
    assert tuple(i for i, names in enumerate(seen) if "blow-up" in names) == whole.blowup_steps
    assert next((i for i, names in enumerate(seen) if "fit" in names), None) == whole.fit_step
    assert next((i for i, names in enumerate(seen) if "generalised" in names), None) == whole.generalise_step
    assert watch.summary == whole.to_json()


def watched(monkeypatch: pytest.MonkeyPatch, found: dict[int, list[str]]) -> None:
    """Have milestones found at these epochs, whatever the accuracies."""
    epochs = iter(range(1, 1000))
    monkeypatch.setattr(retention.MilestoneTracker, "add", lambda *_: found.get(next(epochs), []).copy())


def test_milestones_and_the_time_before_a_blow_up_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    watched(monkeypatch, {3: ["fit"], 11: ["blow-up"], 15: ["generalised"]})
    run = trained(store, store.add_run(TINY.replace(keep_every=0)))
    kept = Checkpoints.of(store.folder, run).kept()
    assert kept == {15: "fit", 20: "blow-up", 75: "generalised", 100: ""}
    expected = trained(store, store.add_run(TINY))
    assert_equal(store.curves(trained(store, forks.fork(store, run, 20, {})).id), store.curves(expected.id))


def test_copies_of_the_time_before_a_blow_up_are_fetched_from_the_device_only_at_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watched(monkeypatch, {11: ["blow-up"]})
    config = TINY.replace(keep_every=0)
    training = trainer(config).open_session(config, "cpu", ())
    policy = retention.RetentionPolicy(config, training, Curves.of(config.columns, []), None)
    fetched = {}
    for point in training.points():
        with Calls() as calls:
            kept = [(snapshot.step, why) for snapshot, why in policy.after(point, training)]
        assert kept == ([(4 * config.steps_per_epoch, "blow-up")] if point.epoch == 11 else [])
        fetched[point.epoch] = calls.counts["_to_copy"]
    assert {epoch for epoch, count in fetched.items() if count} == {11}


def test_interval_checkpoints_are_dropped_first_and_reported(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    watched(monkeypatch, {3: ["fit"], 12: ["blow-up"]})
    wide = TINY.replace(keep_every=2, keep_megabytes=1, width=56)
    run = trained(store, store.add_run(wide))
    checkpoints = Checkpoints.of(store.folder, run)
    kept = checkpoints.kept()
    assert checkpoints.size() <= 1e6 and "fit" in kept.values() and "blow-up" in kept.values()
    dropped = [event.data for event in store.events(run.id) if event.kind == "dropped"]
    assert dropped and {data["kept for"] for data in dropped} == {"interval"}
    assert {data["checkpoint"] for data in dropped}.isdisjoint(kept)


def test_a_checkpoint_that_cannot_be_written_ends_the_run(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("wdtui.store.checkpoints._write", full)
    monkeypatch.setattr(runner, "_CHECKPOINT_SECONDS", 0.0)
    run_id = store.add_run(TINY)
    with pytest.raises(Exception, match="No space left on device"):
        Runner(store, run_id, device="cpu", threads=1).run()
    assert store.run(run_id).status == Status.INTERRUPTED
