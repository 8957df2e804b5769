"""Measures the workbench in a real pseudo-terminal of 120×40: time to start, time to respond, and cost.

    python -m wdtui.bench.terminal [--seconds N]

Prints one JSON object. Training speed in the app is a ratio to headless training, measured in turns. Keys are typed
into the filter and timed until the terminal receives the character.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wdtui.bench import large
from wdtui.bench.layered import Layered
from wdtui.store.store import Store

_LETTERS = "абвгдежзиклмнопрстуфхцчшщэюяАБВГДЕЖЗИКЛМНОПРСТУФХЦЧШЩЭЮЯ"
"""Letters that no screen shows: once one arrives, the key press was painted."""
_COLUMNS, _LINES = 120, 40


class Terminal:
    """The workbench in a pseudo-terminal."""

    def __init__(self, store: Path, *arguments: str) -> None:
        self.started = time.perf_counter()
        self.process, self.file = pty.fork()
        if self.process == 0:
            environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "WDTUI_HOME": str(store)}
            command = [sys.executable, "-m", "wdtui", *arguments]
            os.execve(sys.executable, command, environment)
        fcntl.ioctl(self.file, termios.TIOCSWINSZ, struct.pack("HHHH", _LINES, _COLUMNS, 0, 0))

    def read_for(self, seconds: float) -> bytes:
        """Everything received within some seconds."""
        until, read = time.perf_counter() + seconds, b""
        while (left := until - time.perf_counter()) > 0:
            if select.select([self.file], [], [], left)[0]:
                read += os.read(self.file, 1 << 16)
        return read

    def wait_for(self, text: str, seconds: float = 30) -> float:
        """The moment at which a text arrives; raises TimeoutError."""
        until, read = time.perf_counter() + seconds, b""
        while time.perf_counter() < until:
            if select.select([self.file], [], [], 0.5)[0]:
                read += os.read(self.file, 1 << 16)
                if text.encode() in read:
                    return time.perf_counter()
        raise TimeoutError(f"{text!r} did not come within {seconds} s")

    def type(self, keys: str) -> None:
        os.write(self.file, keys.encode())

    def memory(self) -> float:
        """Resident memory of the app in MiB."""
        pages = int(Path(f"/proc/{self.process}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20

    def close(self) -> None:
        os.kill(self.process, signal.SIGTERM)
        with contextlib.suppress(OSError):
            self.read_for(3)
        os.kill(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)


@contextlib.contextmanager
def opened(store: Path, *arguments: str) -> Iterator[Terminal]:
    terminal = Terminal(store, *arguments)
    try:
        yield terminal
    finally:
        terminal.close()


def first_frame(store: Path) -> dict[str, float]:
    """Seconds from the start of the process to the first frame, whose last part is the footer."""
    seconds = []
    for _ in range(5):
        with opened(store) as terminal:
            seconds.append(terminal.wait_for("quit") - terminal.started)
    return {"median_s": statistics.median(seconds), "worst_s": max(seconds)}


def silence(store: Path, seconds: float) -> dict[str, float]:
    """Bytes sent while nothing changes."""
    with opened(store) as terminal:
        terminal.wait_for("quit")
        terminal.read_for(3)
        return {"bytes": len(terminal.read_for(seconds)), "seconds": seconds}


def while_training(store: Path, seconds: float, rounds: int) -> dict[str, Any]:
    """Speed in the app relative to headless, time from key to paint, and traffic, with one run at width 256."""
    ratios, latencies, rates = [], [], []
    for _ in range(rounds):
        headless = _headless_speed(store, seconds)
        with opened(store, "run", "training-curves", "--epochs", "100000") as terminal:
            terminal.wait_for("quit")
            _wait_for_points(store)
            terminal.read_for(1)  # what it sent while it started
            before, began = _steps(store), time.perf_counter()
            traffic = terminal.read_for(seconds)
            ratios.append((_steps(store) - before) / (time.perf_counter() - began) / headless)
            rates.append(len(traffic) / seconds)
            latencies += _key_presses(terminal)
    return {
        "speed_in_app_over_headless": statistics.median(ratios),
        "speed_ratios": ratios,
        "bytes_per_second": statistics.median(rates),
        "key_to_paint_ms": _summarised(latencies),
    }


def with_three_runs(store: Path, seconds: float) -> dict[str, Any]:
    """Time from key to paint and traffic of the workbench while three runs at width 256 train."""
    command = ["sweep", "training-curves", "--axis", "seed=0,1,2", "--epochs", "100000", "--workers", "3"]
    with opened(store, *command) as terminal:
        terminal.wait_for("over seed")  # the map of the sweep: a key before it would not leave it
        terminal.type("\x1b")
        terminal.wait_for("of 3 seeds")  # the legend of the workbench
        terminal.read_for(6)  # until all three train
        traffic = terminal.read_for(seconds)
        latencies = _key_presses(terminal)
    with Store(store) as opened_store:
        trained = sum(run.epoch > 0 for run in opened_store.runs()[:3])
    return {
        "runs": trained,
        "bytes_per_second": len(traffic) / seconds,
        "key_to_paint_ms": _summarised(latencies),
    }


def with_layers(store: Path, seconds: float, layers: int) -> dict[str, Any]:
    """The same of the screen of a run with so many layers, of which four points arrive in a second.

    A key is a star in the search for layers, which matches all of them. `opened_ms` is from Enter to the table.
    """
    ready, done = threading.Event(), threading.Event()

    def measure() -> None:
        with Store(store) as opened_store:
            run = Layered(opened_store, layers, steps=10**7)
            run.append(100)
            ready.set()
            while not done.wait(0.25):
                run.append()

    thread = threading.Thread(target=measure)
    thread.start()
    try:
        ready.wait()
        with opened(store) as terminal:
            terminal.wait_for("quit")
            terminal.read_for(2)
            entered = time.perf_counter()
            terminal.type("\r")
            shown = terminal.wait_for("equilibrium")
            terminal.read_for(2)
            traffic = terminal.read_for(seconds)
            latencies = _key_presses(terminal, "*" * len(_LETTERS))
    finally:
        done.set()
        thread.join()
    return {
        "layers": layers,
        "opened_ms": (shown - entered) * 1e3,
        "bytes_per_second": len(traffic) / seconds,
        "key_to_paint_ms": _summarised(latencies),
    }


def with_many_runs(store: Path) -> dict[str, Any]:
    """Of 10,000 runs, most of them in 500 sweeps, and one of a million points, which is selected.

    Keys are typed into the filter while that run is still being read, and then once more.
    """
    with Store(store) as opened_store:
        large.fill(opened_store, runs=10_000, sweeps=500, points=1_000_000)
    frames, lists = [], []
    for _ in range(3):
        with opened(store) as terminal:
            frames.append(terminal.wait_for("quit") - terminal.started)
            lists.append(terminal.wait_for("10,001") - terminal.started)
    with opened(store) as terminal:
        terminal.wait_for("10,001")
        terminal.read_for(2)
        while_reading = _key_presses(terminal, _LETTERS[:28])
        terminal.type("\x1b")
        while terminal.read_for(2):  # until nothing changes any more
            pass
        afterwards = _key_presses(terminal)
    return {
        "first_frame_s": statistics.median(frames),
        "listed_s": statistics.median(lists),
        "listed_worst_s": max(lists),
        "key_to_paint_while_reading_ms": _summarised(while_reading),
        "key_to_paint_ms": _summarised(afterwards),
    }


def _summarised(latencies: list[float]) -> dict[str, float]:
    """Of seconds, in milliseconds."""
    latencies = sorted(latencies)
    median, p95 = (latencies[int(len(latencies) * share)] * 1e3 for share in (0.5, 0.95))
    return {"median": median, "p95": p95, "presses": len(latencies)}


def memory_slope(store: Path, seconds: float) -> dict[str, float]:
    """Growth of the app's memory while it shows a run that logs as fast as possible, in MiB per 100,000 points."""
    arguments = ("run", "--width", "8", "--train-size", "640", "--epochs", "10000000")
    with opened(store, *arguments) as terminal:
        terminal.wait_for("quit")
        _wait_for_points(store)
        terminal.read_for(seconds / 4)
        memory, points, began = terminal.memory(), _epochs(store), time.perf_counter()
        terminal.read_for(seconds)
        grown, more = terminal.memory() - memory, _epochs(store) - points
        rate = more / (time.perf_counter() - began)
    return {"points": more, "points_per_second": rate, "grown_MiB": grown, "MiB_per_100000_points": grown / more * 1e5}


