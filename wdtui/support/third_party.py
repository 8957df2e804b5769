"""Uses of private parts of other libraries, each with the reason why no public part is enough.

No other module of wdtui uses one, so this page lists what a new version of a library may break. A library is imported
when one of its parts is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import textual.keys
    import torch
    import typer._click.exceptions
    from textual.app import App
    from textual.notifications import Notification

    fused_adamw = torch._fused_adamw_
    fused_adam = torch._fused_adam_
    foreach_norm = torch._foreach_norm
    foreach_subtract = torch._foreach_sub_
    character_to_key = textual.keys._character_to_key
    NoSuchOption = typer._click.exceptions.NoSuchOption
    NoArgsIsHelpError = typer._click.exceptions.NoArgsIsHelpError

_PARTS = {
    # torch.optim.Adam(fused=True) makes the same call, but loops over all parameters in Python at each step.
    "fused_adamw": ("torch", "_fused_adamw_"),
    "fused_adam": ("torch", "_fused_adam_"),
    # torch.linalg.vector_norm takes one tensor, but a network has dozens.
    "foreach_norm": ("torch", "_foreach_norm"),
    # Tensor.sub_ takes one tensor.
    "foreach_subtract": ("torch", "_foreach_sub_"),
    # Textual's name for the key of a character. The public `key_to_character` only converts the other way.
    "character_to_key": ("textual.keys", "_character_to_key"),
    # Typer raises these two if it does not show errors itself, and has no public names for them.
    "NoSuchOption": ("typer._click.exceptions", "NoSuchOption"),
    "NoArgsIsHelpError": ("typer._click.exceptions", "NoArgsIsHelpError"),
}


def __getattr__(name: str) -> Any:
    if name not in _PARTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, part = _PARTS[name]
    return getattr(importlib.import_module(module), part)


def write_to_terminal(app: App[Any], text: str) -> None:
    """Send an escape sequence for which Textual has no method, such as a desktop notification."""
    if app._driver is not None and not app.is_headless:
        app._driver.write(text)


def notifications(app: App[Any]) -> list[Notification]:
    """The notifications that the app shows. Textual has no public list of them."""
    return list(app._notifications)


def drop_notification(app: App[Any], notice: Notification) -> None:
    """Remove one notification; Textual can only clear all. The screen is updated with the next one."""
    app._unnotify(notice, refresh=False)


def changes_of(tensor: torch.Tensor) -> int:
    """How often a tensor was changed in place: PyTorch counts it for autograd, and has no public name for it."""
    return tensor._version
