"""Several runs of one shape that train in batches, each with its own row, commands and checkpoints."""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

from wdtui.runs.memory import check_room, is_out_of_memory
from wdtui.runs.retention import Snapshot, Writer
from wdtui.runs.runner import Polling, Runner, report, with_rescues
from wdtui.schema.steering import to_json
from wdtui.store.store import Status, Store, StoreError
from wdtui.training import trainer

_LOOK_SECONDS = 0.2
_T = TypeVar("_T")


class _Companion(Runner):
    """A run among others. When paused, it leaves its batch, so that the others can go on."""

    def wait_while_paused(self) -> bool:
        return False


def runner_of(
    store: Store, run_ids: Sequence[int], *, device: str = "auto", threads: int | None = None
) -> Runner | Group:
    """What trains one run, or several as batches. Raises DeviceError where this machine has no such device."""
    if len(run_ids) == 1:
        return Runner(store, run_ids[0], device=device, threads=threads)
    return Group(store, run_ids, device=device, threads=threads)


class Group:
    """Trains runs in the calling thread, those at the same step as one batch, each as `Runner` would.

    A run that is paused leaves its batch, and the others go on. When it resumes, it trains in a batch of its own, and
    the batches take turns of an epoch. If memory runs out, two batches of half the size train one after the other.
    """

    def __init__(
        self, store: Store, run_ids: Sequence[int], *, device: str = "auto", threads: int | None = None
    ) -> None:
        """Raises DeviceError if this machine has no such device, and StoreError if the store has none of the runs."""
        self._runners = _possible(lambda run_id: _Companion(store, run_id, device=device, threads=threads), run_ids)
        self.begun = threading.Event()
        """Set once the store holds no points of the runs beyond those that their training continues from."""
        self._teams: deque[_Team] = deque()
        self._later: list[list[_Companion]] = []
        """Runs for which memory did not suffice beside the others."""
        self._paused: dict[_Companion, Snapshot] = {}

    @property
    def interruption(self) -> str:
        """Set this to a reason, in any thread or signal handler: all runs stop before their next step, resumable."""
        return self._runners[0].interruption

    @interruption.setter
    def interruption(self, reason: str) -> None:
        for runner in self._runners:
            runner.interruption = reason

    def run(self) -> Status:
        """Claim the runs that can be claimed, train them, and give each its final status.

        Returns the status of the first run that no other process has taken over meanwhile. Raises RunBusyError or
        StoreError if none can be claimed, OwnershipLostError if all were taken over, and StoreError if the store can no
        longer be written.
        """
        with contextlib.closing(Writer()) as writer:
            claimed = _possible(lambda runner: _claimed(runner, writer), self._runners)
            try:
                self._form(claimed)
                self.begun.set()
                while self._teams or self._paused or self._later:
                    self._turn()
            except StoreError as error:
                raise with_rescues(error, [runner.give_up(error) for runner in claimed]) from error
        for runner in claimed:
            if not runner.lost:
                return runner.store.run(runner.run_id).status
        assert claimed[0].lost
        raise claimed[0].lost

    def _turn(self) -> None:
        """Train each team for an epoch, and look for commands to the runs that are paused."""
        if not self._teams and self._later:
            gc.collect()  # frees earlier batches, which hold their members and the other way round
            self._form(self._later.pop())
        for team in [self._teams.popleft() for _ in range(len(self._teams))]:
            self._advance(team)
        paused = list(self._paused)
        if paused:
            report(paused)
        commands = paused[0].store.commands_to([runner.run_id for runner in paused]) if paused else {}
        for runner in paused:
            if not runner.apply_while_paused(commands.get(runner.run_id, ())):
                del self._paused[runner]
                runner.conclude()
            elif not runner.paused:
                self._seat([(runner, self._paused.pop(runner))])
        if not self._teams and not self._later:
            time.sleep(_LOOK_SECONDS if self._paused else 0)

    def _form(self, runners: Sequence[_Companion]) -> None:
        """Put runs into teams, one for each step that some of them continue from."""
        starts: dict[tuple[int, int], list[_Companion]] = defaultdict(list)
        for runner in runners:
            starts[runner.find_start()].append(runner)
        for together in starts.values():
            self._seat([(runner, None) for runner in together])

    def _seat(self, runners: Sequence[tuple[_Companion, Snapshot | None]]) -> None:
        """Make a team of runs at the same step, which continue from a snapshot or from where they are stored."""
        if not runners:
            return
        try:
            self._teams.append(_Team(runners))
        except Exception as error:
            self._end([runner for runner, _ in runners], error)

    def _advance(self, team: _Team) -> None:
        try:
            if team.run_epoch():
                self._teams.append(team)
                return
        except StoreError:
            raise
        except Exception as error:
            self._end(team.runners, error)
            return
        going = []
        for runner, snapshot in team.disband():
            if runner.paused:
                self._paused[runner] = snapshot
            elif runner.left or (runner.training.ended and not runner.training.batch):
                self._conclude(runner)
            else:
                going.append((runner, snapshot))
        self._seat(going)

    def _conclude(self, runner: _Companion) -> None:
        if not runner.left:
            runner.complete(runner.training.diverged_at)
        runner.conclude()

    def _end(self, runners: list[_Companion], error: Exception) -> None:
        """Try half of the runs if memory ran out; otherwise they have failed."""
        if isinstance(error, StoreError):
            raise error
        half = len(runners) // 2
        if half and is_out_of_memory(error):
            for runner in runners:
                runner.release()
            self._later += [runners[half:], runners[:half]]
            return
        for runner in runners:
            runner.fail(error)
            runner.conclude()


class _Team:
    """Runs that train as one batch."""

    def __init__(self, runners: Sequence[tuple[_Companion, Snapshot | None]]) -> None:
        self.runners = [runner for runner, _ in runners]
        first = self.runners[0]
        plans = [runner.store.run(runner.run_id).plan for runner in self.runners]
        check_room([runner.config for runner in self.runners], first.device)
        self._batch = trainer(first.config).open_batch([runner.config for runner in self.runners], first.device, plans)
        for (runner, snapshot), session, plan in zip(runners, self._batch.sessions, plans, strict=True):
            if snapshot:  # its plan may be older than a steering of the paused run
                session.restore(snapshot.tensors, {**snapshot.position, "plan": to_json(plan)})
                runner.training = session
            else:
                runner.begin(session)
            session.restart_clock()
        self._poll = Polling(self.runners)

    def run_epoch(self) -> bool:
        """Train for an epoch, or the rest of one. Returns whether all runs go on together."""
        if not self._batch.run_epoch(self._poll):
            return False
        for place, point in self._batch.end_epoch():
            self.runners[place].take(point)
        return not any(session.ended for session in self._batch.sessions)

    def disband(self) -> list[tuple[_Companion, Snapshot]]:
        """Write down what is left of this training, and return each run with where it stands."""
        report(self.runners)
        return [(runner, Snapshot.of(runner.training)) for runner in self.runners]


def _claimed(runner: _Companion, writer: Writer) -> _Companion:
    runner.claim(writer)
    return runner


def _possible(make: Callable[[_T], _Companion], given: Iterable[_T]) -> list[_Companion]:
    """Those that can be made: while runs wait, another process may delete, claim or even finish one."""
    made = []
    for one in given:
        try:
            made.append(make(one))
        except StoreError as refusal:
            error = refusal
    if not made:
        raise error
    return made
