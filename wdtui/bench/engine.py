"""Compares the engine with the plain loop, the original code and bare matrix products, interleaved in one process."""

from __future__ import annotations

import functools
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
from wdtui.problems.addition.engine.ensemble import Ensemble, is_stacked
from wdtui.problems.addition.engine.graphs import graphs_on
from wdtui.problems.addition.engine.tasks import make_task
from wdtui.problems.addition.engine.training import Training
from wdtui.runs.worker import sentence

PLAIN = "plain nn.Module + AdamW(fused)"
RECORDED = "the plain loop, a CUDA graph per epoch"
COMPILED = "the plain loop, torch.compile"
ORIGINAL = "the original: Lightning + DataLoader"
MEASURED, UNMEASURED = "wdtui, all metrics", "wdtui, no metrics"
LIMIT = "the matrix products alone"
WARM_UPS = 3
"""Epochs before the first measured one. On CUDA the second epoch records the graphs."""

Epoch = Callable[[], object]
Contestant = tuple[int, Callable[[], Epoch]]
"""The number of models, and what makes the function that runs an epoch of them."""


def compare(width: int, threads: int, rounds: int, models: Sequence[int] = (), device: str = "cpu") -> dict[str, Any]:
    """Median model-steps/s of each contestant over `rounds` epochs, at one width and otherwise the article's config.

    Machines are shared and noisy, so the contestants take turns and ratios are computed within a turn. `models` are the
    batch sizes to measure, with all metrics. A contestant that cannot run here has a sentence instead of numbers.
    """
    torch.set_num_threads(threads)
    config = RunConfig(width=width, epochs=10 * rounds + 100)
    contestants = _contestants(config, models, device)
    failures: dict[str, str] = {}
    epochs: dict[str, Epoch] = {}
    for name, (_, make) in contestants.items():
        try:
            run_epoch = make()
            for _ in range(WARM_UPS):
                timed(run_epoch, device)
            epochs[name] = run_epoch
        except Exception as error:  # a compiler or a driver can fail in any way
            failures[name] = sentence(error)
    seconds: dict[str, list[float]] = {name: [] for name in epochs}  # for one model-epoch
    rng = random.Random(0)
    for _ in range(rounds):
        for name in rng.sample(list(epochs), len(epochs)):  # the previous contestant affects the caches
            try:
                seconds[name].append(timed(epochs[name], device) / contestants[name][0])
            except Exception as error:
                failures[name] = sentence(error)
                del epochs[name], seconds[name]
    results = {
        name: {"failure": failures[name]} if name in failures else _result(config, count, seconds[name], seconds)
        for name, (count, _) in contestants.items()
    }
    both = MEASURED in seconds and UNMEASURED in seconds
    return {
        "width": width,
        "contestants": results,
        "metrics_cost": median_ratio(seconds[MEASURED], seconds[UNMEASURED]) - 1 if both else None,
        "note": why_not(device),
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


def opened(config: RunConfig, device: str) -> Training | Ensemble:
    """The training of one run, by the engine that trains it on this device."""
    return Ensemble([config], device) if is_stacked(config, device, ()) else Training(config, device)


def same_epoch(training: Training | Ensemble) -> Epoch:
    """Takes the steps of one epoch, the same in each call, and measures no point after them."""

    def run_epoch() -> None:
        training.steps.batch = 0
        if isinstance(training, Ensemble):
            training.run_epoch()
            training.look_at_losses()
        else:
            training.steps.run_epoch()

    return run_epoch


def plain_epoch(config: RunConfig, device: str, *, capturable: bool = False, compiled: bool = False) -> Epoch:
    """An epoch of the plain loop. `compiled` runs the network as torch.compile's mode reduce-overhead makes it."""
    task = make_task(config, device)
    network = plain_network(config).to(device)
    optimizer = plain_optimizer(config, network, capturable=capturable)
    called = torch.compile(network, mode="reduce-overhead") if compiled else network
    return lambda: plain_steps(config, called, optimizer, task.train)


def recorded(run_epoch: Epoch, device: str) -> Epoch:
    """The same as one CUDA graph. On a device without graphs, the same."""
    graphs = graphs_on(device)
    if graphs is None:
        return run_epoch

    def replay() -> None:
        with graphs.stream():
            graphs.run("epoch", run_epoch)

    return replay


def batch_epoch(config: RunConfig, count: int, device: str) -> Epoch:
    """An epoch of `count` models that differ in λ and seed, trained as a batch, with all metrics."""
    configs = [config.replace(seed=seed, weight_decay=0.01 * (seed + 1)) for seed in range(count)]
    points = Ensemble(configs, device).points()
    return lambda: [next(points) for _ in configs]


def _contestants(config: RunConfig, models: Sequence[int], device: str) -> dict[str, Contestant]:
    on_cuda = device.startswith("cuda")
    contestants: dict[str, Contestant] = {
        MEASURED: (1, lambda: opened(config, device).points().__next__),
        UNMEASURED: (1, lambda: _unmeasured(opened(config, device))),
        PLAIN: (1, lambda: plain_epoch(config, device)),
    }
    if on_cuda:
        contestants[RECORDED] = 1, lambda: recorded(plain_epoch(config, device, capturable=True), device)
        contestants[COMPILED] = 1, lambda: plain_epoch(config, device, compiled=True)
    contestants[LIMIT] = 1, lambda: matrix_products(config, 1, device)
    if not why_not(device):
        contestants[ORIGINAL] = 1, lambda: OriginalLoop(config).run_epoch
    for count in models:
        contestants[f"wdtui, {count} models side by side"] = (
            count,
            functools.partial(batch_epoch, config, count, device),
        )
        if on_cuda and count > 1:  # there a product of many models is much faster than many products
            contestants[_limit(count)] = count, functools.partial(matrix_products, config, count, device)
    return contestants


def _unmeasured(training: Training | Ensemble) -> Epoch:
    no_losses = torch.zeros(1)
    training.record.sum_window = lambda targets, epsilon: no_losses  # type: ignore[method-assign]
    return same_epoch(training)


def _limit(count: int) -> str:
    return LIMIT if count == 1 else f"{LIMIT}, {count} models"


def matrix_products(config: RunConfig, count: int, device: str) -> Epoch:
    """An epoch of only the matrix products of the steps of `count` models, at their shapes: a limit for the engine."""
    widths = [config.inputs, *[config.width] * (2 * config.blocks + 1), config.bits]
    product, models = (torch.mm, ()) if count == 1 else (torch.bmm, (count,))
    layers = []
    for index, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        x, y = (torch.randn(*models, config.batch_size, size, device=device) for size in (inputs, outputs))
        w = torch.randn(*models, outputs, inputs, device=device)
        layers.append((index > 0, x, y, w, torch.empty_like(x), torch.empty_like(y), torch.empty_like(w)))

    @torch.inference_mode()
    def run_epoch() -> None:
        for _ in range(config.steps_per_epoch):
            for has_input_gradient, x, y, w, dx, out, dw in layers:
                product(x, w.mT, out=out)
                product(y.mT, x, out=dw)
                if has_input_gradient:
                    product(y, w, out=dx)

    return recorded(run_epoch, device)


def timed(run_epoch: Epoch, device: str) -> float:
    """The seconds of an epoch until the device has done it, or what the contestant itself measured."""
    started = time.perf_counter()
    own = run_epoch()
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()
    return own if isinstance(own, float) else time.perf_counter() - started


def _result(config: RunConfig, count: int, times: list[float], seconds: dict[str, list[float]]) -> dict[str, Any]:
    """The result of a contestant. Its share is that of the limit for as many models, or else of that for one."""
    median = statistics.median(times)
    quartiles = statistics.quantiles(times, n=4)
    limit = _limit(count) if _limit(count) in seconds else LIMIT
    return {
        "steps_per_second": config.steps_per_epoch / median,
        "spread": (quartiles[2] - quartiles[0]) / median,
        "ratio": median_ratio(seconds[PLAIN], times) if PLAIN in seconds else None,
        "share_of_limit": median_ratio(seconds[limit], times) if limit in seconds else None,
    }
