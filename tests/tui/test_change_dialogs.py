"""The dialogs that steer and fork: a run gets what they show, whatever happened to it before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from textual.widgets import Input, Static
from tui_tools import FakeScheduler, Recorded, drawn, press, settle

from wdtui.schema.steering import Steering
from wdtui.store.records import Status
from wdtui.tui.widgets.field_row import FieldRow
from wdtui.tui.widgets.run_table import RunTable

MakeApp = Callable[..., Any]


def taken(recorded: Recorded, run_id: int, *plan: Steering) -> None:
    """Have the run take steerings, which count from their steps."""
    recorded.store.send(run_id, "steer", {steering.field: steering.new for steering in plan})
    (command,) = recorded.store.commands(run_id)
    recorded.store.take(recorded.store.run(command.run_id).claim, command, plan)


async def test_a_run_is_forked_where_the_cursor_is_and_both_are_marked(recorded: Recorded, make_app: MakeApp) -> None:
    parent = recorded.add("epsilon-1e-5", points=100)
    scheduler = FakeScheduler()
    async with make_app(scheduler).run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape")
        await drawn(pilot)
        await press(pilot, "left", "left", "f", "down", "type:0", "down", "type:1e-2:50", "enter")
        assert pilot.app.screen._marked == [parent, parent + 1]
        assert pilot.app.screen.query_one(RunTable).selected == parent + 1
    [child] = scheduler.submitted
    run = recorded.store.run(child)
    assert (run.parent, run.config.weight_decay, run.config.bn_epsilon) == (parent, 0.0, 0.01)
    assert run.parent_step is not None and 0 < run.parent_step < recorded.store.run(parent).step
    assert [(one.step, one.field, one.epochs) for one in run.plan] == [
        (run.parent_step, "weight_decay", 0),
        (run.parent_step, "bn_epsilon", 50),
    ]


async def test_a_fork_uses_the_values_shown_for_the_typed_step(recorded: Recorded, make_app: MakeApp) -> None:
    parent = recorded.add("demo")
    later = Steering(7800, "weight_decay", 0.5, 0.9)
    taken(recorded, parent, Steering(5070, "weight_decay", 0.3, 0.5), later)
    scheduler = FakeScheduler()
    async with make_app(scheduler).run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "f")
        shown = pilot.app.screen.query_one("#field-weight_decay Input", Input)
        assert shown.value == "0.9"
        await press(pilot, "type:7799", "down", "down", "type:1e-3")
        assert shown.value == "0.5"
        await press(pilot, "enter")
        await press(pilot, "down", "f", "down", "type:0.3", "up", "type:5070", "enter")
    unchanged, held = map(recorded.store.run, scheduler.submitted)
    assert (unchanged.parent_step, unchanged.config.weight_decay, unchanged.config.bn_epsilon) == (7722, 0.5, 1e-3)
    assert later in unchanged.plan
    assert (held.parent_step, held.config.weight_decay) == (5070, 0.3)
    assert later not in held.plan


async def test_an_impossible_fork_shows_the_reason(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo")
    scheduler = FakeScheduler()
    async with make_app(scheduler).run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "f", "down", "type:0.5", "enter")
        epochs = pilot.app.screen.query_one("#field-epochs", FieldRow)
        assert "give more epochs" in str(epochs.query_one(".error", Static).content)
        assert scheduler.submitted == []
        await press(pilot, *("down",) * 3, "type:200", "enter")
    [child] = scheduler.submitted
    config = recorded.store.run(child).config
    assert (config.weight_decay, config.epochs) == (0.5, 200)


async def test_a_second_steering_starts_from_a_pending_first_one(recorded: Recorded, make_app: MakeApp) -> None:
    run_id = recorded.add("demo", points=50, status=Status.PAUSED)
    taken(recorded, run_id, Steering(50 * 78, "weight_decay", 0.3, 0.5))
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "s")
        shown = pilot.app.screen.query_one("#field-weight_decay Input", Input)
        assert shown.value == "0.5"
        await press(pilot, "type:0.9", "enter", "s")
        shown = pilot.app.screen.query_one("#field-weight_decay Input", Input)
        assert shown.value == "0.9"
        await press(pilot, "type:0.5", "enter", "s", "enter")
        assert "Nothing was changed." in [note.message for note in pilot.app._notifications]
    assert [command.data for command in recorded.store.commands(run_id)] == [
        {"weight_decay": 0.9},
        {"weight_decay": 0.5},
    ]


async def test_steering_a_paused_run_shows_pending_changes(recorded: Recorded, make_app: MakeApp) -> None:
    run_id = recorded.add("demo", points=50, status=Status.PAUSED)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "s")
        hint = str(pilot.app.screen.query_one(".hint", Static).content)
        assert "The run is paused: changes take effect when it resumes." in hint and "Pending" not in hint
        await press(pilot, "type:0.5", "enter")
        assert f"Run {run_id} is paused. When it resumes, this takes effect: λ → 0.5." in [
            note.message for note in pilot.app._notifications
        ]
        await press(pilot, "s")
        assert "Pending: λ 0.3 → 0.5." in str(pilot.app.screen.query_one(".hint", Static).content)
        await press(pilot, "escape")
        (command,) = recorded.store.commands(run_id)
        plan = [Steering(50 * 78, "weight_decay", 0.3, 0.5)]
        recorded.store.take(recorded.store.run(command.run_id).claim, command, plan)  # as the paused run does
        await settle(pilot)
        await press(pilot, "s")
        assert "Pending: λ 0.3 → 0.5." in str(pilot.app.screen.query_one(".hint", Static).content)


async def test_steering_a_running_run_says_when_it_takes_effect(recorded: Recorded, make_app: MakeApp) -> None:
    run_id = recorded.add("demo", points=50, status=Status.RUNNING)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "s")
        assert "paused" not in str(pilot.app.screen.query_one(".hint", Static).content)
        await press(pilot, "type:0.5:20", "enter")
        assert f"Steering run {run_id} …" in [note.message for note in pilot.app._notifications]
