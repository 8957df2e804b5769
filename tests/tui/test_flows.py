"""What a person does, by keyboard alone: each action reaches the store or the scheduler."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from pkgutil import resolve_name
from typing import Any

import pytest
from store_tools import in_python
from textual.widgets import Input, OptionList, Static
from tui_tools import FakeScheduler, Recorded, drawn, press, settle, until

from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Point
from wdtui.store.records import Status
from wdtui.studies.experiments import load
from wdtui.studies.grid import Grid
from wdtui.tui import Opening
from wdtui.tui.screens.experiments import Gallery
from wdtui.tui.screens.help import Help
from wdtui.tui.screens.run import RunView
from wdtui.tui.screens.workbench import Workbench
from wdtui.tui.widgets.chart_grid import ChartGrid
from wdtui.tui.widgets.launch_form import LaunchForm
from wdtui.tui.widgets.run_table import RunTable

MakeApp = Callable[..., Any]


def sent(recorded: Recorded, run_id: int) -> list[tuple[str, dict[str, Any]]]:
    return [(command.kind, command.data) for command in recorded.store.commands(run_id)]


async def test_enter_on_the_first_screen_trains_the_demo(recorded: Recorded, make_app: MakeApp) -> None:
    scheduler = FakeScheduler()
    app = make_app(scheduler)
    async with app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "enter")
    (run,) = recorded.store.runs()
    assert scheduler.submitted == [run.id]
    assert (run.experiment, run.config.weight_decay, run.config.epochs) == ("demo", 0.3, 130)


async def test_a_run_with_changed_fields_has_no_experiment(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, *("up",) * 7, "type:0.02", "down", "type:1e-5", "enter")
    (run,) = recorded.store.runs()
    assert (run.experiment, run.config.weight_decay, run.config.bn_epsilon) == ("", 0.02, 1e-5)


async def test_a_form_with_an_error_starts_nothing(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, *("up",) * 7, "type:-1", "enter")
        assert pilot.app.screen.query_one(LaunchForm).config is None
    assert recorded.store.runs() == []


async def test_the_normalised_decay_overrides_the_plain_one(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 60)) as pilot:
        await press(pilot, "up", "up", "enter", "down", "down", "down", "type:0.05", "enter")
    (run,) = recorded.store.runs()
    assert run.config.normalized_weight_decay == 0.05
    assert run.config.weight_decay == pytest.approx(0.496, abs=1e-3)


async def test_the_focused_field_stays_visible_beside_its_explanation(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(40, 12)) as pilot:
        form = pilot.app.screen.query_one(LaunchForm)
        for key in ("c", "down", "down", "down", "up", "up", "up"):
            await press(pilot, key)
            await until(pilot, partial(_is_visible, form))


def _is_visible(form: LaunchForm) -> bool:
    explanation, row = form.query_one("#explanation"), form.app.focused.region
    return form.content_region.contains_region(row) and not (explanation.display and explanation.region.overlaps(row))


async def test_the_last_typed_of_the_two_decays_counts(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 60)) as pilot:
        form = pilot.app.screen.query_one(LaunchForm)
        form.use_config(RunConfig(normalized_weight_decay=0.05))
        await press(pilot, *("up",) * 7, "type:0.6")
        assert (form.config.weight_decay, form.config.normalized_weight_decay) == (0.6, None)
        await press(pilot, *("down",) * 5, "enter", *("down",) * 3, "type:0.05")
        assert form.config.normalized_weight_decay == 0.05
        await press(pilot, *("up",) * 8, "type:0.7", "enter")
        assert form.query_one("#field-normalized_weight_decay Input", Input).value == ""
    (run,) = recorded.store.runs()
    assert (run.config.weight_decay, run.config.normalized_weight_decay) == (0.7, None)


async def test_all_runs_of_an_experiment_are_started_and_marked(recorded: Recorded, make_app: MakeApp) -> None:
    scheduler = FakeScheduler()
    async with make_app(scheduler).run_test(size=(120, 40)) as pilot:
        await select(pilot, "batchnorm-epsilon")
        assert isinstance(pilot.app.screen, Gallery)
        await press(pilot, "r")
    cells = load("batchnorm-epsilon").variant(quick=True).cells()
    assert {run.config for run in recorded.store.runs()} == set(cells)
    assert scheduler.submitted == list(range(1, len(cells) + 1))


async def select(pilot: Any, name: str) -> None:
    """Open the gallery and go to an experiment."""
    await press(pilot, "E")
    names = pilot.app.screen.query_one("#names", OptionList)
    names.highlighted = names.get_option_index(name)
    await settle(pilot)


@pytest.mark.parametrize(("name", "forks"), [("raise-epsilon", 4), ("blow-up-forks", 0)])
async def test_forks_are_started_with_their_runs_unless_a_blow_up_says_where(
    recorded: Recorded, make_app: MakeApp, name: str, forks: int
) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await select(pilot, name)
        await press(pilot, "r")
    cells = load(name).cells()
    parents = [run.parent for run in recorded.store.runs()]
    assert parents.count(None) == len(cells) and len(parents) == len(cells) * (1 + forks)


async def test_the_gallery_fills_the_form(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await select(pilot, "training-curves")
        await press(pilot, "enter", "enter")
    (run,) = recorded.store.runs()
    assert run.experiment == "training-curves"


async def test_space_reads_on_in_the_gallery_and_another_experiment_begins_at_its_top(
    recorded: Recorded, make_app: MakeApp
) -> None:
    async with make_app().run_test(size=(80, 24)) as pilot:
        await select(pilot, "batchnorm-epsilon")
        pages = pilot.app.screen.query_one("#pages")
        seen = [pages.scroll_offset.y]
        while len(seen) == 1 or seen[-1]:
            await press(pilot, "space")
            seen.append(pages.scroll_offset.y)
        assert max(seen) == pages.max_scroll_y > 0
        await press(pilot, "space", "down")
        assert pages.scroll_offset.y == 0


async def test_a_run_from_the_command_line_is_started_and_selected(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("decay-1")
    scheduler = FakeScheduler()
    opening = Opening(config=RunConfig(width=8), experiment="demo", name="mine")
    async with make_app(scheduler, opening=opening).run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        assert pilot.app.screen.query_one(RunTable).selected == 2
    assert scheduler.submitted == [2]
    assert recorded.store.run(2).name == "mine"


async def test_a_live_run_is_paused_stopped_and_steered_through_the_store(
    recorded: Recorded, make_app: MakeApp
) -> None:
    run_id = recorded.add("epsilon-1e-5", points=100, status=Status.RUNNING)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "space", "x", "s", "down", "type:0.01", "enter")
    assert sent(recorded, run_id) == [("pause", {}), ("stop", {}), ("steer", {"bn_epsilon": 0.01})]


async def test_a_paused_run_resumes(recorded: Recorded, make_app: MakeApp) -> None:
    run_id = recorded.add("demo", points=50, status=Status.PAUSED)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "space")
    assert sent(recorded, run_id) == [("resume", {})]


async def test_a_stopped_run_is_submitted_again_and_a_finished_one_is_not(
    recorded: Recorded, make_app: MakeApp
) -> None:
    recorded.add("demo")
    stopped = recorded.add("demo", points=50, status=Status.STOPPED)
    scheduler = FakeScheduler()
    async with make_app(scheduler).run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "space", "down", "space")
    assert scheduler.submitted == [stopped]


async def test_a_queued_run_can_be_stopped(recorded: Recorded, make_app: MakeApp) -> None:
    scheduler = FakeScheduler()
    async with make_app(scheduler).run_test(size=(120, 40)) as pilot:
        await press(pilot, "enter", "x")
    assert scheduler.queue == ()


async def test_deleting_asks_for_confirmation(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "d", "enter")
        assert len(recorded.store.runs()) == 1
        await press(pilot, "d", "down", "enter")
        assert recorded.store.runs() == []
        assert pilot.app.snapshot.runs == ()


async def test_all_marked_runs_are_deleted_together(recorded: Recorded, make_app: MakeApp) -> None:
    for _ in range(3):
        recorded.add("decay-1", points=5)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "m", "down", "m", "d", "y")
    assert [run.id for run in recorded.store.runs()] == [1]


async def test_a_live_run_is_not_deleted(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo", points=50, status=Status.RUNNING)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "d")
        assert isinstance(pilot.app.screen, Workbench)
    assert len(recorded.store.runs()) == 1


async def test_names_and_notes_are_kept_as_typed(recorded: Recorded, make_app: MakeApp) -> None:
    run_id = recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "e", "type:[red]mine", "enter", "n", "type:look", "enter")
    run = recorded.store.run(run_id)
    assert (run.name, run.note) == ("[red]mine", "look")


async def test_marked_runs_are_shown_together_with_the_selected_one(recorded: Recorded, make_app: MakeApp) -> None:
    for recording in ("demo", "decay-1", "epsilon-1e-5"):
        recorded.add(recording)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "m", "down", "m", "down")
        assert [one.run.id for one in pilot.app.snapshot.shown] == [3, 2, 1]
        await press(pilot, "M")
        assert [one.run.id for one in pilot.app.snapshot.shown] == [1]


async def test_the_filter_applies_while_typing_and_escape_clears_it(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo")
    recorded.add("decay-1")
    async with make_app().run_test(size=(120, 40)) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape", "slash", "type:test>0.9")
        assert [run.id for run in table.runs] == [1]
        await press(pilot, "enter")
        assert len(table.runs) == 1
        assert pilot.app.focused is table
        await press(pilot, "slash", "escape")
        assert len(table.runs) == 2


async def test_a_new_run_hidden_by_the_filter_is_announced(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo")
    async with make_app(FakeScheduler()).run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "slash", "type:test>0.9", "enter", "r")
        assert [run.id for run in pilot.app.screen.query_one(RunTable).runs] == [1]
        assert "The filter hides run 2." in [note.message for note in pilot.app._notifications]


async def test_the_table_is_sorted_by_a_column_that_is_searched_for(recorded: Recorded, make_app: MakeApp) -> None:
    for recording in ("decay-1", "demo", "epsilon-1e-2"):
        recorded.add(recording)
    async with make_app().run_test(size=(120, 40)) as pilot:
        table = pilot.app.screen.query_one(RunTable)
        await press(pilot, "escape", "o", "type:λ", "enter")
        assert table.order == "by λ ↓"
        assert [run.id for run in table.runs] == [1, 2, 3]
        await press(pilot, "O")
        assert [run.id for run in table.runs] == [3, 2, 1]


async def test_charts_are_zoomed_panned_and_reset(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo")
    async with make_app().run_test(size=(120, 40)) as pilot:
        grid = pilot.app.screen.query_one(ChartGrid)
        await press(pilot, "escape")
        await drawn(pilot)
        await press(pilot, "plus")
        assert grid._view.span == pytest.approx((5070, 10140))
        await press(pilot, "shift+left")
        assert grid._view.span == pytest.approx((3802.5, 8872.5))
        await press(pilot, "minus", "l", "left", "b", "v", "L", "z")
        view = grid._view
        assert (view.span, view.time_log, view.cursor, view.per_layer) == (None, True, 10140, True)
        assert grid.maximised
        await press(pilot, "escape", "0")
        assert (grid._view.time_log, grid._view.cursor, grid.maximised) == (False, None, False)


async def test_enter_opens_a_run_and_escape_returns(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("epsilon-1e-5")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "enter")
        assert isinstance(pilot.app.screen, RunView)
        await press(pilot, "l", "z", "escape")
        assert isinstance(pilot.app.screen, Workbench)
        await press(pilot, "question_mark")
        assert isinstance(pilot.app.screen, Help)


async def test_the_palette_finds_an_action(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo", points=50, status=Status.RUNNING)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "ctrl+p", "type:stop")
        await press(pilot, "enter")
    assert sent(recorded, 1) == [("stop", {})]


async def test_the_number_of_concurrent_runs_can_be_changed(make_app: MakeApp) -> None:
    scheduler = FakeScheduler()
    async with make_app(scheduler).run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "w", "type:3", "enter")
        assert scheduler.slots == 3
        await press(pilot, "w", "backspace", "enter")
        assert scheduler.slots is None


@pytest.mark.parametrize(
    ("answer", "asked"), [(("enter",), ["interrupt", "wait"]), (("l",), ["detach"]), (("escape",), [])]
)
async def test_quitting_with_live_runs_asks(answer: tuple[str, ...], asked: list[str], make_app: MakeApp) -> None:
    scheduler = FakeScheduler()
    scheduler.live = (1,)
    app = make_app(scheduler)
    async with app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "q")
        await pilot.press(*answer)
        await pilot.pause(0.2)
        assert app.is_running == (not asked)
    assert scheduler.asked == ["warm_up", *asked]


def slowed(slow: str, monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Have a function wait for the second event once it has begun, which sets the first."""
    at_once, begun, released = resolve_name(slow), threading.Event(), threading.Event()

    def late(*arguments: Any, **options: Any) -> Any:
        begun.set()
        assert released.wait(20)
        return at_once(*arguments, **options)

    monkeypatch.setattr(slow, late)
    return begun, released


