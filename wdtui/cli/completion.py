"""Shell completion of runs, sweeps, experiments, fields and their values. Fast, and never raises an error.

`wdtui --install-completion` sets it up. Each function takes the text typed so far and returns possible completions,
each with a short description for the shells that show one.
"""

from __future__ import annotations

import os
from pathlib import Path

import typer

from wdtui.problems import registry
from wdtui.schema.hyperparameters import Hyperparameter, format_value

Offers = list[tuple[str, str]]
_DEVICES = {"auto": "the fastest device available", "cpu": "", "cuda": "the first NVIDIA GPU", "mps": "Apple's GPU"}


def runs(context: typer.Context, incomplete: str) -> Offers:
    from wdtui.store.names import run_names

    return _beginning(incomplete, [("last", "the newest run"), *run_names(_folder(context))])


def sweeps(context: typer.Context, incomplete: str) -> Offers:
    from wdtui.store.names import sweep_names

    return _beginning(incomplete, [("last", "the newest sweep"), *sweep_names(_folder(context))])


def runs_and_sweeps(context: typer.Context, incomplete: str) -> Offers:
    offers = runs(context, incomplete) + sweeps(context, incomplete)
    return list(dict(reversed(offers)).items())[::-1]


def experiments(incomplete: str) -> Offers:
    from wdtui.studies.experiments import names

    return _beginning(incomplete, [(name, "") for name in (*names(), *registry.names())])


def devices(incomplete: str) -> Offers:
    return _beginning(incomplete, list(_DEVICES.items()))


def axes(context: typer.Context, incomplete: str) -> Offers:
    """FIELD= of what can be swept in the experiment on the command line; after the = of a choice, its values."""
    from wdtui.cli.fields import schema_named

    named = context.params.get("experiment")
    return _assignments(incomplete, list(schema_named([named] if named else []).sweepable.values()))


def changes(context: typer.Context, incomplete: str) -> Offers:
    """FIELD= of what can be changed in the run on the command line, or in a fork of it."""
    from wdtui.store.names import fields_of_run

    schema = fields_of_run(_folder(context), str(context.params.get("run") or ""))
    return _assignments(incomplete, list((schema or registry.find(registry.DEFAULT).config.schema()).live_fields))


def _assignments(incomplete: str, fields: list[Hyperparameter]) -> Offers:
    offers = [(f"{field.name}=", field.label) for field in fields]
    for field in fields:
        choices = field.choices or (("true", "false") if field.kind == "bool" else ())
        if incomplete.startswith(f"{field.name}="):
            offers += [(f"{field.name}={choice}", "") for choice in choices or [format_value(field.default)]]
    return [offer for offer in _beginning(incomplete, offers) if offer[0] != incomplete]


def _beginning(incomplete: str, offers: Offers) -> Offers:
    return [(text, words) for text, words in offers if text.startswith(incomplete)]


def _folder(context: typer.Context) -> Path:
    """The store's folder according to the command line so far."""
    from wdtui.settings import SettingsError
    from wdtui.store.store import default_folder

    given = context.params.get("store") or context.find_root().params.get("store")
    try:
        return (Path(given) if given else default_folder()).expanduser()
    except SettingsError:  # the command itself reports it
        return Path(os.devnull)
