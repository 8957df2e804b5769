"""`wdtui experiments report`: the results of an experiment as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from wdtui.cli.errors import CommandError
from wdtui.cli.fields import ForceOption, StoreOption
from wdtui.cli.verify import QuickOption

if TYPE_CHECKING:
    from wdtui.analysis.sweep_table import Table
    from wdtui.cli.report_page import Findings
    from wdtui.plots.paper.writing import Figure
    from wdtui.store.records import RunRecord
    from wdtui.store.store import Store
    from wdtui.studies.experiments import Experiment

_SUFFIXES = (".html", ".htm")
_FEW = 4
"""The number of cells whose training curves are shown."""
_MOST_CURVES = 6
"""The maximum number of values of an axis that are drawn as one curve each."""
_Drawn = tuple["Figure", str]


def report(
    experiment: Annotated[
        str, typer.Argument(metavar="EXPERIMENT", help="An experiment's name, or the path of a TOML file.")
    ],
    quick: QuickOption = False,
    output: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Output file; by default EXPERIMENT.html in this folder.")
    ] = None,
    force: ForceOption = False,
    store: StoreOption = None,
) -> None:
    """Write an HTML report of an experiment: claims, figures and tables of the runs in the store. Trains nothing."""
    from wdtui.cli.pictures import require_matplotlib, write
    from wdtui.cli.report_page import page
    from wdtui.store.store import Store
    from wdtui.studies.experiments import load
    from wdtui.support.outputs import check_file

    loaded = load(experiment)
    if quick and loaded.quick is None:
        raise CommandError(f"{loaded.name} has no quick variant; leave out --quick.")
    path = output or Path(f"{loaded.name}{'-quick' * quick}.html")
    if path.suffix.lower() not in _SUFFIXES:
        raise CommandError(f"A report cannot be written as {path}; give a name that ends in .html.")
    check_file(path, force=force)
    require_matplotlib()
    with Store(store) as opened:
        text = page(_findings(opened, loaded.variant(quick), experiment, quick))
    write(path, lambda partial: partial.write_text(text, encoding="utf-8"), force=force)


def _findings(store: Store, experiment: Experiment, argument: str, quick: bool) -> Findings:
    from wdtui.analysis.sweep_table import Table
    from wdtui.cli.report_page import Findings
    from wdtui.plots.paper.writing import inline_svg
    from wdtui.runs.evidence import Evidence, Standing

    evidence, cells = Evidence(store), experiment.cells()
    runs = {cell: evidence.run(cell) for cell in cells}
    schema = experiment.schema
    axes = {
        name: [schema.field(name).check(value) for value in values]
        for name, values in experiment.axes.items()
        if name not in schema.seeds
    }
    table = Table.of(schema, axes, ((tuple(getattr(cell, axis) for axis in axes), run) for cell, run in runs.items()))
    drawn = [*_overviews(table, _measures(experiment)), *_examples(store, experiment, table)]
    return Findings(
        experiment=experiment,
        argument=argument,
        quick=quick,
        standing=Standing(evidence.verdicts(experiment)),
        table=table,
        columns=_columns(experiment),
        wanted=len(cells),
        runs=[run for run in runs.values() if run],
        figures=[(inline_svg(figure, number, words), words) for number, (figure, words) in enumerate(drawn)],
    )


def _measures(experiment: Experiment) -> tuple[str, ...]:
    """The quantities in figures over the axes: those of the claims, each with the corresponding one of training."""
    from wdtui.analysis.sweep_table import MILESTONES

    schema = experiment.schema
    claimed = dict.fromkeys(claim.measure for claim in experiment.claims)
    known = [name for name in claimed if name in MILESTONES or (name in schema.metrics and schema.metrics[name].pooled)]
    if not any(name in schema.metrics for name in known):
        known += schema.headline[-1:]
    pairs: dict[str, None] = {}
    for name in known:
        found = schema.trace(name)
        beside = [trace.metric for trace in found[0].traces if trace.tone == "train"] if found else []
        pairs |= dict.fromkeys([*beside, name])
    return tuple(pairs)


def _columns(experiment: Experiment) -> tuple[str, ...]:
    from wdtui.analysis.sweep_table import columns

    return tuple(dict.fromkeys([*columns(experiment.schema), *_measures(experiment)]))


def _overviews(table: Table, measures: Sequence[str]) -> Iterator[_Drawn]:
    """Figures over the axes: curves for one, curves or a map for two, and the same for each value of any others."""
    from wdtui.plots.paper.sweeps import axis_name, curve
    from wdtui.schema.hyperparameters import format_value

    if not any(row.spread(name) for row in table.rows for name in measures):
        return
    axes = list(table.axes)
    if len(axes) == 1 and len(table.rows) > 1:
        words = f"Against {axis_name(table.schema, axes[0])}: median over seeds, with minimum and maximum."
        yield curve(table, measures), words
    elif len(axes) == 2:
        yield _over_two(table, measures)
    elif len(axes) > 2:
        first = min(axes, key=lambda axis: len(table.axes[axis]))
        for value in table.axes[first]:
            for figure, words in _overviews(table.at({first: value}), measures):
                yield figure, f"At {axis_name(table.schema, first)} = {format_value(value)}. {words}"


def _over_two(table: Table, measures: Sequence[str]) -> _Drawn:
    from wdtui.plots.paper.sweeps import axis_name, family, heatmap

    named = partial(axis_name, table.schema)
    other, along = sorted(table.axes, key=lambda axis: (_ordered(table.axes[axis]), len(table.axes[axis])))
    if len(table.axes[other]) > _MOST_CURVES or len(table.axes[along]) < 3:
        return heatmap(table, measures), "Median over the seeds of each cell; – if there is none."
    words = f"Against {named(along)}, a line for each value of {named(other)}"
    return family(table, along, measures), f"{words}: median over seeds, with minimum and maximum."


def _ordered(values: Sequence[object]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _examples(store: Store, experiment: Experiment, table: Table) -> Iterator[_Drawn]:
    """Training curves of a few cells with one seed each, of one cell with its seeds, or of runs and their forks."""
    from wdtui.store.records import RunRecord
    from wdtui.studies.grid import coarse_to_fine

    seeds = [[run for run in row.runs if isinstance(run, RunRecord)] for row in table.rows]
    present = [runs for runs in seeds if runs]
    if not present:
        return
    if len(table.rows) == 1:
        chosen, words = present[0], "Training curves of its seeds."
    else:
        chosen = [present[index][0] for index in sorted(coarse_to_fine(len(present))[:_FEW])]
        words = f"Training curves of {len(chosen)} of the cells, one seed of each."
    if experiment.fork:
        forks = [run for run in reversed(store.runs()) if run.experiment == experiment.name and run.step]
        for run in chosen[:_FEW]:
            family = [run, *(fork for fork in forks if fork.parent == run.id)]
            yield _curves(store, family), f"Run {run.id} and its forks."
    else:
        yield _curves(store, chosen[: _FEW + 1]), words if len(chosen) > 1 else "Training curves of the run."


def _curves(store: Store, runs: Sequence[RunRecord]) -> Figure:
    from wdtui.cli.pictures import subjects
    from wdtui.plots.paper.curves import training_curves

    return training_curves(subjects(store, runs))
