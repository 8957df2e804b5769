"""Requests to runs: what each status allows, what a refusal says, and what goes with a deleted run."""

from __future__ import annotations

import ast
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from store_tools import CONFIG, append, in_python, point

import wdtui
from wdtui.runs.service import RefusedError, Service
from wdtui.store import rows
from wdtui.store.records import RunRecord, Status, StoreError
from wdtui.store.store import Store
from wdtui.studies.branches import Branching
from wdtui.studies.grid import Grid
from wdtui.support.errors import WdtuiError
from wdtui.support.store_files import log_path

LIVE = {Status.RUNNING, Status.PAUSED}
STATUSES = tuple(Status)


class Queue:
    """Remembers what it was given."""

    def __init__(self) -> None:
        self.at_work: set[int] = set()
        self.submitted: list[tuple[int, str | None, int | None]] = []

    def submit(self, *run_ids: int, device: str | None = None, threads: int | None = None) -> None:
        self.submitted += [(run_id, device, threads) for run_id in run_ids]
        self.at_work |= {*run_ids}

    def cancel(self, run_id: int) -> bool:
        here = run_id in self.at_work
        self.at_work.discard(run_id)
        return here

    def forget(self, run_ids: Iterable[int]) -> None:
        self.at_work -= {*run_ids}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def service(store: Store, queue: Queue) -> Service:
    return Service(store, queue)


def a_run(store: Store, status: Status, *, points: int = 2) -> int:
    """A run of this status with two points, trained on the CPU with three threads; a queued one has none."""
    run_id = store.add_run(CONFIG)
    if status == Status.QUEUED:
        return run_id
    store.claim(run_id, device="cpu", threads=3, versions={})
    for at in range(points):
        append(store, run_id, point((at + 1) * CONFIG.steps_per_epoch))
    if status == Status.DAMAGED:
        with sqlite3.connect(store.folder / "wdtui.sqlite3") as connection:
            connection.execute("UPDATE runs SET config = '{' WHERE id = ?", (run_id,))
    elif status != Status.RUNNING:
        store.set_status(store.run(run_id).claim, status, "Because.")
    return run_id


def damage_a_point(store: Store, run_id: int) -> None:
    with sqlite3.connect(store.folder / "wdtui.sqlite3") as connection:
        connection.execute("UPDATE points SET data = zeroblob(length(data)) WHERE run_id = ?", (run_id,))


REQUESTS: dict[str, Callable[[Service, int], Any]] = {
    "pause": lambda service, run_id: service.pause(run_id),
    "resume": lambda service, run_id: service.resume(run_id),
    "checkpoint": lambda service, run_id: service.checkpoint(run_id),
    "stop": lambda service, run_id: service.stop(run_id),
    "steer": lambda service, run_id: service.steer(run_id, {"weight_decay": 0.5}),
    "fork": lambda service, run_id: service.fork(run_id, None, {"weight_decay": 0.5}),
    "replay": lambda service, run_id: service.replay(run_id),
    "delete": lambda service, run_id: service.delete([run_id]),
    "rename": lambda service, run_id: service.rename(run_id, "mine"),
    "annotate": lambda service, run_id: service.annotate(run_id, "look"),
}
DAMAGED = "The row of run 1 in the store is damaged: `wdtui runs delete 1` removes it."


def refusal(request: str, status: Status) -> str | None:
    """The sentence in which a request is refused; None where it is carried out."""
    if status == Status.DAMAGED:
        return None if request == "delete" else DAMAGED
    if request == "pause" and status != Status.RUNNING:
        return f"Run 1 is {status}: only a running run can be paused."
    if request == "resume" and status == Status.RUNNING:
        return "Run 1 is running: there is nothing to resume."
    if request == "resume" and status in (Status.DONE, Status.DIVERGED):
        return f"Run 1 is {status}: there is nothing left to train."
    if request == "stop" and status not in LIVE | {Status.QUEUED}:
        return f"Run 1 is {status}: only a live or queued run can be stopped."
    if request == "checkpoint" and status not in LIVE:
        return f"Run 1 is {status}: only a live run can write a checkpoint."
    if request == "steer" and status not in LIVE:
        return f"Run 1 is {status}: only a live run can be steered."
    if request == "fork" and status == Status.QUEUED:
        return "Run 1 has no points yet: there is nothing to fork."
    if request == "delete" and status in LIVE:
        return "stop it before you delete it."
    return None


@pytest.mark.parametrize("status", STATUSES, ids=str)
@pytest.mark.parametrize("request_name", REQUESTS)
def test_each_status_allows_its_requests_and_a_refusal_changes_nothing(
    store: Store, queue: Queue, service: Service, request_name: str, status: Status
) -> None:
    run_id = a_run(store, status)
    before = store.run(run_id), store.count(), store.commands(run_id)
    said = refusal(request_name, status)
    if said is None:
        REQUESTS[request_name](service, run_id)
        assert_carried_out(store, queue, request_name, before[0])
    else:
        with pytest.raises(WdtuiError) as refused:
            REQUESTS[request_name](service, run_id)
        assert str(refused.value).endswith(said)
        assert (store.run(run_id), store.count(), store.commands(run_id)) == before
        assert queue.submitted == []


