"""Exit statuses, and how an error is said."""

from __future__ import annotations

import typer

from wdtui.config import FIELDS, NAMES, nearest
from wdtui.text import clean
from wdtui.third_party import NoSuchOption

FAILED, BAD_INPUT, CLAIM_FAILS, DAMAGED, INTERRUPTED = 1, 2, 3, 3, 130


class CommandError(Exception):
    """What a command cannot do for its user, in one sentence."""


class TrainingError(Exception):
    """What ended a run that had begun, in one sentence."""


def bad_input_errors() -> tuple[type[Exception], ...]:
    """The errors that say that what was given cannot be used, rather than that a run went wrong."""
    import sys

    from wdtui.config import ConfigError
    from wdtui.experiments import ExperimentError
    from wdtui.outputs import FileError
    from wdtui.runs.records import StoreError
    from wdtui.settings import SettingsError
    from wdtui.tui import TerminalError

    errors: tuple[type[Exception], ...] = (
        ConfigError, ExperimentError, FileError, StoreError, SettingsError, CommandError, TerminalError
    )  # fmt: skip
    if taken := sys.modules.get("wdtui.exchange.taken"):  # only what was asked to hand over or take in can raise its
        errors += (taken.ExchangeError,)
    if devices := sys.modules.get("wdtui.lab.devices"):  # it imports torch, so only where it is loaded anyway
        errors += (devices.DeviceError,)
    if cluster := sys.modules.get("wdtui.runs.ray_access"):
        errors += (cluster.ClusterError,)
    return errors


def sentence(error: BaseException) -> str:
    """The error in one line, with a full stop."""
    if isinstance(error, NoSuchOption):
        text = f"there is no option {error.option_name}{_near(error.option_name, _options(error))}"
    elif isinstance(error, typer.TyperException):
        text = error.format_message().replace("Value error, ", "")  # pydantic's, of choices
    elif type(error).__module__.startswith("wdtui") or isinstance(error, KeyboardInterrupt):
        text = str(error)
    else:
        text = f"something went wrong that should not have: {type(error).__name__}: {error}; --debug shows where"
    text = clean(" ".join(text.split()))
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _near(given: str, options: list[str]) -> str:
    """Which option may be meant, also by an alias of a field, as in --lr."""
    field = FIELDS.get(NAMES.get(given.removeprefix("--"), ""))
    return f"; did you mean {field.flag}?" if field and field.flag in options else nearest(given, options)


def _options(error: NoSuchOption) -> list[str]:
    if error.ctx is None:
        return []
    return [option for parameter in error.ctx.command.params for option in parameter.opts if option.startswith("--")]
