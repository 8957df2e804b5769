"""Sweeps on Ray: runs as tasks wherever the cluster has room, the store where the sweep was started.

Each task trains with the same `Runner` as everywhere else, on a `RemoteStore`, whose every method is carried out by one
actor beside the store. So points, checkpoints and commands take the one path they always take, and Ray alone decides
where a task runs and starts it anew, from the run's last checkpoint, when its node is lost. Needs the extra `ray`.
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError, TaskCancelledError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from wdtui.runs.executor import interrupt_waiting, queue_again
from wdtui.runs.placement import batch_key, group_size, suiting_threads
from wdtui.runs.ray_access import ClusterError
from wdtui.runs.worker import sentence
from wdtui.store.processes import Owner, this_process
from wdtui.store.records import Claim, Command, OwnershipLostError, Report, RunRecord, Status, StoreError
from wdtui.store.store import Store

if TYPE_CHECKING:
    from wdtui.schema.config import Config

_SILENT_SECONDS = 30.0
"""After which a task that asks for nothing counts as lost; a run asks about five times a second."""
_RETRIES = 3
"""How often a run may lose its node, or its process, before it counts as failed."""
_UNDER_WAY = (Status.QUEUED, Status.INTERRUPTED)
"""A run whose task has not begun, or was lost; one that was stopped, say, stays as it is."""


class RayCluster:
    """Trains runs of a store on the nodes of a Ray cluster, each of which has wdtui installed: an `Executor`."""

    def __init__(self, store: Store, *, device: str = "auto") -> None:
        """On the cluster that this process has joined by `ray_access.join`. Raises ClusterError.

        The runs are owned by the actor beside the store, which ends with this process.
        """
        self._store = store
        self._device = _device(device)
        self._host = _on_this_node(_StoreHost).remote(store.folder)
        self._owner: Owner = ray.get(self._host.owner.remote())
        # a GPU task has its process to itself: said here, as Ray's `options` cannot say it later
        needs: dict[str, Any] = {"num_gpus": 1} if self._device == "cuda" else {}
        self._task = ray.remote(max_retries=_RETRIES, **needs)(_train)
        self._changed = threading.Condition()
        """Guards what follows."""
        self._tasks: dict[Any, tuple[int, ...]] = {}
        self._interruption = ""
        """Why all runs are to stop, once they are."""

    @property
    def at_work(self) -> set[int]:
        with self._changed:
            return {run_id for group in self._tasks.values() for run_id in group}

    def submit(self, *run_ids: int, threads: int | None = None) -> None:
        for needs, group in self._groups(run_ids, threads):
            resources = {"num_cpus": needs} if self._device == "cpu" else {}
            with self._changed:
                if self._interruption:
                    interrupt_waiting(self._store, group, self._interruption)
                    continue
                task = self._task.options(**resources).remote(self._host, group, self._device, needs)
                self._tasks[task] = group
            task.future().add_done_callback(partial(self._finish, task))

    def interrupt(self, reason: str) -> None:
        """A task that waits for room, also for a retry, is cancelled; the others read it from the store."""
        with self._changed:
            self._interruption = reason
            tasks = dict(self._tasks)
        if not tasks:
            return
        try:
            begun = ray.get(self._host.interrupt.remote(reason))
        except RayActorError:  # it was killed, and the tasks find that out for themselves
            begun = set()
        for task, group in tasks.items():
            if begun.isdisjoint(group):
                ray.cancel(task)

    def wait(self, timeout: float | None = None) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: not self._tasks, timeout)

    def _groups(self, run_ids: Sequence[int], threads: int | None) -> Iterator[tuple[int, tuple[int, ...]]]:
        """Runs to train side by side, with the threads that they need; most are trained alone."""
        alike: dict[Hashable, list[int]] = defaultdict(list)
        configs: dict[Hashable, Config] = {}
        for run_id in run_ids:
            try:
                record = self._store.run(run_id)
                queue_again(self._store, record)
            except StoreError:  # deleted, or another process trains it by now
                continue
            shape = batch_key(record.config, self._device, record.plan)
            key: Hashable = run_id if shape is None else (shape,)
            alike[key].append(run_id)
            configs[key] = record.config
        total, largest = ray.cluster_resources(), _largest_node()
        for key, members in alike.items():
            needs = min(threads or suiting_threads(configs[key], self._device), largest)
            places = total.get("CPU", 1) // needs if self._device == "cpu" else total.get("GPU", 1)
            size = group_size(configs[key].layer_width, self._device, len(members), max(1, int(places)))
            for first in range(0, len(members), size):
                yield needs, tuple(members[first : first + size])

    def _finish(self, task: Any, future: Future[None]) -> None:
        """In a thread of Ray's: show runs as failed that no store says the end of."""
        error = future.exception()
        error = error.cause if isinstance(error, RayTaskError) else error
        with self._changed:
            group = self._tasks[task]
        try:
            if isinstance(error, TaskCancelledError):
                self._end(group, Status.INTERRUPTED, "Its node stopped responding.", waiting=False)
            elif isinstance(error, RayError):
                self._end(group, Status.FAILED, f"Its node or its process was lost, for the {_RETRIES + 1}th time.")
            elif isinstance(error, Exception) and not isinstance(error, StoreError):
                self._end(group, Status.FAILED, sentence(error))
            if self._interruption:
                interrupt_waiting(self._store, group, self._interruption)
        finally:
            with self._changed:
                del self._tasks[task]
                self._changed.notify_all()

    def _end(self, group: tuple[int, ...], status: Status, reason: str, *, waiting: bool = True) -> None:
        """Give a status to runs that seem to be trained, and to those that wait for it too."""
        for run_id in group:
            with contextlib.suppress(StoreError):  # deleted, or the store cannot be written
                run = self._store.run(run_id)
                if run.live and run.owner == self._owner:
                    self._store.set_status(run.claim, status, reason)
                elif waiting and run.status in _UNDER_WAY:
                    self._store.transition(run_id, status, reason)


