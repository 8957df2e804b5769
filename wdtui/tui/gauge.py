"""The sharpness relative to its value at blow-ups, as a bar. No Textual, no drawing."""

from __future__ import annotations

from wdtui.analysis.forecast import threshold
from wdtui.analysis.milestones import Milestones
from wdtui.schema.curves import Curves
from wdtui.support.text import number

_WIDTH = 24


def gauge(curves: Curves, seen: Milestones) -> list[str]:
    """The newest sharpness as a bar, and its meaning; empty if it was never measured."""
    _, values = curves.measured("sharpness")
    if not len(values):
        return []
    value, level = float(values[-1]), threshold(curves, seen)
    filled = round(_WIDTH * min(max(value / level, 0), 1))
    source = "this run's blow-ups were" if seen.blowup_steps else "blow-ups of other runs were"
    return [f"{'█' * filled}{'░' * (_WIDTH - filled)} {number(value)}", f"{source} near {number(level)}"]
