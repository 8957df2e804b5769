"""The experiments of famous effects: their claims hold for curves that show the effect, and fail for curves without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from wdtui.analysis.milestones import milestones
from wdtui.schema.config import Config
from wdtui.schema.curves import Curves
from wdtui.schema.schema import Judged
from wdtui.studies.branches import Branch, Case, config_of, forked_at, value_in
from wdtui.studies.experiments import load
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
    experiment = load(name).variant(True)
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
