"""All errors that wdtui speaks in have one base, which both faces and the Python API catch."""

from __future__ import annotations

import contextlib
import importlib
import pkgutil
import threading
from collections.abc import Callable, Iterator

import pytest
from test_sweep_screens import one_axis
from tui_tools import Recorded, press, settle, until

import wdtui
from wdtui.cli.main import report
from wdtui.store.database import Database
from wdtui.store.records import StoreError
from wdtui.store.store import Store
from wdtui.tui.app import WorkbenchApp
from wdtui.tui.screens.experiments import Gallery
from wdtui.tui.screens.run import RunView
from wdtui.tui.screens.sweep import SweepView
from wdtui.tui.screens.sweep_form import SweepList
from wdtui.tui.screens.workbench import Workbench

LOCKED = "The run store was locked."


def test_every_error_of_wdtui_is_a_wdtui_error() -> None:
    modules = [one.name for one in pkgutil.walk_packages(wdtui.__path__, "wdtui.") if one.name != "wdtui.__main__"]
    errors = {
        value
        for name in modules
        for value in vars(importlib.import_module(name)).values()
        if isinstance(value, type) and issubclass(value, Exception) and value.__module__.startswith("wdtui")
    }
    assert len(errors) > 15
    assert [error for error in errors if not issubclass(error, wdtui.WdtuiError)] == []


def test_the_python_api_has_one_error_to_catch() -> None:
    for refused in (lambda: wdtui.load(7), lambda: wdtui.train(widht=3)):
        with pytest.raises(wdtui.WdtuiError):
            refused()
    assert issubclass(wdtui.DivergedError, wdtui.WdtuiError)


def test_the_command_line_reports_every_error_with_the_right_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    class UnheardOfError(wdtui.WdtuiError):
        """One that no list of errors has."""

    UnheardOfError.__module__ = "a_users_own_file"
    assert report(UnheardOfError("Give another one")) == 2
    assert report(wdtui.DivergedError(3)) == 1
    assert report(ValueError("no")) == 1
    assert capsys.readouterr().err.splitlines() == [
        "wdtui: Give another one.",
        "wdtui: Loss or parameters were no longer finite numbers at step 3.",
        "wdtui: internal error: ValueError: no; --debug shows where.",
    ]


async def test_the_app_shows_any_error_of_wdtui_as_a_notice(
    recorded: Recorded, make_app: Callable[..., WorkbenchApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    class UnheardOfError(wdtui.WdtuiError):
        """One that no list of errors has."""

    def refuse(*arguments: object) -> None:
        raise UnheardOfError("Give another one.")

    recorded.add("demo", points=3)
    monkeypatch.setattr("wdtui.store.store.Store.set_note", refuse)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "n", "enter")
        assert [(one.severity, one.message) for one in app._notifications] == [("error", "Give another one.")]


def lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on no statement reaches the store."""

    @contextlib.contextmanager
    def reading(database: Database) -> Iterator[None]:
        raise StoreError(LOCKED)
        yield

    monkeypatch.setattr(Database, "reading", reading)


def messages(app: WorkbenchApp) -> set[str]:
    return {notice.message for notice in app._notifications}


@pytest.mark.parametrize(
    ("keys", "kind"),
    [
        (("escape",), Workbench),
        (("escape", "enter"), RunView),
        (("escape", "S", "enter"), SweepView),
    ],
)
async def test_no_action_ends_the_app_while_the_store_is_locked(
    keys: tuple[str, ...],
    kind: type[Workbench],
    recorded: Recorded,
    make_app: Callable[..., WorkbenchApp],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one_axis(recorded)
    recorded.add("demo", points=3)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, *keys)
        screen = app.screen
        assert isinstance(screen, kind)
        lock(monkeypatch)
        said: set[str] = set()
        actions = dict.fromkeys(key.action for key in kind.BINDINGS)  # type: ignore[union-attr]
        for action in actions:
            if not action.startswith(("chart", "back", "machine", "app.quit", "app.command_palette")):
                await screen.run_action(action)
                await app.workers.wait_for_complete([one for one in app.workers if one.group == "aside"])
                await pilot.pause()
                said |= messages(app)
                while app.screen is not screen:
                    app.pop_screen()
        await app.workers.wait_for_complete([one for one in app.workers if one.group == "aside"])
        assert LOCKED in said


async def test_what_is_read_while_the_app_ends_is_shown_nowhere(make_app: Callable[..., WorkbenchApp]) -> None:
    begun, released, shown = threading.Event(), threading.Event(), []

    def read() -> None:
        begun.set()
        assert released.wait(20)

    app = make_app()
    async with app.run_test() as pilot:
        reading = app.do_in_thread(read, shown.append)
        await until(pilot, begun.is_set)
        close = app._close_all

        async def close_late() -> None:
            released.set()
            await reading.wait()
            await close()

        app._close_all = close_late
    assert reading.is_finished and shown == []


async def test_a_sweep_that_could_not_be_read_is_shown_once_it_can(
    recorded: Recorded, make_app: Callable[..., WorkbenchApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    one_axis(recorded)
    monkeypatch.setattr("wdtui.tui.screens.sweep._RETRY_SECONDS", 0.1)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape")
        sweep = recorded.store.sweeps.get(1)
        app.feed.show([])
        app.look()  # nothing of what the app knows changes later
        with monkeypatch.context() as meanwhile:
            lock(meanwhile)
            app.push_screen(SweepView(sweep))
            await pilot.pause()
            assert isinstance(app.screen, SweepView) and not str(app.screen.query_one("#progress").render())
        await until(pilot, lambda: "runs" in str(app.screen.query_one("#progress").render()))


@pytest.mark.parametrize(("key", "kind"), [("S", SweepList), ("home", Workbench)])  # the list; its row of the table
async def test_a_sweep_of_a_locked_store_is_not_opened(
    key: str,
    kind: type[object],
    recorded: Recorded,
    make_app: Callable[..., WorkbenchApp],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one_axis(recorded)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "escape", key)
        assert isinstance(app.screen, kind)
        lock(monkeypatch)
        await pilot.press("enter")
        await pilot.pause()
        assert isinstance(app.screen, Workbench) and LOCKED in messages(app)


async def test_the_gallery_says_why_it_has_no_verdicts(
    recorded: Recorded, make_app: Callable[..., WorkbenchApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        lock(monkeypatch)
        await pilot.press("escape", "E")
        await pilot.app.workers.wait_for_complete()
        await pilot.pause()
        assert isinstance(app.screen, Gallery) and LOCKED in messages(app)


async def test_curves_that_cannot_be_read_are_not_tried_over_and_over(
    recorded: Recorded, make_app: Callable[..., WorkbenchApp], monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def refuse(store: Store, run_id: int, *_: object) -> None:
        tried.append(run_id)
        raise StoreError(LOCKED)

    recorded.add("demo", points=3)
    monkeypatch.setattr(Store, "pieces", refuse)
    async with make_app().run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "escape")
    assert 0 < len(tried) < 6
