"""How well forecasts of blow-ups would have done, replayed on finished runs with only what was known at each moment."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from wdtui.analysis.forecast import Forecast, forecast
from wdtui.analysis.milestones import milestones
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Curves

_JUDGED = RunConfig.schema().judged
SLACK = 1.5
"""An alarm says "within so many steps" and is right when the blow-up comes within this many times as many."""
Gauge = Callable[[Curves], NDArray[np.float64]]
GAUGES: dict[str, Gauge] = {
    "sharpness": lambda curves: curves["sharpness"],
    "1 / smallest BatchNorm variance": lambda curves: 1 / np.maximum(curves["bn_variance_min"], 1e-30),
    "effective learning rate": lambda curves: curves["effective_learning_rate"],
    "steps since the last blow-up": lambda curves: _clock(curves),
    "steps since the start": lambda curves: np.exp(curves.steps / 10_000),
}
"""Positive quantities that should climb to a blow-up, each [points].

The last two ask what can be had without looking: by counting, and by never ceasing to warn, as the steps since the
start are always beyond those of earlier blow-ups.
"""


def _clock(curves: Curves) -> NDArray[np.float64]:
    """Steps since the last blow-up, or the start, such that the exponential extrapolation of a forecast is exact."""
    marks = np.array([0, *milestones(curves, _JUDGED).blowup_steps])
    since = curves.steps - marks[np.searchsorted(marks, curves.steps, side="right") - 1]
    scaled: NDArray[np.float64] = np.exp(since / 10_000)
    return scaled


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """What alarms were worth."""

    blowups: int = 0
    hits: int = 0
    """Blow-ups that an alarm foretold."""
    false_alarms: int = 0
    leads: tuple[int, ...] = ()
    """How many steps before its blow-up each right alarm was raised."""

    @property
    def success(self) -> float:
        """Hits in all that was or should have been foretold (critical success index), 0…1."""
        total = self.blowups + self.false_alarms
        return self.hits / total if total else 1.0

    def __add__(self, other: Score) -> Score:
        counts = (self.blowups + other.blowups, self.hits + other.hits, self.false_alarms + other.false_alarms)
        return Score(*counts, self.leads + other.leads)


def score(curves: Curves, gauge: Gauge, threshold: float, horizon: int) -> Score:
    """Replay one run: at each measurement of its sharpness, ask whether a blow-up is expected within `horizon` steps.

    All gauges are read at the same points. While an alarm may still prove right no other is counted. Counting begins
    at the fit; blow-ups that come before the second measurement after it are counted too, as missed.
    """
    seen = milestones(curves, _JUDGED)
    if seen.fit_step is None:
        return Score()
    measured = np.isfinite(curves["sharpness"])
    steps, values = curves.steps[measured], gauge(curves)[measured]
    waiting: int | None = None  # the step of the open alarm
    hits: list[int] = []
    false_alarms = 0
    blowups = np.array(seen.blowup_steps, dtype=np.int64)
    for index, now in enumerate(steps.tolist()):
        if now < seen.fit_step:
            continue
        if waiting is not None and (came := blowups[(blowups > waiting) & (blowups <= now)]).size:
            right = int(came[0]) - waiting <= SLACK * horizon
            hits += [int(came[0]) - waiting] if right else []
            false_alarms += not right
            waiting = None
        if waiting is not None and now - waiting >= SLACK * horizon:
            waiting, false_alarms = None, false_alarms + 1
        if waiting is None and _alarmed(steps[: index + 1], values[: index + 1], blowups, threshold, horizon):
            waiting = now
    return Score(len(blowups), len(hits), false_alarms, tuple(hits))


def ranking(curves: Curves, gauge: Gauge, horizon: int) -> float:
    """How often a gauge is higher within `horizon` steps before a blow-up than at another measurement since the fit.

    The area under the ROC curve: 1 for a gauge that passes one threshold before every blow-up and only then, 0.5 for
    one that knows nothing; NaN without blow-ups. No extrapolation is in it. The end of the run, of which it is not
    known what would have come, is left out.
    """
    seen = milestones(curves, _JUDGED)
    measured = np.isfinite(curves["sharpness"]) & (curves.steps >= (seen.fit_step or 0))
    steps, values = curves.steps[measured], gauge(curves)[measured]
    ahead = np.array([*seen.blowup_steps, np.iinfo(np.int64).max])
    soon = ahead[np.searchsorted(ahead, steps, side="right")] - steps <= horizon
    not_soon = ~soon & (steps <= curves.steps[-1] - horizon)
    if not soon.any() or not not_soon.any():
        return math.nan
    before, other = values[soon][:, None], values[not_soon][None]
    return float(((before > other) + (before == other) / 2).mean())


def forecasts(curves: Curves, gauge: Gauge, threshold: float) -> Iterator[tuple[Forecast, int]]:
    """Every forecast since the fit as it would have been made, and the step of the blow-up that did come next."""
    seen = milestones(curves, _JUDGED)
    measured = np.isfinite(curves["sharpness"])
    steps, values = curves.steps[measured], gauge(curves)[measured]
    blowups = np.array(seen.blowup_steps, dtype=np.int64)
    for index in np.flatnonzero(steps >= (seen.fit_step or 0)):
        now = int(steps[index])
        known = blowups[blowups <= now].tolist()
        made = forecast(steps[: index + 1], values[: index + 1], known, threshold)
        if made and len(known) < len(blowups):
            yield made, int(blowups[len(known)])


def _alarmed(
    steps: NDArray[np.int64], values: NDArray[np.float64], blowups: NDArray[np.int64], threshold: float, horizon: int
) -> bool:
    now = int(steps[-1])
    expected = forecast(steps, values, blowups[blowups <= now].tolist(), threshold)
    return expected is not None and expected.step - now <= horizon


def best_threshold(runs: Iterable[Curves], gauge: Gauge, horizon: int) -> float:
    """The threshold with the greatest success on some runs, of thirty spread over the gauge's values after the fit.

    Of several that do equally well it is the middle one.
    """
    runs = list(runs)
    after_fit = [gauge(curves)[curves.steps >= (milestones(curves, _JUDGED).fit_step or 0)] for curves in runs]
    candidates = np.unique(np.nanquantile(np.concatenate(after_fit), np.linspace(0.4, 1, 30)))
    successes = np.array([sum_of(score(run, gauge, level, horizon) for run in runs).success for level in candidates])
    best = candidates[successes == successes.max()]
    return float(best[len(best) // 2])


def sum_of(scores: Iterable[Score]) -> Score:
    """The scores of several runs as one."""
    return sum(scores, Score())
