"""What is measured of any model at a point."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from wdtui.training.probes import running_variances


def test_channels_are_compared_with_the_epsilon_of_their_own_layer() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4, eps=1e-3), nn.BatchNorm1d(4, eps=1e-6), nn.LayerNorm(4))
    for norm in model[:2]:
        norm.running_var.copy_(torch.tensor([1e-7, 1e-4, 1e-4, 1.0]))
    measured = {name: float(value) for name, value in running_variances({"": model}).items()}
    assert measured["running_variance_below_epsilon/0"] == 0.75
    assert measured["running_variance_below_epsilon/1"] == 0.25
    assert measured["running_variance_below_epsilon"] == 0.5
    assert measured["running_variance_min"] == pytest.approx(1e-7)
    assert not any(name.endswith("/2") for name in measured)


def test_a_model_without_running_variances_has_none() -> None:
    assert running_variances({"": nn.Sequential(nn.LayerNorm(4), nn.BatchNorm1d(4, track_running_stats=False))}) == {}
