"""Tests have processes look for what is new more often than a person needs it."""

from __future__ import annotations

from wdtui.cli import headless, owners
from wdtui.runs import child, completion

_SECONDS = 0.02


def look_often() -> None:
    """Have this process, and what it forks, look often."""
    completion._LOOK_SECONDS, completion._SHARE = _SECONDS, 1.0
    child._LOOK_SECONDS = headless._FOLLOW_SECONDS = owners._LOOK_SECONDS = _SECONDS
