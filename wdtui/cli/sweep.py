"""`wdtui sweep`: a grid of runs, in the app or headless. Also trains sweeps for other commands."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from wdtui.cli import completion
from wdtui.cli.errors import FAILED, CommandError
from wdtui.cli.fields import (
    DeviceOption,
    FpsOption,
    JsonOption,
    MouseOption,
    OptionalExperimentArgument,
    StoreOption,
    ThreadsOption,
    takes_fields,
)
from wdtui.cli.machines import AddressOption, ExecutorOption, Machines, WorkersOption
from wdtui.problems import registry

if TYPE_CHECKING:
    from wdtui.runs.executor import Executor
    from wdtui.store.store import Store
    from wdtui.studies.experiments import Experiment
    from wdtui.studies.grid import Grid

SeedsOption = Annotated[
    int | None, typer.Option("--seeds", min=1, help="Number of seeds, starting from the config's seed.")
]


@takes_fields
def sweep(
    fields: dict[str, Any],
    experiment: OptionalExperimentArgument = None,
    axis: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FIELD=VALUES",
            autocompletion=completion.axes,
            help="An axis of the grid: a field's name, symbol or short name, and its values separated by commas. Each "
            "may be linspace(a,b,n), logspace(a,b,n) or range(a,b[,step]).",
        ),
    ] = None,
    seeds: SeedsOption = None,
    headless: Annotated[
        bool, typer.Option("--headless", help="Train without the app and print a table at the end.")
    ] = False,
    json: JsonOption = False,
    name: Annotated[str, typer.Option(help="Name of the sweep.")] = "",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    store: StoreOption = None,
    fps: FpsOption = None,
    mouse: MouseOption = None,
) -> int:
    """Train a grid of runs: all combinations of the axes' values, with an experiment's config or the defaults."""
    from wdtui.studies.experiments import load
    from wdtui.studies.grid import read_axes

    question = load(experiment) if experiment else None
    own = read_axes((question or load(registry.DEFAULT)).schema, axis or [])
    if not own and not (question and question.axes) and not seeds:
        raise CommandError("A sweep needs an axis or several seeds: give --axis FIELD=V1,V2,… or --seeds N.")
    grid = grid_of(question, fields, own, seeds)
    if json and not headless:
        raise CommandError("--json needs --headless.")
    machines = Machines(device, threads, workers, executor, address)
    origin = question.name if question else ""
    if not headless:
        if executor != "local":
            raise CommandError(
                "--executor ray needs --headless; `wdtui` in another terminal shows the sweep meanwhile."
            )
        from wdtui.tui import Opening, open_app

        opening = Opening(config=grid.base, grid=grid, experiment=origin, name=name, threads=threads, workers=workers)
        return open_app(store, device=device, opening=opening, fps=fps, mouse=mouse)
    if (fps, mouse) != (None, None):
        raise CommandError("--fps and --mouse are for the app. Leave them out with --headless.")
    return train_new_sweep(grid, experiment=origin, name=name, machines=machines, store=store, json=json)


def grid_of(
    question: Experiment | None, fields: dict[str, Any], own: dict[str, tuple[Any, ...]], seeds: int | None
) -> Grid:
    """The grid of an experiment, or of the defaults, with the user's fields and axes. Raises ConfigError."""
    from wdtui.studies.experiments import load
    from wdtui.studies.grid import Grid, axes_over

    question = question or load(registry.DEFAULT)
    axes, base = axes_over(question.kind, question.axes, fields, own), question.base(fields)
    grid = Grid.of(base, axes, seeds)
    grid.cells()
    return grid


def train_new_sweep(
    grid: Grid, *, experiment: str, name: str, machines: Machines, store: Path | None, json: bool
) -> int:
    """Add a sweep to the store and train it; return the exit status."""
    from wdtui.store.store import Store

    with Store(store) as opened:
        executor = machines.prepared(opened)
        sweep_id = opened.sweeps.add(
            grid, name=name, experiment=experiment, device=machines.device, threads=machines.threads
        )
        return train_sweep(opened, sweep_id, executor, machines, json=json)


def train_sweep(
    store: Store, sweep_id: int, executor: Callable[[], Executor], machines: Machines, *, json: bool
) -> int:
    """Train the missing runs of a sweep, to the end or to a signal, and show it; return the exit status."""
    from wdtui.cli.headless import signals_interrupting
    from wdtui.cli.sweep_views import Follower, choose_view
    from wdtui.runs.estimates import expected_seconds
    from wdtui.runs.sweeps import Progress, complete

    def estimate(progress: Progress) -> float:
        return expected_seconds(
            progress.work_left,
            store.runs(),
            workers=machines.workers,
            threads=machines.threads,
            device=machines.device,
        )

    reasons: list[str] = []
    with choose_view(json, store) as view, signals_interrupting(reasons.append) as received:
        follower = Follower(view, estimate)
        progress = complete(
            store,
            sweep_id,
            executor=executor,
            threads=machines.threads,
            on_change=follower.change,
            stop=lambda: reasons[0] if reasons else "",
        )
    follower.finish(progress)
    if not progress.complete:
        typer.echo(f"wdtui: {_what_is_left(progress, reasons)}", err=True)
        return 128 + received[0] if received else FAILED
    return 0


def is_sweep(text: str) -> bool:
    """Whether a text such as S3 names a sweep rather than a run."""
    return text[:1] in "Ss" and text[1:].isascii() and text[1:].isdigit()


def _what_is_left(progress: Any, reasons: list[str]) -> str:
    from wdtui.store.records import FINISHED
    from wdtui.support.text import clean

    label, done = progress.sweep.label, f"{progress.finished} of {len(progress.runs)} runs are done"
    if reasons:
        return f"{reasons[0]}; {done}, and `wdtui resume {label}` continues from there."
    left = [run for run in progress.runs if run and run.status_text not in FINISHED]
    run = min(left, key=lambda run: (run.status_text != "failed", not run.reason), default=None)
    why = f": {clean(run.reason).rstrip('.')}" if run and run.reason else ""
    ended = f"; run {run.id} is {run.status_text}{why}" if run else ""
    return f"{done}{ended}; `wdtui resume {label}` trains the rest again."
