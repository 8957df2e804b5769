"""The picture of an experiment: the curves that show what it is about, and their recording as a thumbnail.

[picture]                          optional; without it, the first chart of some runs with the first seed
metrics = ["test_accuracy"]        the metrics of its curves; by default the main one of the problem's first chart, and
                                   all of that chart's where there is one run
where   = {optimizer = "adamw"}    the runs that it shows, as claims select them; by default all with the first seed
along   = "weight_decay"           curves over this field at the end of the runs, in place of curves over the steps
log     = true                     whether the steps are on a logarithmic axis
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wdtui.schema.chart import Tone
from wdtui.schema.hyperparameters import ConfigError, nearest
from wdtui.schema.schema import Schema
from wdtui.studies.branches import Branch, Case, config_of, in_words, value_in
from wdtui.studies.claims import choose, read_cases
from wdtui.studies.grid import coarse_to_fine
from wdtui.studies.keys import Kinds, check_keys

MOST_CURVES = 7
"""How many curves can be told apart."""
_KINDS: Kinds = {
    "metrics": (list, "a list of metrics"),
    "where": (dict, "a table"),
    "along": (str, "text"),
    "log": (bool, "true or false"),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Picture:
    """Which runs and metrics a picture shows. The module describes the fields."""

    lines: dict[str, tuple[Case, ...]] = dataclasses.field(default_factory=dict)
    """The runs, or forks, of each curve by its label: one, or with `along` one for each value."""
    metrics: tuple[str, ...] = ()
    along: str = ""
    log: bool = False
    table: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """As it is written in the file."""

    @property
    def cases(self) -> list[Case]:
        """All that it shows."""
        return [case for cases in self.lines.values() for case in cases]


def read_picture(schema: Schema, table: Any, cases: Sequence[Case], axes: Iterable[str]) -> Picture:
    """The table [picture] of an experiment with these runs, forks and axes. Raises ConfigError."""
    check_keys(table, _KINDS, "[picture]")
    metrics = tuple(map(str, table.get("metrics", ())))
    known = schema.recording(metrics) if schema.source else schema  # a run shows what it records once it is trained
    for metric in metrics:
        if known.metric(metric) is None:
            raise ConfigError(f"[picture] shows no metric {metric}{nearest(metric, known.metrics)}")
    along = table.get("along", "")
    if along:
        schema.field(along)
    first = {name: (value_in(cases[0], name),) for name in schema.seeds}
    chosen = choose(cases, first | read_cases(schema, table.get("where", {}), "where"))
    if not table:
        chosen = [chosen[index] for index in sorted(coarse_to_fine(len(chosen))[:MOST_CURVES])]
    fields = [name for name in axes if name not in (along, *schema.seeds)]
    varied = [name for name in fields if len({value_in(case, name) for case in chosen}) > 1]
    lines: dict[str, tuple[Case, ...]] = {}
    for case in chosen:
        label = _label(schema, case, varied)
        lines[label] = (*lines.get(label, ()), case)
    picture = Picture(lines=lines, metrics=metrics, along=along, log=table.get("log", False), table=table)
    _check(picture)
    return picture


def _check(picture: Picture) -> None:
    """Raise ConfigError if there is nothing to draw, or more than can be told apart."""
    count = len(picture.lines) * max(len(picture.metrics), 1)
    if not 1 <= count <= MOST_CURVES:
        raise ConfigError(f"[picture] has {count} curves, and 1 to {MOST_CURVES} can be drawn: give another where.")
    for cases in picture.lines.values():
        values = [value_in(case, picture.along) if picture.along else 0 for case in cases]
        if any(isinstance(value, bool) or not isinstance(value, (int, float)) for value in values):
            raise ConfigError(f"{picture.along} has no numbers, so [picture] cannot use it in along.")
        if (len(values) < 2 or len({*values}) < len(values)) if picture.along else len(values) > 1:
            raise ConfigError("[picture] needs one run for each point of along and one seed: give another where.")


def _label(schema: Schema, case: Case, varied: Iterable[str]) -> str:
    """The values of the fields that vary, and the changes of a fork, e.g. 'η 0.1, λ 0 → 2'."""
    changes = dict(case.changes) if isinstance(case, Branch) else {}
    parts = []
    for name in varied:
        value = value_in(case, name)
        text = schema.field(name).written(value)
        if name in changes:  # in_words says 'λ → 2'
            text = f"{text} →{in_words(schema, {name: changes.pop(name)}).partition('→')[2]}"
        parts.append(text if isinstance(value, str) else f"{schema.symbol(name)} {text}")
    if changes or (isinstance(case, Branch) and not case.changes):
        parts.append(in_words(schema, changes))
    return ", ".join(parts)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Curve:
    """A measured curve: values at steps, or at the values of a field."""

    label: str
    tone: Tone = ""
    x: tuple[float, ...]
    y: tuple[float, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thumbnail:
    """The picture of an experiment, measured in real runs and thinned to what a small chart can show."""

    of: dict[str, Any]
    """What it was recorded of: the experiment's runs and its picture. Another experiment's is not shown."""
    title: str
    """What the curves are of."""
    share: bool
    """Whether the values go from 0 to 1."""
    log: bool
    """Whether the values are read on a logarithmic scale."""
    seed: int
    speed: float
    """Steps per second of its runs when they were recorded (median)."""
    curves: tuple[Curve, ...]

    def to_text(self) -> str:
        """As JSON, with a line for each curve."""
        head = {name: value for name, value in dataclasses.asdict(self).items() if name != "curves"}
        first, *curves = (_compact(one) for one in (head, *map(dataclasses.asdict, self.curves)))
        return f'{first[:-1]},"curves":[\n' + ",\n".join(curves) + "\n]}\n"

    @classmethod
    def from_text(cls, text: str) -> Thumbnail:
        """Read what `to_text` wrote. Raises ValueError, TypeError and KeyError."""
        content = json.loads(text)
        curves = [Curve(**line | {axis: tuple(line[axis]) for axis in "xy"}) for line in content.pop("curves")]
        return cls(curves=tuple(curves), **content)


def _compact(content: dict[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def needed(cases: Iterable[Case]) -> list[Case]:
    """Runs and forks together with the runs that the forks leave, each once."""
    cases = list(cases)
    return list(dict.fromkeys([*map(config_of, cases), *cases]))
