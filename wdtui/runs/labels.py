"""What tells several runs apart, in words: one naming for the legend of charts and for comparisons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from wdtui.problems import registry
from wdtui.schema.schema import Schema
from wdtui.store.records import RunRecord
from wdtui.support.text import NOTHING, clean

_MOST = 3
"""How many differing hyperparameters a label names."""
_MOST_KNOBS = 4
"""How many of the fields without a symbol have a column."""


def labels(runs: Sequence[RunRecord]) -> list[str]:
    """Name each of several runs by what differs between them, e.g. 'ε 1e-5'; else by name, else by number."""
    fields = _differing(runs)
    written = {name: _written(name, runs) for name in fields}
    texts = [", ".join(written[name][place] for name in fields) for place in range(len(runs))]
    counts = Counter(texts)
    named = [
        text if counts[text] == 1 else _with_name(text, clean(run.name)) for text, run in zip(texts, runs, strict=True)
    ]
    counts = Counter(named)
    return [
        text if text and counts[text] == 1 else f"{text} #{run.id}".strip()
        for text, run in zip(named, runs, strict=True)
    ]


def schemas_of(runs: Iterable[RunRecord]) -> list[Schema]:
    """The distinct schemas of some runs; without runs, the schema of the default problem."""
    distinct = {id(run.schema): run.schema for run in runs}  # the store reads equal ones as one object
    return list(distinct.values()) or [registry.find(registry.DEFAULT).config.schema()]


def knobs(schemas: Iterable[Schema], runs: Iterable[RunRecord] = ()) -> dict[str, str]:
    """The main hyperparameters of some problems, each with what heads a column of it.

    Of users' own problems those come first in which these runs differ, from the default or from each other, also
    fields without a symbol.
    """
    heads = {
        name: schema.fields[name].symbol or name
        for schema in schemas
        for name in schema.main.values()
        if name in schema.fields
    }
    changed = {name: heads.get(name, name) for name in _changed(runs)}
    symbols = {name: head for name, head in changed.items() if name in heads}
    others = {name: head for name, head in changed.items() if name not in heads}
    return symbols | dict([*others.items()][:_MOST_KNOBS]) | heads


def _changed(runs: Iterable[RunRecord]) -> list[str]:
    """The fields of users' own problems in which runs differ from the default, or from each other without one."""
    own: dict[str, list[RunRecord]] = {}
    for run in runs:
        if not run.damaged and (run.schema.source or run.schema.watched):
            own.setdefault(run.schema.problem, []).append(run)
    changed: dict[str, None] = {}
    for some in own.values():
        for name, field in some[0].schema.fields.items():
            if field.identifier or field.affects == "bookkeeping":
                continue
            usual = some[0].values.get(name) if field.default is None else field.default
            usual = list(usual) if isinstance(usual, tuple) else usual
            if any(run.values.get(name, usual) != usual for run in some):
                changed[name] = None
    return list(changed)


def results(schemas: Sequence[Schema]) -> list[str]:
    """The headings of the columns that `result` fills: the headline metrics of the first problem."""
    return [schemas[0].metrics[name].short for name in schemas[0].headline]


def result(heading: str, run: RunRecord) -> str:
    """The newest value of the metric under a heading, as the run's problem declares it."""
    name = result_metric(heading, run)
    return run.schema.metrics[name].written(run.latest.get(name)) if name else NOTHING


def result_metric(heading: str, run: RunRecord) -> str:
    """The name of that metric; empty if the run has none of this heading."""
    return next((name for name, metric in run.schema.metrics.items() if metric.short == heading), "")


def _differing(runs: Sequence[RunRecord]) -> list[str]:
    fields = dict.fromkeys(name for run in runs for name in run.schema.fields)
    differing = [name for name in fields if len({run.written(name) for run in runs}) > 1]
    for name, other in runs[0].schema.derived.items() if runs else ():
        if {name, other} <= {*differing}:
            differing.remove(name)
    if len(differing) > 1:  # how long a run is can be seen on the time axis
        differing = [name for name in differing if name not in ("epochs", "steps")]
    return differing[:_MOST]


def _written(name: str, runs: Sequence[RunRecord]) -> list[str]:
    """One hyperparameter of each run, rounded to what can be read where that still tells them apart."""
    schema = next(run.schema for run in runs if name in run.schema.fields)
    field, exact = schema.field(name), [run.written(name) for run in runs]
    if field.kind in ("int", "float") and all(name in run.values for run in runs):
        rounded = [run.written(name, field.written) for run in runs]
        exact = rounded if len(set(rounded)) == len(set(exact)) else exact
    return [f"{schema.symbol(name)} {text}" for text in exact]


def _with_name(text: str, name: str) -> str:
    return f"{text} {name}".strip()
