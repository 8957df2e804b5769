"""Decides whether the owners of runs are alive, from what one process has seen of them.

An owner that this process can inspect is judged at once. Any other is judged by its counted heartbeats: it is alive
once a new one was seen, and gone after SILENCE_SECONDS without one, measured on the clock of this process. Clocks of
other machines are never compared. A process can also give up a run, for example when a disk fails and the status
cannot be written: the run then counts as left by its owner, although the process is alive.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from wdtui.store import processes
from wdtui.store.processes import Life
from wdtui.store.records import LIVE, Claim, RunRecord, Status

SILENCE_SECONDS = 60.0
"""An owner that cannot be inspected is gone after this time without a heartbeat. One is sent at least every 10 s."""
_HELD = {*LIVE, Status.QUEUED}


class _Seen(NamedTuple):
    pulse: tuple[int, float | None]
    since: float
    """When this heartbeat was first seen, on the monotonic clock."""
    life: Life


class Observer:
    """Judges the owners of the runs of one store. Threads may share it."""

    def __init__(self) -> None:
        self._seen: dict[Claim, _Seen] = {}
        self._given_up: dict[Claim, str] = {}

    def judged(self, runs: Iterable[RunRecord], looked: float) -> list[RunRecord]:
        """The runs with the status to show. `looked` is the monotonic time just before they were read."""
        lives: dict[tuple[Any, ...], Life] = {}  # one owner may have queued thousands of runs
        return [self._judged(run, looked, lives) if run.status_text in _HELD else run for run in runs]

    def give_up(self, claim: Claim, reason: str) -> None:
        """From now on, report the owner under a claim of this process as gone, with a reason in one sentence."""
        self._given_up[claim] = reason

    def _judged(self, run: RunRecord, looked: float, lives: dict[tuple[Any, ...], Life]) -> RunRecord:
        if run.live and (reason := self._given_up.get(run.claim)):
            return run.judged(Life.GONE, reason)
        return run.judged(self._life(run, looked, lives))

    def _life(self, run: RunRecord, looked: float, lives: dict[tuple[Any, ...], Life]) -> Life:
        key = run.domain, run.pid, run.process_start
        life = lives.get(key)
        if life is None:
            life = lives[key] = processes.life(run.owner) if run.owner else Life.UNKNOWN
        if life != Life.UNKNOWN or not run.live:
            return life
        return Life.GONE if run.pid is None else self._by_heartbeats(run, looked)

    def _by_heartbeats(self, run: RunRecord, looked: float) -> Life:
        pulse, before = (run.beats, run.heartbeat), self._seen.get(run.claim)
        if before is None or before.pulse != pulse:
            life = Life.UNKNOWN if before is None else Life.ALIVE
            self._seen[run.claim] = _Seen(pulse, time.monotonic(), life)
            return life
        return Life.GONE if looked - before.since >= SILENCE_SECONDS else before.life
