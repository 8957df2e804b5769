"""`wdtui runs`: list, show and change the runs in the store."""

from __future__ import annotations

import json as json_module
import sys
from typing import Annotated, Any

import typer

from wdtui.cli import completion
from wdtui.cli.errors import CommandError
from wdtui.cli.fields import JsonOption, StoreOption
from wdtui.cli.owners import confirmed

app = typer.Typer(
    help="List, show, compare, name and delete the runs in the store.", no_args_is_help=True, rich_markup_mode=None
)

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="A run's number or name, or last.", autocompletion=completion.runs)
]
RunsArgument = Annotated[
    list[str], typer.Argument(metavar="RUN…", help="Runs' numbers or names.", autocompletion=completion.runs)
]


@app.command("list")
def list_runs(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILTER]…", help="Words, tags and conditions that must all match: 'test>0.9' done #good."
        ),
    ] = None,
    json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """List all runs, newest first, or those that a filter lets through."""
    from wdtui.cli.run_lines import print_runs
    from wdtui.runs.labels import schemas_of
    from wdtui.runs.query import parse
    from wdtui.store.store import Store
    from wdtui.support.text import clean

    with Store(store) as opened:
        everything, missing = opened.runs(), opened.missing()
    keep = parse(" ".join(words or ()), schemas_of(everything))
    runs = [run for run in everything if keep(run)]
    if missing:
        typer.echo(f"wdtui: {missing}", err=True)
    if json:
        for run in runs:
            typer.echo(json_module.dumps(_as_json(run), ensure_ascii=False))
    elif everything and not runs:
        typer.echo(f"None of the {len(everything):,} runs matches {clean(' '.join(words or ()))}.")
    elif not runs:
        typer.echo(f"No runs in {clean(str(opened.folder))} yet; `wdtui run demo --headless` trains the first.")
    else:
        print_runs(runs)


@app.command()
def show(run: RunArgument, json: JsonOption = False, store: StoreOption = None) -> None:
    """Show one run: its chart, summary, config and events."""
    from wdtui.analysis.summary import summary
    from wdtui.runs.inspection import lost_points
    from wdtui.store.checkpoints import Checkpoints
    from wdtui.store.store import Store

    with Store(store) as opened:
        record = opened.find(run)
        curves, events = opened.curves(record.id), opened.events(record.id)
        checkpoints = Checkpoints(opened.folder, record.id, record.created)  # to list them needs no config
    if json:
        end = summary(record.id, record.status, record.reason, curves, record.schema.judged) | {
            "checkpoints": checkpoints.kept()
        }
        end["lost"] = list(curves.lost)
        listed = [{"step": event.step, "time": event.time, "kind": event.kind, "data": event.data} for event in events]
        about = _as_json(record) | end | {"events": listed, "event": "run"}
        typer.echo(json_module.dumps(about, ensure_ascii=False))
        return
    from wdtui.cli.views import print_result

    print_result(record, curves)
    if curves.lost:
        typer.echo(lost_points(record, curves.lost))
    _print_details(record, events)
    if kept := checkpoints.kept():
        steps = ", ".join(f"{step:,}{f' ({why})' if why else ''}" for step, why in kept.items())
        typer.echo(f"Checkpoints at steps {steps}: {checkpoints.size() / 1e6:.1f} MB.")