def _key_presses(terminal: Terminal, letters: str = _LETTERS) -> list[float]:
    """Seconds until each letter that is typed into a search arrives on the screen."""
    terminal.type("/")
    terminal.read_for(1)
    latencies = []
    for letter in letters:
        pressed = time.perf_counter()
        terminal.type(letter)
        latencies.append(terminal.wait_for(letter, 10) - pressed)
        terminal.read_for(0.17)  # presses then fall anywhere between two redraws
    return latencies


def _headless_speed(store: Path, seconds: float) -> float:
    """Steps per second of the same run without a screen."""
    command = [sys.executable, "-m", "wdtui", "--store", str(store), "run", "training-curves", "--epochs", "100000"]
    command += ["--headless", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _wait_for_points(store)
        before, began = _steps(store), time.perf_counter()
        time.sleep(seconds)
        return (_steps(store) - before) / (time.perf_counter() - began)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _wait_for_points(store: Path) -> None:
    """Wait until the newest run is live and has logged its first points."""
    with Store(store) as opened_store:
        for _ in range(600):
            runs = opened_store.runs()
            if runs and runs[0].live and runs[0].epoch > 5:
                return
            time.sleep(0.1)
    raise TimeoutError("no run has begun")


def _steps(store: Path) -> int:
    with Store(store) as opened_store:
        return opened_store.runs()[0].step


def _epochs(store: Path) -> int:
    with Store(store) as opened_store:
        return opened_store.runs()[0].epoch


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=15, help="how long each measurement lasts")
    parser.add_argument("--rounds", type=int, default=3, help="how often app and headless take turns")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder)
        result: dict[str, Any] = {
            "first_frame": first_frame(store),
            "nothing_changes": silence(store, given.seconds),
            "training": while_training(store, given.seconds, given.rounds),
            "three_runs": with_three_runs(store / "three", given.seconds),  # it has no other runs to show
            "memory": memory_slope(store, 4 * given.seconds),
        }
        result["layers"] = [with_layers(store, given.seconds, layers) for layers in (100, 2000)]
        result["many_runs"] = with_many_runs(store / "many")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
