"""Flags made from the hyperparameters' one definition, and the options that several commands share."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from wdtui.cli import completion
from wdtui.config import FIELDS, GROUPS
from wdtui.hyperparameters import Hyperparameter, format_value

F = TypeVar("F", bound=Callable[..., Any])


def _named_store(context: typer.Context, after: Path | None) -> Path | None:
    """The folder that is named after the command, or else before it; None for that of the settings."""
    return after or context.find_root().params.get("store")


StoreOption = Annotated[
    Path | None, typer.Option("--store", help="Folder of the run store; also $WDTUI_HOME.", callback=_named_store)
]
DeviceOption = Annotated[
    str,
    typer.Option(
        "--device",
        metavar="auto|cpu|cuda|cuda:N|mps",
        help="Where to train.",
        autocompletion=completion.devices,
    ),
]
_EXPERIMENT: Any = {
    "help": "An experiment's name, or the path of a TOML file.", "autocompletion": completion.experiments
}  # fmt: skip
ExperimentArgument = Annotated[str, typer.Argument(metavar="EXPERIMENT", **_EXPERIMENT)]
OptionalExperimentArgument = Annotated[str | None, typer.Argument(metavar="[EXPERIMENT]", **_EXPERIMENT)]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads of the run; by default what suits its width.")
]
FpsOption = Annotated[
    float | None,
    typer.Option("--fps", min=0.1, max=30, help="How often the app looks for news, per second; less for slow lines."),
]
MouseOption = Annotated[bool | None, typer.Option("--mouse/--no-mouse", help="Whether the app takes the mouse.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON lines, and nothing else, to stdout.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that are there already.")]
HeadlessOption = Annotated[bool, typer.Option("--headless", help="Train without a screen and end with a summary.")]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="Train in a process of its own, which goes on when this shell ends.")
]


def takes_fields(command: F) -> F:
    """Give a command a flag for each hyperparameter; its parameter `fields` receives those that were given, parsed."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "fields"]
    flags = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(field))
        for name, field in FIELDS.items()
    ]

    def with_flags(**given: Any) -> Any:
        texts = {name: given.pop(name) for name in FIELDS}
        return command(**given, fields=_parsed(texts))

    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    with_flags.__signature__ = signature.replace(parameters=[*keyword_only, *flags])  # type: ignore[attr-defined]
    with_flags.__annotations__ = {parameter.name: parameter.annotation for parameter in [*keyword_only, *flags]}
    with_flags.__name__, with_flags.__doc__ = command.__name__, command.__doc__
    return with_flags  # type: ignore[return-value]


def _parsed(texts: dict[str, Any]) -> dict[str, Any]:
    given = {name: text for name, text in texts.items() if text is not None}
    return {name: FIELDS[name].parse(text) if isinstance(text, str) else text for name, text in given.items()}


def _annotation(field: Hyperparameter) -> Any:
    symbol = f"{field.symbol}: " if field.symbol else ""
    unit = f" [{field.unit}]" if field.unit else ""
    help = f"{symbol}{field.help}{unit} Default {format_value(field.default)}; {field.allowed}."
    panel = GROUPS[field.group]
    if field.kind == "bool":
        names = f"{field.flag}/--no-{field.flag.removeprefix('--')}"
        return Annotated[bool | None, typer.Option(names, help=help, rich_help_panel=panel, show_default=False)]
    metavar = "|".join(field.choices) or {"int": "N", "ints": "N,…", "floats": "X,…"}.get(field.kind, "X")
    choices = [(choice, "") for choice in field.choices] or [(format_value(field.default), "the default")]
    return Annotated[
        str | None,
        typer.Option(
            field.flag,
            help=help,
            metavar=metavar,
            rich_help_panel=panel,
            show_default=False,
            autocompletion=lambda incomplete: [choice for choice in choices if choice[0].startswith(incomplete)],
        ),
    ]
