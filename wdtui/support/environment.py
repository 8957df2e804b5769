"""Processes that this one starts, and their environment."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any


def own_environment() -> dict[str, str]:
    """The environment for a process that imports what this one would."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)}


def command_of(module: str, arguments: Sequence[str] = ()) -> list[str]:
    """The command that runs a module. With -P it imports nothing from the folder that it runs in."""
    return [sys.executable, "-P", "-m", module, *arguments]


def start_module(module: str, arguments: Sequence[str] = (), **options: Any) -> subprocess.Popen[Any]:
    """Start a module; `options` are those of Popen. Raises OSError."""
    return subprocess.Popen(command_of(module, arguments), env=own_environment(), **options)
