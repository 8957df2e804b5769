"""Opening the app: quickly, without torch, and only where there is a terminal; training for real; a large store."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from forked import run_module
from tui_tools import Recorded, press, settle

from wdtui.problems.addition.config import RunConfig
from wdtui.runs.scheduler import Scheduler
from wdtui.store.records import Status
from wdtui.tui import Opening, TerminalError, open_app
from wdtui.tui.app import WorkbenchApp
from wdtui.tui.widgets.run_table import RunTable

_FIRST_FRAME = """
import asyncio, sys
from pathlib import Path
from wdtui.runs.scheduler import Scheduler
from wdtui.store.store import Store
from wdtui.tui.app import WorkbenchApp

async def main():
    with Store(Path(sys.argv[1])) as store:
        scheduler = Scheduler(store)
        asked = []
        scheduler.warm_up = lambda: asked.append("torch" in sys.modules)
        async with WorkbenchApp(store, scheduler).run_test(size=(120, 40)) as pilot:
            await pilot.pause(0.2)
        print(asked)

asyncio.run(main())
"""


def test_the_first_frame_needs_no_torch(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _FIRST_FRAME, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[False]", done.stderr


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, wdtui.tui; print([m for m in ('textual', 'rich', 'numpy', 'torch') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_no_terminal_is_refused_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(TerminalError, match="needs a terminal"):
        open_app(tmp_path)


def test_a_dumb_terminal_is_refused_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    monkeypatch.setenv("TERM", "dumb")
    with pytest.raises(TerminalError, match="TERM"):
        open_app(tmp_path)


async def test_a_tiny_run_trains_for_real(recorded: Recorded) -> None:
    config = RunConfig(width=8, train_size=128, validation_size=16, test_size=16, epochs=20)
    scheduler = Scheduler(recorded.store, device="cpu")
    app = WorkbenchApp(recorded.store, scheduler, device="cpu")
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        app.start(Opening(config=config, experiment="", name="tiny"))
        for _ in range(300):
            await pilot.pause(0.1)
            if app.snapshot.runs and app.snapshot.runs[0].status == Status.DONE and app.snapshot.shown:
                break
        await press(pilot, "escape")
        (shown,) = app.snapshot.shown
        assert shown.run.status == Status.DONE, shown.run.reason
        assert len(shown.curves) == 20
        assert "40" in str(app.screen.query_one(RunTable).render_line(1).text)
    assert scheduler.wait(10)


async def test_ten_thousand_runs_open_at_once(recorded: Recorded, make_app: Callable[..., Any]) -> None:
    config = RunConfig()
    with recorded.store._database.writing() as connection:
        row = (json.dumps(config.to_mapping()), "[]", Status.DONE, 0.0, json.dumps({"test_accuracy": 0.5}))
        connection.executemany(
            "INSERT INTO runs (name, experiment, config, columns, status, created, latest)"
            " VALUES ('', '', ?, ?, ?, ?, ?)",
            [row] * 10_000,
        )
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        started = time.perf_counter()
        app.look()
        await pilot.pause()
        opened = time.perf_counter() - started
        table = app.screen.query_one(RunTable)
        assert len(table.runs) == 10_000
        started = time.perf_counter()
        await press(pilot, "escape", "end", "home", "down")
        moved = time.perf_counter() - started
    assert opened < 2, "generous: a busy machine takes longer"
    assert moved < 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a pseudo-terminal")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_restores_the_terminal_and_ends_the_app(number: signal.Signals, tmp_path: Path) -> None:
    screen, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = run_module("wdtui.__main__", ["--store", str(tmp_path)], env=environment, terminal=terminal)
    os.close(terminal)
    output, told = b"", False
    deadline = time.monotonic() + 40
    while time.monotonic() < deadline:
        try:
            output += os.read(screen, 65_536) if select.select([screen], [], [], 0.2)[0] else b""
        except OSError:  # it has left
            break
        if b"demo" in output and not told:
            told = True
            time.sleep(0.2)
            process.send_signal(number)
    assert process.wait(20) == 128 + number
    assert b"\x1b[?1049l" in output
    os.close(screen)
