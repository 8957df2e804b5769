"""The form: what the footer says of it, what is seen of it, and that it is as it was left when the app opens again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Input
from tui_tools import FakeScheduler, Recorded, press, resize, settle

from wdtui.tui import Opening
from wdtui.tui.widgets.choice import Choice
from wdtui.tui.widgets.group_heading import GroupHeading
from wdtui.tui.widgets.launch_form import LaunchForm
from wdtui.tui.widgets.lines import KeyLine

MakeApp = Callable[..., Any]


def footer(app: Any) -> str:
    return app.screen.query_one(KeyLine).render().plain


def texts(app: Any) -> dict[str, str]:
    return {box.parent.parent.id: box.value for box in app.screen.query_one("#group-article").query(Input)}


async def test_the_footer_of_a_group_heading_does_not_say_run(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "c")
        assert "⏎ run" in footer(pilot.app)
        await press(pilot, "down", "down", "down")
        assert isinstance(pilot.app.focused, GroupHeading)
        assert "run" not in footer(pilot.app).replace("runs and charts", "")
        assert "⏎ unfold" in footer(pilot.app)
    assert recorded.store.runs() == []


async def test_both_arrows_of_every_choice_are_visible_at_its_longest_value(
    recorded: Recorded, make_app: MakeApp
) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        form = pilot.app.screen.query_one(LaunchForm)
        for heading in form.query(GroupHeading):
            heading.action_unfold()
        await settle(pilot)
        choices = list(form.query(Choice))
        assert len(choices) > 5
        for pick in (min, max):
            for choice in choices:
                choice.value = pick(choice.options, key=len)
            await settle(pilot)
            room = form.scrollable_content_region
            for choice in choices:
                assert room.x <= choice.region.x, choice.value
                assert choice.region.x + len(choice.render().plain) <= room.right, choice.value


async def test_the_form_is_restored_when_the_app_reopens(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "c", "up", "left", "down", "type:0.25", "down", "type:1e-", "escape")
        chosen, typed = pilot.app.screen.form.experiment.name, texts(pilot.app)
        assert chosen != "demo" and typed["field-weight_decay"] == "0.25" and typed["field-bn_epsilon"] == "1e-"
    async with make_app().run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        form = pilot.app.screen.form
        assert (form.experiment.name, texts(pilot.app)) == (chosen, typed)
        assert pilot.app.screen.query_one("#experiment", Choice).value == chosen
        assert form.config is None, "what cannot be read is still there to be corrected"


async def test_the_form_of_a_problems_file_does_not_replace_the_saved_one(
    recorded: Recorded, make_app: MakeApp
) -> None:
    saved = recorded.store.folder / "form.json"
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "c", "type:0.25", "escape")
    before = saved.read_text()
    assert "0.25" in before
    file = Path(__file__).parents[2] / "docs" / "examples" / "modular_addition.py"
    async with make_app(opening=Opening(problem=str(file))).run_test(size=(120, 40)) as pilot:
        await press(pilot, "c", "type:0.5", "escape")
    assert saved.read_text() == before


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xfe",
        b"[1, 2",
        b"[]",
        b'{"experiment": "gone", "texts": {"weight_decay": "0.7"}}',
        b'{"experiment": 3, "texts": {"weight_decay": 7}}',
        b'{"texts": {"of_another_version": "1"}, "experiment": "demo"}',
    ],
)
async def test_an_invalid_saved_form_becomes_the_demo(content: bytes, recorded: Recorded, make_app: MakeApp) -> None:
    (recorded.store.folder / "form.json").write_bytes(content)
    scheduler = FakeScheduler()
    async with make_app(scheduler).run_test(size=(120, 40)) as pilot:
        await press(pilot, "enter")
    (run,) = recorded.store.runs()
    assert (run.experiment, run.config.weight_decay) == ("demo", 0.3)


async def test_the_form_is_wider_where_there_is_room(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "c")
        form, widths = pilot.app.screen.query_one(LaunchForm), []
        for size in ((80, 24), (120, 40), (200, 60), (300, 80)):
            await resize(pilot, *size)
            widths.append(form.size.width)
        assert widths[1] < widths[2] <= widths[3] < 60 and widths[1] < widths[0]
