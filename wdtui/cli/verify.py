"""`wdtui experiments verify`: train the missing runs of an experiment, then check its claims."""

from __future__ import annotations

import json as json_module
from typing import TYPE_CHECKING, Annotated

import typer

from wdtui.cli.errors import CLAIM_FAILS, FAILED, CommandError
from wdtui.cli.fields import DeviceOption, ExperimentArgument, JsonOption, StoreOption, ThreadsOption
from wdtui.cli.machines import AddressOption, ExecutorOption, Machines, WorkersOption

if TYPE_CHECKING:
    from wdtui.studies.experiments import Experiment
    from wdtui.studies.verdicts import Verdict

QuickOption = Annotated[
    bool, typer.Option("--quick", help="Use the quick variant, which takes minutes, if there is one.")
]
SeedsOption = Annotated[
    int | None, typer.Option("--seeds", min=1, metavar="N", help="Seeds 0 to N − 1 instead of the experiment's own.")
]


def verify(
    experiment: ExperimentArgument,
    quick: QuickOption = False,
    seeds: SeedsOption = None,
    json: JsonOption = False,
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    workers: WorkersOption = None,
    executor: ExecutorOption = "local",
    address: AddressOption = None,
    store: StoreOption = None,
) -> int:
    """Check an experiment's claims, after training the runs that are missing in the store."""
    from wdtui.cli.headless import signals_interrupting
    from wdtui.cli.verify_views import choose_view
    from wdtui.runs.evidence import Evidence
    from wdtui.runs.trained import trained
    from wdtui.store.records import FINISHED
    from wdtui.store.store import Store
    from wdtui.studies.experiments import load

    chosen = load(experiment).variant(quick)
    if not chosen.claims:
        raise CommandError(f"{chosen.name} has no claims, so there is nothing to verify.")
    if seeds:
        chosen = chosen.with_seeds(seeds)
    machines = Machines(device, threads, workers, executor, address)
    if chosen.fork:
        machines.check_forks(chosen.name)
    reasons: list[str] = []
    with Store(store) as opened:
        prepared = machines.prepared(opened)
        with choose_view(chosen.name) as view, signals_interrupting(reasons.append) as received:
            runs = trained(
                opened,
                chosen.cases(),
                experiment=chosen.name,
                executor=prepared,
                threads=threads,
                tell=view.say,
                on_look=view.advance,
                stop=lambda: next(iter(reasons), ""),
            )
        if received:
            _say(f"wdtui: {reasons[0]}; the same command continues from there.")
            return 128 + received[0]
        verdicts = Evidence(opened).verdicts(chosen)
    unfinished = [run for run in runs.values() if run.status not in FINISHED]
    _print(chosen, verdicts, json)
    if unfinished:
        _say(f"wdtui: run {unfinished[0].id} is {unfinished[0].status}: {unfinished[0].reason}")
        return FAILED
    return 0 if all(verdict.state == "holds" for verdict in verdicts) else CLAIM_FAILS


def _say(line: str) -> None:
    typer.echo(line, err=True)


def _print(experiment: Experiment, verdicts: tuple[Verdict, ...], json: bool) -> None:
    for verdict in verdicts:
        if json:
            event = {"event": "claim", "experiment": experiment.name} | verdict.to_json()
            typer.echo(json_module.dumps(event, ensure_ascii=False, allow_nan=False))
        else:
            typer.echo(f"{verdict.state:<8} {verdict.claim.says}\n         {verdict.measured}")
