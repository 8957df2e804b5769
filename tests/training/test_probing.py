"""How often the decay gauges are measured, where they may take a part of the time only."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import nn

from wdtui.training import probing
from wdtui.training.probing import Probing


@pytest.mark.parametrize(("share", "measured"), [(None, 20), (0.1, 4), (0.5, 20)])
def test_gauges_keep_to_their_share_of_the_time(
    share: float | None, measured: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look at the clock is one second later than the last, so that the gauges of a point take two."""
    clock = itertools.count(1.0)
    monkeypatch.setattr(probing.time, "perf_counter", lambda: next(clock))
    model = nn.Linear(3, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    probes = Probing(lambda: {"": model}, lambda: [optimizer], share=share)
    found = []
    for step in range(20):
        probes.prepare(step)
        model(torch.ones(3)).sum().backward()
        optimizer.step()
        of_models, of_step = probes.measure(step)
        assert "weight_norm" in of_models
        found.append("rotation" in of_step)
        for _ in range(2):
            next(clock)  # the training between points
    assert found[0] and abs(sum(found) - measured) <= 1
