"""Verdicts: claims held to what was measured. Pure functions of the outcomes of runs.

A claim whose runs are not all there, with all their points, is NOT_RUN. It FAILS where a run diverged, and where the
value is that of a milestone which never came: for a median that is so when it came in less than half of the runs.
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
from wdtui.studies.claims import MILESTONES, Claim, curve_of
from wdtui.support.text import number

Range = tuple[float, float]
"""Smallest and largest: one value twice, except where a claim is to hold whichever seed is taken."""


class State(enum.StrEnum):
    """What became of a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    NOT_RUN = "not run"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a finished run came to; `milestones` as `Milestones.to_json` writes them."""

    final: Mapping[str, float]
    milestones: Mapping[str, Any]
    curves: Callable[[], Curves]
    """Reads all points: asked for only where the end does not suffice."""
    diverged: bool = False
    forked_at: int = 0
    """Of a branch, the step of the fork: its blow-ups, and what is highest or lowest in it, come after that."""
    lacking: int | None = None
    """The number of the run where some of its points are damaged."""


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether a claim holds, and on what grounds."""

    claim: Claim
    state: State
    measured: str
    """The measured value and what was claimed of it, or why there is no value, in a sentence."""
    value: Range | None = None

    def to_json(self) -> dict[str, Any]:
        low, high = (None if math.isinf(bound) else bound for bound in (self.claim.at_least, self.claim.at_most))
        value = [end if math.isfinite(end) else None for end in self.value] if self.value else None
        about = {"says": self.claim.says, "state": self.state.value, "measured": self.measured}
        return about | {"value": value, "at_least": low, "at_most": high}


def check(claim: Claim, cells: Iterable[Case], outcomes: Mapping[Case, Outcome]) -> Verdict:
    """Hold a claim to the outcomes of its runs; those of `outcomes` that it is not about do not matter."""
    first, second = claim.cells(cells)
    if not first or (not second and (claim.minus or claim.divided_by)):
        return Verdict(claim, State.NOT_RUN, "Its runs are not part of this selection.")
    needed = list(dict.fromkeys([*first, *second]))
    there = [outcomes[cell] for cell in needed if cell in outcomes]
    if len(there) < len(needed):
        return Verdict(claim, State.NOT_RUN, f"{len(needed) - len(there)} of its {len(needed)} runs are missing.")
    if run := next((outcome.lacking for outcome in there if outcome.lacking), None):
        says = f"Run {run} lacks damaged points: `wdtui resume {run}` trains them again."
        return Verdict(claim, State.NOT_RUN, says)
    if diverged := sum(outcome.diverged for outcome in there):
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
    subject = (first.upper() if first.isascii() else first) + claim.subject[1:]  # λ is not Λ
    return f"{subject}: {grounds}; claimed: {claim.bounds}"


def _term(claim: Claim, cells: Sequence[Case], outcomes: Mapping[Case, Outcome]) -> tuple[Range, str]:
    """The value of some cells, and how it came about."""
    curve = {at: [_measured(claim, outcomes[cell]) for cell in group] for at, group in curve_of(claim, cells).items()}
    if not claim.find:
        (values,) = curve.values()
        value = _over_seeds(claim.seeds, values)
        spoken = _spoken(value, claim.shown_term)
        if len(values) == 1:
            return value, spoken
        return value, f"{spoken} ({claim.seeds} of {', '.join(map(claim.shown_term, sorted(values)))})"
    places = sorted(curve)
    heights = np.array([_over_seeds(claim.seeds, curve[place])[0] for place in places])
    found = _found(claim.find, places, heights)
    shown = dataclasses.replace(claim, find="").shown_term
    along = ", ".join(f"{number(at)}: {shown(high)}" for at, high in zip(places, heights.tolist(), strict=True))
    return (found, found), f"{claim.shown_term(found)} ({along})"


def _found(find: str, places: Sequence[float], heights: NDArray[np.float64]) -> float:
    if np.isnan(heights).any():
        return math.nan
    if find.endswith("_at"):
        index = int(heights.argmax() if find == "highest_at" else heights.argmin())
        return float(places[index]) if math.isfinite(heights[index]) else math.nan
    sign = 1 if find == "largest_rise" else -1
    if not np.isfinite(heights).all():
        return math.nan
    signed = sign * heights
    return float((signed - np.minimum.accumulate(signed)).max())


def _measured(claim: Claim, outcome: Outcome) -> float:
    """The value of one run; infinity for a milestone that never came, NaN for what was not measured."""
    if claim.measure in MILESTONES:
        if not outcome.milestones:
            return math.nan
        value = MILESTONES[claim.measure][1](_seen(outcome))
        return math.inf if value is None else float(value)
    if claim.at == "end":
        return outcome.final.get(claim.measure, math.nan)
    curves = outcome.curves()
    values = curves[claim.measure]
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
    """One value of several seeds', or for "all" the smallest and the largest."""
    if way == "all":
        return float(np.min(values)), float(np.max(values))
    middle: dict[str, Callable[[list[float]], Any]] = {
        "median": np.median,
        "mean": np.mean,
        "min": np.min,
        "max": np.max,
    }
    value = float(middle[way](values))
    return value, value


def _difference(one: Range, other: Range) -> Range:
    return one[0] - other[1], one[1] - other[0]


def _ratio(one: Range, other: Range) -> Range:
    """No value where it would be divided by zero, or by what is negative."""
    if not (other[0] > 0 and math.isfinite(other[1])):
        return math.nan, math.nan
    ends = [above / below for above in one for below in other]
    return min(ends), max(ends)


def _spoken(value: Range, shown: Callable[[float], str]) -> str:
    low, high = map(shown, value)
    return low if low == high else f"{low} to {high}"
