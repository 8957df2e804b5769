"""The sweep dialog and the sweep screen: as pictures in snapshots/, and what their keys do."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from test_screens import SIZE, drawn
from textual.events import Key
from tui_tools import FakeScheduler, Recorded, press, resize, settle

from wdtui.problems.addition.config import RunConfig
from wdtui.runs.sweeps import assign
from wdtui.schema.curves import Point
from wdtui.store.records import Status
from wdtui.store.sweeps import Sweep
from wdtui.studies.grid import Grid
from wdtui.tui import Opening
from wdtui.tui.screens import sweep_form
from wdtui.tui.screens.run import RunView
from wdtui.tui.screens.sweep import SweepView
from wdtui.tui.screens.sweep_form import SweepForm, SweepList
from wdtui.tui.screens.workbench import Workbench
from wdtui.tui.widgets.chart import ChartPanel
from wdtui.tui.widgets.plain_text import PlainText
from wdtui.tui.widgets.text_row import TextRow

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Can not relate snapshot")

MakeApp = Callable[..., Any]
BASE = RunConfig(epochs=385)
DECAYS = {0.0: (1, 0), 0.01: (1, 0.3), 0.03: (1, 0.7), 0.1: (1, 0.95), 0.3: (0.998, 0.99), 0.6: (0.94, 0.88), 1: (0, 0)}


def sweep_of(recorded: Recorded, grid: Grid, **about: str) -> Sweep:
    sweep = recorded.store.sweeps.get(recorded.store.sweeps.add(grid, **about))
    assign(recorded.store, sweep)
    return sweep


def finish(recorded: Recorded, sweep: Sweep, places: Iterable[int], status: Status = Status.DONE) -> None:
    """Give cells a few points made up from their config."""
    store, runs = recorded.store, recorded.store.sweeps.runs(sweep.id)
    for place in places:
        run, config = runs[place], sweep.cells[place].config
        assert run
        train, test = DECAYS[config.weight_decay]
        test = min(max(test * min(config.width / 128, 1) - 0.06 * config.seed, 0), 1)
        fit = {"milestones": {"fit_step": 3666 if train > 0.99 else None}, "blowups": {"count": 0}}
        store.claim(run.id, device="cpu", threads=1, versions={})
        points = []
        for part in range(1, (12 if status == Status.DONE else 4) + 1):
            learned, general = min(part / 2, 1), min(max(part - 2, 0) / 2, 1)
            values = {"train_accuracy": train * learned, "test_accuracy": test * general}
            values["weight_norm"] = 117 - 60 * config.weight_decay * min(part / 8, 1)
            epoch = config.epochs * part // 12
            points.append(Point(78 * epoch, epoch, tuple(values.get(name, 0.5) for name in config.columns)))
        store.append(store.run(run.id).claim, points, speed=600.0, milestones=fit)
        if status != Status.RUNNING:
            store.set_status(store.run(run.id).claim, status)


def one_axis(recorded: Recorded) -> None:
    sweep = sweep_of(recorded, Grid.of(BASE, {"weight_decay": DECAYS}, 3), name="the article's figure")
    finish(recorded, sweep, range(16))
    finish(recorded, sweep, (16, 17), Status.RUNNING)
    finish(recorded, sweep, (18,), Status.FAILED)


def two_axes(recorded: Recorded) -> None:
    sweep = sweep_of(recorded, Grid.of(BASE, {"weight_decay": DECAYS, "width": [32, 64, 96, 128, 256]}))
    finish(recorded, sweep, range(25))
    finish(recorded, sweep, (25, 26), Status.RUNNING)
    finish(recorded, sweep, (27,), Status.FAILED)


def nothing(recorded: Recorded) -> None:
    """No sweeps."""


ERRORS = ("escape", "W", "type:,-1", "down", "type:widht=8")
OPENED = ("escape", "S", "enter")
STATES: dict[str, tuple[Callable[[Recorded], None], tuple[int, int], tuple[str, ...]]] = {
    "sweep-form": (nothing, SIZE, ("escape", "W")),
    "sweep-form-with-an-error": (nothing, SIZE, ERRORS),
    "sweep-form-80x24": (nothing, (80, 24), ERRORS),
    "sweep-list": (one_axis, SIZE, ("escape", "S")),
    "sweep-one-axis": (one_axis, SIZE, (*OPENED, *["right"] * 4)),
    "sweep-two-axes": (two_axes, SIZE, (*OPENED, "down", "down", "right")),
    "sweep-two-axes-80x24": (two_axes, (80, 24), (*OPENED, *["down"] * 5, *["right"] * 4, "v", "v")),
}


@pytest.mark.parametrize("state", STATES)
async def test_dark(state: str, recorded: Recorded, make_app: MakeApp, picture: Any) -> None:
    fill, size, keys = STATES[state]
    fill(recorded)
    assert await drawn(make_app(), size, *keys) == picture(name=state)


async def test_sixteen_colours(recorded: Recorded, make_app: MakeApp, picture: Any) -> None:
    fill, size, keys = STATES["sweep-one-axis"]
    fill(recorded)
    assert await drawn(make_app(), size, *keys, theme="wdtui-plain") == picture(name="sweep-one-axis-wdtui-plain")


@pytest.mark.parametrize("size", [(1, 1), (20, 5), (40, 10), (60, 15)])
@pytest.mark.parametrize("fill", [one_axis, two_axes])
async def test_tiny_sizes_do_not_crash(
    fill: Callable[[Recorded], None], size: tuple[int, int], recorded: Recorded, make_app: MakeApp
) -> None:
    fill(recorded)
    async with make_app().run_test(size=SIZE) as pilot:
        await settle(pilot)
        await press(pilot, *OPENED)
        await resize(pilot, *size)
        await press(pilot, "right", "v", "v")
        await resize(pilot, *SIZE)
        await settle(pilot)


async def test_typed_axes_are_trained_and_shown(recorded: Recorded, make_app: MakeApp) -> None:
    scheduler = FakeScheduler()
    async with make_app(scheduler).run_test(size=SIZE) as pilot:
        await press(pilot, "escape", "W")
        assert isinstance(pilot.app.screen, SweepForm)
        await press(
            pilot, "ctrl+u", "type:weight_decay=0.1,0.3", "down", "type:blocks=1", "down", "down", "type:2", "enter"
        )
        assert isinstance(pilot.app.screen, SweepView)
    (sweep,) = recorded.store.sweeps.all()
    assert sweep.grid.axes == {"weight_decay": (0.1, 0.3), "blocks": (1,)} and sweep.grid.seeds == (1234, 1235)
    assert sweep.experiment == "demo" and sweep.grid.base.epochs == 130
    assert scheduler.submitted == [1, 2, 3, 4] == [run.id for run in reversed(recorded.store.runs())]


async def test_keys_that_arrive_at_once_are_handled_in_order(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, "escape", "W")
        await press(pilot, "ctrl+u", "type:weight_decay=abc(1)")
        typed = [("backspace", None)] * 20 + [(character, character) for character in "width=8"]
        for key, character in typed:
            pilot.app.post_message(Key(key, character))
        await settle(pilot)
        assert pilot.app.screen.query_one("#axis-0", TextRow).text == "width=8"


async def test_the_screen_responds_while_a_sweep_is_started(recorded: Recorded, make_app: MakeApp) -> None:
    app = make_app()
    start, released = app.controls.start_sweep, threading.Event()

    def start_late(*arguments: Any, **options: Any) -> Any:
        assert released.wait(20)
        return start(*arguments, **options)

    app.controls.start_sweep = start_late
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        app.start_sweep(Grid.of(BASE, {"weight_decay": [0.0, 0.1]}))
        await pilot.press("escape", "S")
        await pilot.pause()
        assert isinstance(app.screen, SweepList) and recorded.store.sweeps.all() == []
        released.set()
        await settle(pilot)
        assert isinstance(app.screen, SweepView)


async def test_axes_are_read_when_typing_pauses_or_on_enter(
    recorded: Recorded, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid_out: list[int] = []
    cells = Grid.cells

    def counted(grid: Grid) -> Any:
        laid_out.append(grid.size)
        return cells(grid)

    monkeypatch.setattr(Grid, "cells", counted)
    monkeypatch.setattr(sweep_form, "_SETTLE_SECONDS", 1000)
    async with make_app().run_test(size=SIZE) as pilot:
        await pilot.press("escape", "W")
        await pilot.pause()
        laid_out.clear()
        await pilot.press("ctrl+u", *"seed", "equals_sign", *"123", "comma", *"456")
        await pilot.pause()
        assert laid_out == []
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, SweepView) and laid_out[0] == 2


async def test_axes_with_an_error_start_nothing(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, *ERRORS, "enter")
        assert isinstance(pilot.app.screen, SweepForm)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, Workbench)
    assert recorded.store.sweeps.all() == []


async def test_a_cell_is_opened_and_left_again(recorded: Recorded, make_app: MakeApp) -> None:
    one_axis(recorded)
    (sweep,) = recorded.store.sweeps.all()
    expected = [run.id for run in recorded.store.sweeps.runs(sweep.id) if run and run.values["weight_decay"] == 0.01]
    async with make_app().run_test(size=SIZE) as pilot:
        opened = []
        await press(pilot, *OPENED, "right")
        for _ in range(3):
            await press(pilot, "enter")
            assert isinstance(pilot.app.screen, RunView)
            opened.append(pilot.app.screen.selected_run.id)
            assert [shown.run.id for shown in pilot.app.snapshot.shown] == opened[-1:]
            await press(pilot, "escape", "n")
            assert isinstance(pilot.app.screen, SweepView)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, Workbench)
        table = pilot.app.screen.table
        assert [shown.run.id for shown in pilot.app.snapshot.shown] == [run.id for run in table.group.best_seeds]
    assert opened == expected


async def test_a_sweep_is_resumed_and_stopped(recorded: Recorded, make_app: MakeApp) -> None:
    one_axis(recorded)
    (sweep,) = recorded.store.sweeps.all()
    runs = [run for run in recorded.store.sweeps.runs(sweep.id) if run]
    recorded.store.delete([runs[0].id])
    scheduler = FakeScheduler()
    async with make_app(scheduler).run_test(size=SIZE) as pilot:
        await press(pilot, *OPENED, "g", "g")
        anew = next(run for run in recorded.store.sweeps.runs(sweep.id) if run)
        assert scheduler.submitted == [anew.id, *(run.id for run in runs[18:])]
        await press(pilot, "x")
    assert scheduler.queue == ()
    for run in runs[16:18]:
        assert [command.kind for command in recorded.store.commands(run.id)] == ["stop"]


async def test_the_map_follows_the_store(recorded: Recorded, make_app: MakeApp) -> None:
    sweep = sweep_of(recorded, Grid.of(BASE, {"weight_decay": DECAYS, "width": [32, 256]}))
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, *OPENED)
        view = pilot.app.screen
        assert "0/14 runs done" in str(view.query_one("#progress").render())
        finish(recorded, sweep, range(3))
        finish(recorded, sweep, (3,), Status.RUNNING)
        await settle(pilot)
        said = str(view.query_one("#progress").render())
        assert "3/14 runs done" in said and "1 running" in said and "600 steps/s" in said


async def test_the_line_of_progress_omits_whole_parts(recorded: Recorded, make_app: MakeApp) -> None:
    two_axes(recorded)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, *OPENED)
        view, shown = pilot.app.screen, {}
        for width in (120, 80, 62, 40):
            await resize(pilot, width, 24)
            line = str(view.query_one("#progress").render()).lstrip("━─ ")
            shown[width] = line.split("  ")
        assert shown[120] == ["25/35 runs done", "2 running", "1 failed", "1,200 steps/s", "3:29 left"]
        assert shown[80] == shown[120] and shown[62] == [*shown[120][:3], "3:29 left"]
        assert shown[40] == ["25/35 runs done", "3:29 left"]


async def test_further_axes_and_clicks(recorded: Recorded, make_app: MakeApp) -> None:
    axes = {"weight_decay": [0.0, 0.1], "width": [32, 64], "blocks": [1, 2], "loss": ["mse", "cross_entropy"]}
    sweep_of(recorded, Grid.of(BASE, axes))
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, *OPENED, "a", "a")
        view = pilot.app.screen
        assert view._values == (0.0, 32, 2, "mse")
        await press(pilot, "a", "a")
        assert view._values == (0.0, 32, 1, "mse")
        drawn_lines = [strip.text for strip in view.query_one("#map")._drawn()]
        line = next(place for place, text in enumerate(drawn_lines) if " 0.1 " in text)
        await pilot.click("#map", offset=(drawn_lines[line].rindex("·"), line))
        await settle(pilot)
        assert view._values == (0.1, 64, 1, "mse")


async def test_a_sweep_of_only_seeds_is_shown_over_the_seeds(recorded: Recorded, make_app: MakeApp) -> None:
    sweep = sweep_of(recorded, Grid.of(BASE, {}, 4))
    finish(recorded, sweep, range(2))
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, *OPENED, "right")
        assert "seed 1" in str(pilot.app.screen.query_one("#cell").render())


async def test_the_command_line_opens_the_app_on_a_sweep(recorded: Recorded, make_app: MakeApp) -> None:
    scheduler = FakeScheduler()
    grid = Grid.of(BASE, {"weight_decay": [0.0, 0.1]})
    opening = Opening(config=BASE, grid=grid, experiment="mine", name="two")
    async with make_app(scheduler, opening=opening).run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert isinstance(pilot.app.screen, SweepView)
    (sweep,) = recorded.store.sweeps.all()
    assert (sweep.name, sweep.experiment, sweep.grid) == ("two", "mine", grid)
    assert scheduler.submitted == [1, 2]


async def test_without_sweeps_the_list_says_how_to_make_one(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=SIZE) as pilot:
        await press(pilot, "escape", "S")
        assert isinstance(pilot.app.screen, SweepList)
        await press(pilot, "escape")
        assert isinstance(pilot.app.screen, Workbench)


async def test_a_sweep_that_the_command_line_resumes_is_queued_and_shown(recorded: Recorded, make_app: MakeApp) -> None:
    scheduler = FakeScheduler()
    sweep = sweep_of(recorded, Grid.of(BASE, {"weight_decay": [0.0, 0.1]}))
    finish(recorded, sweep, [0])
    async with make_app(scheduler, opening=Opening(sweep_id=sweep.id)).run_test(size=SIZE) as pilot:
        await settle(pilot)
        assert isinstance(pilot.app.screen, SweepView)
        assert scheduler.submitted == [2]


async def test_a_click_in_the_curve_of_a_sweep_selects_the_nearest_value(recorded: Recorded, make_app: MakeApp) -> None:
    one_axis(recorded)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        pilot.app.open_sweep(recorded.store.sweeps.find("last"))
        await settle(pilot)
        panel = pilot.app.screen.query_one("#map", ChartPanel)
        for share, named in ((0.97, "λ 1"), (0.76, "λ 0.3"), (0.1, "λ 0")):
            await pilot.click(panel, offset=(round(share * panel.size.width), 5))
            await settle(pilot)
            assert str(pilot.app.screen.query_one("#cell").render()).startswith(f"{named} ")


def fields_said(app: Any) -> str:
    return str(app.screen.query_one("#fields", PlainText).content)


async def test_the_dialog_lists_the_fields_that_can_be_axes_and_completes_their_names(
    recorded: Recorded, make_app: MakeApp
) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "W", "down")
        for name, field in RunConfig.fields().items():
            assert (name in fields_said(pilot.app).split()) == bool(field.sweep)
        await press(pilot, "type:lear")
        assert "learning_rate" in fields_said(pilot.app) and "width" not in fields_said(pilot.app)
        await until_suggested(pilot, "learning_rate=")
        await press(pilot, "right", "type:0.1")
        assert pilot.app.focused.value == "learning_rate=0.1"
        assert RunConfig.fields()["learning_rate"].allowed in fields_said(pilot.app)
        await press(pilot, "ctrl+u", "type:H")
        assert "width" in fields_said(pilot.app).split()
        await press(pilot, "ctrl+u", "type:zebra")
        assert "No field" in fields_said(pilot.app)
        await press(pilot, "down", "down")
        assert pilot.app.focused.parent.parent.id == "seeds"
        assert fields_said(pilot.app) == ""


async def until_suggested(pilot: Any, suggestion: str) -> None:
    for _ in range(100):
        if pilot.app.focused._suggestion == suggestion:
            return
        await pilot.pause(0.05)
    raise AssertionError(f"{suggestion} was not suggested")
