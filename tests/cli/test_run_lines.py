"""Lists of runs and of sweeps on the command line: they fit the terminal, and states are in colour."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command_line import wdtui
from rich.cells import cell_len
from rich.console import Console
from test_sweep_screens import two_axes
from tui_tools import Recorded

from wdtui.cli import run_lines, runs, sweeps
from wdtui.store.records import Status


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[Recorded]:
    recorded = Recorded(tmp_path)
    recorded.add("epsilon-1e-5", name="crashing " * 6)
    recorded.add("epsilon-1e-2", points=100, status=Status.FAILED)
    recorded.add("demo")
    recorded.store.set_note(1, "look #again")
    two_axes(recorded)
    yield recorded
    recorded.store.close()


def on_a_terminal(width: int, monkeypatch: pytest.MonkeyPatch, command: Any, *arguments: Any, **options: Any) -> str:
    """What a command prints on a terminal of so many columns."""
    written = io.StringIO()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr(
        run_lines, "console", lambda: Console(file=written, width=width, force_terminal=True, highlight=False)
    )
    command(*arguments, **options)
    return written.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_the_lists_fit_the_terminal(width: int, recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    store = recorded.store.folder
    for command, arguments in ((runs.list_runs, ()), (sweeps.list_sweeps, ()), (sweeps.show, ("S1",))):
        shown = re.sub(r"\x1b\[[0-9;]*m", "", on_a_terminal(width, monkeypatch, command, *arguments, store=store))
        lines = shown.splitlines()
        assert max(map(cell_len, lines)) <= width, command
    listed = on_a_terminal(width, monkeypatch, runs.list_runs, store=store)
    assert len(listed.splitlines()) == 1 + len(recorded.store.runs()), "a line for each run"


def test_states_are_in_colour_unless_it_is_not_wanted(recorded: Recorded, monkeypatch: pytest.MonkeyPatch) -> None:
    store = recorded.store.folder
    coloured = on_a_terminal(100, monkeypatch, runs.list_runs, store=store)
    assert "\x1b[31m✗ failed" in coloured
    assert "\x1b[36m" in on_a_terminal(100, monkeypatch, sweeps.show, "S1", store=store), "runs train"
    monkeypatch.setenv("NO_COLOR", "1")
    assert not re.search(r"\x1b\[3\dm", on_a_terminal(100, monkeypatch, runs.list_runs, store=store))
    assert "\x1b" not in wdtui("runs", "list", store=store).stdout


def test_the_list_is_filtered_as_in_the_app(recorded: Recorded) -> None:
    store = recorded.store.folder
    found = wdtui("runs", "list", "#again", "test>0.9", store=store).stdout.splitlines()
    assert [line.split()[0] for line in found[1:]] == ["1"] and "#again" in found[1]
    assert len(wdtui("runs", "list", "failed", "#2", "--json", store=store).stdout.splitlines()) == 1
    assert "None of the" in wdtui("runs", "list", "#never", store=store).stdout
    wrong = wdtui("runs", "list", "tset>1", store=store)
    assert wrong.returncode == 2 and "did you mean test?" in wrong.stderr
