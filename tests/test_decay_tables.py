"""The tables of docs/gauges.md, of runs whose values can be counted by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from wdtui.bench import decay
from wdtui.bench.gauges import cost
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Curves
from wdtui.store.store import Store

TOOTH = 60


def crashing(seed: int, *, rotation: float) -> decay.Run:
    """Four teeth of 60 epochs, at whose ends `rotation` is that of the first layer, by turns, and else 1."""
    config = RunConfig(width=8, seed=seed, epochs=4 * TOOTH, bn_epsilon=1e-5)
    epochs = np.arange(1, 4 * TOOTH + 1)
    values = np.ones((len(epochs), len(config.columns)))
    at = {name: column for column, name in enumerate(config.columns)}
    values[:, at["time_constant"]] = config.steps / 3
    for tooth in (1, 2, 3):
        begin = tooth * TOOTH
        values[begin, at["train_accuracy"]] = 0.5
        values[begin - 4 : begin, at["rotation/block1.linear1"]] = rotation if tooth > 1 else 1.0
    values[:, at["rotation_of_equilibrium/block1.linear2"]] = seed
    return config, Curves(config.columns, epochs * config.steps_per_epoch, epochs, values)


def cells(table: list[str], start: str) -> list[str]:
    (row,) = [row for row in table if row.startswith(start)]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_where_layers_stand_is_the_mean_of_the_last_epochs_over_seeds() -> None:
    runs = [crashing(seed, rotation=1.0) for seed in (1, 2, 4)]
    table = list(decay.standing(runs))
    row = cells(table, "| 1e-5 | 0.1 | 3 | 3.0 | `rotation_of_equilibrium`")
    layers = cells(table, "| ε")
    assert row[layers.index("block1.linear2")] == "2 (1…4)"
    assert row[layers.index("block1.linear1")] == "1 (1…1)"
    norms = cells(table, "| 1e-5 | 0.1 | 3 | 3.0 | `bn_below_epsilon`")
    assert norms[layers.index("input")] == "–" and norms[layers.index("block2.linear2")] == "1 (1…1)"


def test_rises_are_counted_before_blow_ups_and_elsewhere() -> None:
    table = list(decay.rises([crashing(7, rotation=1.4), crashing(8, rotation=3.0)]))
    assert cells(table, "| `rotation/block1.linear1` | 7")[2:5] == ["1.40", "2 of 3", f"0 of {2 * 20}"]
    assert cells(table, "| `rotation/block1.linear1` | 8")[2:5] == ["3.00", "2 of 3", f"0 of {2 * 20}"]
    assert cells(table, "| `train_loss` | 7")[2:] == ["1.00", "0 of 3", "0 of 40", "1.00", "0 of 3", "0 of 40"]


def test_values_before_blow_ups_are_medians_over_all_of_them() -> None:
    table = list(decay.approach([crashing(7, rotation=1.4)]))
    assert cells(table, "| median of 3 blow-ups")[1:] == [str(before) for before in decay.BEFORE]
    assert cells(table, "| `train_accuracy`")[1:] == ["1"] * (len(decay.BEFORE) - 1) + ["0.5"]


def test_levels_that_are_never_other_separate_nothing() -> None:
    table = list(decay.rankings([crashing(7, rotation=1.0)]))
    assert cells(table, "| `decay_share/output`")[1:] == ["0.50", "0.50"]
    assert float(cells(table, "| steps since the last blow-up")[1]) > 0.9


def test_how_layers_deviate_has_a_value_of_each_seed() -> None:
    names = [
        name.format(layer)
        for layer in ("first", "second")
        for name in ("rotation_of_equilibrium/{}.0", "update_correlation/{}", "running_variance_median/{}.1",
                     "scale_invariance/{}.0")
    ]  # fmt: skip
    steps = np.arange(1, 7)
    setting = {"learning_rate": 1e-3, "weight_decay": 1.0, "bn_epsilon": 1e-5}
    runs = [(setting | {"seed": seed}, Curves(names, steps, steps, np.full((6, 8), seed + 0.25))) for seed in (2, 0, 1)]
    assert cells(list(decay.deviations(runs)), "| 0.001 | 1 | 1e-5 | second")[4:] == ["0.25, 1.25, 2.25"] * 4


def test_a_store_without_such_runs_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Store(tmp_path).close()
    monkeypatch.setattr("sys.argv", ["decay", str(tmp_path)])
    with pytest.raises(SystemExit):
        decay.main()


def test_the_cost_of_the_gauges_is_a_share_of_an_epoch() -> None:
    costs = cost(width=16, models=2, rounds=2)
    for which in ("one run", "a batch of 2"):
        assert 0 < costs[which]["share"] < math.inf and costs[which]["milliseconds_of_an_epoch"] > 0
