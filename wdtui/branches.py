"""The branches of an experiment: what each of its runs would have become, had something been changed on the way.

[fork]
at_epoch = 108                                    after how many epochs the runs are forked
branches = [{}, {bn_epsilon = 1e-2}, {bn_epsilon = "1e-2:50"}]
                                                  what each fork changes; "VALUE:EPOCHS" over so many epochs
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

from wdtui.config import FIELDS, ConfigError, nearest
from wdtui.hyperparameters import format_value
from wdtui.steering import Change, read_change


@dataclasses.dataclass(frozen=True, kw_only=True)
class Branching:
    """After how many epochs a run is forked, and the changes of each fork."""

    at_epoch: int
    branches: tuple[dict[str, Change], ...]

    @classmethod
    def read(cls, table: Mapping[str, Any]) -> Self:
        """Read the table [fork]. Raises ConfigError."""
        for key in table:
            if key not in ("at_epoch", "branches"):
                raise ConfigError(f"{key} is no part of [fork]{nearest(key, ('at_epoch', 'branches'))}")
        at_epoch, branches = table.get("at_epoch"), table.get("branches")
        if not isinstance(at_epoch, int) or at_epoch < 0:
            raise ConfigError("[fork] needs at_epoch, a whole number ≥ 0.")
        if not isinstance(branches, list) or not all(isinstance(branch, dict) for branch in branches):
            raise ConfigError("[fork] needs branches, a list of tables as {bn_epsilon = 1e-2}.")
        return cls(at_epoch=at_epoch, branches=tuple(map(_changes, branches)))


def _changes(branch: Mapping[str, Any]) -> dict[str, Change]:
    for name in branch:
        if name not in FIELDS:
            raise ConfigError(f"{name} is no field of a run{nearest(name, FIELDS)}", name)
    return {
        name: read_change(value, FIELDS[name]) if isinstance(value, str) else FIELDS[name].check(value)
        for name, value in branch.items()
    }


def in_words(changes: Mapping[str, Change]) -> str:
    """A fork's changes as its name, e.g. 'ε → 0.01 over 50 epochs'."""
    return ", ".join(f"{FIELDS[name].symbol or name} → {_value(change)}" for name, change in changes.items()) or (
        "unchanged"
    )


def _value(change: Change) -> str:
    if isinstance(change, tuple) and len(change) == 2 and isinstance(change[1], int):
        return f"{format_value(change[0])} over {change[1]} epochs"
    return format_value(change)