@pytest.mark.parametrize(("answer", "asked"), [("enter", ["interrupt", "wait"]), ("l", ["detach"])])
@pytest.mark.parametrize("slow", ["wdtui.runs.service.assign", "wdtui.store.sweeps.Sweeps.add"])
async def test_quitting_while_a_sweep_is_queued_leaves_none_of_its_runs_behind(
    slow: str, answer: str, asked: list[str], make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler, (begun, released) = FakeScheduler(), slowed(slow, monkeypatch)
    app = make_app(scheduler)
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        app.start_sweep(Grid.of(RunConfig(), {"weight_decay": (0.1, 0.3)}))
        await until(pilot, begun.is_set)
        await pilot.press("escape", "q")
        assert "Runs are being queued." in str(app.screen.query_one(Static).render())
        await pilot.press(answer)
        at_once = [request for request in asked if request == "interrupt"]  # the runs that train stop now
        assert app.is_running and scheduler.asked == ["warm_up", *at_once]
        released.set()
        await until(pilot, lambda: not app.is_running)
    assert scheduler.submitted == [1, 2] and scheduler.asked == ["warm_up", *asked]


async def test_quitting_while_forks_are_queued_leaves_none_of_them_behind(
    make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler, (begun, released) = FakeScheduler(), slowed("wdtui.runs.forks.queue", monkeypatch)
    app, runs = make_app(scheduler), len(load("raise-epsilon").cells())
    async with app.run_test(size=(120, 40)) as pilot:
        await select(pilot, "raise-epsilon")
        await pilot.press("r")
        await until(pilot, begun.is_set)
        await pilot.press("q")
        assert "waiting and more are being queued." in str(app.screen.query_one(Static).render())
        await pilot.press("l")
        assert app.is_running
        released.set()
        await until(pilot, lambda: not app.is_running)
    assert len(scheduler.submitted) == runs * 5 and scheduler.asked[-1] == "detach"


async def test_quitting_without_live_runs_does_not_ask(make_app: MakeApp) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await pilot.press("escape", "q")
        await pilot.pause(0.1)
        assert not app.is_running


async def test_letters_typed_in_a_field_trigger_no_actions(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, *("up",) * 7, "type:[qrx")
        assert isinstance(pilot.app.focused, Input)
        assert pilot.app.focused.value == "[qrx"
    assert recorded.store.runs() == []


async def test_the_end_of_a_long_run_is_announced_and_that_of_a_short_one_is_not(
    recorded: Recorded, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    announced: list[str] = []
    monkeypatch.setattr("wdtui.tui.terminal.announce", lambda app, text: announced.append(text))
    short = recorded.add("demo", points=9, status=Status.RUNNING)
    monkeypatch.setattr("time.time", lambda clock=time.time: clock() - 61)
    long = recorded.add("demo", points=9, status=Status.RUNNING, name="patience")
    monkeypatch.undo()
    monkeypatch.setattr("wdtui.tui.terminal.announce", lambda app, text: announced.append(text))
    monkeypatch.setattr("socket.gethostname", lambda: "workbench")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        for run_id in (short, long):
            point = Point(780, 10, (0.5,) * len(recorded.store.run(run_id).config.columns))
            blown = {"blowups": {"count": 1, "steps": [780], "median_period": None}}
            recorded.store.append(recorded.store.run(run_id).claim, [point], speed=9.0, milestones=blown)
        await settle(pilot)
        for run_id in (short, long):
            recorded.store.set_status(recorded.store.run(run_id).claim, Status.DONE)
        await settle(pilot)
    assert announced == [f"Run {long} has blown up near step 780: patience", f"Run {long} is done: patience"]


async def test_a_run_of_another_process_is_followed(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        recorded.add("demo", points=30, status=Status.RUNNING)
        await settle(pilot)
        (shown,) = pilot.app.snapshot.shown
        assert len(shown.curves) == 30


async def test_a_crash_gives_an_exit_status(make_app: MakeApp) -> None:
    app = make_app()
    with pytest.raises(ZeroDivisionError):
        async with app.run_test(size=(120, 40)) as pilot:
            app.feed.poll = lambda: 1 / 0
            app.call_later(app.look)
            await pilot.pause(0.1)
    assert app.return_code == 1


async def test_nothing_is_drawn_when_nothing_changed(
    recorded: Recorded, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.add("demo", points=30, status=Status.RUNNING)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape")
        painted: list[object] = []
        monkeypatch.setattr(app, "_display", lambda screen, update: painted.append(update))
        recorded.store.heartbeat(recorded.store.run(1).claim)
        for _ in range(5):
            app.look()
            await pilot.pause(0.05)
    assert painted == []


@pytest.mark.parametrize("key", ["space", "x"])
async def test_an_orphan_is_shown_and_keys_resume_or_stop_it(recorded: Recorded, make_app: MakeApp, key: str) -> None:
    with in_python("store.add_run(RunConfig())", recorded.store.folder) as process:
        assert process.wait(60) == 0
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape")
        assert app.snapshot.runs[0].state == "orphaned"
        assert "orphaned" in (seen := app.export_screenshot()) and "process&#160;that&#160;queued" in seen
        await press(pilot, key)
        assert app.controls.scheduler.submitted == ([1] if key == "space" else [])
    assert recorded.store.run(1).status == (Status.QUEUED if key == "space" else Status.STOPPED)


async def test_a_queued_run_becomes_an_orphan_on_the_screen_once_its_process_dies(
    recorded: Recorded, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wdtui.tui.feed._OWNERS_SECONDS", 0.0)
    code = "store.add_run(RunConfig())\nprint('queued', flush=True)\ntime.sleep(600)"
    app = make_app()
    with in_python(code, recorded.store.folder, stdout=-1) as process:
        assert process.stdout and process.stdout.readline() == "queued\n"
        async with app.run_test(size=(120, 40)) as pilot:
            await press(pilot, "escape")
            assert app.snapshot.runs[0].state == "queued"
            process.kill()
            process.wait()
            await settle(pilot)
            assert app.snapshot.runs[0].state == "orphaned"


async def test_typing_a_filter_never_empties_the_table(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo")
    recorded.add("epsilon-1e-5")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "slash")
        table, box = pilot.app.screen.query_one(RunTable), pilot.app.screen.query_one("#runs")
        for letter in "foo<":
            await press(pilot, f"type:{letter}")
            assert len(table.runs) == 2
        assert "foo< needs a value" in str(box.border_subtitle) and not box.has_class("-wrong")
        await press(pilot, "enter")
        assert len(table.runs) == 2 and box.has_class("-wrong")
        await press(pilot, "escape", "slash")
        assert not box.border_subtitle
        for letter in "ε<1e-3 test>":
            await press(pilot, f"type:{letter}")
            assert table.runs
        assert [run.id for run in table.runs] == [2]
        await press(pilot, "ctrl+u", "type:zebra")
        assert len(table.runs) == 2
        await press(pilot, "enter")
        assert not table.runs, "entered, it is a filter like any other"
