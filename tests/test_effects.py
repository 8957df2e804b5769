"""The experiments of famous effects: their claims hold for curves that show the effect, and fail for curves without."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

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


def test_rules_of_decay_grok_at_their_own_strength() -> None:
    strength = {"decoupled": 1.0, "squared": 1.0, "independent": 0.01, "l2": 1e-4}

    def recorded(cautious: float) -> Recorded:
        def one(case: Case, steps: NDArray[np.int64]) -> Values:
            config: Any = config_of(case)
            ratio = config.weight_decay / (strength | {"cautious": cautious})[config.decay_rule]
            accuracy = (steps >= 400) * 1.0 if ratio == 1 else 0.0 * steps
            left = 0.2 if config.decay_rule == "independent" and ratio == 1 else 0.01 if ratio > 1 else 1
            return {"train_accuracy": (steps >= 40) * 1.0, "test_accuracy": accuracy, "weight_norm": left + 0.0 * steps}

        return one

    assert failing("decay-rules", recorded(100)) == []
    assert failing("decay-rules", recorded(1)) == [4]
    assert failing("decay-rules", recorded(1e-4)) == [5]


def test_decay_as_the_square_keeps_the_norm_under_a_schedule() -> None:
    def recorded(falls: dict[str, float]) -> Recorded:
        def one(case: Case, steps: NDArray[np.int64]) -> Values:
            config: Any = config_of(case)
            norm = 15.0 if config.decay_rule == "cautious" else 10.0
            fall = falls[config.decay_rule] if config.cosine_steps else 1
            return {"weight_norm/first.0": norm * fall + 0.0 * steps, "train_loss": 0.1 / fall + 0.0 * steps}

        return one

    assert failing("decay-schedule", recorded({"decoupled": 0.7, "cautious": 0.8, "squared": 1})) == []
    assert failing("decay-schedule", recorded({"decoupled": 1, "cautious": 1, "squared": 0.7})) == [0, 1, 2, 5]


def test_the_best_learning_rate_moves_with_the_width() -> None:
    def recorded(best: dict[tuple[str, float], tuple[float, float]], slope: dict[str, float]) -> Recorded:
        def one(case: Case, steps: NDArray[np.int64]) -> Values:
            config: Any = config_of(case)
            narrow, wide = best.get((config.decay_rule, config.weight_decay), (0.01, 0.01))
            distance = abs(math.log10(config.learning_rate / (narrow if config.width == 32 else wide)))
            return {"train_loss": 0.1 * slope[config.decay_rule] ** distance + 0.0 * steps}

        return one

    expected = {
        ("decoupled", 0.3): (1e-3, 3e-4),
        ("decoupled", 0.003): (3e-3, 3e-4),
        ("independent", 0.003): (0.01, 3e-3),
    }
    slopes = {"decoupled": 10.0, "independent": 1.3}
    assert failing("learning-rate-width", recorded(expected, slopes)) == []
    steady = dict.fromkeys(expected, (3e-3, 3e-3))
    assert failing("learning-rate-width", recorded(steady, slopes)) == [0, 1, 2, 5]
    assert failing("learning-rate-width", recorded(expected, slopes | {"independent": 10.0})) == [4]
    assert failing("learning-rate-width", recorded(expected, slopes | {"decoupled": 1.3})) == [3]


def test_adam_with_l2_turns_layers_by_different_angles() -> None:
    def recorded(l2: tuple[float, float], without_norm: float) -> Recorded:
        def one(case: Case, steps: NDArray[np.int64]) -> Values:
            config: Any = config_of(case)
            first, second = (1.0, 1.0) if config.decay_rule == "decoupled" else l2
            scale = 1 if config.batch_norm else without_norm
            turned = {"first.0": first, "second.0": second * scale, "output": 0.5}
            equilibrium = 0.2 if config.weight_decay == 0.001 else 1
            return {f"rotation/{layer}": 0.017 * one + 0.0 * steps for layer, one in turned.items()} | {
                f"rotation_of_equilibrium/{layer}": one / equilibrium + 0.0 * steps for layer, one in turned.items()
            }

        return one

    assert failing("rotation", recorded((0.6, 1.0), 0.8)) == []
    assert failing("rotation", recorded((1.0, 1.0), 1.0)) == [3, 5]
    assert failing("rotation", recorded((0.6, 0.6), 0.8)) == [6]


def test_a_softmax_that_collapses_does_not_grok() -> None:
    def recorded(stable: float, float64: float) -> Recorded:
        def one(case: Case, steps: NDArray[np.int64]) -> Values:
            config: Any = config_of(case)
            loss = np.maximum(np.exp(-steps / 100), {"float32": 3e-8, "float64": float64}.get(config.softmax, 0))
            accuracy = stable if config.softmax == "stablemax" else 0.01
            return {"train_loss": loss, "test_accuracy": np.minimum(steps / 2000, accuracy)}

        return one

    assert failing("softmax-collapse", recorded(0.9, 0)) == []
    assert failing("softmax-collapse", recorded(0.1, 3e-8)) == [1, 4]


def test_grokfast_changes_the_delay() -> None:
    def recorded(slower: float) -> Recorded:
        def one(case: Case, steps: NDArray[np.int64]) -> Values:
            config: Any = config_of(case)
            later = 30 + 400 * slower**config.grokfast if config.weight_decay else np.inf
            loss = 1e-7 * (config.grokfast < 2 or config.weight_decay) + 0.0 * steps
            return {
                "train_accuracy": (steps >= 30) * 1.0,
                "test_accuracy": (steps >= later) * 1.0,
                "train_loss": loss,
                "weight_norm": 60 * (1 + config.grokfast) + 0.0 * steps,
            }

        return one

    assert failing("grokfast", recorded(1.35)) == [0]
    assert failing("grokfast", recorded(0.5)) == [1, 2]
