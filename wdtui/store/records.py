"""What the store returns: the row of a run, its events, its commands, and errors.

Plain Python: no SQL, no torch, no UI.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

from wdtui.problems import registry
from wdtui.schema.config import Config
from wdtui.schema.curves import Point
from wdtui.schema.hyperparameters import ConfigError, format_value
from wdtui.schema.schema import Schema
from wdtui.schema.steering import Plan, courses, from_json
from wdtui.store.processes import Life, Owner
from wdtui.support.errors import WdtuiError
from wdtui.support.text import clean, number


class StoreError(WdtuiError):
    """Says in one sentence what the store could not do and what to do about it."""


class StoreGoneError(StoreError):
    """The store's file was moved, deleted or replaced while it was in use."""


class RunBusyError(StoreError):
    """Another living process, or another thread of this one, is training the run."""


class OwnershipLostError(RunBusyError):
    """The claim of a process is no longer valid: another process took the run over, or the run was deleted."""


class RunStoppedError(StoreError):
    """The run was stopped by the user while it was queued."""


class Status(enum.StrEnum):
    """The status of a run."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    DONE = "done"
    FAILED = "failed"
    DIVERGED = "diverged"
    INTERRUPTED = "interrupted"
    STOPPED = "stopped"
    DAMAGED = "damaged"
    """The row of the run in the store has changed since it was written, so nothing is known about the run."""


LIVE = frozenset({Status.RUNNING, Status.PAUSED})
"""A process owns the run."""
FINISHED = frozenset({Status.DONE, Status.DIVERGED})
"""There is nothing left to train."""
CLAIMABLE = frozenset(Status) - LIVE - FINISHED - {Status.DAMAGED}
"""The run can be started or continued; a STOPPED run is queued again first."""

UNREADABLE = "unreadable"
"""The kind of an event or command that is damaged or missing in the store."""
ORPHANED, UNCONFIRMED = "orphaned", "unconfirmed"
"""The state shown for a queued run whose owner is gone, and for a live run whose owner was not seen yet."""

TAG = re.compile(r"(?<!\S)#[\w-]*[^\W\d][\w-]*")
"""A tag in a note: a word that begins with # and has a letter, as #3 is the run of this number."""
_LONGEST_COURSE, _MOST_DIGITS = 3, 12


class Claim(NamedTuple):
    """The right to write to a run. `Store.claim` returns it, and every later claim invalidates it."""

    run_id: int
    token: int


class Report(NamedTuple):
    """What a run's owner writes down of it at one time; without points and events it is a heartbeat."""

    claim: Claim
    points: Sequence[Point] = ()
    events: Sequence[tuple[int, str, Mapping[str, Any]]] = ()
    """Step, kind and data of each; the data are plain JSON."""
    speed: float | None = None
    """In steps/s, at the last point."""
    milestones: Mapping[str, Any] = MappingProxyType({})
    """All so far."""
    batched: int = 1
    """How many runs share one batch, this one included."""
    latest: Mapping[str, float] = MappingProxyType({})
    """The newest values of metrics that not every point has."""


class _Row(NamedTuple):
    """The columns of the table `runs`. Properties of RunRecord parse the fields that end in _text."""

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


@dataclasses.dataclass(frozen=True)
class NewRun:
    """A run that is to be queued."""

    config: Config
    name: str = ""
    experiment: str = ""
    plan: Plan = ()
    parent: tuple[int, int] | None = None
    """The number of the run that it is a fork of, and the step of the fork."""


