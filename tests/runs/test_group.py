"""A group: runs trained side by side are each what they would be alone, in their points, commands and checkpoints."""

from __future__ import annotations

import itertools
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine import problem as problem_module
from wdtui.runs import group as group_module
from wdtui.runs import retention
from wdtui.runs import runner as runner_module
from wdtui.runs.group import Group, runner_of
from wdtui.runs.retention import Snapshot
from wdtui.runs.runner import Runner
from wdtui.runs.scheduler import Scheduler
from wdtui.schema.steering import Plan, Steering
from wdtui.store.store import Command, Report, RunBusyError, Status, Store, StoreError

TINY = RunConfig(
    width=16, train_size=320, validation_size=16, test_size=16, epochs=6, engine="ensemble", weight_decay=1.0
)
DIFFERENT: list[dict[str, Any]] = [
    {"seed": 1},
    {"weight_decay": 0.1, "bn_epsilon": 1e-4, "epochs": 4},
    {"learning_rate": 1e-2, "data_seed": 2},
    {"seed": 3, "shuffle": True},
]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands are looked for after every step."""
    monkeypatch.setattr(runner_module, "_POLL_SECONDS", 0.0)
    monkeypatch.setattr(group_module, "_LOOK_SECONDS", 0.01)


def add(store: Store, **changes: Any) -> list[int]:
    return [store.add_run(TINY.replace(**different | changes)) for different in DIFFERENT]


def points(store: Store, run_id: int) -> np.ndarray:
    curves = store.curves(run_id)
    timeless = [place for place, name in enumerate(curves.names) if name != "steps_per_second"]
    return np.column_stack([curves.steps, curves.epochs, curves.values[:, timeless]])


def alone(store: Store, config: RunConfig, plan: Plan = ()) -> int:
    run_id = store.add_run(config, plan=plan)
    Runner(store, run_id, device="cpu").run()
    return run_id


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_runs_of_a_group_have_the_points_they_have_alone(store: Store) -> None:
    run_ids = add(store)
    assert Group(store, run_ids, device="cpu").run() == Status.DONE
    for run_id in run_ids:
        run = store.run(run_id)
        assert (run.status, run.step) == (Status.DONE, run.config.steps)
        np.testing.assert_array_equal(points(store, run_id), points(store, alone(store, run.config)))


def test_stopped_paused_and_steered_runs_leave_the_others_as_they_are(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Asking(runner_module.Polling):
        asked = False

        def __call__(self) -> bool:
            if self._runners[0].training.step == 33 and not Asking.asked:
                Asking.asked = True
                store.send(run_ids[0], "stop")
                store.send(run_ids[1], "pause")
                store.send(run_ids[2], "steer", {"weight_decay": 0.5})
            return super().__call__()

    monkeypatch.setattr(group_module, "Polling", Asking)
    run_ids = add(store, epochs=30, log_every=5)
    group = Group(store, run_ids, device="cpu")
    thread = threading.Thread(target=group.run)
    thread.start()
    until(lambda: store.run(run_ids[1]).status == Status.PAUSED)
    until(lambda: store.run(run_ids[3]).status == Status.DONE)
    paused_at = store.run(run_ids[1]).step
    assert paused_at < store.run(run_ids[3]).step
    store.send(run_ids[1], "resume")
    thread.join(30)
    assert [store.run(run_id).status for run_id in run_ids] == [Status.STOPPED, *[Status.DONE] * 3]
    assert [event.data["new"] for event in store.events(run_ids[2]) if event.kind == "steered"] == [0.5]
    for run_id in (run_ids[1], run_ids[3]):
        np.testing.assert_array_equal(points(store, run_id), points(store, alone(store, store.run(run_id).config)))
    stopped = store.run(run_ids[0])
    assert 0 < stopped.step < stopped.config.steps
    store.transition(stopped.id, Status.QUEUED)
    Runner(store, stopped.id, device="cpu").run()
    np.testing.assert_array_equal(points(store, stopped.id), points(store, alone(store, stopped.config)))


@pytest.mark.parametrize("step", [0, 13, 15])
def test_what_a_run_is_steered_to_while_it_is_paused_counts_once_it_goes_on(
    store: Store, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    class Pausing(runner_module.Polling):
        def __call__(self) -> bool:
            run = self._runners[0]
            if run.run_id == run_ids[0] and run.training.step == step and not store.run(run.run_id).plan:
                store.send(run.run_id, "pause")
            return super().__call__()

    class Asked(group_module._Companion):
        def apply_while_paused(self, commands: Sequence[Command]) -> bool:
            store.send(self.run_id, "steer", {"weight_decay": 0.5})
            store.send(self.run_id, "resume")
            return super().apply_while_paused(store.commands(self.run_id))

    monkeypatch.setattr(group_module, "Polling", Pausing)
    monkeypatch.setattr(group_module, "_Companion", Asked)
    run_ids = add(store)
    Group(store, run_ids, device="cpu").run()
    run = store.run(run_ids[0])
    assert [event.data["new"] for event in store.events(run.id) if event.kind == "steered"] == [0.5]
    np.testing.assert_array_equal(points(store, run.id), points(store, alone(store, run.config, run.plan)))


def test_a_change_that_took_effect_is_told_although_another_run_ends_just_then(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "_POLL_SECONDS", 1e9)
    short, long = TINY.replace(epochs=2), TINY.replace(epochs=4)
    change = Steering(long.steps_per_epoch, "weight_decay", 1.0, 0.5)
    steered = store.add_run(long, plan=(change,))
    Group(store, [store.add_run(short), steered], device="cpu").run()
    assert [event.step for event in store.events(steered) if event.kind == "steered"] == [change.step]


def test_an_interrupted_group_goes_on_where_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run_ids = add(store, epochs=30)
    group = Group(store, run_ids, device="cpu")
    turns, turn = itertools.count(), group._turn

    def interrupted() -> None:
        if next(turns) == 10:
            group.interruption = "The light went out"
        turn()

    monkeypatch.setattr(group, "_turn", interrupted)
    group.run()
    assert {store.run(run_id).status for run_id in run_ids} == {Status.INTERRUPTED}
    Group(store, run_ids[1:], device="cpu").run()
    Runner(store, run_ids[0], device="cpu").run()
    for run_id in run_ids:
        config = store.run(run_id).config
        np.testing.assert_array_equal(points(store, run_id), points(store, alone(store, config)))


@pytest.mark.parametrize(
    "message", ["CUDA error: out of memory", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED", "MPS backend out of memory"]
)
def test_where_memory_does_not_suffice_half_of_the_runs_go_first(
    store: Store, monkeypatch: pytest.MonkeyPatch, message: str
) -> None:
    sizes: list[int] = []

    def scarce(configs: Any, *rest: Any) -> Any:
        sizes.append(len(configs))
        if len(configs) > 2:
            raise RuntimeError(message)
        return ensemble(configs, *rest)

    ensemble = problem_module.Ensemble
    monkeypatch.setattr(problem_module, "Ensemble", scarce)
    run_ids = add(store, epochs=3)
    Group(store, run_ids, device="cpu").run()
    assert {store.run(run_id).status for run_id in run_ids} == {Status.DONE}
    assert sizes == [4, 2, 2]


@pytest.mark.parametrize("seconds", [0.0, 1e9], ids=["all-written-down", "nothing-written-down"])
def test_where_memory_gives_out_on_the_way_half_of_the_runs_go_on_first(
    store: Store, monkeypatch: pytest.MonkeyPatch, seconds: float
) -> None:
    memory: list[weakref.ref[Any]] = []
    left: list[int] = []

    class Growing(problem_module.Ensemble):
        def __init__(self, configs: Any, *rest: Any) -> None:
            left.append(sum(other() is not None for other in memory))
            super().__init__(configs, *rest)
            memory.append(weakref.ref(self))

        def run_epoch(self, poll: Any) -> bool:
            complete = super().run_epoch(poll)
            if self.epoch == 3 and len(self.sessions) == 4:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return complete

    def on_device(training: Any) -> Snapshot:
        snapshot = copied(training)
        memory.append(weakref.ref(snapshot))
        return snapshot

    class Once(retention.MilestoneTracker):
        last = -1

        def add(self, step: int, *values: float) -> list[str]:
            assert step > self.last, "a point counts twice"
            self.last = step
            return super().add(step, *values)

    copied = Snapshot.on_device
    monkeypatch.setattr(Snapshot, "on_device", on_device)
    monkeypatch.setattr(retention, "_POINTS_BEFORE", 1)
    monkeypatch.setattr(problem_module, "Ensemble", Growing)
    monkeypatch.setattr(retention, "MilestoneTracker", Once)
    monkeypatch.setattr(runner_module, "_POLL_SECONDS", seconds)
    run_ids = add(store, keep_every=2, epochs=4)
    Group(store, run_ids, device="cpu").run()
    assert {(run.status, run.reason) for run in store.runs()} == {(Status.DONE, "")}
    assert left == [0] * 3, "the larger ensemble and the copies of it still take their memory"
    for run_id in run_ids:
        assert [event.step for event in store.events(run_id) if event.kind == "resumed"] == [10]
        np.testing.assert_array_equal(points(store, run_id), points(store, alone(store, store.run(run_id).config)))


def test_a_run_that_cannot_be_trained_even_alone_for_want_of_memory_has_failed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def scarce(*_: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(problem_module, "Ensemble", scarce)
    run_ids = add(store)
    Group(store, run_ids, device="cpu").run()
    assert {(run.status, run.reason) for run in store.runs()} == {
        (Status.FAILED, "OutOfMemoryError: CUDA out of memory.")
    }


def test_a_run_that_diverges_ends_alone(store: Store) -> None:
    wild = {"optimizer": "sgd", "batch_norm": False, "loss": "cross_entropy"}
    calm, diverging = (store.add_run(TINY.replace(learning_rate=rate, **wild)) for rate in (1e-2, 900.0))
    Group(store, [calm, diverging], device="cpu").run()
    assert store.run(calm).status == Status.DONE
    assert store.run(diverging).status == Status.DIVERGED
    assert len(store.curves(diverging)) == 1


def test_a_run_with_another_owner_is_left_to_it(store: Store) -> None:
    run_ids = add(store)
    store.claim(run_ids[0], device="cpu", threads=1, versions={})
    Group(store, run_ids, device="cpu").run()
    assert store.run(run_ids[0]).step == 0
    assert {store.run(run_id).status for run_id in run_ids[1:]} == {Status.DONE}
    with pytest.raises(RunBusyError):
        runner_of(store, run_ids[:1], device="cpu").run()


def test_runs_that_others_deleted_or_finished_while_they_waited_do_not_hold_up_the_rest(store: Store) -> None:
    deleted, finished, gone, left = add(store)
    store.delete([deleted])
    group = Group(store, [deleted, left, finished, gone], device="cpu")
    store.set_status(store.run(finished).claim, Status.DONE)
    store.delete([gone])
    assert group.run() == Status.DONE
    assert store.run(left).step == store.run(left).config.steps and store.run(finished).step == 0
    with pytest.raises(StoreError, match="nothing to train"):
        Group(store, [deleted, finished], device="cpu").run()


def test_the_scheduler_trains_ensembles_in_as_many_processes_as_there_is_room_for(store: Store) -> None:
    run_ids = add(store, epochs=30)
    scheduler = Scheduler(store, device="cpu", slots=2)
    scheduler.submit(*run_ids)
    until(lambda: all(store.run(run_id).status == Status.DONE for run_id in run_ids), 60)
    until(lambda: not scheduler.live)
    assert sorted(notice.run_id for notice in scheduler.notices()) == run_ids
    owners = [store.run(run_id).pid for run_id in run_ids]
    assert sorted(map(owners.count, set(owners))) == [2, 2]
    for run_id in run_ids:
        np.testing.assert_array_equal(points(store, run_id), points(store, alone(store, store.run(run_id).config)))
    scheduler.interrupt("The test is over")
    assert scheduler.wait(20)


def test_a_run_that_was_done_stays_done_when_the_store_fails_for_those_beside_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    short, long = store.add_run(TINY.replace(epochs=2)), store.add_run(TINY.replace(epochs=6, seed=1))
    report = store.report

    def failing(reports: Sequence[Report]) -> Any:
        if store.run(short).status == Status.DONE:
            raise StoreError("The store was locked.")
        return report(reports)

    monkeypatch.setattr(store, "report", failing)
    with pytest.raises(StoreError, match="was locked"):
        Group(store, [short, long], device="cpu").run()
    assert [store.run(run_id).status for run_id in (short, long)] == [Status.DONE, Status.INTERRUPTED]
