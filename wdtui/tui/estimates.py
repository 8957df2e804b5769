"""Facts about a run before it starts: its size, its duration, and the λ that the normalised rule suggests."""

from __future__ import annotations

import math
from collections.abc import Iterable

from wdtui.runs.estimates import expected_speed
from wdtui.schema.config import Config
from wdtui.store.records import RunRecord
from wdtui.support.text import duration, number


def arithmetic(config: Config, runs: Iterable[RunRecord], device: str = "auto") -> list[str]:
    """Lines about a run of this config. Earlier `runs`, newest first, show how fast this machine is."""
    seconds = config.steps / expected_speed(config, runs, device=device)
    size = [f"{number(config.parameters)} parameters"] if config.parameters is not None else []
    about = f" · about {duration(seconds)}" if math.isfinite(seconds) else ""
    return [*size, f"{number(config.steps)} steps{about}", *config.hints()]
