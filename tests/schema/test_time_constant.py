"""What λ can do in a run, from its hyperparameters alone."""

from __future__ import annotations

from typing import Any

import pytest

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.declared import Problem, config_of, declared
from wdtui.schema.decay import DECAY_RULES
from wdtui.schema.hyperparameters import knob


class Own(Problem):
    lr: float = knob(0.01, ge=0)
    weight_decay: float = knob(0.1, ge=0)
    steps = 500


class WithMomentum(Own):
    momentum: float = knob(0.9, ge=0)


class WithRule(Own):
    decay_rule: str = knob("decoupled", choices=DECAY_RULES)


class WithRuleAndMomentum(WithRule):
    momentum: float = knob(0.9, ge=0)


class WithoutDecay(Problem):
    lr: float = knob(0.01, ge=0)


class Symbols(Problem):
    speed: float = knob(0.01, symbol="η")
    shrinking: float = knob(0.1, symbol="λ")


@pytest.mark.parametrize(
    ("problem", "steps", "formula"),
    [(Own, 1000, "1/(ηλ)"), (WithMomentum, 100, "(1 − μ)/(ηλ)"), (Symbols, 1000, "1/(ηλ)")],
)
def test_a_declared_problem_names_its_hyperparameters_as_usual(
    problem: type[Problem], steps: float, formula: str
) -> None:
    assert config_of(declared(problem, None))().time_constant == (pytest.approx(steps), formula)


@pytest.mark.parametrize(
    ("rule", "constant"),
    [
        ("decoupled", (1000, "1/(ηλ)")),
        ("cautious", (1000, "1/(ηλ)")),
        ("independent", (10, "1/λ")),
        ("squared", (1000, "η₀/(η²λ)")),
        ("l2", None),  # it may be Adam's
    ],
)
def test_a_decay_rule_has_its_own(rule: str, constant: tuple[float, str] | None) -> None:
    expected = constant and (pytest.approx(constant[0]), constant[1])
    assert config_of(declared(WithRule, None))(decay_rule=rule).time_constant == expected
    through_momentum = (pytest.approx(100), "(1 − μ)/(ηλ)")
    with_momentum = config_of(declared(WithRuleAndMomentum, None))(decay_rule=rule).time_constant
    assert with_momentum == (expected or through_momentum)


def test_nothing_is_said_of_a_problem_without_decay() -> None:
    config = config_of(declared(WithoutDecay, None))()
    assert config.time_constant is None
    assert config.hints() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "1/(ηλ) is 10,000 steps, 33 % of this run"),
        ({"weight_decay": 0.01}, "λ hardly acts: 1/(ηλ) is 100,000 steps, this run has 30,030"),
        ({"optimizer": "sgd", "momentum": 0.9}, "(1 − μ)/(ηλ) is 1,000 steps, 3 % of this run"),
        ({"optimizer": "sgd", "decay": "decoupled"}, "1/(ηλ) is 10,000 steps, 33 % of this run"),
        ({"optimizer": "adam"}, ""),
        ({"weight_decay": 0.0}, ""),
    ],
)
def test_the_hints_of_the_addition_problem_say_what_decay_can_do(changes: dict[str, Any], expected: str) -> None:
    hints = RunConfig().replace(**changes).hints()
    assert [hint for hint in hints if "ηλ" in hint] == ([expected] if expected else [])
