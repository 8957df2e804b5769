"""Shared by `wdtui plot` and `wdtui experiments report`: runs prepared for figures, and files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wdtui.cli.errors import CommandError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wdtui.plots.paper.curves import Subject
    from wdtui.schema.curves import Curves
    from wdtui.store.records import RunRecord
    from wdtui.store.store import Store


def require_matplotlib() -> None:
    """Raise CommandError if matplotlib is not installed."""
    from wdtui.plots.paper.style import installed

    if not installed():
        raise CommandError("Pictures need matplotlib, which is not installed: pip install 'wdtui[plot]'.")


def subjects(store: Store, runs: Sequence[RunRecord]) -> list[Subject]:
    """Runs for figures: a single one labelled with its hyperparameters, several with their differences."""
    from wdtui.plots.paper.curves import Subject
    from wdtui.runs.labels import labels
    from wdtui.studies.branches import in_words

    named = labels(runs) if len(runs) > 1 else [title(run) for run in runs]
    made = []
    for run, name in zip(runs, named, strict=True):
        curves = store.curves(run.id)
        changes = tuple(
            (
                change.step,
                in_words(run.schema, {change.field: (change.new, change.epochs) if change.epochs > 1 else change.new}),
            )
            for change in run.plan
            if change.step < run.step
        )
        levels = {chart.level: chart for chart in run.schema.charts if chart.level}
        fields = {field: _in_force(run, curves, field) for field, chart in levels.items() if chart.main in curves}
        made.append(Subject(name, run.schema, curves, fields, changes))
    return made


def title(run: RunRecord) -> str:
    """The name of a run, if it has one, and its main hyperparameters."""
    from wdtui.runs.labels import knobs
    from wdtui.support.text import clean, number

    shown = knobs([run.schema]).items()
    values = [f"{head} {run.written(name, number).replace(',', '')}" for name, head in shown]
    return ": ".join(filter(None, [clean(run.name), ", ".join(values)]))


def _in_force(run: RunRecord, curves: Curves, field: str) -> NDArray[np.float64]:
    """The value in force of a field at each point, [points]."""
    import numpy as np

    from wdtui.schema.steering import values_at

    length = run.steps_per_epoch
    plan = tuple(change for change in run.plan if change.field == field)
    if not plan:
        return np.full(len(curves), run.values[field], np.float64)
    return np.array([values_at(plan, int(step) - length, length)[field] for step in curves.steps], np.float64)


def write(path: Path, save: Callable[[Path], object], *, force: bool) -> None:
    """Write a file and print its path on stdout. Raises FileError."""
    import typer

    from wdtui.support.outputs import writing
    from wdtui.support.text import clean

    with writing(path, force=force) as partial:
        save(partial)
    typer.echo(f"Wrote {clean(str(path))}.")
