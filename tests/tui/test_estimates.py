"""What the form says of a run before it starts."""

from __future__ import annotations

import pytest
from tui_tools import Recorded

from wdtui.problems.addition.config import RunConfig
from wdtui.runs.estimates import expected_speed
from wdtui.tui.estimates import arithmetic


def test_the_estimate_of_a_transformer_step_counts_all_positions() -> None:
    residual = RunConfig(width=128)
    transformer = residual.replace(architecture="transformer")
    ratio = transformer.parameters * transformer.bits / residual.parameters
    assert expected_speed(residual, []) / expected_speed(transformer, []) == pytest.approx(ratio, rel=0.7)
    assert expected_speed(transformer.replace(bits=16), []) == pytest.approx(
        2 * expected_speed(transformer, []), rel=0.1
    )
    assert "401,409 parameters" in arithmetic(transformer, [])


def test_speeds_of_another_architecture_are_not_used(recorded: Recorded) -> None:
    recorded.add("epsilon-1e-2", points=5)
    runs = recorded.store.runs()
    config = runs[0].config
    assert expected_speed(config, runs) == runs[0].speed
    assert expected_speed(config.replace(architecture="transformer"), runs) == expected_speed(
        config.replace(architecture="transformer"), []
    )
