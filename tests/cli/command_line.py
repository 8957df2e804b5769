"""Runs commands, each with a store of its own: in this process, or in one of their own where the process is the point.

A process of its own is needed for signals, kills, closed streams, terminals, what is imported, and how soon it comes.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from forked import Process, run_module

from wdtui.cli.main import main

TINY = ("--width", "8", "--train-size", "320", "--validation-size", "50", "--test-size", "50", "--threads", "1")


def wdtui(*arguments: str, store: Path | None = None, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, with pipes for a terminal; returns what a process of its own would have left."""
    with contextlib.ExitStack() as ended:
        ended.enter_context(mock.patch.dict(os.environ, {"WDTUI_HOME": str(store)} if store else {}))
        ended.enter_context(contextlib.chdir(cwd or Path.cwd()))
        streams = {name: ended.enter_context(_pipe(name)) for name in ("stdin", "stdout", "stderr")}
        try:
            status = main(list(arguments))
        except SystemExit as left:
            status = left.code if isinstance(left.code, int) else 1
        written = {name: _read(stream) for name, stream in streams.items()}
    return subprocess.CompletedProcess(list(arguments), status, written["stdout"], written["stderr"])


@contextlib.contextmanager
def _pipe(name: str) -> Iterator[io.TextIOWrapper]:
    stream = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    with mock.patch.object(sys, name, stream):
        yield stream


def _read(stream: io.TextIOWrapper) -> str:
    stream.seek(0)
    return stream.read()


def in_own_process(*arguments: str, store: Path) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own."""
    process = start(*arguments, store=store)
    output, error = process.communicate(timeout=300)
    return subprocess.CompletedProcess(list(arguments), process.returncode, output, error)


def start(*arguments: str, store: Path) -> Process | subprocess.Popen[str]:
    """Start a command in a process of its own."""
    return run_module("wdtui.__main__", arguments, env=os.environ | {"WDTUI_HOME": str(store)})


def events(output: str) -> list[dict[str, Any]]:
    """The JSON lines of `--json`."""
    return [json.loads(line) for line in output.splitlines()]


def until(condition: Callable[[], bool], process: Process | subprocess.Popen[str] | None = None) -> None:
    """Wait for a condition, a long while, but no longer than the process lives that is to bring it about."""
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        if process and process.poll() is not None and not condition():
            raise AssertionError(f"ended with {process.returncode}: {process.communicate()}")
        time.sleep(0.05)


def assert_one_sentence(error: str) -> None:
    lines = error.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("wdtui: ") and "Traceback" not in error, error
    assert lines[0].endswith((".", "?")), error
