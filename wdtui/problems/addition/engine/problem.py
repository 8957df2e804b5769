"""How the addition problem is trained, as `wdtui.training.Trains` asks for it."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.ensemble import Ensemble, Member, is_stacked, shape_of
from wdtui.problems.addition.engine.state import state_shapes
from wdtui.problems.addition.engine.training import Training
from wdtui.schema.steering import Plan

__all__ = ["batch_key", "open_batch", "open_session", "state_shapes"]


def open_session(config: RunConfig, device: str = "cpu", plan: Plan = ()) -> Training | Member:
    """The training of one run; where an ensemble trains it, the only member of one."""
    if is_stacked(config, device, plan):
        return Ensemble([config], device, [plan]).sessions[0]
    return Training(config, device, plan)


def batch_key(config: RunConfig, device: str, plan: Plan) -> Hashable:
    """What runs must have in common to be trained as one ensemble. None for a run that is trained alone."""
    return shape_of(config) if is_stacked(config, device, plan) else None


def open_batch(configs: Sequence[RunConfig], device: str, plans: Sequence[Plan]) -> Ensemble:
    """An ensemble of runs with the same `batch_key`."""
    return Ensemble(configs, device, plans)
