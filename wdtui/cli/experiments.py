"""`wdtui experiments`: the experiments that come with wdtui, and the user's own."""

from __future__ import annotations

import json as json_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from wdtui.cli.errors import FAILED, CommandError
from wdtui.cli.fields import (
    DeviceOption,
    ExperimentArgument,
    FieldsCommand,
    JsonOption,
    StoreOption,
    ThreadsOption,
    takes_fields,
)
from wdtui.cli.machines import AddressOption, ExecutorOption, Machines, WorkersOption
from wdtui.cli.report import report
from wdtui.cli.sweep import SeedsOption, grid_of, train_new_sweep
from wdtui.cli.verify import QuickOption, verify

if TYPE_CHECKING:
    from wdtui.studies.experiments import Experiment

app = typer.Typer(help="List, show, run and verify experiments.", no_args_is_help=True, rich_markup_mode=None)

app.command()(verify)
app.command()(report)


@app.command("list")
def list_experiments(json: JsonOption = False, store: StoreOption = None) -> None:
    """List the experiments that come with wdtui by their effect, and which claims hold for the runs in the store."""
    from wdtui.runs.evidence import Evidence
    from wdtui.store.store import Store
    from wdtui.studies.experiments import by_effect, load, names

    width = max(map(len, names()))
    with Store(store) as opened:
        evidence = Evidence(opened)
        for effect, group in by_effect().items():
            if not json:
                typer.echo(effect)
            for experiment in map(load, group):
                claims = evidence.standing(experiment).words
                if json:
                    row = {"name": experiment.name, "effect": experiment.effect, "question": experiment.question}
                    typer.echo(json_module.dumps(row | {"claims": claims}, ensure_ascii=False))
                else:
                    typer.echo(f"  {experiment.name:<{width}}  {claims:<22}  {experiment.question}")


@app.command()
def show(experiment: ExperimentArgument, json: JsonOption = False) -> None:
    """Show an experiment: its question, its source, what to expect and its configs."""
    from wdtui.studies.experiments import load

    loaded = load(experiment)
    if json:
        typer.echo(json_module.dumps(loaded.to_json(), ensure_ascii=False, allow_nan=False))
        return
    from rich.console import Console

    from wdtui.schema.hyperparameters import format_value
    from wdtui.studies.branches import in_words
    from wdtui.support.text import clean

    console = Console(highlight=False, markup=False)
    source = [f"Source: {loaded.article}"] if loaded.article else []
    console.print(f"{loaded.title}\n", loaded.question, *source, "", loaded.expected.strip(), sep="\n")
    settings = [f"{name} {format_value(value)}" for name, value in loaded.config.items()]
    console.print(f"\nConfig: {', '.join(settings) or 'the defaults'}.")
    if loaded.quick:
        console.print(f"Quick variant: {loaded.quick.title.removeprefix(loaded.name).strip(' ()') or 'one run'}.")
    if loaded.claims:
        console.print(
            "Claims:", *(f"- {claim.says} ({claim.subject}: {claim.bounds})" for claim in loaded.claims), sep="\n"
        )
    cells = len(loaded.cells())
    if loaded.fork:
        forks = "; ".join(in_words(loaded.schema, branch) for branch in loaded.fork.branches)
        console.print(f"Each is forked after {loaded.fork.at_epoch} {loaded.schema.length}: {forks}.")
    typed = clean(experiment)
    command = f"wdtui run {typed} --headless" if cells == 1 else f"wdtui experiments run {typed}"
    console.print(f"{'One run' if cells == 1 else f'{cells} runs'}; start with: {command}")
    if loaded.claims:
        console.print(f"Check the claims with: wdtui experiments verify {typed}{' --quick' if loaded.quick else ''}")


@app.command(cls=FieldsCommand)
@takes_fields
def run(
    fields: dict[str, Any],
    experiment: ExperimentArgument,
    quick: QuickOption = False,
    json: JsonOption = False,
    seeds: SeedsOption = None,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    store: StoreOption = None,
) -> int:
    """Train all runs of an experiment as a sweep over its axes, without the app."""
    from wdtui.studies.experiments import load

    loaded = load(experiment).variant(quick)
    machines = Machines(device, threads, workers, executor, address)
    if loaded.fork:
        machines.check_forks(loaded.name)
        if seeds or workers:
            raise CommandError(
                f"The runs of {loaded.name} and their forks are trained one after the other. Leave out --seeds and "
                "--workers, or train them with `wdtui experiments verify`, which accepts both."
            )
        return _train_with_forks(loaded, fields, machines, store, json)
    grid = grid_of(loaded, fields, {}, seeds)
    return train_new_sweep(grid, experiment=loaded.name, name="", machines=machines, store=store, json=json)


def _train_with_forks(
    loaded: Experiment, fields: dict[str, Any], machines: Machines, store: Path | None, json: bool
) -> int:
    """Train each run of the experiment and its forks, one after the other."""
    from wdtui.cli.headless import Foreground
    from wdtui.runs.service import Service
    from wdtui.store.store import Store
    from wdtui.training.devices import resolve_device

    assert loaded.fork
    status, device = 0, resolve_device(machines.device)
    with Store(store) as opened:
        queue = Foreground(opened, json=json)
        service = Service(opened, queue, device=device)
        for config in loaded.cells(fields):
            with service.undone_on_error():
                run_id = service.start(config, experiment=loaded.name, threads=machines.threads)
                ended = queue.train()
                if not ended:
                    service.branch([run_id], loaded.fork, threads=machines.threads)
                    ended = queue.train()
            status = max(status, ended)
            if ended > FAILED:  # interrupted
                break
    return status
