"""The engine beside the plain loop and the matrix products alone, interleaved epoch by epoch in one process."""

from __future__ import annotations

import itertools
import os
import platform
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from wdtui.bench.plain import plain_network, plain_optimizer, plain_steps
from wdtui.config import RunConfig
from wdtui.lab.training import Training

_PLAIN = "plain nn.Module + AdamW(fused)"


def compare(width: int, threads: int, rounds: int) -> dict[str, Any]:
    """Median steps/s of each contestant over `rounds` epochs, at one width with all else as in the article.

    Machines are shared and noisy: so the contestants take turns, and what counts is the median ratio within a turn.
    """
    torch.set_num_threads(threads)
    config = RunConfig(width=width, epochs=10 * rounds + 100)
    contestants = _contestants(config)
    for run_epoch in contestants.values():
        run_epoch()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    rng = random.Random(0)
    for _ in range(rounds):
        for name in rng.sample(list(contestants), len(contestants)):  # whoever came before leaves caches behind
            started = time.perf_counter()
            contestants[name]()
            seconds[name].append(time.perf_counter() - started)
    return {
        "width": width,
        "contestants": {name: _result(config, times, seconds[_PLAIN]) for name, times in seconds.items()},
        "metrics_cost": _median_ratio(seconds["wdtui, all metrics"], seconds["wdtui, no metrics"]) - 1,
    }


def machine(threads: int) -> dict[str, Any]:
    """What the numbers were measured on."""
    return {
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def _contestants(config: RunConfig) -> dict[str, Callable[[], object]]:
    """Functions that each run one epoch."""
    measured, unmeasured = Training(config).points(), Training(config)
    no_losses = torch.zeros(1)
    unmeasured.record.sum_window = lambda targets, epsilon: no_losses
    network = plain_network(config)
    optimizer = plain_optimizer(config, network)

    def without_metrics() -> None:
        unmeasured.batch = 0
        unmeasured.run_epoch()

    return {
        "wdtui, all metrics": lambda: next(measured),
        "wdtui, no metrics": without_metrics,
        _PLAIN: lambda: plain_steps(config, network, optimizer, unmeasured.task.train),
        "the matrix products alone": _matrix_products(config),
    }


def _matrix_products(config: RunConfig) -> Callable[[], None]:
    """An epoch of just the matrix products of a step at its shapes: the limit of this way of training."""
    widths = [config.inputs, *[config.width] * (2 * config.blocks + 1), config.bits]
    layers = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        x, y = torch.randn(config.batch_size, inputs), torch.randn(config.batch_size, outputs)
        w = torch.randn(outputs, inputs)
        layers.append((index > 0, x, y, w, torch.empty_like(x), torch.empty_like(y), torch.empty_like(w)))

    @torch.inference_mode()
    def run_epoch() -> None:
        for _ in range(config.steps_per_epoch):
            for has_input_gradient, x, y, w, dx, out, dw in layers:
                torch.mm(x, w.t(), out=out)
                torch.mm(y.t(), x, out=dw)
                if has_input_gradient:
                    torch.mm(y, w, out=dx)

    return run_epoch


def _result(config: RunConfig, seconds: list[float], plain: list[float]) -> dict[str, float]:
    median = statistics.median(seconds)
    quartiles = statistics.quantiles(seconds, n=4)
    return {
        "steps_per_second": config.steps_per_epoch / median,
        "spread": (quartiles[2] - quartiles[0]) / median,
        "ratio": _median_ratio(plain, seconds),
    }


def _median_ratio(numerators: list[float], denominators: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))