def _device(name: str) -> str:
    """The kind of device for all tasks; which of a node's GPUs is Ray's to say."""
    kind = name.partition(":")[0]
    has_gpus = ray.cluster_resources().get("GPU", 0) > 0
    if kind == "cuda" and not has_gpus:
        raise ClusterError("--device cuda: no node of the Ray cluster has a GPU; use --device cpu or auto.")
    return ("cuda" if has_gpus else "cpu") if kind == "auto" else kind


def _largest_node() -> int:
    """The CPUs of the node that has most: what asks for more would wait for ever."""
    return max((1, *(int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"])))


def _on_this_node(actor: type) -> Any:
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(num_cpus=0, scheduling_strategy=here)(actor)


# In the actor


class _StoreHost:
    """Carries out what remote stores ask for, one after the other; owns the runs while they are trained."""

    def __init__(self, folder: Path) -> None:
        _register_tensors()
        self._store = Store(folder)
        self._attempts: dict[int, str] = {}
        """Which attempt may train a run: one whose node seemed lost and was not is refused from then on."""
        self._heard: dict[int, float] = {}
        """When the attempt at a run last asked for something."""
        self._reason = ""

    def owner(self) -> Owner:
        """Who owns the runs."""
        return this_process()

    def interrupt(self, reason: str) -> set[int]:
        """End all attempts; returns the runs of those that will notice, because they asked a moment ago."""
        self._reason = reason
        now = time.monotonic()
        return {run_id for run_id, heard in self._heard.items() if now - heard < _SILENT_SECONDS}

    def begin(self, attempt: str, run_ids: Sequence[int]) -> list[int]:
        """Admit an attempt; returns the runs that are left to train, none once all are to end."""
        if self._reason:
            return []
        return [run_id for run_id in run_ids if self._admit(attempt, run_id)]

    def _admit(self, attempt: str, run_id: int) -> bool:
        """Whether a run is left to train, that is neither stopped nor deleted while it waited."""
        try:
            run = self._store.run(run_id)
        except StoreError:
            return False
        if run_id in self._attempts and run.live and run.owner == this_process():
            self._store.set_status(run.claim, Status.INTERRUPTED, "Its node was lost.")
            data = {"reason": f"Its node was lost at step {run.step:,}."}
            self._store.add_event(run.claim, run.checkpoint_step or 0, "lost", data)  # what is later is cut off
        if self._store.run(run_id).status not in _UNDER_WAY:
            return False
        self._attempts[run_id] = attempt
        self._heard[run_id] = time.monotonic()
        return True

    def call(self, attempt: str, method: str, run: int | Claim, *arguments: Any, **options: Any) -> Any:
        """Carry out a method of the store for a run, or under a claim to it."""
        self._check(attempt, run.run_id if isinstance(run, Claim) else run)
        return getattr(self._store, method)(run, *arguments, **options)

    def report(self, attempt: str, reports: Sequence[Report]) -> dict[int, OwnershipLostError]:
        """Write down what runs did, under the claims to them."""
        for report in reports:
            self._check(attempt, report.claim.run_id)
        return self._store.report(reports)

    def commands_to(self, attempt: str, run_ids: Sequence[int]) -> tuple[dict[int, list[Command]], str]:
        """The commands to runs, and the reason why all must end, empty if they need not."""
        for run_id in run_ids:
            self._check(attempt, run_id)
        return self._store.commands_to(run_ids), self._reason

    def checkpoints(self, attempt: str, run: RunRecord, claim: Claim | None, method: str, *arguments: Any) -> Any:
        """Carry out a method of the run's checkpoints."""
        self._check(attempt, run.id)
        return getattr(self._store.checkpoints(run, claim), method)(*arguments)

    def _check(self, attempt: str, run_id: int) -> None:
        if self._attempts.get(run_id) != attempt:
            raise StoreError(f"Run {run_id} is now trained by another node.")
        self._heard[run_id] = time.monotonic()


# In a task


def _train(host: Any, run_ids: Sequence[int], device: str, threads: int) -> None:
    from wdtui.runs.group import runner_of

    store = RemoteStore(host)
    if run_ids := store.begin(run_ids):
        runner = runner_of(cast(Store, store), run_ids, device=device, threads=threads)
        store.on_interruption = partial(setattr, runner, "interruption")
        runner.run()


class RemoteStore:
    """What a runner needs of the store of another machine: the same methods, the same errors."""

    def __init__(self, host: Any) -> None:
        _register_tensors()
        self._host = host
        self._attempt = uuid.uuid4().hex
        self.on_interruption: Callable[[str], None] = lambda reason: None

    def __getattr__(self, method: str) -> Callable[..., Any]:
        """A method of `Store` whose first argument is the run, or a claim to it."""
        return partial(self._ask, "call", method)

    def begin(self, run_ids: Sequence[int]) -> list[int]:
        return cast(list[int], self._ask("begin", run_ids))

    def report(self, reports: Sequence[Report]) -> dict[int, OwnershipLostError]:
        return cast(dict[int, OwnershipLostError], self._ask("report", reports))

    def commands(self, run_id: int) -> list[Command]:
        return self.commands_to([run_id]).get(run_id, [])

    def commands_to(self, run_ids: Sequence[int]) -> dict[int, list[Command]]:
        commands, reason = self._ask("commands_to", run_ids)
        if reason:
            self.on_interruption(reason)
        return cast(dict[int, list[Command]], commands)

    def checkpoints(self, run: RunRecord, claim: Claim | None = None) -> RemoteCheckpoints:
        return RemoteCheckpoints(partial(self._ask, "checkpoints", run, claim))

    def _ask(self, method: str, *arguments: Any, **options: Any) -> Any:
        """Not with `ray.get`: a task that waits in it lends its CPUs to others, and too many runs train at once."""
        answer = getattr(self._host, method).remote(self._attempt, *arguments, **options)
        try:
            return answer.future().result()
        except RayTaskError as error:
            raise error.cause from None
        except RayActorError as error:
            raise StoreError("The machine that holds the store cannot be reached.") from error


class RemoteCheckpoints:
    """The same for a run's checkpoints."""

    def __init__(self, ask: Callable[..., Any]) -> None:
        self._ask = ask

    def __getattr__(self, method: str) -> Callable[..., Any]:
        return partial(self._ask, method)


def _register_tensors() -> None:
    """Have this process send and read tensors as safetensors: PyTorch cannot unpickle uint32, the state of numpy's
    generator."""
    import torch
    from safetensors.torch import load, save

    ray.util.register_serializer(
        torch.Tensor,
        serializer=lambda tensor: save({"": tensor.contiguous()}),
        deserializer=lambda data: load(data)[""],
    )
