"""Keys and colours of one's own do what they say, and are what help, footer and palette show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Static
from tui_tools import Recorded, press, settle, svg

from wdtui.problems.addition.config import RunConfig
from wdtui.settings import Settings
from wdtui.studies.grid import Grid
from wdtui.tui.keymap import ACTIONS
from wdtui.tui.keys import APP, CHARTS, DECAY, GROUPS, RUNS
from wdtui.tui.screens.help import Help, guide
from wdtui.tui.widgets.lines import KeyLine


def test_every_action_has_a_name_of_its_own() -> None:
    named = [key for group in GROUPS.values() for key in group if key.name]
    assert len(ACTIONS) == len(named) and {"launch", "help", "log_time", "open_cell"} <= ACTIONS.keys()


async def test_a_remapped_key_works_is_shown_and_frees_the_old_key(
    recorded: Recorded, make_app: Callable[..., Any]
) -> None:
    recorded.add("demo")
    own = Settings(Path(), keys={"mark": "f5", "help": "f1", "steer": "m"})
    app = make_app(settings=own)
    async with app.run_test(size=(160, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "escape", "f5")
        assert app.screen._marked == [1]
        footer = app.screen.query_one(KeyLine).render().plain
        assert "f5 mark" in footer and "m steer" in footer and "f1 help" in footer
        await press(pilot, "question_mark")
        assert not isinstance(app.screen, Help)
        await press(pilot, "f1")
        assert isinstance(app.screen, Help) and app.screen.query_one("#page", Static)
        await press(pilot, "escape", "ctrl+p", "type:mark")
        assert "f5" in svg(app)


def test_the_help_page_shows_the_new_key() -> None:
    from rich.console import Console

    console = Console(width=120)
    with console.capture() as shown:
        console.print(guide({"launch": "f5"}))
    lines = shown.get().splitlines()
    assert any(line.split()[:2] == ["f5", "Train"] for line in lines)
    assert any("f5 or Enter trains it." in line for line in lines)


async def test_a_user_theme_is_used(recorded: Recorded, make_app: Callable[..., Any]) -> None:
    own = Settings(Path(), {"theme": "sea"}, themes={"sea": {"base": "light", "accent": "#56b4e9", "line": "#333333"}})
    app = make_app(settings=own)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert app.theme == "sea" and not app.current_theme.dark
        assert app.theme_variables["accent"].lower() == "#56b4e9" and app.theme_variables["line"] == "#333333"


async def test_messages_name_the_new_key(recorded: Recorded, make_app: Callable[..., Any]) -> None:
    own = Settings(Path(), keys={"launch": "f5", "sweep": "f6", "go_on": "f7"})
    app = make_app(settings=own)
    async with app.run_test(size=(160, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "escape", "s")
        assert "f5 starts one" in _said(app)
        await press(pilot, "S")
        assert "f6 makes one" in str(app.screen.query_one(Static).render())
        sweep = recorded.store.sweeps.add(Grid.of(RunConfig(), {"weight_decay": (0.1, 0.3)}))
        app.open_sweep(recorded.store.sweeps.get(sweep))
        await settle(pilot)
        await press(pilot, "enter")
        assert "f7 trains the missing runs" in _said(app)


def _said(app: Any) -> str:
    return " ".join(notification.message for notification in app._notifications)


@pytest.mark.parametrize("width", [80, 60, 40])
async def test_the_footer_of_a_run_omits_whole_keys_the_least_important_first(
    width: int, recorded: Recorded, make_app: Callable[..., Any]
) -> None:
    recorded.add("demo")
    app = make_app()
    async with app.run_test(size=(width, 24)) as pilot:
        await press(pilot, "escape", "enter")
        shown = app.screen.query_one(KeyLine).render().plain.rstrip().split("   ")
    known = {f"{key.title} {key.label}" for key in (*RUNS, *CHARTS, *DECAY, *APP)} | {"esc back"}
    assert {*shown} <= known and {"esc back", "? help", "q quit"} <= {*shown}
    assert width < 80 or {"z zoom", "p metrics", "space pause"} <= {*shown}
