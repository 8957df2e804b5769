"""`wdtui config`: the settings of all commands."""

from __future__ import annotations

import json as json_module
from typing import Annotated

import typer

from wdtui.cli.errors import CommandError
from wdtui.cli.fields import JsonOption

app = typer.Typer(
    help="Show and change the settings: theme, device, store, fps, threads, keys and colours.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _names(incomplete: str) -> list[tuple[str, str]]:
    from wdtui.settings import SETTINGS

    return [(name, setting.help) for name, setting in SETTINGS.items() if name.startswith(incomplete)]


NameArgument = Annotated[
    str,
    typer.Argument(metavar="NAME", help="A setting, or keys.ACTION, or themes.NAME.COLOUR.", autocompletion=_names),
]


@app.command()
def show(json: JsonOption = False) -> None:
    """Show every setting, its value and the source of the value."""
    from wdtui import settings
    from wdtui.schema.hyperparameters import format_value

    read = settings.read()
    rows = [(name, read.value(name), read.source(name)) for name in settings.SETTINGS]
    rows += [(f"keys.{action}", key, "the file") for action, key in read.keys.items()]
    for theme, colours in read.themes.items():
        rows += [(f"themes.{theme}.{part}", colour, "the file") for part, colour in colours.items()]
    if json:
        for name, value, source in rows:
            typer.echo(json_module.dumps({"name": name, "value": value, "source": source}, ensure_ascii=False))
        return
    width = max(len(name) for name, _, _ in rows)
    for name, value, source in rows:
        typer.echo(f"{name:<{width}}  {format_value(value):<12} {source}")


@app.command()
def path() -> None:
    """Print the path of the settings file, whether it exists or not."""
    from wdtui import settings

    typer.echo(str(settings.path()))


@app.command("set")
def set_value(
    name: NameArgument, value: Annotated[str, typer.Argument(metavar="VALUE", help="The new value.")]
) -> None:
    """Set a value in the settings file; the rest of the file is unchanged."""
    from wdtui import settings

    known = name.partition(".")[0] in settings.TABLES and "." in name
    given = value if known else settings.setting_named(name).parse(value)
    if given is None:
        raise CommandError(f"{name}: give {settings.setting_named(name).allowed}, or `wdtui config unset {name}`.")
    _write(name, given if isinstance(given, (str, int, float)) else str(given))


@app.command()
def unset(name: NameArgument) -> None:
    """Remove a setting from the file, so the default applies again."""
    from wdtui import settings

    if "." not in name:
        settings.setting_named(name)
    _write(name, None)


def _write(name: str, value: str | int | float | None) -> None:
    """Change the file atomically, and only if the result is valid."""
    from wdtui import settings
    from wdtui.settings_file import changed
    from wdtui.support import private
    from wdtui.support.files import read_toml_text
    from wdtui.tui import check_settings

    file = settings.path()
    try:
        before = read_toml_text(file) if file.exists() else ""
        after = changed(before, name, value)
        if value is not None:
            read = settings.parsed(file, after)
            if name.partition(".")[0] in settings.TABLES:
                check_settings(read)
        if after == before:
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(file.name + ".new")
        with private.opened(new, "wb") as writing:
            writing.write(after.encode())
        if file.exists():
            new.chmod(file.stat().st_mode & 0o777)
        new.replace(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise CommandError(f"{file} cannot be changed: {reason}.") from error
