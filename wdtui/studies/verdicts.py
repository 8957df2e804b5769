"""Verdicts: checks claims against the outcomes of runs. Pure functions.

A claim is NOT_RUN if some of its runs, or some of their points, are missing. It FAILS if a run diverged, or if its
value is that of a milestone that was not reached: for a median, one reached in less than half of the runs.
"""

from __future__ import annotations

import dataclasses
import enum
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wdtui.analysis.milestones import Milestones
from wdtui.schema.curves import Curves
from wdtui.studies.branches import Case
from wdtui.studies.claims import MEASURES, Claim, curve_of
from wdtui.support.text import number

Range = tuple[float, float]
"""The smallest and the largest value. They are equal unless a claim must hold for all seeds."""


class State(enum.StrEnum):
    """The result of a check."""

    HOLDS = "holds"
    FAILS = "fails"
    NOT_RUN = "not run"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """The results of a finished run; `milestones` as written by `Milestones.to_json`."""

    final: Mapping[str, float]
    milestones: Mapping[str, Any]
    curves: Callable[[], Curves]
    """Reads all points. Called only if the final values are not enough."""
    diverged: bool = False
    forked_at: int = 0
    """For a branch, the step of the fork. Its blow-ups, and its highest and lowest values, are those after it."""
    lacking: int | None = None
    """The number of the run if some of its points are damaged."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a claim holds, and why."""

    claim: Claim
    state: State
    measured: str
    """A sentence with the measured value and the bounds, or the reason why there is no value."""
    value: Range | None = None

    def to_json(self) -> dict[str, Any]:
        low, high = (None if math.isinf(bound) else bound for bound in (self.claim.at_least, self.claim.at_most))
        value = [end if math.isfinite(end) else None for end in self.value] if self.value else None
        about = {"says": self.claim.says, "state": self.state.value, "measured": self.measured}
        return about | {"value": value, "at_least": low, "at_most": high}


def check(claim: Claim, cells: Iterable[Case], outcomes: Mapping[Case, Outcome]) -> Verdict:
    """Check a claim against the outcomes of its runs. Other runs in `outcomes` are ignored."""
    first, second = claim.cells(cells)
    if not first or (not second and (claim.minus or claim.divided_by)):
        return Verdict(claim, State.NOT_RUN, "Its runs are not part of this selection.")
    needed = list(dict.fromkeys([*first, *second]))
    present = [outcomes[cell] for cell in needed if cell in outcomes]
    if len(present) < len(needed):
        return Verdict(claim, State.NOT_RUN, f"{len(needed) - len(present)} of its {len(needed)} runs are missing.")
    if run := next((outcome.lacking for outcome in present if outcome.lacking), None):
        says = f"Run {run} has damaged points: `wdtui resume {run}` trains them again."
        return Verdict(claim, State.NOT_RUN, says)
    if diverged := sum(outcome.diverged for outcome in present):
        return Verdict(claim, State.FAILS, f"{diverged} of its {len(needed)} runs diverged, so there is no value.")
    value, grounds = _term(claim, first, outcomes)
    if second:
        other, others = _term(claim, second, outcomes)
        value = _difference(value, other) if claim.minus else _ratio(value, other)
        word = "less" if claim.minus else "divided by"
        grounds = f"{grounds}, {word} {others} makes {_spoken(value, claim.shown)}"
    if not all(map(math.isfinite, value)):
        grounds += ", so there is no value"
        return Verdict(claim, State.FAILS, f"{_sentence(claim, grounds)}.", value)
    holds = claim.at_least <= value[0] and value[1] <= claim.at_most
    return Verdict(claim, State.HOLDS if holds else State.FAILS, f"{_sentence(claim, grounds)}.", value)


def _sentence(claim: Claim, grounds: str) -> str:
    first = claim.subject[0]
    subject = (first.upper() if first.isascii() else first) + claim.subject[1:]  # λ keeps its case
    return f"{subject}: {grounds}; claimed: {claim.bounds}"


def _term(claim: Claim, cells: Sequence[Case], outcomes: Mapping[Case, Outcome]) -> tuple[Range, str]:
    """The value of some cells, and a text that shows how it was computed."""
    curve = {at: [_measured(claim, outcomes[cell]) for cell in group] for at, group in curve_of(claim, cells).items()}
    if not claim.find:
        (values,) = curve.values()
        value = _over_seeds(claim.seeds, values)
        spoken = _spoken(value, claim.shown_term)
        if len(values) == 1:
            return value, spoken
        return value, f"{spoken} ({claim.seeds} of {', '.join(map(claim.shown_term, sorted(values)))})"
    positions = sorted(curve)
    heights = np.array([_over_seeds(claim.seeds, curve[position])[0] for position in positions])
    found = _found(claim.find, positions, heights)
    shown = dataclasses.replace(claim, find="").shown_term
    along = ", ".join(f"{number(at)}: {shown(high)}" for at, high in zip(positions, heights.tolist(), strict=True))
    return (found, found), f"{claim.shown_term(found)} ({along})"


def _found(find: str, positions: Sequence[float], heights: NDArray[np.float64]) -> float:
    if np.isnan(heights).any():
        return math.nan
    if find.endswith("_at"):
        index = int(heights.argmax() if find == "highest_at" else heights.argmin())
        return float(positions[index]) if math.isfinite(heights[index]) else math.nan
    sign = 1 if find == "largest_rise" else -1
    if not np.isfinite(heights).all():
        return math.nan
    signed = sign * heights
    return float((signed - np.minimum.accumulate(signed)).max())


def _measured(claim: Claim, outcome: Outcome) -> float:
    """The value of one run; infinity for a milestone that was not reached, NaN if not measured."""
    if claim.measure in MEASURES:
        if not outcome.milestones:
            return math.nan
        value = MEASURES[claim.measure][1](_seen(outcome))
        return math.inf if value is None else float(value)
    if claim.at == "end" and claim.measure in outcome.final:
        return outcome.final[claim.measure]
    curves = outcome.curves()
    values = curves[claim.measure]
    if claim.at == "end":
        return float(values[-1]) if len(values) else math.nan
    if claim.at in ("highest", "lowest"):
        values = values[~np.isnan(values) & (curves.steps > outcome.forked_at)]
        return float(values.max() if claim.at == "highest" else values.min()) if len(values) else math.nan
    step = outcome.milestones["milestones"]["fit_step"] if claim.at == "fit" else claim.at
    if step is None:
        return math.inf
    index = int(np.searchsorted(curves.steps, step))
    return float(values[index]) if index < len(values) else math.nan


def _seen(outcome: Outcome) -> Milestones:
    steps, blowups = outcome.milestones["milestones"], outcome.milestones["blowups"]["steps"]
    after = tuple(step for step in blowups if step > outcome.forked_at)
    return Milestones(steps["fit_step"], steps["generalise_step"], after)


def _over_seeds(way: str, values: list[float]) -> Range:
    """The combined value of several seeds. For "all", the smallest and the largest."""
    if way == "all":
        return float(np.min(values)), float(np.max(values))
    value = float(getattr(np, way)(values))
    return value, value


def _difference(first: Range, second: Range) -> Range:
    return first[0] - second[1], first[1] - second[0]


def _ratio(first: Range, second: Range) -> Range:
    """NaN if the divisor can be zero, negative or infinite."""
    if not (second[0] > 0 and math.isfinite(second[1])):
        return math.nan, math.nan
    ends = [above / below for above in first for below in second]
    return min(ends), max(ends)


def _spoken(value: Range, shown: Callable[[float], str]) -> str:
    low, high = map(shown, value)
    return low if low == high else f"{low} to {high}"
