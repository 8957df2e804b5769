"""Backtests of blow-up forecasts: finished runs are replayed with only the data known at each moment."""

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
"""An alarm predicts a blow-up within N steps, and is right if it comes within this multiple of N."""
Gauge = Callable[[Curves], NDArray[np.float64]]
GAUGES: dict[str, Gauge] = {
    "sharpness": lambda curves: curves["sharpness"],
    "1 / smallest BatchNorm variance": lambda curves: 1 / np.maximum(curves["bn_variance_min"], 1e-30),
    "effective learning rate": lambda curves: curves["effective_learning_rate"],
    "steps since the last blow-up": lambda curves: _clock(curves),
    "steps since the start": lambda curves: np.exp(curves.steps / 10_000),
}
"""Positive quantities that may rise before a blow-up, each [points].

The last two are baselines that do not look at the network: counting steps, and always warning, as the steps since the
start always exceed those at earlier blow-ups.
"""


def _clock(curves: Curves) -> NDArray[np.float64]:
    """Steps since the last blow-up, or the start, scaled so that a forecast's exponential extrapolation is exact."""
    marks = np.array([0, *milestones(curves, _JUDGED).blowup_steps])
    since = curves.steps - marks[np.searchsorted(marks, curves.steps, side="right") - 1]
    scaled: NDArray[np.float64] = np.exp(since / 10_000)
    return scaled


@dataclasses.dataclass(frozen=True, slots=True)
class Score:
    """How well alarms predicted blow-ups."""

    blowups: int = 0
    hits: int = 0
    """The number of blow-ups that an alarm predicted."""
    false_alarms: int = 0
    leads: tuple[int, ...] = ()
    """The number of steps between each correct alarm and its blow-up."""

    @property
    def success(self) -> float:
        """Hits divided by hits, misses and false alarms (critical success index), 0…1."""
        total = self.blowups + self.false_alarms
        return self.hits / total if total else 1.0

    def __add__(self, other: Score) -> Score:
        counts = (self.blowups + other.blowups, self.hits + other.hits, self.false_alarms + other.false_alarms)
        return Score(*counts, self.leads + other.leads)


def score(curves: Curves, gauge: Gauge, threshold: float, horizon: int) -> Score:
    """Replay one run. At each measurement of its sharpness, check whether a blow-up is forecast within `horizon` steps.

    All gauges are read at the same points. While an alarm can still prove right, no other is counted. Counting starts
    at the fit. Blow-ups before the second measurement after the fit count as missed.
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
    """How often a gauge is higher within `horizon` steps before a blow-up than at other measurements since the fit.

    This is the area under the ROC curve: 1 for a gauge that exceeds a threshold before every blow-up and only then, 0.5
    for a useless one, NaN without blow-ups. All gauges are read where the sharpness is measured, or at all points if it
    never is. Nothing is extrapolated. The last `horizon` steps of the run are left out, as what follows them is not
    known.
    """
    seen = milestones(curves, _JUDGED)
    measured = np.isfinite(curves["sharpness"]) if "sharpness" in curves else np.ones(len(curves), dtype=bool)
    measured &= curves.steps >= (seen.fit_step or 0)
    steps, values = curves.steps[measured], gauge(curves)[measured]
    ahead = np.array([*seen.blowup_steps, np.iinfo(np.int64).max])
    soon = ahead[np.searchsorted(ahead, steps, side="right")] - steps <= horizon
    not_soon = ~soon & (steps <= curves.steps[-1] - horizon)
    if not soon.any() or not not_soon.any():
        return math.nan
    before, other = values[soon][:, None], values[not_soon][None]
    return float(((before > other) + (before == other) / 2).mean())


def forecasts(curves: Curves, gauge: Gauge, threshold: float) -> Iterator[tuple[Forecast, int]]:
    """All forecasts since the fit, as made at the time, each with the step of the next blow-up."""
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
    """The threshold with the greatest success on some runs, among thirty quantiles of the gauge's values after the fit.

    If several are equally good, the middle one.
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
