"""All errors that wdtui speaks in have one base, which both faces and the Python API catch."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

import pytest
from tui_tools import Recorded, press, settle

import wdtui
from wdtui.cli.main import report
from wdtui.tui.app import WorkbenchApp


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
