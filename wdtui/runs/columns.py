"""The columns of a table of runs, in the app and on the command line: their texts, and their sort order.

A column has a key such as `field:weight_decay` or `best:test_accuracy`, which is what the app keeps of a choice.
"""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from operator import attrgetter, methodcaller
from typing import Any, Self

from rich.cells import cell_len

from wdtui.analysis.sweep_table import quantity
from wdtui.plots.terminal.inline import EMPTY, share_bar, sparkline
from wdtui.runs import row_texts
from wdtui.runs.digests import NOT_READ, PLACES, Digest, Digested
from wdtui.runs.groups import Group
from wdtui.runs.labels import knobs, schemas_of
from wdtui.schema.hyperparameters import Hyperparameter
from wdtui.schema.metric import Metric
from wdtui.schema.schema import Schema
from wdtui.store.records import TAG, RunRecord
from wdtui.support.table import GAP, Column
from wdtui.support.text import NOTHING, clean, duration, number

_TAGS, _TRACK = re.compile(f"({TAG.pattern})"), re.compile(f"({EMPTY}+)")
_MOST_OF_A_HEADING = 16
"""The number of cells for a column because of its heading: a field without a symbol, a metric without a short name."""
_BAR, _SHORTEST_CURVE = 6, 10
"""The number of cells of a bar, and the smallest one of a curve."""
_LONGEST_TEXT = 60
"""The largest number of cells that a text asks for."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class RunColumn(Column[RunRecord]):
    """A column of runs and of sweeps, each of which has one row for all of its runs."""

    key: str
    about: str
    """What it is called where a person chooses columns."""
    of_group: Callable[[Group], str] = lambda group: ""
    """The text for a sweep's row."""
    optional: bool = False
    """Whether it is left out while it is empty."""
    tagged: bool = False
    """Whether words that begin with # are tags."""
    metric: str = ""
    """The metric whose digest it needs."""
    drawn: Callable[[RunRecord, int], str] | None = None
    """The text in at most so many cells, for one that fills its room; a sweep's row has that of its best run."""

    @property
    def listed(self) -> str:
        """Everything that a person may search for it by."""
        return "  ".join(dict.fromkeys(filter(None, (self.title, *self.about.split("  ")))))

    def cell(self, row: RunRecord, cells: int) -> str:
        return self.aligned(self.drawn(row, cells - GAP), cells) if self.drawn else super().cell(row, cells)

    def group_cell(self, group: Group, cells: int) -> str:
        """The text for a sweep's row in exactly `cells` cells."""
        if self.drawn and group.best:
            return self.cell(group.best, cells)
        return self.aligned(self.of_group(group), cells)

    def parts(self, cell: str, tone: str) -> Iterable[tuple[str, str]]:
        """The same, where tags and the empty part of a bar have colours of their own."""
        pattern, special = (_TAGS, "success") if self.tagged else (_TRACK, "faint")
        parts = ((part, special if place % 2 else tone) for place, part in enumerate(pattern.split(cell)))
        return [(part, colour) for part, colour in parts if part]

    def needed(self, row: RunRecord | Group) -> int:
        """The number of cells for the full text of a row."""
        if self.drawn:
            return PLACES + GAP
        text = self.of_group(row) if isinstance(row, Group) else self.text(row)
        return min(cell_len(text), _LONGEST_TEXT) + GAP if text else 0


def _muted(run: RunRecord) -> str:
    return "muted"


def _liveliness(run: RunRecord) -> str:
    return "running" if run.live else "muted"


def _bar_of_steps(run: RunRecord) -> str:
    return "" if run.step >= run.steps else share_bar(run.step / run.steps, _BAR)


class RunColumns:
    """All columns for the problems of some runs, by key, in the order of a table."""

    def __init__(self, schemas: Sequence[Schema], heads: Mapping[str, str], digests: Digested | None = None) -> None:
        """`heads` are the usual hyperparameters and their headings. Without `digests` there are no whole curves."""
        self._made_for = tuple(map(id, schemas)), tuple(heads.items())
        self.schemas = schemas
        self.problem = schemas[0].problem
        """The first problem, whose metrics the usual columns show."""
        columns = [*_about_runs(), *_of_fields(schemas, heads), *_of_steps(), *_of_metrics(schemas, digests), *_more()]
        self.all = {column.key: column for column in columns}
        charts = schemas[0].charts_of(())
        pictures = [f"{kind}:{charts[0].main}" for kind in ("bar", "curve")] if charts else []
        usual = (
            *("run:state", "run:id", "run:name", *(f"field:{name}" for name in heads), "run:step", "run:progress"),
            *(f"last:{name}" for name in schemas[0].headline),
            *pictures,
            "run:happened",
        )
        self.usual = tuple(key for key in usual if key in self.all)

    @classmethod
    def of(cls, runs: Sequence[RunRecord], digests: Digested | None = None, before: Self | None = None) -> Self:
        """The columns for some runs; those from before if the same are possible."""
        schemas = schemas_of(runs)
        heads = knobs(schemas, runs)
        same = before is not None and before._made_for == (tuple(map(id, schemas)), tuple(heads.items()))
        return before if before is not None and same else cls(schemas, heads, digests)

    def chosen(self, keys: Collection[str]) -> list[RunColumn]:
        """The columns with these keys, in the order of a table; the usual ones if no key is known."""
        wanted = {*keys} & self.all.keys() or {*self.usual}
        return [
            column if key in self.usual else dataclasses.replace(column, rank=1)
            for key, column in self.all.items()
            if key in wanted
        ]


