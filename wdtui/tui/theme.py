"""The look: one accent, for focus and for what is live, all that is secondary dimmed; dark, light and plain."""

from __future__ import annotations

from textual.theme import Theme

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
        "muted": "ansi_default",
        "faint": "ansi_bright_black",
        "selection": "ansi_bright_black",
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
    },
)
"""For terminals with 16 colours, in the terminal's own."""

THEMES = (DARK, LIGHT, PLAIN)
DEFAULTS = {"line": "#3b4048", "muted": "#8d939c", "faint": "#5d636c", "selection": "#262a31"}
"""What the stylesheets ask for beyond Textual's own variables, for themes that are not ours."""


def suited_to(color_system: str | None) -> str:
    """The theme to begin with on a console with so many colours."""
    return PLAIN.name if color_system in ("standard", "windows") else DARK.name
