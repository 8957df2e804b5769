"""Measures what the decay gauges of the addition problem cost, with a point after each epoch.

    python -m wdtui.bench.gauges [--widths 32 256] [--models 4] [--rounds 20] [--threads 1]

Prints one JSON object. In each round an epoch is trained and the gauges of its last step are measured, for one run and
for a batch of `--models` runs in turns. Both are processor time, so that others on the machine hardly count. `share` is
the median over the rounds of the gauges' time, relative to the epoch's.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from typing import Any

import torch

from wdtui.bench.engine import machine, median_ratio
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.ensemble import Ensemble
from wdtui.problems.addition.engine.measure import measure_last_step
from wdtui.problems.addition.engine.training import Training
from wdtui.problems.addition.sizes import layer_names
from wdtui.training.gauges import lengths

_WARM_UPS = 2


def cost(width: int, models: int, rounds: int) -> dict[str, Any]:
    """Milliseconds of processor time of an epoch and of its gauges, and the share of the latter."""
    configs = [RunConfig(width=width, seed=seed, epochs=rounds + _WARM_UPS) for seed in range(models)]
    trainings: dict[str, Training | Ensemble] = {
        "one run": Training(configs[0]),
        f"a batch of {models}": Ensemble(configs),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in trainings}
    for _ in range(rounds + _WARM_UPS):
        for name, training in trainings.items():
            taken[name].append(_epoch(training))
    return {name: _result(pairs[_WARM_UPS:]) for name, pairs in taken.items()} | {"width": width}


@torch.inference_mode()
def _epoch(training: Training | Ensemble) -> tuple[float, float]:
    began = time.process_time()
    if isinstance(training, Ensemble):
        training.run_epoch()
    else:
        training.steps.run_epoch()
    trained = time.process_time()
    network, layers = training.network, layer_names(training.config, "linear")
    norms = lengths([network.named[f"{layer}.weight"] for layer in layers], network.parameters.dim() - 1)
    before = time.process_time()
    measure_last_step(training, training.steps.before_last_step, norms)
    after = time.process_time()
    training.steps.end_epoch()
    return trained - began, after - before


def _result(pairs: list[tuple[float, float]]) -> dict[str, float]:
    epochs, gauges = zip(*pairs, strict=True)
    return {
        "milliseconds_of_an_epoch": 1000 * statistics.median(epochs),
        "milliseconds_of_the_gauges": 1000 * statistics.median(gauges),
        "share": median_ratio(gauges, epochs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--widths", type=int, nargs="+", default=[32, 256], help="widths of the network")
    parser.add_argument("--models", type=int, default=4, help="runs of the batch")
    parser.add_argument("--rounds", type=int, default=20, help="epochs to measure over")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    costs = [cost(width, given.models, given.rounds) for width in given.widths]
    print(json.dumps({"machine": machine(given.threads), "costs": costs}, indent=2))


if __name__ == "__main__":
    main()