def assert_carried_out(store: Store, queue: Queue, request: str, before: RunRecord) -> None:
    sent = [command.kind for command in store.commands(1)]
    match request:
        case "pause" | "steer":
            assert sent == [request]
        case "stop" if before.live:
            assert sent == ["stop"]
        case "stop":
            assert store.run(1).status == Status.STOPPED
        case "resume" if before.live:
            assert sent == ["resume"] and queue.submitted == []
        case "resume":
            assert store.run(1).status == Status.QUEUED
            assert [run_id for run_id, *_ in queue.submitted] == [1]
        case "fork" | "replay":
            assert [run_id for run_id, *_ in queue.submitted] == [2] and store.run(2).status == Status.QUEUED
            assert store.run(2).parent == (1 if request == "fork" else None)
        case "delete":
            assert store.count() == 0
        case "rename":
            assert store.run(1).name == "mine"
        case "annotate":
            assert store.run(1).note == "look"


def test_app_and_command_line_change_runs_only_through_the_service() -> None:
    changing = {"add_run", "transition", "reopen", "send", "set_note", "set_status"}
    source = Path(wdtui.__file__).parent
    found = {
        f"{path.relative_to(source)}: {node.attr}"
        for face in ("cli", "tui")
        for path in (source / face).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in changing
    }
    assert not found


def test_a_finished_run_with_lost_points_is_trained_again(store: Store, queue: Queue, service: Service) -> None:
    run_id = a_run(store, Status.DONE)
    damage_a_point(store, run_id)
    assert service.resume(run_id) == "Run 1 is trained again from before its first damaged point."
    assert store.run(run_id).status == Status.QUEUED and queue.submitted == [(1, "cpu", 3)]


def test_a_resumed_run_uses_its_former_device_by_default(store: Store) -> None:
    run_id = a_run(store, Status.INTERRUPTED)
    for device, expected in ((None, "cpu"), ("cuda", "cuda")):
        queue = Queue()
        service = Service(store, queue, device=device)
        service.resume(run_id)
        service.fork(run_id, None, {})
        service.replay(run_id, threads=1)
        service.start(CONFIG)
        assert [how for _, *how in queue.submitted] == [[expected, 3], [expected, 3], [expected, 1], [device, None]]
        store.transition(run_id, Status.INTERRUPTED)


def test_a_queued_run_is_queued_once_and_not_started_after_a_stop(store: Store, queue: Queue, service: Service) -> None:
    run_id = service.start(CONFIG)
    with pytest.raises(RefusedError, match=r"^Run 1 is already queued\.$"):
        service.resume(run_id)
    assert service.stop(run_id) == "Run 1 will not start."
    assert queue.at_work == set() and len(queue.submitted) == 1


