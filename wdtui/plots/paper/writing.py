"""Figures as files, and as inline SVG for a page."""

from __future__ import annotations

import html
import io
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from wdtui.plots.paper.style import FAINT, INK, styled
from wdtui.plots.terminal import RUN_COLORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Figure

SUFFIXES = (".png", ".svg")
_DPI = 200
_THEME = {INK: "currentColor", FAINT: "var(--faint)", RUN_COLORS[0]: "var(--blue)"}
"""The colours that a page's theme replaces, as the blue is too dark for a dark background."""


def save(figure: Figure, path: Path, suffix: str = "") -> None:
    """Write a figure in the format of a suffix, one of SUFFIXES, by default the file's. Equal figures give equal files.

    Raises OSError.
    """
    with styled(), _quiet():
        kind = (suffix or path.suffix).lower().removeprefix(".")
        without = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(path, format=kind, dpi=_DPI, metadata=without)


def inline_svg(figure: Figure, number: int, description: str) -> str:
    """A figure as an <svg> element without external references, with the colours of the page.

    `number` makes its ids unique within the page. Text stays text. The page's style must define `color`, `--faint`,
    `--blue` and `--sans`.
    """
    buffer = io.StringIO()
    with styled(**{"svg.fonttype": "none"}), _quiet():
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<svg [^>]*?viewBox="([^"]*)"[^>]*>', rf'<svg viewBox="\1" {_named(description)}>', svg, count=1)
    svg = re.sub(r' id="', f' id="f{number}-', svg)
    svg = re.sub(r'xlink:href="#', f'href="#f{number}-', svg)
    svg = re.sub(r"url\(#", f"url(#f{number}-", svg)
    svg = re.sub(r"<style.*?</style>", "", svg, flags=re.DOTALL)  # it would apply to the whole page
    svg = svg.replace("'DejaVu Sans'", "var(--sans)")
    for color, themed in _THEME.items():
        svg = svg.replace(color, themed)
    return svg.strip()


def _named(description: str) -> str:
    return f'role="img" aria-label="{html.escape(description)}"'.replace("\\", r"\\")


def _quiet() -> warnings.catch_warnings[None]:
    """Suppress warnings about characters of a run's name that the font does not have."""
    return warnings.catch_warnings(action="ignore", category=UserWarning)
