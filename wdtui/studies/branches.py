"""The branches of an experiment: forks of each of its runs, with changes made while training.

[fork]
at_epoch = 108                                    after how many epochs the runs are forked; or
before_blow_up = 3                                how many epochs before the first blow-up of each
branches = [{}, {bn_epsilon = 1e-2}, {bn_epsilon = "1e-2:50"}]
                                                  what each fork changes; "VALUE:EPOCHS" over so many epochs

A claim names a branch by its changes, in the syntax of `wdtui fork --set`: "unchanged", "bn_epsilon=0.01",
"bn_epsilon=0.01:50". The branch of a run that is not a fork is "none".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import ConfigError, Hyperparameter, format_value, nearest
from wdtui.schema.schema import Schema
from wdtui.schema.steering import Change, parts, read_change

BRANCH = "branch"
"""The name by which claims select a branch, beside the fields of a config."""


@dataclasses.dataclass(frozen=True)
class Branch:
    """A fork of one of an experiment's runs: the config of that run, the step of the fork and the changes there."""

    config: Config
    step: int
    changes: tuple[tuple[str, Change], ...]
    before_blow_up: bool = False
    """Whether `step` is a number of steps before the first blow-up, which is known once the run is trained."""

    @property
    def name(self) -> str:
        """Its changes, in the syntax of `--set`."""
        return _name(self.config.schema(), dict(self.changes))

    def placed(self, blow_up: int) -> Branch:
        """A branch before the first blow-up with its step, which is 0 at least, given the step of the blow-up."""
        step = max(0, blow_up - self.step)
        return Branch(self.config, step - step % self.config.steps_per_epoch, self.changes)


_PLACES = "at_epoch", "before_blow_up"

Case = Config | Branch
"""The subject of a claim: a run of an experiment, or a branch of one."""


def value_in(case: Case, field: str) -> Any:
    """The value of a field in a run, or in the parent of a branch. For BRANCH, the name of the branch."""
    if field == BRANCH:
        return case.name if isinstance(case, Branch) else "none"
    return getattr(config_of(case), field)


def config_of(case: Case) -> Config:
    """The config of a run, or of the parent of a branch."""
    return case.config if isinstance(case, Branch) else case


def forked_at(case: Case) -> int:
    """The step of the fork; 0 if it is not a fork, or one whose step is not known yet."""
    return case.step if isinstance(case, Branch) and not case.before_blow_up else 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Branching:
    """The epoch after which runs are forked, and the changes of each fork."""

    epochs: int
    """After how many epochs, or how many before the first blow-up of each run."""
    before_blow_up: bool
    branches: tuple[dict[str, Change], ...]

    @classmethod
    def read(cls, schema: Schema, table: Mapping[str, Any]) -> Self:
        """Read the table [fork] of an experiment over this schema. Raises ConfigError."""
        for key in table:
            if key not in (*_PLACES, "branches"):
                raise ConfigError(f"{key} is not a key of [fork]{nearest(key, (*_PLACES, 'branches'))}")
        places, branches = [key for key in _PLACES if key in table], table.get("branches")
        if len(places) != 1 or not isinstance(epochs := table[places[0]], int) or epochs < 0:
            raise ConfigError("[fork] needs at_epoch or before_blow_up, a whole number ≥ 0.")
        if not isinstance(branches, list) or not all(isinstance(branch, dict) for branch in branches):
            raise ConfigError("[fork] needs branches, a list of tables as {bn_epsilon = 1e-2}.")
        changes = tuple(_changes(schema, branch) for branch in branches)
        return cls(epochs=epochs, before_blow_up=places == ["before_blow_up"], branches=changes)

    @property
    def key(self) -> str:
        """The key of the table that says where runs are forked."""
        return _PLACES[self.before_blow_up]

    def names(self, schema: Schema) -> list[str]:
        """The names of the branches in claims."""
        return [_name(schema, changes) for changes in self.branches]

    def of(self, config: Config) -> list[Branch]:
        """The branches of one run."""
        step = self.epochs * config.steps_per_epoch
        return [Branch(config, step, tuple(changes.items()), self.before_blow_up) for changes in self.branches]

    def place(self, unit: str) -> str:
        """Where the runs are forked, as a phrase; `unit` is what they count in."""
        return (
            f"{self.epochs} {unit} before its first blow-up" if self.before_blow_up else f"after {self.epochs} {unit}"
        )


def _changes(schema: Schema, branch: Mapping[str, Any]) -> dict[str, Change]:
    fields = {name: schema.field(name) for name in branch}
    return {
        name: read_change(value, fields[name], schema.length) if isinstance(value, str) else fields[name].check(value)
        for name, value in branch.items()
    }


def in_words(schema: Schema, changes: Mapping[str, Change]) -> str:
    """The changes of a fork as its name, e.g. 'ε → 0.01 over 50 epochs'."""
    fields = {name: schema.field(name) for name in changes}
    texts = (f"{fields[name].symbol or name} → {_value(fields[name], to, schema)}" for name, to in changes.items())
    return ", ".join(texts) or "unchanged"


def _value(field: Hyperparameter, change: Change, schema: Schema) -> str:
    value, epochs = parts(field, change)
    return f"{format_value(value)} over {epochs} {schema.length}" if epochs else format_value(value)


def _name(schema: Schema, changes: Mapping[str, Change]) -> str:
    return ", ".join(f"{name}={_assigned(schema.field(name), to)}" for name, to in changes.items()) or "unchanged"


def _assigned(field: Hyperparameter, change: Change) -> str:
    value, epochs = parts(field, change)
    return f"{format_value(value)}:{epochs}" if epochs else format_value(value)