class RunRecord(_Row):
    """One run at the moment it was read; immutable.

    Times are unix seconds; `started` is when the latest owner took the run. `speed` is in steps per second at the
    newest point, and `batched` is how many runs shared a batch then (1: alone, None: unknown). `reason` is a sentence
    or empty. `parent` and `parent_step` are the run that it is a fork of and the step of the fork. `owner_life` is set
    if the owner of a live run is not known to be alive, or the owner of a queued one may be gone. `schema` is what the
    problem declared when the run was stored. `epoch_steps` is the steps per epoch, None in runs of 0.1.

    A named tuple whose JSON is parsed on demand, so that ten thousand runs are listed in a tenth of a second.
    """

    @classmethod
    def of_damaged_row(cls, run_id: int) -> RunRecord:
        """A run whose row cannot be trusted: only its number and a reason to show."""
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
        """Whether only the number is known."""
        return self.status_text == Status.DAMAGED

    @property
    def readable(self) -> bool:
        """Whether everything in the row can be parsed. Used for rows without a checksum."""
        try:
            parsed = [json.loads(text) for text in (self.config_text, self.latest_text, self.milestones_text)]
            _ = self.status, self.plan, json.loads(self.versions_text)
        except (ValueError, TypeError, KeyError, AttributeError):
            return False
        return all(isinstance(value, dict) for value in parsed) and not self.damaged

    @property
    def status(self) -> Status:
        """The status to show. A run whose owner died is INTERRUPTED."""
        return Status(self.status_text)

    @property
    def live(self) -> bool:
        """Whether a living process owns the run, running or paused."""
        return self.status_text in LIVE

    @cached_property
    def values(self) -> dict[str, Any]:
        """All hyperparameters as stored. Much cheaper than `config`, which validates them.

        Hyperparameters that are newer than the run have their defaults; a damaged run has None for all. A derived
        field, such as λ from λ_norm, is NaN if this version cannot read the config.
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
        """The steps per epoch, also for configs that another version of wdtui stored."""
        return self.epoch_steps or int(self.values["train_size"]) // int(self.values["batch_size"])

    @property
    def steps(self) -> int:
        """The number of steps of the complete run; 0 if the row is damaged."""
        return 0 if self.damaged else self.steps_per_epoch * int(self.values[self.schema.length])

    @cached_property
    def config(self) -> Config:
        """Raises StoreError if the row is damaged or this version of wdtui cannot read the config."""
        if self.damaged:
            raise StoreError(self.reason)
        try:
            return registry.config_of(self.schema).from_mapping(json.loads(self.config_text))
        except ConfigError as error:
            raise StoreError(f"Run {self.id} was made by another version of wdtui: {error}") from error

    @property
    def plan(self) -> Plan:
        """The changes of hyperparameters and their steps. The config and the plan determine the run."""
        return from_json(self.schema, json.loads(self.plan_text))

    @property
    def steered(self) -> bool:
        """Whether it has a plan of its own or inherited one as a fork."""
        return self.plan_text != "[]"

    @cached_property
    def courses(self) -> dict[str, tuple[Any, ...]]:
        """For each steered field the values that it has had, first to last.

        The last is the value in the last trained epoch. For a live run it is the value at the next point, so that a
        new steering is visible at once.
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
        """The hyperparameters in force now: `values` with the changes by steering or by a fork."""
        steered = {name: course[-1] for name, course in self.courses.items()}
        return self.values | steered if steered else self.values

    def written(self, name: str, write: Callable[[Any], str] | None = None) -> str:
        """A hyperparameter as text. A steered one is shown from its first value to the current one: 0.1→0.3."""
        course = self.courses.get(name, (self.values.get(name),))
        write = write or _exact_or_rounded
        if len(course) > _LONGEST_COURSE:
            return f"{write(course[0])}→…→{write(course[-1])}"
        return "→".join(map(write, course))

    @property
    def steered_fields(self) -> list[str]:
        """The fields whose current value differs from the first one."""
        return [name for name, course in self.courses.items() if len(course) > 1]

    @property
    def fork_of(self) -> str:
        """The parent and the step of a fork as text; empty if the run is not a fork."""
        return f"fork of {self.parent} at {number(self.parent_step)}" if self.parent is not None else ""

    @cached_property
    def latest(self) -> dict[str, float]:
        """The newest value of each pooled metric, NaN if not finite; empty before the first point."""
        values: dict[str, float | None] = json.loads(self.latest_text)
        return {name: math.nan if value is None else value for name, value in values.items()}

    @cached_property
    def milestones(self) -> dict[str, Any]:
        """As `Milestones.to_json` wrote them; empty before the first point."""
        return dict(json.loads(self.milestones_text))

    @cached_property
    def versions(self) -> dict[str, str]:
        """The versions of the software that last trained the run; empty while it is queued."""
        return dict(json.loads(self.versions_text))

    @property
    def title(self) -> str:
        """The name, safe to show on one line, or else the main hyperparameters."""
        if self.name:
            return clean(self.name)
        if self.damaged:
            return "damaged"
        main = " ".join(symbol + self.written(name) for symbol, name in self.schema.main.items())
        return main or clean(self.schema.problem)

    @property
    def tags(self) -> list[str]:
        """The words of the note that begin with #, safe to show."""
        return TAG.findall(clean(self.note))

    @property
    def claim(self) -> Claim:
        """The claim of the current owner."""
        return Claim(self.id, self.token)

    @property
    def owner(self) -> Owner | None:
        """The process that trains the run or has queued it; None if unknown, as in runs of wdtui 0.1."""
        if self.host is None or self.domain is None or self.pid is None or self.process_start is None:
            return None
        return Owner(self.host, self.domain, self.pid, self.process_start)

    @property
    def orphaned(self) -> bool:
        """Whether the process that queued the run is gone, so that nobody will train it."""
        return self.status_text == Status.QUEUED and self.owner_life == Life.GONE

    @property
    def abandoned(self) -> bool:
        """Whether the process that trained the run is gone, and did not say how the run ended."""
        return self.status_text == Status.INTERRUPTED and self.owner_life == Life.GONE

    @property
    def unconfirmed(self) -> bool:
        """Whether the run is stored as live, but its owner was not seen yet."""
        return self.status_text in LIVE and self.owner_life == Life.UNKNOWN

    @property
    def state(self) -> str:
        """The status shown in lists. ORPHANED and UNCONFIRMED describe the owner instead."""
        if self.orphaned:
            return ORPHANED
        return UNCONFIRMED if self.unconfirmed else self.status_text

    def judged(self, life: Life, reason: str = "Its process ended without an error message.") -> RunRecord:
        """This record with the status to show, given whether the owner of a live or queued run is alive.

        `reason` says why the owner of a live run is gone.
        """
        if life == Life.ALIVE:
            return self
        if self.live and life == Life.GONE:
            return self._replace(
                status_text=Status.INTERRUPTED.value, reason=reason, ended=self.heartbeat, owner_life=life
            )
        if self.live and life == Life.UNKNOWN:
            reason = f"Process {self.pid} on host {self.host} trains it. No heartbeat of it has been seen yet."
            return self._replace(owner_life=life, reason=reason)
        if life == Life.GONE:
            commands = f"`wdtui resume {self.id}` trains it, `wdtui stop {self.id}` removes it from the queue."
            return self._replace(owner_life=life, reason=f"The process that queued it has ended. {commands}")
        return self._replace(owner_life=life)


def _exact_or_rounded(value: Any) -> str:
    """The exact value, but rounded if it is in the middle of a change and has many digits."""
    text = format_value(value)
    return number(value) if isinstance(value, float) and len(text) > _MOST_DIGITS else text


@dataclasses.dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a run at a step, such as a steering; `time` in unix seconds."""

    id: int
    run_id: int
    step: int
    time: float
    kind: str
    data: dict[str, Any]


@dataclasses.dataclass(frozen=True, slots=True)
class Command:
    """A request to a run; `time`, in unix seconds, is when it was sent."""

    id: int
    run_id: int
    time: float
    kind: str
    data: dict[str, Any]
