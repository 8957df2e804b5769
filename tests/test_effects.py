"""The experiments of famous effects: their claims hold for curves that show the effect, and fail for curves without."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from wdtui.analysis.milestones import milestones
from wdtui.schema.config import Config
from wdtui.schema.curves import Curves
from wdtui.schema.schema import Judged
from wdtui.studies.branches import Branch, Case, config_of, forked_at, value_in
from wdtui.studies.experiments import Experiment, load
from wdtui.studies.verdicts import Outcome, State, check

Values = dict[str, NDArray[np.float64]]
Recorded = Callable[[Case, NDArray[np.int64]], Values]
"""The metrics of a run at these steps."""


def outcome(case: Case, recorded: Recorded) -> Outcome:
    config = config_of(case)
    steps = np.arange(config.log_every, config.steps + 1, config.log_every)
    values = recorded(case, steps)
    curves = Curves(tuple(values), steps, steps, np.column_stack([*values.values()]))
    seen = milestones(curves, Judged("train_accuracy", "test_accuracy", "train_accuracy"))
    final = {name: column[-1] for name, column in values.items()}
    return Outcome(final=final, milestones=seen.to_json(), curves=lambda: curves, forked_at=forked_at(case))


def failing(name: str, recorded: Recorded) -> list[int]:
    """The places of the claims that fail; the others hold."""
    return failing_of(load(name).variant(True), recorded)


def failing_of(experiment: Experiment, recorded: Recorded) -> list[int]:
    cases = experiment.cases()
    outcomes = {case: outcome(case, recorded) for case in cases}
    states = [check(claim, cases, outcomes).state for claim in experiment.claims]
    assert State.NOT_RUN not in states
    return [place for place, state in enumerate(states) if state == State.FAILS]


def grokked(delay: Callable[[float], float]) -> Recorded:
    """Fitted at step 40; generalised so many steps later as a function of λ says."""

    def recorded(case: Case, steps: NDArray[np.int64]) -> Values:
        later = 40 + delay(config_of(case).weight_decay)  # type: ignore[attr-defined]
        return {"train_accuracy": (steps >= 40) * 1.0, "test_accuracy": (steps >= later) * 1.0}

    return recorded


def test_grokking_is_a_delay_of_some_time_constants() -> None:
    assert failing("grokking-modular", grokked(lambda decay: 440 / decay if decay else np.inf)) == []
    assert failing("grokking-modular", grokked(lambda decay: 440 if decay else np.inf)) == [3, 4]
    assert failing("grokking-modular", grokked(lambda decay: 0)) == [1, 2, 3, 4]


def test_decay_after_the_fit_is_what_counts() -> None:
    def recorded(late: float) -> Recorded:
        def one(case: Case, steps: NDArray[np.int64]) -> Values:
            decay: float = config_of(case).weight_decay  # type: ignore[attr-defined]
            after = value_in(case, "branch") if isinstance(case, Branch) else "none"
            later = {"none": 480 if decay else np.inf, "weight_decay=0": late, "weight_decay=2": 370 if decay else 460}
            return {"train_accuracy": (steps >= 40) * 1.0, "test_accuracy": (steps >= later[after]) * 1.0}

        return one

    assert failing("decay-after-fit", recorded(np.inf)) == []
    assert failing("decay-after-fit", recorded(480)) == [1]


def test_the_period_of_instabilities_is_a_time_constant() -> None:
    def recorded(period: Callable[[float, float], float]) -> Recorded:
        def one(case: Case, steps: NDArray[np.int64]) -> Values:
            rate, decay = (value_in(case, name) for name in ("learning_rate", "weight_decay"))
            each = np.inf if not decay else period(rate, decay) if value_in(case, "scale_invariant") else 1500
            fallen = (steps % each < 20) & (steps > each / 2)
            return {"train_accuracy": np.where(fallen, 0.5, 1.0), "test_accuracy": 0.9 + 0 * steps}

        return one

    full = load("periodic-behaviour").variant(False)
    for period, failed in [
        (lambda rate, decay: 1 / (rate * decay), []),
        (lambda rate, decay: 10 / decay, [3, 4]),
        (lambda rate, decay: 1000, [2, 4]),
        (lambda rate, decay: 120, [1, 2]),
    ]:
        assert failing_of(full, recorded(period)) == failed


def test_the_best_time_constant_is_a_number_of_epochs() -> None:
    def recorded(best: Callable[[int, int], float]) -> Recorded:
        def one(case: Case, steps: NDArray[np.int64]) -> Values:
            decay, examples, length = (value_in(case, name) for name in ("weight_decay", "examples", "steps"))
            away = np.abs(np.log2(decay / best(examples, length)))
            return {"test_accuracy": 0.9 - 0.02 * away + 0 * steps}

        return one

    assert failing("time-constant", recorded(lambda examples, steps: 1680 / examples)) == []
    assert failing("time-constant", recorded(lambda examples, steps: 1.4)) == [0, 2, 3]
    assert failing("time-constant", recorded(lambda examples, steps: 5.6)) == [1, 2, 4]
    assert failing("time-constant", recorded(lambda examples, steps: 1120 / steps)) == [5]


def test_a_blow_up_is_what_raises_the_test_accuracy() -> None:
    def recorded(helps: float, slow: bool) -> Recorded:
        """Blow-ups at step 8,970, but at half the rate; they, or else the time, raise the test accuracy."""

        def one(case: Case, steps: NDArray[np.int64]) -> Values:
            branch = value_in(case, "branch")
            prevented = "learning_rate" in branch and slow
            blown = (steps >= 8970) & (not prevented)
            if "epsilon" in branch:
                blown = blown | (steps > forked_at(case))
            test = 0.03 + helps * blown * (2 if "epsilon" in branch else 1) + (0.3 - helps) * (steps > 9500)
            norm = np.where(branch == "weight_decay=0", 65.0, 55.0) + 0 * steps
            fallen = np.where(np.diff(blown, prepend=False), 0.2, 1.0)
            return {"train_accuracy": fallen, "test_accuracy": test, "weight_norm": norm}

        return one

    assert failing("blow-up-forks", recorded(0.3, True)) == []
    assert failing("blow-up-forks", recorded(0.0, True)) == [4, 6]
    assert failing("blow-up-forks", recorded(0.3, False)) == [2, 4]


def test_double_descent_is_a_peak_that_the_best_decay_removes() -> None:
    def recorded(peak: float) -> Recorded:
        def one(case: Case, steps: NDArray[np.int64]) -> Values:
            decay: float = config_of(case).weight_decay  # type: ignore[attr-defined]
            height = 0 if decay == 25 else peak / (1 + decay)
            return {"test_loss": 1.2 - 0.004 * steps + height * np.exp(-np.abs(steps - 100) / 10) + 0.001 * decay}

        return one

    assert failing("double-descent", recorded(20)) == []
    assert failing("double-descent", recorded(0)) == [0, 3]


def test_the_edge_of_stability_is_where_the_sharpness_stays() -> None:
    def recorded(edge: Callable[[NDArray[np.int64]], NDArray[np.float64]]) -> Recorded:
        def one(case: Case, steps: NDArray[np.int64]) -> Values:
            config: Config = config_of(case)
            slow = config.weight_decay and config.learning_rate == 0.05  # type: ignore[attr-defined]
            values = edge(steps) * (0.7 if slow else 1)
            if isinstance(case, Branch):
                values = np.where(steps > 2000, edge(steps - 1600), values)
            return {"edge": values, "sharpness": values * 2 / config.learning_rate, "train_loss": 0.5 / steps}  # type: ignore[attr-defined]

        return one

    assert failing("edge-of-stability", recorded(lambda steps: np.minimum(1, steps / 800))) == []
    assert failing("edge-of-stability", recorded(lambda steps: steps / 800)) == [2, 3, 7, 8, 9]
    assert failing("edge-of-stability", recorded(lambda steps: 0.3 + 0 * steps)) == [1, 2, 3, 7, 8]
