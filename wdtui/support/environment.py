"""The environment of the processes that this one starts."""

from __future__ import annotations

import os
import sys


def own_environment() -> dict[str, str]:
    """The environment for a process that imports what this one would."""
    return os.environ | {"PYTHONPATH": os.pathsep.join(os.path.abspath(entry) for entry in sys.path if entry)}
