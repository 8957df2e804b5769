"""A run that is open on a screen of its own is the one that is followed there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tui_tools import Recorded, press, settle

from wdtui.store.records import Status
from wdtui.tui.screens.run import RunView
from wdtui.tui.widgets.run_table import RunTable

MakeApp = Callable[..., Any]


async def test_an_opened_run_is_updated_although_the_filter_hides_it(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo", points=20, status=Status.RUNNING)
    opened = recorded.add("demo", points=20, status=Status.RUNNING)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "slash", "type:running", "enter", "enter")
        recorded.store.set_status(recorded.store.run(opened).claim, Status.PAUSED)
        await settle(pilot)
        recorded.store.set_status(recorded.store.run(opened).claim, Status.RUNNING)
        await settle(pilot)
        assert [(one.run.id, one.run.status) for one in pilot.app.snapshot.shown] == [(opened, Status.RUNNING)]
        await press(pilot, "escape")
        assert [one.run.id for one in pilot.app.snapshot.shown] == [pilot.app.screen.query_one(RunTable).selected]


async def test_a_run_opens_at_once_when_the_cursor_reaches_it(recorded: Recorded, make_app: MakeApp) -> None:
    first = recorded.add("demo", points=20)
    recorded.add("demo", points=20)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape")
        await pilot.press("down", "enter")
        await settle(pilot)
        assert isinstance(pilot.app.screen, RunView)
        assert [one.run.id for one in pilot.app.snapshot.shown] == [first]


async def test_screens_that_the_opened_run_hides_are_not_painted_and_are_up_to_date_afterwards(
    recorded: Recorded, make_app: MakeApp
) -> None:
    opened = recorded.add("demo", points=20, status=Status.RUNNING)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "enter")
        hidden = pilot.app.screen_stack[-2].query_one(RunTable)
        assert isinstance(pilot.app.screen, RunView) and hidden.runs[0].status == Status.RUNNING
        recorded.store.set_status(recorded.store.run(opened).claim, Status.PAUSED)
        await settle(pilot)
        assert hidden.runs[0].status == Status.RUNNING
        await press(pilot, "e")  # a dialog hides nothing
        recorded.store.set_status(recorded.store.run(opened).claim, Status.RUNNING)
        await settle(pilot)
        assert pilot.app.screen_stack[1].selected_run.status == Status.RUNNING
        await press(pilot, "escape", "escape")
        recorded.store.set_status(recorded.store.run(opened).claim, Status.PAUSED)
        await settle(pilot)
        assert hidden.runs[0].status == Status.PAUSED