def test_a_run_that_starts_while_it_is_stopped_saves_a_checkpoint(
    store: Store, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = a_run(store, Status.QUEUED)
    settle = Store.transition

    def late(self: Store, *arguments: Any) -> None:
        store.claim(run_id, device="cpu", threads=1, versions={})
        settle(self, *arguments)

    monkeypatch.setattr(Store, "transition", late)
    assert service.stop(run_id) == "Stopping run 1 with a checkpoint …"
    assert [command.kind for command in store.commands(run_id)] == ["stop"]


def test_messages_mention_an_unconfirmed_owner(store: Store, service: Service) -> None:
    run_id = a_run(store, Status.RUNNING)
    with store._database.writing() as connection:  # which seals the row
        connection.execute("UPDATE runs SET host = 'elsewhere', domain = 'another boot', pid = 7")
    doubt = "Process 7 on host elsewhere trains it. No heartbeat of it has been seen yet."
    assert service.pause(run_id) == f"Pausing run 1 … {doubt}"
    assert service.stop(run_id).endswith(doubt) and service.steer(run_id, {"weight_decay": 0.1}).endswith(doubt)


def test_steering_a_paused_run_confirms_the_change(store: Store, service: Service) -> None:
    run_id = a_run(store, Status.PAUSED)
    said = service.steer(run_id, {"weight_decay": (0.5, 20)})
    assert said == "Run 1 is paused. When it resumes, this takes effect: λ → 0.5 over 20 epochs."


def test_a_field_that_cannot_be_steered_is_refused(store: Store, service: Service) -> None:
    run_id = a_run(store, Status.RUNNING)
    with pytest.raises(WdtuiError, match="width"):
        service.steer(run_id, {"width": 16})
    assert store.commands(run_id) == []


def test_a_deleted_run_takes_its_checkpoints_and_logs_with_it_and_leaves_rescue_files(
    store: Store, queue: Queue, service: Service
) -> None:
    kept, gone, waiting = a_run(store, Status.DONE), a_run(store, Status.DONE), service.start(CONFIG)
    paths = {}
    for run_id in (kept, gone):
        paths[run_id] = (store.checkpoints(store.run(run_id)).folder, log_path(store.folder, run_id))
        paths[run_id][0].mkdir(parents=True)
        paths[run_id][1].parent.mkdir(exist_ok=True)
        paths[run_id][1].write_text("what went wrong")
    rescue = store.folder / f"run-{gone}-rescued-20261128-070000.jsonl"
    rescue.write_text("{}")
    assert service.delete([gone, waiting, gone]) == "2 runs are deleted."
    assert [run.id for run in store.runs()] == [kept] and queue.at_work == set()
    assert [path.exists() for path in paths[kept]] == [True, True]
    assert [path.exists() for path in paths[gone]] == [False, False]
    assert rescue.exists()


def test_if_one_run_cannot_be_deleted_none_is(store: Store, queue: Queue, service: Service) -> None:
    waiting, live = service.start(CONFIG), a_run(store, Status.RUNNING)
    with pytest.raises(RefusedError, match="stop it before you delete it"):
        service.delete([waiting, live])
    assert store.count() == 2 and queue.at_work == {waiting} and store.run(waiting).status == Status.QUEUED


def test_spaces_around_a_name_or_a_note_are_removed(store: Store, service: Service) -> None:
    run_id = a_run(store, Status.DONE)
    service.rename(run_id, "  mine ")
    service.annotate(run_id, " look\n")
    assert (store.run(run_id).name, store.run(run_id).note) == ("mine", "look")


def test_an_error_before_a_run_starts_leaves_the_store_unchanged(store: Store) -> None:
    interrupted, done = a_run(store, Status.INTERRUPTED), a_run(store, Status.DONE)
    damage_a_point(store, done)
    service = Service(store, Queue())
    with pytest.raises(ZeroDivisionError), service.undone_on_error():
        service.start(CONFIG)
        service.fork(interrupted, None, {})
        service.resume(interrupted)
        service.resume(done)
        raise ZeroDivisionError
    assert [run.id for run in store.runs()] == [done, interrupted]
    assert (store.run(interrupted).status, store.run(interrupted).reason) == (Status.INTERRUPTED, "Because.")
    assert (store.run(done).status, store.run(done).reason) == (Status.DONE, "Because.")


def test_an_error_does_not_affect_a_started_run(store: Store) -> None:
    service = Service(store, Queue())
    with pytest.raises(ZeroDivisionError), service.undone_on_error():
        run_id = service.start(CONFIG)
        store.claim(run_id, device="cpu", threads=1, versions={})
        raise ZeroDivisionError
    assert store.run(run_id).status == Status.RUNNING


def test_resuming_an_orphan_makes_this_process_its_owner(store: Store, service: Service) -> None:
    with in_python("store.add_run(RunConfig(width=8))", store.folder) as process:
        assert process.wait(60) == 0
    assert store.run(1).orphaned
    service.resume(1)
    assert not store.run(1).orphaned


def test_a_sweep_is_started_resumed_and_stopped(store: Store, queue: Queue, service: Service) -> None:
    sweep = service.start_sweep(Grid.of(CONFIG, {"weight_decay": [0.0, 0.1, 0.2]}), threads=2)
    assert queue.submitted == [(1, "auto", 2), (2, "auto", 2), (3, "auto", 2)]
    queue.at_work.remove(3)
    store.claim(3, device="cpu", threads=1, versions={})
    assert service.resume_sweep(sweep) == "0 runs of sweep S1 are queued here."
    assert service.stop_sweep(sweep) == "Stopping 3 runs of sweep S1 …"
    assert queue.at_work == set() and [command.kind for command in store.commands(3)] == ["stop"]


@pytest.mark.parametrize("wrong", ["parent", "branch"])
def test_if_one_branch_cannot_be_made_none_is(wrong: str, store: Store, queue: Queue, service: Service) -> None:
    parents = [a_run(store, Status.DONE), a_run(store, Status.DAMAGED if wrong == "parent" else Status.DONE)]
    changes = {"width": 16} if wrong == "branch" else {"weight_decay": 0.0}
    branching = Branching.read(CONFIG.schema(), {"at_epoch": 1, "branches": [{}, changes]})
    with pytest.raises(WdtuiError, match="damaged" if wrong == "parent" else "width"):
        service.branch(parents, branching)
    assert store.count() == len(parents) and queue.at_work == set()


def test_if_the_store_fails_at_one_branch_none_is_left(
    store: Store, queue: Queue, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even if it stays locked, so that nothing could be taken back."""
    parents, once = [a_run(store, Status.DONE)], iter([rows.add_run])
    branching = Branching.read(CONFIG.schema(), {"at_epoch": 1, "branches": [{}, {"weight_decay": 0.0}]})

    def add_one(*arguments: Any) -> int:
        if add_run := next(once, None):
            return add_run(*arguments)
        raise StoreError("The run store is locked.")

    monkeypatch.setattr("wdtui.store.store.add_run", add_one)
    monkeypatch.setattr(Store, "delete", lambda *_: pytest.fail("there is something to take back"))
    with pytest.raises(StoreError, match="locked"):
        service.branch(parents, branching)
    assert store.count() == len(parents) and queue.at_work == set()