def _heading(title: str, least: int = 6) -> int:
    """The number of cells for a column because of its title and the arrow behind it."""
    return max(least, min(cell_len(title) + 1 + GAP, _MOST_OF_A_HEADING))


def _about_runs() -> Iterator[RunColumn]:
    yield RunColumn(
        "state", 11, 0, row_texts.state, lambda run: run.status_text, right=False, key="run:state", about="state",
        tone=lambda run: row_texts.TONES.get(run.status, ""), of_group=lambda group: group.state,
    )  # fmt: skip
    yield RunColumn(
        "run", 6, 5, lambda run: f"#{run.id}", lambda run: run.id, tone=_muted, key="run:id", about="number"
    )
    yield RunColumn(
        "name", 14, 1, row_texts.name_and_parent, row_texts.name, right=False, stretch=4, key="run:name",
        shorter=row_texts.short_name_and_parent, about="name or experiment, and parent",
        of_group=lambda group: group.name,
    )  # fmt: skip


def _of_fields(schemas: Iterable[Schema], heads: Mapping[str, str]) -> Iterator[RunColumn]:
    """The hyperparameters, the usual ones first."""
    known = {name: field for schema in schemas for name, field in schema.fields.items()}
    for index, name in enumerate(dict.fromkeys([*heads, *known])):
        rank = 8 if name == "seed" else 0 if index < 2 else 3 if index < 4 else 6
        yield _of_field(name, known.get(name), heads.get(name, ""), rank)


def _of_field(name: str, field: Hyperparameter | None, head: str, rank: int) -> RunColumn:
    title, label = (head or field.symbol or name, field.label) if field else (name, name)
    return RunColumn(
        title, _heading(title), rank, row_texts.written(name), row_texts.given(name), key=f"field:{name}",
        about=_called(label, name), of_group=methodcaller("field", name),
    )  # fmt: skip


def _of_steps() -> Iterator[RunColumn]:
    yield RunColumn(
        "step", 8, 6, lambda run: number(run.step), lambda run: run.step, key="run:step", about="step",
        of_group=lambda group: f"{math.floor(group.share * 100)} %",
    )  # fmt: skip
    yield RunColumn(
        "so far", _BAR + GAP, 4, _bar_of_steps, right=False, tone=_liveliness, optional=True, key="run:progress",
        about="share of its steps, as a bar", of_group=lambda group: share_bar(group.share, _BAR),
    )  # fmt: skip


def _of_metrics(schemas: Iterable[Schema], digests: Digested | None) -> Iterator[RunColumn]:
    """Of each metric its last value and a bar, and if there are digests the best and the smoothed one, and its curve.

    The usual ones come first.
    """
    known = {name: metric for schema in schemas for name, metric in schema.metrics.items() if metric.pooled}
    usual = [name for schema in [*schemas][:1] for name in schema.headline]
    for name in dict.fromkeys([*usual, *known]):
        metric = known[name]
        yield from _of_metric(metric, rank=0 if name in usual[-1:] else 3)
        if digests:
            yield from _of_curve(metric, digests)


def _of_metric(metric: Metric, rank: int) -> Iterator[RunColumn]:
    def last(run: RunRecord) -> float:
        return run.latest.get(_metric(metric, run).name, math.nan)

    def shown(run: RunRecord) -> str:
        return _metric(metric, run).written(run.latest.get(_metric(metric, run).name))

    def drawn(run: RunRecord) -> str:
        return share_bar(last(run), _BAR) if math.isfinite(last(run)) else ""

    yield RunColumn(
        metric.short, _heading(metric.short, 8), rank, shown, last, key=f"last:{metric.name}",
        about=_called(metric.label, metric.name), of_group=lambda group: shown(group.best) if group.best else NOTHING,
    )  # fmt: skip
    if metric.share:
        title = f"{metric.short} bar"
        yield RunColumn(
            title, _heading(title, _BAR + GAP), 7, drawn, right=False, tone=_liveliness, both_ends=True,
            key=f"bar:{metric.name}", about=_called(f"{metric.label} as a bar", metric.name),
            of_group=lambda group: drawn(group.best) if group.best else "",
        )  # fmt: skip