@app.command()
def compare(
    runs: RunsArgument,
    json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Compare runs: test accuracy in one chart, and the final values, fit, generalisation and blow-ups of each."""
    from wdtui.analysis.milestones import milestones
    from wdtui.cli.run_lines import print_runs
    from wdtui.runs.labels import labels
    from wdtui.store.store import Store

    with Store(store) as opened:
        records = [opened.find(run) for run in runs]
        curves = [opened.curves(record.id) for record in records]
    seen = [milestones(one, record.schema.judged) for record, one in zip(records, curves, strict=True)]
    if json:
        for record, reached in zip(records, seen, strict=True):
            typer.echo(json_module.dumps(_as_json(record) | reached.to_json(), ensure_ascii=False))
        return
    from rich.console import Console

    from wdtui.cli.views import comparison_chart

    console = Console(highlight=False, markup=False, emoji=False)
    named = list(zip(labels(records), curves, strict=True))
    console.print(comparison_chart(records[0].schema, named, console), "")
    print_runs(records)
    if any(any(record.schema.judged) for record in records):
        console.print()
        _print_milestones(records, seen)


@app.command()
def check(run: RunArgument, json: JsonOption = False, store: StoreOption = None) -> int:
    """Check a run's points, events and checkpoints against its config and plan; exit with status 3 if they differ."""
    from wdtui.cli.errors import CLAIM_FAILS
    from wdtui.runs.checks import check_run
    from wdtui.store.store import Store

    with Store(store) as opened:
        run_id = opened.find(run).id
        findings = check_run(opened, run_id)
    for finding in findings:
        if json:
            about = {"event": "check", "run_id": run_id, "check": finding.check, "agrees": finding.agrees}
            typer.echo(json_module.dumps(about | {"says": finding.says}, ensure_ascii=False))
        else:
            mark = {True: "ok", False: "WRONG", None: "–"}[finding.agrees]
            typer.echo(f"{mark:<6} {finding.check:<12} {finding.says}")
    return CLAIM_FAILS if any(finding.agrees is False for finding in findings) else 0


@app.command()
def rename(run: RunArgument, name: str, store: StoreOption = None) -> None:
    """Give a run a name."""
    from wdtui.runs.service import Service
    from wdtui.store.store import Store

    with Store(store) as opened:
        Service(opened).rename(opened.find(run).id, name)


@app.command()
def note(run: RunArgument, text: str, store: StoreOption = None) -> None:
    """Write a note on a run. Words in it that begin with # are tags."""
    from wdtui.runs.service import Service
    from wdtui.store.store import Store

    with Store(store) as opened:
        Service(opened).annotate(opened.find(run).id, text)


@app.command()
def delete(
    runs: RunsArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    store: StoreOption = None,
) -> None:
    """Delete runs with their points and checkpoints."""
    from wdtui.runs.service import Service
    from wdtui.store.store import Store

    with Store(store) as opened:
        service = Service(opened)
        records = service.check_deletable(confirmed(opened, opened.find(run)).id for run in runs)
        titles = ", ".join(f"{record.id} ({record.title})" for record in records)
        if not yes:
            if not sys.stdin.isatty():
                raise CommandError("There is no terminal for the confirmation: give --yes to delete.")
            typer.confirm(f"Delete {titles}?", abort=True, err=True)
        service.delete(record.id for record in records)
    typer.echo(f"Deleted {titles}.", err=True)


def _as_json(run: Any) -> dict[str, Any]:
    """A run as it is stored: what another version stored is not validated, so that it stops no list."""
    from wdtui.analysis.summary import finite

    plain = {
        name: getattr(run, name) for name in ("id", "name", "note", "experiment", "status", "state", "reason", "device")
    }
    times = {name: getattr(run, name) for name in ("created", "started", "ended", "step", "epoch", "threads", "host")}
    return plain | times | {
        "parent": run.parent,
        "parent_step": run.parent_step,
        "plan": json_module.loads(run.plan_text),
        "config": None if run.damaged else json_module.loads(run.config_text),
        "final": finite(run.latest),
        "versions": run.versions,
        **run.milestones,
    }  # fmt: skip


def _print_milestones(runs: list[Any], seen: list[Any]) -> None:
    """Print the steps of fit and generalisation, their difference, and the number and period of blow-ups."""
    from rich.console import Console
    from rich.table import Table

    from wdtui.support.text import number

    table = Table(box=None, header_style="dim", pad_edge=False)
    for heading in ("run", "fit", "generalised", "delay", "blow-ups", "period"):
        table.add_column(heading, justify="right", no_wrap=True)
    for run, reached in zip(runs, seen, strict=True):
        blowups = len(reached.blowup_steps), reached.blowup_period
        steps = reached.fit_step, reached.generalise_step, reached.delay, *blowups
        table.add_row(str(run.id), *map(number, steps))
    Console(highlight=False).print(table)


def _print_details(run: Any, events: list[Any]) -> None:
    import datetime

    from wdtui.schema.hyperparameters import format_value
    from wdtui.support.text import clean, number

    defaults = {name: format_value(value) for name, value in run.schema.defaults.items()}
    changed = [f"{name} {run.written(name)}" for name in run.values if run.written(name) != defaults.get(name)]
    if run.reason:
        typer.echo(clean(run.reason))
    if run.parent is not None:
        typer.echo(f"Forked from run {run.parent} at step {number(run.parent_step)}.")
    typer.echo(f"\nDiffers from the defaults in: {', '.join(changed) or 'nothing'}.")
    if run.started and run.device:  # an imported run has no device
        versions = ", ".join(f"{name} {version}" for name, version in run.versions.items())
        started = datetime.datetime.fromtimestamp(run.started).isoformat(" ", "seconds")
        threads = f"{run.threads} {'thread' if run.threads == 1 else 'threads'}"
        typer.echo(f"Started {started} on {run.host}, {run.device}, {threads}; {versions}.")
    if run.note:
        typer.echo(f"Note: {clean(run.note)}")
    for event in events:
        typer.echo(f"step {number(event.step)}: {_event_text(run, event)}".rstrip())
        for line in str(event.data.get("traceback", "")).splitlines():
            typer.echo(f"  {clean(line)}")


def _event_text(run: Any, event: Any) -> str:
    from wdtui.runs.forks import begun_from
    from wdtui.schema.hyperparameters import format_value
    from wdtui.support.text import clean

    if event.kind == "forked":
        return begun_from(event.data)
    if event.kind == "steered":
        over = f" over {event.data['epochs']} {run.schema.length}" if event.data.get("epochs") else ""
        return (
            f"steered {event.data['field']} {format_value(event.data['old'])} → {format_value(event.data['new'])}{over}"
        )
    data = ", ".join(f"{key} {clean(str(value))}" for key, value in event.data.items() if key != "traceback")
    return f"{event.kind} {data}"
