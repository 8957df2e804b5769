"""Exit statuses and error messages."""

from __future__ import annotations

import typer

from wdtui.problems import registry
from wdtui.schema.hyperparameters import nearest
from wdtui.support.errors import WdtuiError
from wdtui.support.text import clean
from wdtui.support.third_party import NoSuchOption

FAILED, BAD_INPUT, CLAIM_FAILS, DAMAGED, INEXACT, INTERRUPTED = 1, 2, 3, 3, 3, 130


class CommandError(WdtuiError):
    """A request that a command refuses. The message is one sentence."""


def sentence(error: BaseException) -> str:
    """The error as one line with a full stop."""
    if isinstance(error, NoSuchOption):
        text = f"there is no option {error.option_name}{_near(error, _options(error))}"
    elif isinstance(error, typer.TyperException):
        text = error.format_message().replace("Value error, ", "")  # pydantic's, of choices
    elif isinstance(error, (WdtuiError, KeyboardInterrupt)):
        text = str(error)
    else:
        text = f"internal error: {type(error).__name__}: {error}; --debug shows where"
    text = clean(" ".join(text.split()))
    return text if text.endswith((".", "?", "!")) else f"{text}."


def _near(error: NoSuchOption, options: list[str]) -> str:
    """The option that was probably meant, also from an alias of a field, as in --lr."""
    given, command = error.option_name, error.ctx and error.ctx.command
    schema = getattr(command, "schema", None) or registry.find(registry.DEFAULT).config.schema()
    field = schema.fields.get(schema.names.get(given.removeprefix("--"), ""))
    if field and field.flag in options:
        return f"; did you mean {field.flag}?"
    return nearest(given, options)


def _options(error: NoSuchOption) -> list[str]:
    if error.ctx is None:
        return []
    return [option for parameter in error.ctx.command.params for option in parameter.opts if option.startswith("--")]
