"""Runs the real program: a process of its own, with a store of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TINY = ("--width", "8", "--train-size", "320", "--validation-size", "50", "--test-size", "50", "--threads", "1")


def wdtui(*arguments: str, store: Path | None = None, **options: Any) -> subprocess.CompletedProcess[str]:
    environment = os.environ | ({"WDTUI_HOME": str(store)} if store else {})
    command = [sys.executable, "-m", "wdtui", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, **options)


def start(*arguments: str, store: Path) -> subprocess.Popen[str]:
    environment = os.environ | {"WDTUI_HOME": str(store)}
    command = [sys.executable, "-m", "wdtui", *arguments]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def events(output: str) -> list[dict[str, Any]]:
    """The JSON lines of `--json`."""
    return [json.loads(line) for line in output.splitlines()]


def until(condition: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    """Wait for a condition, a long while, but no longer than the process lives that is to bring it about."""
    deadline = time.monotonic() + 180
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        if process and process.poll() is not None and not condition():
            raise AssertionError(f"ended with {process.returncode}: {process.communicate()}")
        time.sleep(0.1)


def assert_one_sentence(error: str) -> None:
    lines = error.strip().splitlines()
    assert len(lines) == 1 and lines[0].startswith("wdtui: ") and "Traceback" not in error, error
    assert lines[0].endswith((".", "?")), error
