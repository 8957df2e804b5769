"""The columns of the run table: their texts, and their sort order."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from operator import methodcaller
from typing import Any

from rich.cells import cell_len

from wdtui.runs.groups import Group
from wdtui.runs.labels import knobs, result, result_metric, results, schemas_of
from wdtui.store.records import RunRecord, Status
from wdtui.support.table import GAP, Column
from wdtui.support.text import NOTHING, clean, duration, number, scientific

SYMBOLS = {
    Status.QUEUED: "○",
    Status.RUNNING: "●",
    Status.PAUSED: "‖",
    Status.DONE: "✓",
    Status.FAILED: "✗",
    Status.DIVERGED: "∞",
    Status.INTERRUPTED: "◐",
    Status.STOPPED: "■",
    Status.DAMAGED: "!",
}
_TONES = {
    Status.RUNNING: "running",
    Status.PAUSED: "running",
    Status.FAILED: "error",
    Status.DIVERGED: "error",
    Status.DAMAGED: "error",
    Status.QUEUED: "muted",
    Status.INTERRUPTED: "muted",
    Status.STOPPED: "muted",
}


_MOST_OF_A_HEADING = 16
"""The number of cells for a column because of its heading: a field without a symbol, a metric without a short name."""
_MOST_STEERED = 5
"""The number of cells for a steered value in the columns of λ and ε."""


@dataclasses.dataclass(frozen=True, eq=False)
class RunColumn(Column[RunRecord]):
    """A column of runs and of sweeps, each of which has one row for all of its runs."""

    whole: bool = False
    """Whether it grows with its text, because a truncated number would be misleading."""
    of_group: Callable[[Group], str] = lambda group: ""
    """The text for a sweep's row."""

    def group_cell(self, group: Group, cells: int) -> str:
        """The text for a sweep's row in exactly `cells` cells."""
        return self.aligned(self.of_group(group), cells)

    def needed(self, row: RunRecord | Group) -> int:
        """The number of cells for the full text of a row."""
        text = self.of_group(row) if isinstance(row, Group) else self.text(row)
        return cell_len(text) + GAP if self.whole else 0


def state(run: RunRecord) -> str:
    return f"{SYMBOLS[run.status]} {run.state}"


def progress(run: RunRecord) -> str:
    """18,330/30,030 for an unfinished run, else only the last step."""
    return number(run.step) if run.step >= run.steps else f"{number(run.step)}/{number(run.steps)}"


def what_happened(run: RunRecord) -> str:
    """The state of a run, then what was steered, from its first value to the current one."""
    symbol = run.schema.symbol
    steered = [f"{symbol(name)} {run.written(name)}" for name in run.steered_fields]
    return " · ".join(filter(None, [_standing(run), *steered]))


def _standing(run: RunRecord) -> str:
    """The time left of a live run, else its blow-ups, its generalisation, or why it failed."""
    if run.status == Status.RUNNING and run.speed:
        return f"{number(round(run.speed))} steps/s · {duration((run.steps - run.step) / run.speed)} left"
    blowups = run.milestones.get("blowups", {})
    count, period = blowups.get("count") or 0, blowups.get("median_period")
    if count:
        every = f", every ~{number(round(period))}" if period else ""
        return f"{count} blow-up{'s' if count > 1 else ''}{every}"
    if run.status in (Status.FAILED, Status.DIVERGED, Status.DAMAGED):
        return clean(run.reason)
    reached = run.milestones.get("milestones", {}).get("generalise_step")
    return f"generalised at {number(reached)}" if reached else clean(run.note)


def _latest(heading: str) -> Callable[[RunRecord], float]:
    return lambda run: run.latest.get(result_metric(heading, run), math.nan)


def _given(field: str) -> Callable[[RunRecord], Any]:
    return lambda run: run.in_force.get(field)


def _written(field: str) -> Callable[[RunRecord], str]:
    """The value in force, after an arrow if it was steered, shortened to fit."""

    def written(run: RunRecord) -> str:
        if run.damaged or field not in run.values:
            return NOTHING
        value = run.in_force[field]
        if field not in run.steered_fields:
            return run.schema.field(field).written(value)
        shorter = (number, lambda value: number(float(f"{value:.2g}")), lambda value: scientific(value, 1), scientific)
        texts = [f"→{write(value)}" for write in shorter]
        return next((text for text in texts if len(text) <= _MOST_STEERED), texts[-1])

    return written


def _name(run: RunRecord) -> str:
    return clean(run.name or run.experiment) or NOTHING


def _name_and_parent(run: RunRecord) -> str:
    return " · ".join(filter(None, [clean(run.name or run.experiment), run.fork_of])) or NOTHING


def _short_name_and_parent(run: RunRecord) -> str:
    if run.parent is None:
        return _name(run)
    name = clean(run.name or run.experiment)
    return f"↳{run.parent} {name}" if name else f"↳{run.parent} at {number(run.parent_step)}"


def _muted(run: RunRecord) -> str:
    return "muted"


def columns_of(runs: Sequence[RunRecord]) -> tuple[RunColumn, ...]:
    """The columns of a table with these runs. Equal ones are the same objects."""
    schemas = schemas_of(runs)
    return _columns(tuple(knobs(schemas, runs).items()), tuple(results(schemas)))


@lru_cache(maxsize=16)
def _columns(fields: tuple[tuple[str, str], ...], heads: tuple[str, ...]) -> tuple[RunColumn, ...]:
    tone = lambda run: _TONES.get(run.status, "")  # noqa: E731
    return (
        RunColumn(
            "state", 15, 0, state, lambda run: run.status_text, right=False, tone=tone,
            of_group=lambda group: group.state,
        ),
        RunColumn(
            "run", 6, 6, lambda run: f"#{run.id}", lambda run: run.id, tone=_muted, whole=True
        ),
        RunColumn(
            "name", 14, 1, _name_and_parent, _name, right=False, stretch=2, shorter=_short_name_and_parent,
            of_group=lambda group: group.name,
        ),
        *(
            RunColumn(
                head, _width(name, head, index), _rank(name, index), _written(name), _given(name), whole=True,
                of_group=methodcaller("field", name),
            )
            for index, (name, head) in enumerate(fields)
        ),
        RunColumn("step", 16, 2, progress, lambda run: run.step, of_group=lambda group: group.progress),
        *(
            RunColumn(
                head, max(8, min(cell_len(head) + GAP, _MOST_OF_A_HEADING)), 2 if index < len(heads) - 1 else 0,
                partial(result, head), _latest(head), of_group=partial(_best, head),
            )
            for index, head in enumerate(heads)
        ),
        RunColumn(
            "", 27, 3, what_happened, right=False, tone=_muted, stretch=3, of_group=lambda group: group.summary,
        ),
    )  # fmt: skip


def _best(heading: str, group: Group) -> str:
    return result(heading, group.best) if group.best else NOTHING


def _width(field: str, head: str, index: int) -> int:
    return max(7 if index < 2 or field == "seed" else 6, min(cell_len(head) + GAP, _MOST_OF_A_HEADING))


def _rank(field: str, index: int) -> int:
    """The rank of a field: the first two are always shown, the seed only if there is room for all."""
    return 7 if field == "seed" else 0 if index < 2 else 2 if index < 4 else 6


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
