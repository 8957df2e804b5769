"""Every main screen in three sizes, and in 16 colours and without colour. One start of the app serves all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rich.color import Color, ColorType
from test_screens import MARK_ALL, blow_ups, four, grouped
from test_sweep_screens import OPENED, two_axes
from textual.filter import Monochrome
from tui_tools import Recorded, press, resize, settle, svg

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Can not relate snapshot")

SIZES = ((120, 40), (80, 24), (200, 60))
SCREENS: dict[str, tuple[Callable[[Recorded], None], tuple[str, ...]]] = {
    "workbench": (grouped, ("escape", "down")),
    "run": (blow_ups, ("escape", "enter")),
    "sweep": (two_axes, (*OPENED, "down", "right")),
    "comparison": (four, (*MARK_ALL, "left", "left")),
}


@pytest.mark.parametrize("name", SCREENS)
async def test_sizes_and_colours(name: str, recorded: Recorded, make_app: Callable[..., Any], picture: Any) -> None:
    fill, keys = SCREENS[name]
    fill(recorded)
    app, pictures = make_app(), {}
    async with app.run_test(size=SIZES[0]) as pilot:
        await settle(pilot)
        await press(pilot, *keys)
        for size in SIZES:
            await resize(pilot, *size)
            pictures["{}-{}x{}".format(name, *size)] = svg(app)
        await resize(pilot, *SIZES[0])
        app._filters.append(Monochrome())  # as Textual does at its start if NO_COLOR is set
        app.no_color = True
        await repaint(pilot)
        pictures[f"{name}-no-color"] = svg(app)
        app.no_color = False
        app._filters.pop()
        app.theme = "wdtui-plain"
        await repaint(pilot)
        pictures[f"{name}-16-colours"] = svg(app)
        colors = set(colors_of(app))
    assert {color.type for color in colors} <= {ColorType.DEFAULT, ColorType.STANDARD} and len(colors) > 4
    for called, drawn in pictures.items():
        assert drawn == picture(name=called)


def colors_of(app: Any) -> Iterator[Color]:
    """Every colour on the screen, of text and of backgrounds."""
    for strip in app.screen._compositor.render_strips():
        for segment in strip:
            if segment.style:
                yield from filter(None, (segment.style.color, segment.style.bgcolor))


async def repaint(pilot: Any) -> None:
    """Paint everything again: Textual keeps lines that it has drawn."""
    for widget in pilot.app.screen.walk_children():
        widget.notify_style_update()
        widget.refresh()
    await settle(pilot)
