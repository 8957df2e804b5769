"""Compares the engine with the plain loop, the original code and bare matrix products, interleaved in one process."""

from __future__ import annotations

import itertools
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from wdtui.bench.original import OriginalLoop, why_not
from wdtui.bench.plain import plain_network, plain_optimizer, plain_steps
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.ensemble import Ensemble
from wdtui.problems.addition.engine.tasks import make_task
from wdtui.problems.addition.engine.training import Training

PLAIN = "plain nn.Module + AdamW(fused)"
ORIGINAL = "the original: Lightning + DataLoader"
MEASURED, UNMEASURED = "wdtui, all metrics", "wdtui, no metrics"
LIMIT = "the matrix products alone"

Epoch = Callable[[], object]


def compare(width: int, threads: int, rounds: int, models: Sequence[int] = (), device: str = "cpu") -> dict[str, Any]:
    """Median model-steps/s of each contestant over `rounds` epochs, at one width and otherwise the article's config.

    Machines are shared and noisy, so the contestants take turns and ratios are computed within a turn. `models` are the
    batch sizes to measure, with all metrics.
    """
    torch.set_num_threads(threads)
    config = RunConfig(width=width, epochs=10 * rounds + 100)
    contestants = _contestants(config, device) | {
        f"wdtui, {count} models side by side": (count, _ensemble(config, count, device)) for count in models
    }
    for _, run_epoch in contestants.values():
        run_epoch()
    seconds: dict[str, list[float]] = {name: [] for name in contestants}  # for one model-epoch
    rng = random.Random(0)
    for _ in range(rounds):
        for name in rng.sample(list(contestants), len(contestants)):  # the previous contestant affects the caches
            count, run_epoch = contestants[name]
            seconds[name].append(_timed(run_epoch, device) / count)
    return {
        "width": width,
        "contestants": {name: _result(config, times, seconds) for name, times in seconds.items()},
        "metrics_cost": median_ratio(seconds[MEASURED], seconds[UNMEASURED]) - 1,
        "note": why_not(),
    }


def machine(threads: int, device: str = "cpu") -> dict[str, Any]:
    """The hardware and software of the measurement."""
    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else device
    return {
        "device": name,
        "processor": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "threads": threads,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median of the ratios within each turn."""
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


def _contestants(config: RunConfig, device: str) -> dict[str, tuple[int, Epoch]]:
    """The number of models of each contestant, and a function that runs one epoch."""
    measured, unmeasured = Training(config, device).points(), Training(config, device)
    no_losses = torch.zeros(1)
    unmeasured.record.sum_window = lambda targets, epsilon: no_losses  # type: ignore[method-assign]
    task = make_task(config, device)
    network = plain_network(config).to(device)
    optimizer = plain_optimizer(config, network)

    def without_metrics() -> None:
        unmeasured.steps.batch = 0
        unmeasured.steps.run_epoch()

    contestants: dict[str, tuple[int, Epoch]] = {
        MEASURED: (1, lambda: next(measured)),
        UNMEASURED: (1, without_metrics),
        PLAIN: (1, lambda: plain_steps(config, network, optimizer, task.train)),
        LIMIT: (1, _matrix_products(config, device)),
    }
    if not why_not():
        contestants[ORIGINAL] = 1, OriginalLoop(config).run_epoch
    return contestants


def _ensemble(config: RunConfig, count: int, device: str) -> Epoch:
    """An epoch of `count` models that differ in λ and seed, trained as a batch."""
    configs = [config.replace(seed=seed, weight_decay=0.01 * (seed + 1)) for seed in range(count)]
    points = Ensemble(configs, device).points()
    return lambda: [next(points) for _ in configs]


def _matrix_products(config: RunConfig, device: str) -> Epoch:
    """An epoch of only the matrix products of a step, at its shapes: an upper limit for the engine."""
    widths = [config.inputs, *[config.width] * (2 * config.blocks + 1), config.bits]
    layers = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        x, y = (torch.randn(config.batch_size, size, device=device) for size in (inputs, outputs))
        w = torch.randn(outputs, inputs, device=device)
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


def _timed(run_epoch: Epoch, device: str) -> float:
    """The seconds of an epoch, measured by the contestant itself if it returns them."""
    started = time.perf_counter()
    own = run_epoch()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    return own if isinstance(own, float) else time.perf_counter() - started


def _result(config: RunConfig, times: list[float], seconds: dict[str, list[float]]) -> dict[str, float]:
    median = statistics.median(times)
    quartiles = statistics.quantiles(times, n=4)
    return {
        "steps_per_second": config.steps_per_epoch / median,
        "spread": (quartiles[2] - quartiles[0]) / median,
        "ratio": median_ratio(seconds[PLAIN], times),
        "share_of_limit": median_ratio(seconds[LIMIT], times),
    }
