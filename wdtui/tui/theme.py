"""Themes: one accent colour for focus, another for live runs, and dimmed secondary text; dark, light and plain."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from rich.style import Style
from textual.app import App
from textual.color import Color, ColorParseError
from textual.theme import Theme

from wdtui.schema.hyperparameters import nearest
from wdtui.settings import THEMES as BUILT_IN
from wdtui.settings import SettingsError

DARK = Theme(
    name="wdtui-dark",
    primary="#e0a458",
    accent="#e0a458",
    foreground="#d9dadd",
    background="#14161a",
    surface="#14161a",
    panel="#1b1e23",
    success="#7fb69a",
    warning="#e0a458",
    error="#e5786d",
    dark=True,
    variables={
        "line": "#3b4048",
        "running": "#7fb7d6",
        "muted": "#8d939c",
        "faint": "#5d636c",
        "selection": "#262a31",
        "input-cursor-background": "#e0a458",
        "input-cursor-foreground": "#14161a",
        "scrollbar": "#3b4048",
        "scrollbar-background": "#14161a",
    },
)
LIGHT = Theme(
    name="wdtui-light",
    primary="#8a5a00",
    accent="#8a5a00",
    foreground="#24262a",
    background="#fbfaf7",
    surface="#fbfaf7",
    panel="#f1efe9",
    success="#2e6e4e",
    warning="#8a5a00",
    error="#b3261e",
    dark=False,
    variables={
        "line": "#cfcbc2",
        "running": "#00628f",
        "muted": "#666a70",
        "faint": "#9a9da2",
        "selection": "#ece8de",
        "input-cursor-background": "#8a5a00",
        "input-cursor-foreground": "#fbfaf7",
        "scrollbar": "#cfcbc2",
        "scrollbar-background": "#fbfaf7",
    },
)
PLAIN = Theme(
    name="wdtui-plain",
    ansi=True,
    primary="ansi_yellow",
    accent="ansi_yellow",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    success="ansi_green",
    warning="ansi_yellow",
    error="ansi_red",
    dark=True,
    variables={
        "line": "ansi_bright_black",
        "running": "ansi_cyan",
        "muted": "ansi_default",
        "faint": "ansi_bright_black",
        "selection": "ansi_bright_black",
        "scrollbar": "ansi_bright_black",
        "scrollbar-background": "ansi_default",
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
    },
)
"""For terminals with 16 colours; uses the terminal's own colours."""

THEMES = (DARK, LIGHT, PLAIN)
DEFAULTS = {"running": "#7fb7d6", "line": "#3b4048", "muted": "#8d939c", "faint": "#5d636c", "selection": "#262a31"}
"""Variables of the stylesheets beyond Textual's own, for themes that do not define them."""


_PARTS = (
    "primary", "accent", "foreground", "background", "surface", "panel", "success", "warning", "error"
)  # fmt: skip


def full_name(theme: str) -> str:
    """The full name of a theme in the settings; empty if the terminal decides."""
    return "" if theme == "auto" else next((own.name for own in THEMES if own.name == f"wdtui-{theme}"), theme)


def own_themes(wanted: Mapping[str, Mapping[str, str]]) -> list[Theme]:
    """The user's themes: a base, dark by default, with other colours. Raises SettingsError."""
    return [_own(name, dict(colours)) for name, colours in wanted.items()]


def _own(name: str, colours: dict[str, str]) -> Theme:
    base_name = colours.pop("base", "dark")
    base = next((theme for theme in THEMES if theme.name == f"wdtui-{base_name}"), None)
    if base is None or name in BUILT_IN:
        wrong = (
            f"base {base_name}: give dark, light or plain" if base is None else "this is the name of a built-in theme"
        )
        raise SettingsError(f"themes.{name}: {wrong}.")
    for part, colour in colours.items():
        if part not in (*_PARTS, *DEFAULTS):
            raise SettingsError(f"themes.{name}: {part} is not a key of a theme{nearest(part, [*_PARTS, *DEFAULTS])}")
        try:
            Color.parse(colour)
        except ColorParseError:
            raise SettingsError(f"themes.{name}.{part}: {colour} is not a colour: give one such as #56b4e9.") from None
    variables = base.variables | {part: colour for part, colour in colours.items() if part in DEFAULTS}
    return dataclasses.replace(
        base,
        name=name,
        variables=variables,
        **{part: colour for part, colour in colours.items() if part in _PARTS},  # type: ignore[arg-type]
    )


def style_of(app: App[object], variable: str) -> Style:
    """The foreground style of a theme variable; empty if the theme does not define it."""
    value = app.theme_variables.get(variable, "")
    return Style.from_color(Color.parse(value).rich_color) if value else Style()


def suited_to(color_system: str | None) -> str:
    """The initial theme for a console with this colour system."""
    return PLAIN.name if color_system in ("standard", "windows") else DARK.name
