"""Flags generated from the hyperparameters, and the options that several commands share."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
import typer.core

from wdtui.cli import completion
from wdtui.problems import registry
from wdtui.schema.hyperparameters import ConfigError, Hyperparameter, format_value
from wdtui.schema.schema import Schema

F = TypeVar("F", bound=Callable[..., Any])


def _named_store(context: typer.Context, after: Path | None) -> Path | None:
    """The folder given after the command, or else before it; None for that of the settings."""
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
    "help": "The name of an experiment, else that of a problem; or the path of a TOML file or of a problem's file.",
    "autocompletion": completion.experiments,
}
ExperimentArgument = Annotated[str, typer.Argument(metavar="EXPERIMENT", **_EXPERIMENT)]
FileArgument = Annotated[
    str, typer.Argument(metavar="FILE.py[:CLASS]", help="A file that declares a problem.", show_default=False)
]
OptionalExperimentArgument = Annotated[str | None, typer.Argument(metavar="[EXPERIMENT]", **_EXPERIMENT)]
ThreadsOption = Annotated[
    int | None, typer.Option("--threads", min=1, help="CPU threads of the run; by default chosen by its width.")
]
FpsOption = Annotated[
    float | None,
    typer.Option(
        "--fps", min=0.1, max=30, help="How often per second the app reads new points; use less on slow connections."
    ),
]
MouseOption = Annotated[bool | None, typer.Option("--mouse/--no-mouse", help="Use the mouse in the app.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Write only JSON lines to stdout.")]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace existing files.")]
HeadlessOption = Annotated[
    bool, typer.Option("--headless", help="Train without the app and print a summary at the end.")
]
DetachOption = Annotated[
    bool, typer.Option("--detach", help="Train in a separate process, which continues when this shell ends.")
]


def takes_fields(command: F) -> F:
    """Give a command a flag for each hyperparameter. Its parameter `fields` receives the given ones, parsed.

    The flags are those of the default problem. With `cls=FieldsCommand` they are those of the experiment on the command
    line.
    """
    return _with_flags(command, registry.find(registry.DEFAULT).config.schema())


def _with_flags(command: F, schema: Schema) -> F:
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "fields"]
    flags = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=_annotation(schema, field))
        for name, field in schema.fields.items()
    ]

    def with_flags(**given: Any) -> Any:
        texts = {name: text for name in schema.fields if (text := given.pop(name)) is not None}
        return command(**given, fields={name: _parsed(schema, name, text) for name, text in texts.items()})

    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in own]
    with_flags.__signature__ = signature.replace(parameters=[*keyword_only, *flags])  # type: ignore[attr-defined]
    with_flags.__annotations__ = {parameter.name: parameter.annotation for parameter in [*keyword_only, *flags]}
    with_flags.__name__, with_flags.__doc__ = command.__name__, command.__doc__
    with_flags.plain = command  # type: ignore[attr-defined]
    return with_flags  # type: ignore[return-value]


def _parsed(schema: Schema, name: str, given: Any) -> Any:
    return schema.field(name).parse(given) if isinstance(given, str) else given


class FieldsCommand(typer.core.TyperCommand):
    """A command made by `takes_fields` whose flags are the fields of the problem of the given experiment."""

    schema: Schema | None = None
    """The schema of the problem, if it is not the default one."""

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        schema = schema_named(self._named(args))
        command = self if schema.code == registry.DEFAULT else self._of(schema)
        return super(FieldsCommand, command).make_context(info_name, args, parent, **extra)

    def _of(self, schema: Schema) -> FieldsCommand:
        app = typer.Typer(add_completion=False)
        app.command()(_with_flags(self.callback.plain, schema))  # type: ignore[union-attr]
        made, command = typer.main.get_command(app), copy.copy(self)
        command.params, command.callback, command.schema = made.params, made.callback, schema
        return command

    def _named(self, args: Sequence[str]) -> Iterator[str]:
        """The arguments that are neither flags nor values of known flags."""
        flags = {name: option for option in self.params for name in option.opts if name.startswith("-")}
        given = iter(args)
        for argument in given:
            if not argument.startswith("-"):
                yield argument
            elif argument in flags and not getattr(flags[argument], "is_flag", False):
                next(given, None)


def schema_named(names: Iterator[str] | Sequence[str]) -> Schema:
    """The schema of the first of some words that is an experiment, or else of the default problem."""
    for name in names:
        from wdtui.studies.experiments import ExperimentError, load  # slow, and rarely needed

        try:
            return load(name).schema
        except (ExperimentError, ConfigError):  # the command itself reports it if this should be an experiment
            continue
    return registry.find(registry.DEFAULT).config.schema()


def _annotation(schema: Schema, field: Hyperparameter) -> Any:
    symbol = f"{field.symbol}: " if field.symbol else ""
    unit = f" [{field.unit}]" if field.unit else ""
    help = f"{symbol}{field.help}{unit} Default {format_value(field.default)}; {field.allowed}."
    panel = schema.groups[field.group]
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
