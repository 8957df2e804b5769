"""What the store hands out: a run's row, its events, its commands, and the errors in which the store speaks.

Plain Python: no SQL, no torch, no UI.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import math
from functools import cached_property
from typing import Any, NamedTuple

from wdtui.config import FIELDS, RunConfig
from wdtui.hyperparameters import ConfigError, format_value
from wdtui.runs.processes import owner_alive
from wdtui.steering import Plan, from_json
from wdtui.text import clean


class StoreError(Exception):
    """What the store could not do, and what to do about it, in one sentence."""


class RunBusyError(StoreError):
    """Another living process, or another thread of this one, trains the run."""


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


LIVE = frozenset({Status.RUNNING, Status.PAUSED})
"""A process holds the run."""
FINISHED = frozenset({Status.DONE, Status.DIVERGED})
"""There is nothing left to train."""
CLAIMABLE = frozenset(Status) - LIVE - FINISHED
"""The run can be begun or gone on with; one that was STOPPED is queued again first."""

_DEFAULTS = {name: field.default for name, field in FIELDS.items()}


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
    latest_text: str
    milestones_text: str
    checkpoint_step: int | None
    revision: int


class RunRecord(_Row):
    """One run as it stood when it was read; immutable.

    Times are unix seconds, `started` is when the latest owner took the run, `speed` is in steps per second, `reason`
    is a sentence or empty, `parent` and `parent_step` are the run that it is a fork of and where it leaves it.

    A named tuple, and JSON parsed only when asked for, because ten thousand of these are listed in a tenth of a second.
    """

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

        A run that is older than a hyperparameter has its default. λ is NaN where it follows from a λ_norm in a config
        that this version cannot read.
        """
        values: dict[str, Any] = json.loads(self.config_text)
        if "weight_decay" not in values:
            try:
                values["weight_decay"] = self.config.weight_decay
            except StoreError:
                values["weight_decay"] = math.nan
        return _DEFAULTS | values

    @property
    def steps_per_epoch(self) -> int:
        """That of the config, also where another version of wdtui stored it."""
        return int(self.values["train_size"]) // int(self.values["batch_size"])

    @property
    def steps(self) -> int:
        """How many steps the run has when it is done."""
        return self.steps_per_epoch * int(self.values["epochs"])

    @cached_property
    def config(self) -> RunConfig:
        """Raises StoreError where another version of wdtui stored what this one cannot read."""
        try:
            return RunConfig.from_mapping(json.loads(self.config_text))
        except ConfigError as error:
            raise StoreError(f"Run {self.id} was made by another version of wdtui: {error}") from error

    @property
    def plan(self) -> Plan:
        """What is changed at which step; with the config it decides the run."""
        return from_json(RunConfig, json.loads(self.plan_text))

    @property
    def steered(self) -> bool:
        """Whether it has a plan, its own or that of the run it is a fork of."""
        return self.plan_text != "[]"

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
        knobs = {"λ": "weight_decay", "ε": "bn_epsilon", "H": "width", "s": "seed"}
        return " ".join(symbol + format_value(self.values[name]) for symbol, name in knobs.items())

    def as_shown(self, now: float) -> RunRecord:
        """This record, or where its owner is gone the record of an interrupted run; `now` is in unix seconds."""
        if not self.live or owner_alive(self.host, self.pid, self.process_start, self.heartbeat, now):
            return self
        reason = "Its process ended without a word."
        return self._replace(status_text=Status.INTERRUPTED.value, reason=reason, ended=self.heartbeat)


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