def _of_curve(metric: Metric, digests: Digested) -> Iterator[RunColumn]:
    def digest(run: RunRecord) -> Digest:
        return digests.of(run, metric.name) or NOT_READ

    def drawn(run: RunRecord, cells: int) -> str:
        return curve(digest(run).shape, cells, metric)

    def value(kind: str, read: Callable[[Digest], float]) -> RunColumn:
        title = f"{kind} {metric.short}"
        return RunColumn(
            title, _heading(title, 8), 1, lambda run: metric.written(read(digest(run))), lambda run: read(digest(run)),
            metric=metric.name, key=f"{kind}:{metric.name}", about=_called(f"{kind} {metric.label}", metric.name),
            of_group=lambda group: metric.written(read(digest(group.best))) if group.best else NOTHING,
        )  # fmt: skip

    yield value("best", attrgetter("best"))
    yield value("smoothed", attrgetter("smoothed"))
    yield RunColumn(
        f"{metric.short} curve", _SHORTEST_CURVE + GAP, 2, lambda run: "", right=False, tone=_liveliness, stretch=1,
        both_ends=True, metric=metric.name, key=f"curve:{metric.name}",
        about=_called(f"curve of {metric.label}", metric.name), drawn=drawn,
    )  # fmt: skip


def _more() -> Iterator[RunColumn]:
    """What else can be said of a run, and at the end what happened to it."""
    yield _number("created", "time of creation", lambda run: run.created or None, row_texts.date)
    yield _number("duration", "time since its training was last started", row_texts.seconds, duration)
    yield _number("epoch", "epoch", lambda run: run.epoch)
    yield _number("steps/s", "speed at the newest point", lambda run: run.speed and round(run.speed))
    yield _number("fit", "step at which it fitted", partial(quantity, name="fit_step"))
    yield _number("generalised", "step at which it generalised", partial(quantity, name="generalise_step"))
    yield _number("blow-ups", "number of blow-ups", row_texts.blow_ups)
    yield _text("experiment", lambda run: clean(run.experiment))
    yield _text("problem", lambda run: clean(run.schema.problem))
    yield _text("device", lambda run: clean(run.device))
    yield _text("tags", lambda run: " ".join(run.tags), tagged=True)
    yield _text("note", lambda run: clean(run.note), tagged=True)
    yield RunColumn(
        "", 20, 4, row_texts.what_happened, right=False, tone=_muted, stretch=3, tagged=True, key="run:happened",
        shorter=row_texts.happened_shortly, about="what happened, or its time left",
        of_group=lambda group: group.summary,
    )  # fmt: skip


def _number(
    name: str, about: str, value: Callable[[RunRecord], Any], write: Callable[[Any], str] = number
) -> RunColumn:
    return RunColumn(
        name, _heading(name, 8), 7, lambda run: write(value(run)), value, key=f"run:{name}", about=about
    )  # fmt: skip


def _text(name: str, text: Callable[[RunRecord], str], tagged: bool = False) -> RunColumn:
    return RunColumn(
        name, 10, 1, text, lambda run: text(run) or None, right=False, stretch=2, tagged=tagged,
        key=f"run:{name}", about=name,
    )  # fmt: skip


def _called(label: str, name: str) -> str:
    """What a person may search for: what it is called, and its name where that is another one."""
    return label if label.replace(" ", "_") == name else f"{label}  {name}"


def _metric(metric: Metric, run: RunRecord) -> Metric:
    """A metric of a run's problem, or the one that its problem calls the same."""
    own = run.schema.metrics
    return own.get(metric.name) or next((other for other in own.values() if other.short == metric.short), metric)


def curve(shape: Sequence[float], cells: int, metric: Metric) -> str:
    """A shape in at most this many cells: between 0 and 1 for a share, else between its smallest and largest value."""
    cells = min(cells, len(shape))
    known = [place for place, value in enumerate(shape) if not math.isnan(value)]
    ends = [(cell + 1) * len(shape) // cells for cell in range(cells)]
    places = (bisect.bisect_left(known, end) - 1 for start, end in itertools.pairwise([0, *ends]) if start <= known[-1])
    shown = [shape[known[place]] if place >= 0 else math.nan for place in places] if known else []
    if metric.log:
        shown = [math.log(value) if value > 0 else math.nan for value in shown]
    return sparkline(shown, (0.0, 1.0) if metric.share else None, dots=True)


def sorted_by(column: RunColumn | None, reverse: bool, runs: Iterable[RunRecord]) -> list[RunRecord]:
    """Largest first, missing values last. Without a column in the given order, which is newest first."""
    if column is None or column.value is None:
        return list(runs) if not reverse else list(runs)[::-1]
    read = column.value
    known: list[tuple[Any, RunRecord]] = []
    missing: list[tuple[Any, RunRecord]] = []
    for run in runs:
        value = read(run)
        (missing if value is None or value != value else known).append((value, run))
    known.sort(key=lambda pair: pair[0], reverse=not reverse)
    return [run for _, run in (*known, *missing)]
