"""The real program in a real terminal: tmux runs it, types, resizes, kills and looks."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import forked
import pytest
from command_line import in_own_process

from wdtui.store.records import Status
from wdtui.store.store import Store
from wdtui.studies import experiments
from wdtui.support.environment import own_environment

_APP = Path(__file__).parent / "tmux_app.py"

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")


class Screen:
    """A tmux session of 120×40 with the workbench in it."""

    def __init__(self, folder: Path, *, fresh: bool) -> None:
        """`fresh` says that its training processes are not forked."""
        self.store = folder / "store"
        self._socket = str(folder / "tmux")
        program = f"{sys.executable} -m wdtui"
        self._offered = None if fresh else forked.offer(str(folder / "server"))
        if self._offered:
            program = f"PYTHONPATH={own_environment()['PYTHONPATH']} {sys.executable} {_APP} {folder / 'server'}"
        command = f"WDTUI_HOME={self.store} {program}; echo left with $?; sleep 1000"
        self.tmux("new-session", "-d", "-x", "120", "-y", "40", command)
        self.tmux("resize-window", "-x", "120", "-y", "40")

    def tmux(self, *arguments: str) -> str:
        unset = ("TMUX", "COLUMNS", "LINES")  # test runners set the last two, and programs believe them
        environment = {name: value for name, value in os.environ.items() if name not in unset}
        command = ["tmux", "-S", self._socket, *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=True).stdout

    def text(self) -> str:
        return self.tmux("capture-pane", "-p")

    def type(self, *keys: str) -> None:
        for key in keys:
            self.tmux("send-keys", key)
            if key == "Escape":
                time.sleep(0.15)  # what follows within 0.1 s would be taken for one key with it, as Alt sends them

    def write(self, text: str) -> None:
        self.tmux("send-keys", "-l", text)

    def wait_for(self, shown: str | Callable[[str], object], seconds: float = 25) -> str:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            text = self.text()
            if shown(text) if callable(shown) else shown in text:
                return text
            time.sleep(0.03)
        raise AssertionError(f"{shown} did not come:\n{text}")

    def close(self) -> None:
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True)
        if self._offered:
            self._offered.close()


@pytest.fixture
def screen(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Screen]:
    marked = request.node.get_closest_marker("fresh_processes")
    opened = Screen(tmp_path, fresh=bool(marked) or not forked.POSSIBLE)
    try:
        opened.wait_for("No runs yet")
        yield opened
    finally:
        opened.close()


def steps(text: str) -> int:
    """The step of the first run in the table."""
    found = re.search(r"([\d,]+)  [━╸╌]", text)  # before the bar of its progress
    return int(found[1].replace(",", "")) if found else 0


def small_run(screen: Screen, decay: str) -> None:
    """Fill in the form: an experiment that lasts, λ and a small width; then start it."""
    about_decay, about_width = "How fast every parameter", "Units of every hidden layer"
    screen.type("c")
    screen.wait_for(about_decay)  # a busy app takes keys late: each step waits for the one before to be seen
    screen.type("Up")
    screen.wait_for(lambda text: about_decay not in text)
    names = experiments.names()
    for name in names[names.index("demo") + 1 : names.index("grokking-delay") + 1]:
        screen.type("Right")
        screen.wait_for(name)
    screen.type("Down")
    screen.wait_for(about_decay)
    screen.type("C-u")
    screen.write(decay)
    screen.type("Down", "Down")
    screen.wait_for(about_width)
    screen.type("C-u")
    screen.write("64")
    screen.wait_for("23,392 parameters")
    screen.type("Enter", "Escape")


def test_a_run_is_started_watched_compared_resized_and_left(screen: Screen) -> None:
    small_run(screen, "0.2")
    before = steps(screen.wait_for(lambda text: steps(text) > 0))
    screen.wait_for(lambda text: steps(text) > before)
    for width, height in ((80, 24), (200, 60), (10, 5), (120, 40)):
        screen.tmux("resize-window", "-x", str(width), "-y", str(height))
        time.sleep(0.5)
    screen.wait_for("BatchNorm variance")
    screen.type("x")
    screen.wait_for("stopped")
    elsewhere = "run", "--width", "8", "--epochs", "3", "--weight-decay", "0.4", "--headless"
    assert in_own_process(*elsewhere, store=screen.store).returncode == 0
    screen.wait_for("runs · 2")
    screen.type("Up", "Up", "m", "Down", "m")
    text = screen.wait_for("2 marked")
    assert "λ 0.4" in text and "λ 0.2" in text
    screen.type("q")
    screen.wait_for("left with 0")
    with Store(screen.store) as store:
        assert [run.status for run in store.runs()] == [Status.DONE, Status.STOPPED]


def test_a_killed_training_process_is_retried_once_and_the_app_survives(screen: Screen) -> None:
    small_run(screen, "0.2")
    screen.wait_for(lambda text: steps(text) > 0)
    with Store(screen.store) as store:
        first = store.runs()[0].pid
        assert first is not None
        os.kill(first, signal.SIGKILL)

        def second() -> int | None:
            (run,) = store.runs()
            return run.pid if run.status == Status.RUNNING and run.pid != first else None

        screen.wait_for(lambda text: second() and "running" in text)
        before = steps(screen.text())
        screen.wait_for(lambda text: steps(text) > before)
        again = second()
        assert again is not None
        os.kill(again, signal.SIGKILL)
        screen.wait_for("failed")
        screen.type("space")
        before = steps(screen.wait_for("running"))
        screen.wait_for(lambda text: steps(text) > before)
        screen.type("q")
        screen.wait_for("Stop them with a checkpoint")
        screen.type("Enter")
        screen.wait_for("left with 0")
        assert store.runs()[0].status == Status.INTERRUPTED


@pytest.mark.fresh_processes  # one that is forked has another session in any case
def test_a_run_survives_a_lost_terminal_and_the_app_finds_it_again(screen: Screen, tmp_path: Path) -> None:
    small_run(screen, "0.2")
    screen.wait_for(lambda text: steps(text) > 0)
    screen.close()  # the terminal is gone: SIGHUP
    with Store(screen.store) as store:
        (run,) = store.runs()
        until = time.monotonic() + 25
        while (later := store.run(run.id)).step <= run.step + 100 and time.monotonic() < until:
            time.sleep(0.1)
        assert later.live and later.step > run.step
        assert later.pid is not None
        os.kill(later.pid, signal.SIGTERM)
