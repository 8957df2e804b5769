"""`wdtui run`: one run, in the app or headless."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from wdtui.cli.errors import CommandError
from wdtui.cli.fields import (
    DetachOption,
    DeviceOption,
    FpsOption,
    HeadlessOption,
    JsonOption,
    MouseOption,
    OptionalExperimentArgument,
    StoreOption,
    ThreadsOption,
    takes_fields,
)
from wdtui.problems import registry


@takes_fields
def run(
    fields: dict[str, Any],
    experiment: OptionalExperimentArgument = None,
    headless: HeadlessOption = False,
    detach: DetachOption = False,
    json: JsonOption = False,
    name: Annotated[str, typer.Option(help="Name of the run.")] = "",
    device: DeviceOption = "auto",
    threads: ThreadsOption = None,
    store: StoreOption = None,
    fps: FpsOption = None,
    mouse: MouseOption = None,
) -> int:
    """Train one run: an experiment's config or the defaults, with the given values."""
    from wdtui.studies.experiments import load

    question = load(experiment) if experiment else None
    config = (question or load(registry.DEFAULT)).base(fields)
    if json and not (headless or detach):
        raise CommandError("--json needs --headless or --detach.")
    if (headless or detach) and (fps, mouse) != (None, None):
        raise CommandError("--fps and --mouse are for the app. Leave them out with --headless and --detach.")
    origin = question.name if question else ""
    if not (headless or detach):
        from wdtui.tui import Opening, open_app

        problem = question.problem if question and registry.is_file(question.problem) else ""
        opening = Opening(config=config, experiment=origin, name=name, threads=threads, problem=problem)
        return open_app(store, device=device, opening=opening, fps=fps, mouse=mouse)

    from wdtui.cli.headless import carry_out
    from wdtui.runs.service import Service
    from wdtui.store.store import Store
    from wdtui.support.text import clean

    if question and question.axes and not json:
        typer.echo(
            f"This is one run; `wdtui experiments run {clean(experiment or '')}` runs all of {question.title}.",
            err=True,
        )

    def start(service: Service) -> None:
        service.start(config, experiment=origin, name=name, threads=threads)

    if not detach:  # raise an error before a store is created
        from wdtui.training.devices import resolve_device

        device = resolve_device(device)
    with Store(store) as opened:
        return carry_out(opened, start, device=device, detach=detach, json=json)
