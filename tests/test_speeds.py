"""The speeds of a run: the same two under the same names wherever they are told."""

from __future__ import annotations

import numpy as np
import pytest

from wdtui.analysis.summary import speeds
from wdtui.schema.curves import Curves


def curves(*measured: float) -> Curves:
    steps = np.arange(1, len(measured) + 1) * 100
    return Curves(("steps_per_second",), steps, steps, np.array(measured).reshape(-1, 1))


@pytest.mark.parametrize(
    ("measured", "batched", "said"),
    [
        ((100.0, 300.0), 1, "150 steps/s on average, 300 at the last point"),
        ((100.0, 300.0), 12, "150 steps/s on average, 300 at the last point, in a batch of 12 runs"),
        ((200.0, 200.0), None, "200 steps/s"),
        ((np.nan,), 1, ""),
        ((), None, ""),
    ],
)
def test_the_average_and_the_newest_speed_are_labelled(
    measured: tuple[float, ...], batched: int | None, said: str
) -> None:
    assert speeds(curves(*measured), batched) == said
