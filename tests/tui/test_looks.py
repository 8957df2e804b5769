"""Every main screen in three sizes, and in 16 colours and without colour. One start of the app serves all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
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
        await repaint(pilot)
        pictures[f"{name}-no-color"] = svg(app)
        app._filters.pop()
        app.theme = "wdtui-plain"
        await repaint(pilot)
        pictures[f"{name}-16-colours"] = svg(app)
    for called, drawn in pictures.items():
        assert drawn == picture(name=called)


async def repaint(pilot: Any) -> None:
    """Paint everything again: Textual keeps lines that it has drawn."""
    for widget in pilot.app.screen.walk_children():
        widget.notify_style_update()
        widget.refresh()
    await settle(pilot)
