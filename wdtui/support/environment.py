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


def start_module(module: str, arguments: Sequence[str] = (), **options: Any) -> subprocess.Popen[Any]:
    """Start `python -m MODULE` in a session of its own; `options` are those of Popen. Raises OSError."""
    command = [sys.executable, "-P", "-m", module, *arguments]
    return subprocess.Popen(command, env=own_environment(), start_new_session=True, **options)
