"""Steering: what is changed in a run while it trains, as a plan of steps that decides the run as its config does.

A run is a pure function of its config and its plan. What a person steers is put into the plan with the step from which
on it counts; a replay is the same config with the same plan; a fork has its parent's plan up to the fork, and another
from there. Plain Python: no torch, no UI.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from wdtui.schema.hyperparameters import ConfigError, Hyperparameter, Value, format_value
from wdtui.schema.schema import Schema


@dataclasses.dataclass(frozen=True, slots=True)
class Steering:
    """A hyperparameter changed during a run, and the step from which on it counts: always the first of an epoch."""

    step: int
    field: str
    old: Value
    new: Value
    epochs: int = 0
    """A number takes so many epochs from old to new, the last with the new value; with 0 or 1 it is new at once."""

    def value(self, step: int, steps_per_epoch: int) -> Value:
        """The value in the epoch that begins at a step, with equal ratios from epoch to epoch where it has a sign.

        To or from 0 the differences are equal instead.
        """
        old, new, done = self.old, self.new, (step - self.step) // steps_per_epoch + 1
        if done >= self.epochs or not isinstance(old, float) or not isinstance(new, float):
            return new
        share = done / self.epochs
        return old * (new / old) ** share if old > 0 and new > 0 else old + (new - old) * share


Plan = tuple[Steering, ...]
"""All steerings of a run, past and to come, in the order of their steps; of one field at one step there is one."""


def planned(plan: Plan, *steerings: Steering) -> Plan:
    """The plan with steerings added; whatever it holds for the same fields from their steps on gives way."""
    first = {steering.field: steering.step for steering in steerings}
    kept = [one for one in plan if one.field not in first or one.step < first[one.field]]
    return tuple(sorted((*kept, *steerings), key=lambda steering: steering.step))


def values_at(plan: Plan, step: int, steps_per_epoch: int) -> dict[str, Value]:
    """The values of all fields in the plan, in the epoch that begins at a step; others are as the config says."""
    values: dict[str, Value] = {}
    for steering in plan:
        if steering.step <= step:
            values[steering.field] = steering.value(step, steps_per_epoch)
        else:
            values.setdefault(steering.field, steering.old)
    return values


def courses(plan: Plan, step: int, steps_per_epoch: int) -> dict[str, tuple[Value, ...]]:
    """The values that each field of the plan has had up to the epoch that begins at a step; the last is in force.

    A field that is changed only later has the one value it began with.
    """
    found = {name: [value] for name, value in values_at(plan, step, steps_per_epoch).items()}
    for steering in reversed([one for one in plan if one.step <= step]):
        found[steering.field].insert(0, steering.old)
    return {name: tuple(values) for name, values in found.items()}


def to_json(plan: Iterable[Steering]) -> list[dict[str, Any]]:
    """The plan as plain JSON."""
    return [dataclasses.asdict(steering) for steering in plan]


def from_json(schema: Schema, plan: Iterable[Mapping[str, Any]]) -> Plan:
    """Read back what `to_json` gave, of a run with such fields."""
    checked = [
        dict(entry) | {name: schema.field(entry["field"]).check(entry[name]) for name in ("old", "new")}
        for entry in plan
    ]
    return tuple(Steering(**entry) for entry in checked)


Change = Value | tuple[Value, int]
"""What a field is to be set to: a value, or a number and over how many epochs it is to get there."""


def parts(field: Hyperparameter, change: Any) -> tuple[Any, Any]:
    """The value of a Change of this field, or of what JSON makes of one, and its epochs; 0 for at once.

    Two numbers are the value of a field that has several.
    """
    if field.kind == "float" and isinstance(change, (list, tuple)):
        value, epochs = change
        return value, epochs
    return change, 0


def read_change(text: str, field: Hyperparameter, unit: str) -> Change:
    """Read VALUE or VALUE:EPOCHS, as a person types it; `unit` is what the run counts in. Raises ConfigError."""
    value, colon, epochs = text.partition(":")
    if not colon:
        return field.parse(text)
    if field.kind != "float" or not epochs.strip().isascii() or not epochs.strip().isdigit() or not int(epochs):
        hint = f"give VALUE, or VALUE:{unit.upper()} to change a number over {unit.upper()} {unit}"
        raise ConfigError(f"{field.name}: {format_value(text)} is not allowed; {hint}.", field.name)
    return field.parse(value), int(epochs)


def parse_assignment(schema: Schema, text: str) -> tuple[str, Change]:
    """Read FIELD=VALUE or FIELD=VALUE:EPOCHS for a run with such fields. Raises ConfigError."""
    name, equals, value = text.partition("=")
    if not equals:
        unit = schema.length
        over = f"FIELD=VALUE:{unit.upper()} for a change over {unit.upper()} {unit}"
        raise ConfigError(f"{text}: give FIELD=VALUE, or {over}.")
    field = schema.find(name)
    return field.name, read_change(value, field, schema.length)


def steering_to(field: Hyperparameter, change: Any, step: int, old: Value) -> Steering:
    """The steering that brings a field from its value in force to another. Raises ConfigError.

    `change` is a Change, or what JSON makes of one.
    """
    value, epochs = parts(field, change)
    if not isinstance(epochs, int) or epochs < 0:
        raise ConfigError(f"{field.name}: over {format_value(epochs)} is not allowed; give a whole number.", field.name)
    return Steering(step, field.name, old, field.check(value), epochs)


def check_steerable(schema: Schema, fields: Iterable[str]) -> None:
    """Raise ConfigError for a field that cannot be changed while a run is live."""
    for name in fields:
        if name not in [field.name for field in schema.live_fields]:
            steerable = ", ".join(field.name for field in schema.live_fields)
            raise ConfigError(f"{name} cannot be changed while a run is live; {steerable} can.", name)
