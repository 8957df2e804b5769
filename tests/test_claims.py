"""Claims: each kind holds, fails or waits as it should, and says why; what is wrong in a file is said in a sentence."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Curves
from wdtui.schema.hyperparameters import ConfigError
from wdtui.studies.branches import Branching, Case, config_of, forked_at
from wdtui.studies.claims import read_claims
from wdtui.studies.verdicts import Outcome, State, Verdict, check

SCHEMA = RunConfig.schema()
DECAYS, WIDTHS, SEEDS = (0.0, 0.1, 0.3, 1.0), (8, 16), (0, 1, 2)
BASE = RunConfig(train_digits=(2,), test_digits=(2,), train_size=64, validation_size=16, test_size=16, epochs=20)
CELLS = [BASE.replace(weight_decay=w, width=h, seed=s) for h in WIDTHS for w in DECAYS for s in SEEDS]
ACCURACY = {0.0: 0.1, 0.1: 0.6, 0.3: 0.9, 1.0: 0.2}
"""At width 8 and seed 1; a seed adds −0.02, 0, 0.05, and width 16 halves it."""


def outcome(cell: RunConfig, **changes: Any) -> Outcome:
    value = (ACCURACY[cell.weight_decay] + (-0.02, 0, 0.05)[cell.seed]) * (8 / cell.width)
    fit, generalise = 5, (None if cell.weight_decay == 0.0 or cell.seed == 2 else 15 + cell.seed)
    steps = np.arange(1, 21)
    values = np.column_stack([np.linspace(0, value, 20), np.full(20, np.nan), np.linspace(3, 1, 20)])
    curves = Curves(("test_accuracy", "test_loss", "weight_norm/output"), steps, steps, values)
    parts = {
        "final": {"test_accuracy": value, "weight_norm": 100 - 50 * cell.weight_decay},
        "milestones": {
            "milestones": {
                "fit_step": fit,
                "generalise_step": generalise,
                "delay": None if generalise is None else generalise - fit,
            },
            "blowups": {"count": 2, "steps": [9, 13], "median_period": 4.0}
            if cell.weight_decay == 1.0
            else {"count": 0, "steps": [], "median_period": None},
        },
        "curves": lambda: curves,
    }
    return Outcome(**(parts | changes))


OUTCOMES = {cell: outcome(cell) for cell in CELLS}


def verdict(outcomes: dict[RunConfig, Outcome] = OUTCOMES, **table: Any) -> Verdict:
    where = {"width": 8} | table.pop("where", {})
    (claim,) = read_claims(SCHEMA, [{"says": "It is so.", "where": where} | table], CELLS, quick=False)
    return check(claim, CELLS, outcomes)


def state(**table: Any) -> State:
    return verdict(**table).state


AT = {"measure": "test_accuracy", "where": {"weight_decay": 0.1}}


@pytest.mark.parametrize(
    ("table", "value"),
    [
        (AT, 0.6),  # the median of .58, .6, .65
        (AT | {"seeds": "mean"}, 0.61),
        (AT | {"seeds": "min"}, 0.58),
        (AT | {"seeds": "max"}, 0.65),
        (AT | {"at": "highest"}, 0.6),
        (AT | {"at": "lowest"}, 0.0),
        (AT | {"at": 10}, 0.6 * 9 / 19),
        (AT | {"at": "fit"}, 0.6 * 4 / 19),
        (AT | {"measure": "weight_norm/output"}, 1.0),
        (AT | {"measure": "weight_norm/output", "at": "highest"}, 3.0),
        (AT | {"minus": {"weight_decay": 0.0}}, 0.5),
        (AT | {"divided_by": {"width": 16}}, 2.0),
        (AT | {"divided_by": {"weight_decay": 0.3}}, 0.6 / 0.9),
        ({"measure": "fit_step", "where": {"weight_decay": 0.1}}, 5),
        ({"measure": "generalise_step", "where": {"weight_decay": 0.1}}, 16),  # of 15, 16 and never
        ({"measure": "delay", "where": {"weight_decay": 0.1}}, 11),
        ({"measure": "generalised", "where": {"weight_decay": 0.1}, "seeds": "mean"}, 2 / 3),
        ({"measure": "fitted", "where": {"weight_decay": 0.1}, "seeds": "mean"}, 1),
        ({"measure": "blowups", "where": {"weight_decay": 1.0}}, 2),
        ({"measure": "first_blowup", "where": {"weight_decay": 1.0}}, 9),
        ({"measure": "blowup_period", "where": {"weight_decay": 1.0}}, 4),
        ({"measure": "test_accuracy", "along": "weight_decay", "find": "highest_at"}, 0.3),
        ({"measure": "test_accuracy", "along": "weight_decay", "find": "lowest_at"}, 0.0),
        ({"measure": "test_accuracy", "along": "weight_decay", "find": "largest_rise"}, 0.8),
        ({"measure": "test_accuracy", "along": "weight_decay", "find": "largest_fall"}, 0.7),
        ({"measure": "weight_norm", "along": "weight_decay", "find": "largest_rise"}, 0.0),
        (
            {
                "measure": "test_accuracy",
                "along": "weight_decay",
                "find": "highest_at",
                "divided_by": {"width": 16},
            },
            1.0,
        ),
        ({"measure": "generalise_step", "along": "weight_decay", "find": "lowest_at"}, 0.1),
    ],
)
def test_a_claim_holds_within_its_bounds_and_fails_outside(table: dict[str, Any], value: float) -> None:
    above, below = value + 0.01, value - 0.01
    assert verdict(**table, at_least=below).value == pytest.approx((value, value))
    assert state(**table, at_least=below) == state(**table, at_most=above) == State.HOLDS
    assert state(**table, between=[below, above]) == state(**table, about=value, tolerance=0.01) == State.HOLDS
    assert state(**table, at_least=above) == state(**table, at_most=below) == State.FAILS
    assert state(**table, between=[above, above + 1]) == state(**table, about=value + 1, tolerance=0.5) == State.FAILS


def test_all_seeds_must_lie_within_the_bounds() -> None:
    every = AT | {"seeds": "all"}
    assert verdict(**every, at_least=0).value == pytest.approx((0.58, 0.65))
    assert state(**every, between=[0.57, 0.66]) == State.HOLDS
    assert state(**every, between=[0.59, 0.66]) == state(**every, between=[0.57, 0.64]) == State.FAILS
    less = every | {"minus": {"weight_decay": 0.0}}  # whichever seed is compared with whichever
    assert verdict(**less, at_least=0).value == pytest.approx((0.58 - 0.15, 0.65 - 0.08))


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.floats(0, 1), st.floats(0, 1))
def test_all_holds_exactly_if_it_holds_for_each_seed(values: list[float], one: float, other: float) -> None:
    low, high = sorted((one, other))
    outcomes = {
        cell: outcome(cell, final={"test_accuracy": values[cell.seed]}) for cell in CELLS if cell.weight_decay == 0.1
    }
    expected = all(low <= value <= high for value in values)
    found = verdict(outcomes, **AT, seeds="all", between=[low, high])
    assert found.state == (State.HOLDS if expected else State.FAILS)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4))
def test_a_curve_rises_where_its_largest_fall_is_zero(heights: list[float]) -> None:
    outcomes = {
        cell: outcome(cell, final={"test_accuracy": heights[DECAYS.index(cell.weight_decay)]}) for cell in CELLS
    }
    found = verdict(outcomes, measure="test_accuracy", along="weight_decay", find="largest_fall", at_most=0)
    assert (found.state == State.HOLDS) == (heights == sorted(heights))


def test_missing_runs_are_counted_and_the_claim_is_not_run() -> None:
    rest = {cell: one for cell, one in OUTCOMES.items() if cell.seed != 2}
    found = verdict(rest, **AT, minus={"weight_decay": 0.0}, at_least=0)
    assert found.state == State.NOT_RUN and found.value is None
    assert found.measured == "2 of its 6 runs are missing."
    others = {cell: one for cell, one in OUTCOMES.items() if cell.weight_decay == 0.1}
    assert verdict(others, **AT, at_least=0).state == State.HOLDS  # the runs of other cells are not needed


def test_a_diverged_run_fails_a_claim_and_says_so() -> None:
    outcomes = OUTCOMES | {cell: outcome(cell, diverged=True) for cell in CELLS if cell.seed == 1}
    found = verdict(outcomes, **AT, at_least=-1)
    assert found.state == State.FAILS and found.measured == "1 of its 3 runs diverged, so there is no value."


@pytest.mark.parametrize("bound", [{"at_least": 0}, {"at_most": 1e9}, {"between": [0, 1e9]}])
def test_a_milestone_that_was_not_reached_fails_any_claim(bound: dict[str, Any]) -> None:
    for table in (
        {"measure": "delay", "where": {"weight_decay": 0.0}},
        {"measure": "delay", "where": {"weight_decay": 0.1}, "seeds": "max"},
        {"measure": "delay", "where": {"weight_decay": 0.1}, "minus": {"weight_decay": 0.0}},
        {"measure": "first_blowup", "where": {"weight_decay": 0.1}},
    ):
        found = verdict(**table, **bound)
        assert found.state == State.FAILS and "never" in found.measured and "no value" in found.measured


@pytest.mark.parametrize("measure", ["test_loss", "test_accuracy"])
def test_a_missing_measurement_fails_a_claim(measure: str) -> None:
    outcomes = {cell: outcome(cell, final={"test_accuracy": math.nan}) for cell in CELLS}
    assert verdict(outcomes, measure=measure, where={"weight_decay": 0.1}, at_least=-1).state == State.FAILS
    assert state(measure="test_loss", at="highest", where={"weight_decay": 0.1}, at_least=-1) == State.FAILS


def test_a_ratio_to_zero_fails() -> None:
    zero = {cell: outcome(cell, final={"test_accuracy": 0.0}) for cell in CELLS}
    assert verdict(zero, **AT, divided_by={"weight_decay": 0.3}, at_least=0).state == State.FAILS


def test_a_ratio_with_negative_values_has_correct_ends() -> None:
    delays = {0.3: (100, 200, 150), 0.1: (-500, 1000, 0)}

    def delayed(cell: RunConfig) -> Outcome:
        delay = delays.get(cell.weight_decay, (1, 1, 1))[cell.seed]
        milestones = {"fit_step": 500, "generalise_step": 500 + delay, "delay": delay}
        return outcome(cell, milestones=OUTCOMES[cell].milestones | {"milestones": milestones})

    outcomes = {cell: delayed(cell) for cell in CELLS}
    claim = {"measure": "delay", "where": {"weight_decay": 0.1}, "divided_by": {"weight_decay": 0.3}, "seeds": "all"}
    assert verdict(outcomes, **claim, at_least=-3).value == (-5, 10)


def test_the_measured_value_is_in_the_sentence() -> None:
    found = verdict(**AT, minus={"weight_decay": 0.0}, at_least=0.4)
    assert found.measured == (
        "Test accuracy at the end: 60.0 % (median of 58.0 %, 60.0 %, 65.0 %), less 10.0 % (median of 8.0 %, 10.0 %, "
        "15.0 %) makes 50.0 %; claimed: at least 40.0 %."
    )
    best = verdict(measure="test_accuracy", along="weight_decay", find="highest_at", between=[0.1, 0.3])
    assert best.measured.startswith("λ of the highest test accuracy at the end: 0.3 (0: 10.0 %, 0.1: 60.0 %, ")
    never = verdict(measure="delay", where={"weight_decay": 0.0}, at_most=3)
    assert "never (median of never, never, never), so there is no value; claimed: at most 3." in never.measured
    assert never.to_json()["value"] == [None, None] and never.to_json()["state"] == "fails"


def test_the_quick_variant_has_its_own_bounds_and_claims() -> None:
    where = {"width": 8, "weight_decay": 0.1}
    tables = [{"says": "So.", **AT, "where": where, "at_least": 0.9, "quick": {"at_least": 0.5}}]
    states = [
        check(read_claims(SCHEMA, tables, CELLS, quick=quick)[0], CELLS, OUTCOMES).state for quick in (False, True)
    ]
    assert states == [State.FAILS, State.HOLDS]
    only = [{"says": "So.", **AT, "where": {"width": 8, "weight_decay": 0.1}, "at_least": 0, "only": "full"}]
    assert len(read_claims(SCHEMA, only, CELLS, quick=False)) == 1 and not read_claims(SCHEMA, only, CELLS, quick=True)


def test_a_list_in_where_allows_any_of_its_values() -> None:
    found = verdict(
        measure="test_accuracy",
        where={"weight_decay": [0.1, 0.3]},
        along="weight_decay",
        find="lowest_at",
        between=[0.1, 0.1],
    )
    assert found.state == State.HOLDS


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"at_leest": 1}, "at_leest is not a key of a claim; did you mean at_least?"),
        ({"measure": "test_acuracy"}, "there is no measure test_acuracy; did you mean test_accuracy?"),
        ({"measure": "fit_stp"}, "did you mean fit_step?"),
        ({"measure": "weight_norm/nowhere"}, "weight_norm/nowhere is not measured in such runs."),
        ({"measure": "fit_step/output"}, "fit_step/output is not measured in such runs."),
        ({"measure": ""}, "there is no measure"),
        ({"measure": "sharpest"}, "there is no measure sharpest"),
        ({"at": "and"}, "there is no at and; did you mean end?"),
        ({"at": 21}, "at 21 is not within the 20 steps of its runs"),
        ({"at": 0}, "at 0 is not within"),
        ({"at": 1.5}, "at must be text or a step"),
        ({"at": True}, "at must be text or a step"),
        ({"measure": "fit_step", "at": "end"}, "fit_step is a measure of the whole run"),
        ({"seeds": "meidan"}, "there is no seeds meidan; did you mean median?"),
        ({"where": {"weight_decy": 0.1}}, "there is no field weight_decy; did you mean weight_decay?"),
        ({"where": {"weight_decay": 0.2, "width": 8}}, "no run with weight_decay 0.2, width 8; it has weight_decay"),
        ({"where": {"weight_decay": -1}}, "weight_decay: -1 is not allowed"),
        ({"where": {"weight_decay": 0.1}}, "it does not fix width"),
        ({"where": 3}, "where must be a table, not 3"),
        ({"minus": {"weight_decay": 0.2}}, "no run with weight_decay 0.2"),
        ({"minus": {"width": 16}, "divided_by": {"width": 16}}, "minus and divided_by clash"),
        ({"along": "weight_decay"}, "along and find must be given together"),
        ({"along": "width", "find": "highest"}, "there is no find highest; did you mean highest_at?"),
        ({"along": "widht", "find": "highest_at"}, "there is no along widht; did you mean width?"),
        ({"along": "weight_decay", "find": "highest_at"}, "only one value of weight_decay"),
        ({"along": "optimizer", "find": "highest_at"}, "optimizer has no numbers, so it cannot be used in along"),
        ({"along": "width", "find": "highest_at", "seeds": "all"}, 'seeds "all" gives no curve'),
        ({"at_least": "a"}, "at_least must be a number, not a"),
        ({"at_least": math.nan}, "at_least must be a number"),
        ({"at_most": 0.1}, "no value is at least 0.5 and at most 0.1"),
        ({"between": [0, 1]}, "bounded by at_least and between"),
        ({"between": [1, 0]}, "between must be two numbers"),
        ({"quick": {"at_last": 3}}, "at_last is not a key of a claim"),
        ({"only": "fast"}, "there is no only fast; give full, quick"),
        ({"says": " "}, "a claim has no sentence"),
        ({"says": None}, "a claim has no sentence"),
    ],
)
def test_an_invalid_claim_gives_a_one_sentence_error(table: dict[str, Any], said: str) -> None:
    right = {"says": "So.", "measure": "test_accuracy", "where": {"weight_decay": 0.1, "width": 8}, "at_least": 0.5}
    read_claims(SCHEMA, [right], CELLS, quick=False)
    with pytest.raises(ConfigError) as error:
        read_claims(SCHEMA, [right | table], CELLS, quick=False)
    assert said in str(error.value) and str(error.value).endswith((".", "?"))
    assert "“So.”" in str(error.value) or "says" in table


@pytest.mark.parametrize("missing", ["measure", "at_least"])
def test_a_claim_without_measure_or_bounds_is_refused(missing: str) -> None:
    table = {"says": "So.", "measure": "test_accuracy", "where": {"weight_decay": 0.1, "width": 8}, "at_least": 0.5}
    del table[missing]
    with pytest.raises(ConfigError, match=r"it has no measure|it is bounded by nothing"):
        read_claims(SCHEMA, [table], CELLS, quick=False)


FORK = Branching.read(SCHEMA, {"at_epoch": 10, "branches": [{}, {"bn_epsilon": 0.5}, {"bn_epsilon": "0.5:3"}]})
BRANCHES: list[Case] = [branch for cell in CELLS for branch in FORK.of(cell)]


def of_branch(name: str | list[str], **table: Any) -> Verdict:
    where = {"width": 8, "weight_decay": 1.0, "branch": name} | table.pop("where", {})
    (claim,) = read_claims(SCHEMA, [{"says": "It is so.", "where": where} | table], [*CELLS, *BRANCHES], quick=False)
    outcomes: dict[Case, Outcome] = {one: outcome(config_of(one), forked_at=forked_at(one)) for one in BRANCHES}
    return check(claim, [*CELLS, *BRANCHES], outcomes)


def test_a_branch_is_measured_after_its_fork() -> None:
    """The fork is at step 10 of 20; its curve, with what its parent measured, rises from 0 and has two blow-ups."""
    assert BASE.steps_per_epoch == 1
    name = "bn_epsilon=0.5:3"
    assert of_branch(name, measure="blowups", at_least=0).value == (1, 1)  # of those at 9 and 13
    assert of_branch(name, measure="first_blowup", at_least=0).value == (13, 13)
    assert of_branch(name, measure="blowup_period", at_least=0).state == State.FAILS
    assert of_branch(name, measure="fit_step", at_least=0).value == (5, 5)
    lowest = of_branch(name, measure="test_accuracy", at="lowest", at_least=0)
    assert lowest.value == pytest.approx((0.2 * 10 / 19,) * 2)
    assert "Lowest test accuracy after the fork" in lowest.measured
    early = of_branch(name, measure="test_accuracy", at=1, at_least=0)
    assert early.value == (0, 0) and "fork" not in early.measured
    assert of_branch(name, measure="test_accuracy", at="highest", minus={"branch": "unchanged"}, at_least=0).value == (
        0,
        0,
    )


def test_without_a_branch_a_claim_is_about_the_runs_that_were_not_forked() -> None:
    (claim,) = read_claims(
        SCHEMA,
        [{"says": "So.", "at_most": 1} | AT | {"where": {"width": 8, "weight_decay": 0.1}}],
        [*CELLS, *BRANCHES],
        quick=False,
    )
    assert claim.cells([*CELLS, *BRANCHES])[0] == [c for c in CELLS if (c.width, c.weight_decay) == (8, 0.1)]


@pytest.mark.parametrize(
    ("branch", "said"),
    [
        ("bn_epsilon=0.6", "no run with .*branch bn_epsilon=0.6; .*none, unchanged, bn_epsilon=0.5, bn_epsilon=0.5:3"),
        (["unchanged", "bn_epsilon=0.5"], "it does not fix branch: give it in where"),
        (0.5, "branch must be text, not 0.5"),
        ([0.5], "branch must be text, not 0.5"),
    ],
    ids=str,
)
def test_the_error_names_a_missing_branch(branch: Any, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        of_branch(branch, measure="blowups", at_least=0)


def test_verdicts_are_immutable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        verdict(**AT, at_least=0).state = State.FAILS  # type: ignore[misc]
