"""What is said about a run before it starts: its size, how long it will take, which λ the normalised rule suggests."""

from __future__ import annotations

from collections.abc import Iterable

from wdtui.config import RunConfig, normalized_decay
from wdtui.runs.estimates import expected_speed
from wdtui.runs.records import RunRecord
from wdtui.text import duration, number

_SUGGESTED = 0.05
"""The λ_norm that the suggestion uses: the upper end of what Loshchilov & Hutter advise."""


def arithmetic(config: RunConfig, runs: Iterable[RunRecord], device: str = "auto") -> list[str]:
    """Lines that say what a run of this config amounts to; `runs`, newest first, know how fast this machine is."""
    seconds = config.steps / expected_speed(config, runs, device=device)
    suggested = normalized_decay(config, _SUGGESTED)
    return [
        f"{number(config.parameters)} parameters",
        f"{number(config.steps)} steps · about {duration(seconds)}",
        f"λ_norm {_SUGGESTED:g} suggests λ = {number(round_two(suggested['pytorch']))}",
        f"(paper's convention {number(round_two(suggested['paper']))})",
    ]


def round_two(value: float) -> float:
    return float(f"{value:.2g}")
