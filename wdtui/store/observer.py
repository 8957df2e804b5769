"""What one process has seen of the owners of runs: who lives, who is gone, and who is not known yet.

An owner that this process can look at is judged at once. Any other is judged by its heartbeats, which count up: it
lives once one has been seen to come, and is gone once none has come for SILENCE_SECONDS of this process's own clock.
What the clocks of other machines say is never compared. What this process trains no more is gone, though the process
lives: where a disk fails, that cannot be written down.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any, NamedTuple

from wdtui.store import processes
from wdtui.store.processes import Life
from wdtui.store.records import LIVE, Claim, RunRecord, Status

SILENCE_SECONDS = 60.0
"""An owner that cannot be looked at and sends no heartbeat for so long is gone; one comes every 10 seconds at least."""
_HELD = {*LIVE, Status.QUEUED}


class _Seen(NamedTuple):
    pulse: tuple[int, float | None]
    since: float
    """On the monotonic clock, when this pulse was first seen."""
    life: Life


class Observer:
    """Judges the owners of one store's runs by all that this process has seen. Threads may share it."""

    def __init__(self) -> None:
        self._seen: dict[Claim, _Seen] = {}
        self._given_up: dict[Claim, str] = {}

    def judged(self, runs: Iterable[RunRecord], looked: float) -> list[RunRecord]:
        """Runs as they are to be shown; `looked` is the monotonic clock just before they were read."""
        lives: dict[tuple[Any, ...], Life] = {}  # thousands of queued runs may have one owner
        return [self._judged(run, looked, lives) if run.status_text in _HELD else run for run in runs]

    def give_up(self, claim: Claim, reason: str) -> None:
        """From now on, judge the owner under a claim of this process as gone, for a reason in one sentence."""
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
