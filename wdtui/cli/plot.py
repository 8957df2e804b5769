"""`wdtui plot`: pictures of runs and of sweeps, as PNG or SVG."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wdtui.cli.errors import CommandError
from wdtui.cli.fields import ForceOption, StoreOption

if TYPE_CHECKING:
    from wdtui.plots.paper.writing import Figure
    from wdtui.schema.schema import Schema
    from wdtui.store.records import RunRecord
    from wdtui.store.store import Store
    from wdtui.store.sweeps import Sweep


def plot(
    what: Annotated[
        list[str],
        typer.Argument(metavar="RUN… | SWEEP", help="Runs' numbers or names, or last; or one sweep such as S3."),
    ],
    metric: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="A metric to show, or of one layer as NAME/LAYER; can be repeated."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png|.svg", help="Output file; by default in this folder, named after the runs."),
    ] = None,
    force: ForceOption = False,
    store: StoreOption = None,
) -> None:
    """Draw training curves of runs, or the results of a sweep, to a file."""
    from wdtui.cli.pictures import require_matplotlib, write
    from wdtui.cli.sweep import is_sweep
    from wdtui.plots.paper.writing import SUFFIXES, save
    from wdtui.store.store import Store
    from wdtui.support.outputs import check_file

    sweeps = list(filter(is_sweep, what))
    if sweeps and len(what) > 1:
        raise CommandError(f"{sweeps[0]} is a sweep, and a picture shows either one sweep or runs.")
    path = output or Path(_file_name("sweep" if sweeps else "run", what))
    if path.suffix.lower() not in SUFFIXES:
        raise CommandError(f"A picture cannot be written as {path}; give a name that ends in {' or '.join(SUFFIXES)}.")
    check_file(path, force=force)
    require_matplotlib()
    metrics = list(dict.fromkeys(metric or []))
    with Store(store) as opened:
        if sweeps:
            figure = _of_sweep(opened, opened.sweeps.find(sweeps[0]), metrics)
        else:
            runs = {run.id: run for run in map(opened.find, what)}
            figure = _of_runs(opened, list(runs.values()), metrics)
    write(path, lambda partial: save(figure, partial, path.suffix), force=force)


def _of_runs(store: Store, runs: Sequence[RunRecord], metrics: Sequence[str]) -> Figure:
    from wdtui.cli.pictures import subjects
    from wdtui.plots.paper.curves import training_curves
    from wdtui.plots.paper.style import MOST_LINES

    if len(runs) > MOST_LINES:
        raise CommandError(f"{len(runs)} runs cannot be distinguished in one picture. Give at most {MOST_LINES}.")
    shown = subjects(store, runs)
    for run, subject in zip(runs, shown, strict=True):
        if not len(subject.curves):
            raise CommandError(f"Run {run.id} is {run.status} and has no points yet, so there is nothing to draw.")
    known = [name for subject in shown for name in subject.curves.names]
    _check(runs[0].schema, metrics, known, "measured in any of these runs")
    for name in metrics:
        if not any(len(subject.curves.measured(name)[1]) for subject in shown):
            raise CommandError(f"No value of {name} was recorded in any of these runs, so there is nothing to draw.")
    return training_curves(shown, metrics)


def _of_sweep(store: Store, sweep: Sweep, metrics: Sequence[str]) -> Figure:
    from wdtui.analysis.sweep_table import MILESTONES
    from wdtui.plots.paper.sweeps import curve, heatmap
    from wdtui.support.text import clean

    table = sweep.table(store.sweeps.runs(sweep.id))
    pooled = [name for cell in sweep.cells for name in cell.config.columns if "/" not in name]
    _check(table.schema, metrics, [*pooled, *MILESTONES], "known of each run of a sweep")
    if not table.measured:
        how = f"`wdtui resume {sweep.label}` trains what is missing"
        raise CommandError(f"No run of {sweep.label} has been trained without steering. {how}.")
    title = ": ".join([sweep.label, clean(sweep.name or sweep.experiment) or sweep.grid.title])
    first = table.schema.charts_of(())[0]
    match len(table.axes):
        case 1:
            return curve(table, metrics or first.several, title)
        case 2:
            return heatmap(table, metrics or [first.main], title)
        case axes:
            counted = "no axis but seeds" if not axes else f"{axes} axes"
            raise CommandError(f"{sweep.label} has {counted}, and a picture shows one or two. Plot its runs instead.")


def _check(schema: Schema, metrics: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse a metric that is misspelt or was not measured."""
    from wdtui.schema.hyperparameters import nearest

    known = list(dict.fromkeys(known))
    for name in metrics:
        if name in known:
            continue
        if name in schema.metrics:
            others = ", ".join(other for other in known if "/" not in other)
            raise CommandError(f"The metric {name} is not {where}; these are: {others}.")
        raise CommandError(f"There is no metric {name}{nearest(name, known)}")


def _file_name(kind: str, what: Sequence[str]) -> str:
    """A file name that is valid on every system, whatever the names of the runs."""
    names = [re.sub(r"[^\w.=-]+", "-", name).strip("-.") for name in what]
    return f"{'-'.join([kind, *names])[:80]}.png"
