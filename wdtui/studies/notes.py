"""Notes: texts that an experiment shows at given moments while one of its runs trains. Pure functions.

In TOML, under [[notes]]:

when  = "fit"                     "start", "fit", "generalise", "blow-up" (the first), "end", {step = N} or {epoch = N}
says  = "… {test_accuracy} …"     the note, with values at that moment filled in: metrics, step, epoch, fit_step, delay;
                                  if it is shown later, its step is shown before it
where = {bn_epsilon = 1e-5}       optional: the runs that it is for; a list allows any of its values
"""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from wdtui.analysis.milestones import Milestones
from wdtui.schema.config import Config
from wdtui.schema.curves import Curves
from wdtui.schema.hyperparameters import ConfigError, format_value, nearest
from wdtui.schema.schema import Schema
from wdtui.studies.claims import read_where
from wdtui.support.text import clean, number, too_long

MOMENTS = ("start", "fit", "generalise", "blow-up", "end")
_VALUES = ("step", "epoch", "fit_step", "delay")
"""The placeholders besides the metrics of the problem."""
_KEYS = ("when", "says", "where")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Note:
    """One note; `when` is one of MOMENTS, or ("step", N) or ("epoch", N)."""

    when: str | tuple[str, int]
    says: str
    where: dict[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)

    def step(self, config: Config, seen: Milestones) -> int | None:
        """The step of the note in a run; None if it is not known, or the note is not for this run."""
        if any(getattr(config, name) not in values for name, values in self.where.items()):
            return None
        if isinstance(self.when, tuple):
            unit, count = self.when
            return count if unit == "step" else count * config.steps_per_epoch
        return {
            "start": 0,
            "fit": seen.fit_step,
            "generalise": seen.generalise_step,
            "blow-up": next(iter(seen.blowup_steps), None),
            "end": config.steps,
        }[self.when]


def read_notes(schema: Schema, tables: Any) -> tuple[Note, ...]:
    """The notes of [[notes]]. Raises ConfigError."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError("notes must be tables: begin each with [[notes]].")
    return tuple(_note(schema, table) for table in tables)


def reached(notes: Sequence[Note], config: Config, curves: Curves, seen: Milestones) -> list[tuple[int, str]]:
    """The notes that a run has reached, each as the step of its values and its text, the newest last.

    Notes of the same moment keep the order of the file.
    """
    last = int(curves.steps[-1]) if len(curves) else 0
    steps = [(step, note) for note in notes if (step := note.step(config, seen)) is not None and step <= last]
    return [
        _filled(note, config.schema(), curves, seen, step) for step, note in sorted(steps, key=lambda pair: pair[0])
    ]


def _filled(note: Note, schema: Schema, curves: Curves, seen: Milestones, step: int) -> tuple[int, str]:
    """Step and text of a note, with the values of the first point at that step or later; "–" if there are no points."""
    index = int(np.searchsorted(curves.steps, step))
    step = int(curves.steps[index]) if len(curves) else step
    if schema.source:
        schema = schema.recording({*curves.names, *_names(note.says)} - {*_VALUES})
    measured = {name: float(curves[name][index]) if len(curves) else None for name in schema.metrics}
    values = {name: schema.metrics[name].written(value) for name, value in measured.items()}
    values |= {"step": number(step), "epoch": number(int(curves.epochs[index]) if len(curves) else 0)}
    values |= {"fit_step": number(seen.fit_step), "delay": number(seen.delay)}
    return step, note.says.format_map(values)


def _note(schema: Schema, table: Mapping[str, Any]) -> Note:
    for key in table:
        if key not in _KEYS:
            raise ConfigError(f"{key} is not a key of a note{nearest(key, _KEYS)}")
    says = table.get("says")
    if not isinstance(says, str) or not says.strip():
        raise ConfigError('a note has no sentence: give says = "…".')
    if why := too_long(says):
        raise ConfigError(f"what a note says {why}.")
    try:
        if schema.source:  # what it records is known once it has been trained
            schema = schema.recording(name for name in _names(says) if name not in _VALUES)
        for name in _names(says):
            if name not in (known := (*schema.metrics, *_VALUES)):
                raise ConfigError(f"there is no value {{{name}}}{nearest(name, known)}")
        where = read_where(schema, table.get("where", {}), "where")
        return Note(when=_when(table.get("when")), says=clean(says), where=where)
    except ConfigError as error:
        raise ConfigError(f"in the note “{clean(says)}”: {error}", *error.fields) from error


def _names(says: str) -> Iterator[str]:
    try:
        parts = list(string.Formatter().parse(says))
    except ValueError as error:
        raise ConfigError(f"its braces do not pair up: {error}.") from error
    for _, name, form, conversion in parts:
        if form or conversion:
            raise ConfigError("a value in braces is a name alone.")
        if name is not None:
            yield name


def _when(value: Any) -> str | tuple[str, int]:
    if isinstance(value, dict) and len(value) == 1:
        ((unit, count),) = value.items()
        if unit in ("step", "epoch") and isinstance(count, int) and not isinstance(count, bool) and count >= 0:
            return unit, count
    if isinstance(value, str) and value in MOMENTS:
        return value
    allowed = f"give {', '.join(MOMENTS)}, {{step = N}} or {{epoch = N}}."
    raise ConfigError(
        f"when = {format_value(value)} is not a moment: {allowed}" if value else f"when is missing: {allowed}"
    )
