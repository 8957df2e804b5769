"""What the store hands out: a run's row, its events, its commands, and the errors in which the store speaks.

Plain Python: no SQL, no torch, no UI.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

from wdtui.problems import registry
from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import ConfigError, format_value
from wdtui.schema.schema import Schema
from wdtui.schema.steering import Plan, courses, from_json
from wdtui.store.processes import Life, Owner
from wdtui.support.errors import WdtuiError
from wdtui.support.text import clean, number


class StoreError(WdtuiError):
    """What the store could not do, and what to do about it, in one sentence."""


class StoreGoneError(StoreError):
    """The store's file was moved, deleted or replaced while it was in use."""


class RunBusyError(StoreError):
    """Another living process, or another thread of this one, trains the run."""


class OwnershipLostError(RunBusyError):
    """The claim under which a process writes holds no more: another process took the run over, or it was deleted."""


class RunStoppedError(StoreError):
    """A person has stopped the run while it waited."""


class Status(enum.StrEnum):
    """How far a run is."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    DAMAGED = "damaged"
    """Nothing is known of the run, as its row in the store has changed since it was written."""


LIVE = frozenset({Status.RUNNING, Status.PAUSED})
"""A process holds the run."""
FINISHED = frozenset({Status.DONE, Status.DIVERGED})
"""There is nothing left to train."""
CLAIMABLE = frozenset(Status) - LIVE - FINISHED - {Status.DAMAGED}
"""The run can be started or continued; a STOPPED run is queued again first."""

UNREADABLE = "unreadable"
"""The kind of an event or command that is damaged or missing in the store."""
ORPHANED, UNCONFIRMED = "orphaned", "unconfirmed"
"""How a queued run is shown whose process is gone, and a live one of whose process nothing has been seen yet."""

_LONGEST_COURSE, _MOST_DIGITS = 3, 12


class Claim(NamedTuple):
    """The right to write to a run: what `Store.claim` gave its owner, which every later claim takes away."""

    run_id: int
    token: int


class _Row(NamedTuple):
    """The columns of the table `runs`; fields that end in _text hold what the properties of RunRecord parse."""

    id: int
    name: str
    note: str
    experiment: str
    config_text: str
    plan_text: str
    status_text: str
    reason: str
    device: str
    threads: int | None
    host: str | None
    pid: int | None
    process_start: float | None
    heartbeat: float | None
    created: float
    started: float | None
    ended: float | None
    versions_text: str
    parent: int | None
    parent_step: int | None
    step: int
    epoch: int
    speed: float | None
    batched: int | None
    latest_text: str
    milestones_text: str
    checkpoint_step: int | None
    revision: int
    token: int
    domain: str | None
    beats: int
    epoch_steps: int | None
    schema: Schema
    owner_life: Life | None


class RunRecord(_Row):
    """One run as it stood when it was read; immutable.

    Times are unix seconds, `started` is when the latest owner took the run, `speed` is in steps per second at the
    newest point, `batched` how many runs shared one batch then (1 alone, None unknown), `reason` a sentence or empty,
    `parent` and `parent_step` are the run that it is a fork of and where it leaves it. `owner_life` is set where the
    owner of a live run is not known to live, and where that of a queued one may be gone. `schema` is what the problem
    declared when the run was stored; `epoch_steps` are the steps of an epoch, None in runs of 0.1.

    A named tuple, and JSON parsed only when asked for, because ten thousand of these are listed in a tenth of a second.
    """

    @classmethod
    def of_damaged_row(cls, run_id: int) -> RunRecord:
        """A run of which the store holds a row that cannot be trusted: a number, and a reason to show."""
        reason = f"The row of run {run_id} in the store is damaged: `wdtui runs delete {run_id}` removes it."
        return cls(
            id=run_id, name="", note="", experiment="", config_text="", plan_text="[]",
            status_text=Status.DAMAGED.value, reason=reason, device="", threads=None, host=None, pid=None,
            process_start=None, heartbeat=None, created=0.0, started=None, ended=None, versions_text="{}",
            parent=None, parent_step=None, step=0, epoch=0, speed=None, batched=None, latest_text="{}",
            milestones_text="{}", checkpoint_step=None, revision=0, token=0, domain=None, beats=0,
            epoch_steps=None, schema=registry.find(registry.DEFAULT).config.schema(), owner_life=None,
        )  # fmt: skip

    @property
    def damaged(self) -> bool:
        """Whether nothing but its number is known."""
        return self.status_text == Status.DAMAGED

    @property
    def readable(self) -> bool:
        """Whether all that the row holds can be parsed; for rows without a checksum."""
        try:
            parsed = [json.loads(text) for text in (self.config_text, self.latest_text, self.milestones_text)]
            _ = self.status, self.plan, json.loads(self.versions_text)
        except (ValueError, TypeError, KeyError, AttributeError):
            return False
        return all(isinstance(one, dict) for one in parsed) and not self.damaged

    @property
    def status(self) -> Status:
        """The status to show: a run whose owner died without a word is INTERRUPTED."""
        return Status(self.status_text)

    @property
    def live(self) -> bool:
        """Whether a living process holds the run, running or paused."""
        return self.status_text in LIVE

    @cached_property
    def values(self) -> dict[str, Any]:
        """The hyperparameters as they were stored, all of them: much cheaper than `config`, which checks.

        A run that is older than a hyperparameter has its default, a damaged one None everywhere. A field that follows
        from another, as λ from λ_norm, is NaN in a config that this version cannot read.
        """
        if self.damaged:
            return dict.fromkeys(self.schema.fields)
        values: dict[str, Any] = json.loads(self.config_text)
        for name in self.schema.derived.values() - values.keys():
            try:
                values[name] = getattr(self.config, name)
            except StoreError:
                values[name] = math.nan
        return self.schema.defaults | values

    @property
    def steps_per_epoch(self) -> int:
        """That of the config, also where another version of wdtui stored it."""
        return self.epoch_steps or int(self.values["train_size"]) // int(self.values["batch_size"])

    @property
    def steps(self) -> int:
        """How many steps the run has when it is done; 0 where its row is damaged."""
        return 0 if self.damaged else self.steps_per_epoch * int(self.values[self.schema.length])

    @cached_property
    def config(self) -> Config:
        """Raises StoreError where another version of wdtui stored what this one cannot read, or it is damaged."""
        if self.damaged:
            raise StoreError(self.reason)
        try:
            return registry.config_of(self.schema).from_mapping(json.loads(self.config_text))
        except ConfigError as error:
            raise StoreError(f"Run {self.id} was made by another version of wdtui: {error}") from error

    @property
    def plan(self) -> Plan:
        """What is changed at which step; with the config it decides the run."""
        return from_json(self.schema, json.loads(self.plan_text))

    @property
    def steered(self) -> bool:
        """Whether it has a plan, its own or that of the run it is a fork of."""
        return self.plan_text != "[]"

    @cached_property
    def courses(self) -> dict[str, tuple[Any, ...]]:
        """The values, first to last, that each field of the plan has had; of other fields there is nothing to say.

        The last is that of the last epoch trained, or of a live run's next point, so that what a person has just
        steered is seen at once.
        """
        if not self.steered:
            return {}
        if self.live:
            epoch = self.step + int(self.values["log_every"]) * self.steps_per_epoch
        else:
            epoch = max(self.step - self.steps_per_epoch, self.parent_step or 0)
        return courses(self.plan, epoch, self.steps_per_epoch)

    @property
    def in_force(self) -> dict[str, Any]:
        """The hyperparameters as they count now: `values`, but for what was steered, by a person or by a fork."""
        steered = {name: course[-1] for name, course in self.courses.items()}
        return self.values | steered if steered else self.values

    def written(self, name: str, write: Callable[[Any], str] | None = None) -> str:
        """A hyperparameter in text; where it was steered, from its first value to the one in force: 0.1→0.3."""
        course = self.courses.get(name, (self.values.get(name),))
        write = write or _exact_or_rounded
        if len(course) > _LONGEST_COURSE:
            return f"{write(course[0])}→…→{write(course[-1])}"
        return "→".join(map(write, course))

    @property
    def steered_fields(self) -> list[str]:
        """The fields that have another value now than at first."""
        return [name for name, course in self.courses.items() if len(course) > 1]

    @property
    def fork_of(self) -> str:
        """Which run it is a fork of, and where it leaves it, in words; empty for one that is no fork."""
        return f"fork of {self.parent} at {number(self.parent_step)}" if self.parent is not None else ""

    @cached_property
    def latest(self) -> dict[str, float]:
        """The newest value of each pooled metric, NaN where it was not finite; empty before the first point."""
        values: dict[str, float | None] = json.loads(self.latest_text)
        return {name: math.nan if value is None else value for name, value in values.items()}

    @cached_property
    def milestones(self) -> dict[str, Any]:
        """As `Milestones.to_json` wrote them; empty before the first point."""
        return dict(json.loads(self.milestones_text))

    @cached_property
    def versions(self) -> dict[str, str]:
        """Of the software that trained the run last; empty while it is queued."""
        return dict(json.loads(self.versions_text))

    @property
    def title(self) -> str:
        """The name, safe to show on one line, or else the hyperparameters that matter most."""
        if self.name:
            return clean(self.name)
        if self.damaged:
            return "damaged"
        main = " ".join(symbol + self.written(name) for symbol, name in self.schema.main.items())
        return main or clean(self.schema.problem)

    @property
    def claim(self) -> Claim:
        """Under which its present owner writes."""
        return Claim(self.id, self.token)

    @property
    def owner(self) -> Owner | None:
        """The process that trains the run or has queued it; None where nobody did, or wdtui 0.1 alone."""
        if self.host is None or self.domain is None or self.pid is None or self.process_start is None:
            return None
        return Owner(self.host, self.domain, self.pid, self.process_start)

    @property
    def orphaned(self) -> bool:
        """Whether the run is queued by a process that is gone, so that nobody will train it."""
        return self.status_text == Status.QUEUED and self.owner_life == Life.GONE

    @property
    def unconfirmed(self) -> bool:
        """Whether the run is stored as live, and nothing has been seen of its owner yet."""
        return self.status_text in LIVE and self.owner_life == Life.UNKNOWN

    @property
    def state(self) -> str:
        """The status as lists show it; ORPHANED and UNCONFIRMED say what is known about the owner instead."""
        if self.orphaned:
            return ORPHANED
        return UNCONFIRMED if self.unconfirmed else self.status_text

    def judged(self, life: Life, reason: str = "Its process ended without an error message.") -> RunRecord:
        """This record as it is to be shown, given what is known about the owner of a live or queued run.

        `reason` says why a live run's owner is gone.
        """
        if life == Life.ALIVE:
            return self
        if self.live and life == Life.GONE:
            return self._replace(status_text=Status.INTERRUPTED.value, reason=reason, ended=self.heartbeat)
        if self.live and life == Life.UNKNOWN:
            reason = f"Process {self.pid} on host {self.host} trains it. No heartbeat of it has been seen yet."
            return self._replace(owner_life=life, reason=reason)
        if life == Life.GONE:
            commands = f"`wdtui resume {self.id}` trains it, `wdtui stop {self.id}` removes it from the queue."
            return self._replace(owner_life=life, reason=f"The process that queued it has ended. {commands}")
        return self._replace(owner_life=life)


def _exact_or_rounded(value: Any) -> str:
    """As a person would type it, but for the many digits of a value on its way to another."""
    text = format_value(value)
    return number(value) if isinstance(value, float) and len(text) > _MOST_DIGITS else text


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a run at a step, such as a steering that took effect; `time` in unix seconds."""

    id: int
    run_id: int
    step: int
    time: float
    kind: str
    data: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """Something that a watcher asks of a run; `time`, in unix seconds, is when it was asked."""

    id: int
    run_id: int
    time: float
    kind: str
    data: dict[str, Any]
