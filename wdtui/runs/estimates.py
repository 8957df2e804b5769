"""How long training will take, from the speeds of earlier runs in the store."""

from __future__ import annotations

import math
import os
import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from wdtui.runs.placement import group_size
from wdtui.schema.config import Config
from wdtui.store.records import RunRecord
from wdtui.support import machine

_LOOKED_AT = 200
"""How many of the newest runs are searched for speeds."""


def expected_speed(
    config: Config, runs: Iterable[RunRecord], *, device: str = "auto", threads: int | None = None
) -> float:
    """Expected steps/s of a run that trains alone, or a rough guess for one CPU.

    It is the median over earlier runs of the same shape that trained alone, with the same engine, on the same hardware:
    kind of device, GPU model, TF32, threads. Where device or threads are not given, the newest run decides. `runs` are
    newest first.
    """
    alike = _alike(config, runs, device, threads)
    alone = [run for run in alike if run.batched == 1 and _as_ensemble(run) == _stacked(config, run.device)]
    return statistics.median(_speeds(alone)) if alone else _rough_speed(config)


def expected_seconds(
    work: Iterable[tuple[Config, int]],
    runs: Iterable[RunRecord],
    *,
    workers: int | None,
    threads: int | None,
    device: str = "auto",
    otherwise: float = math.nan,
) -> float:
    """Seconds to train each config of `work` for its steps, several at once, as batches where that is possible.

    `otherwise` are the steps/s of a run of which nothing is known.
    """
    runs = list(islice(runs, _LOOKED_AT))
    alike: dict[tuple[Any, ...], list[tuple[Config, int]]] = defaultdict(list)
    for config, steps in work:
        alike[(config.schema().code, *_shape(config), _engine(config))].append((config, steps))
    total, batches, places = 0.0, 0, 1
    for members in alike.values():
        config, evidence = members[0][0], _alike(members[0][0], runs, device, threads)
        kind = _kind(evidence[0].device if evidence else "cpu" if device == "auto" else device)
        places = _places(device, kind, workers, threads)
        batch = _batch(config, kind, len(members), places)
        speed = _batch_speed(config, evidence, batch)
        total += sum(steps for _, steps in members) / (otherwise if math.isnan(speed) else speed)
        batches += math.ceil(len(members) / batch)
    return total / max(min(places, batches), 1)


def _places(device: str, kind: str, workers: int | None, threads: int | None) -> int:
    """How many processes train at once: one for each GPU that a device stands for, or one for each core it needs."""
    if kind == "cpu":
        return workers or max((os.cpu_count() or 1) // (threads or 1), 1)
    places = len(machine.gpus()) if kind == "cuda" and device in ("auto", "cuda") else 1
    return max(1, min(places, workers or places))


def _batch(config: Config, kind: str, runs: int, places: int) -> int:
    """How many of `runs` runs of a shape share one batch; 1 if each trains alone."""
    return group_size(config.layer_width, kind, runs, places) if _stacked(config, kind) else 1


def _batch_speed(config: Config, evidence: Sequence[RunRecord], batch: int) -> float:
    """Expected steps/s of all runs of a batch together, from the batches of the nearest size."""
    found = [run for run in evidence if run.batched and _as_ensemble(run) == _stacked(config, run.device)]
    if not found:
        found = [run for run in evidence if run.batched == 1]
    if not found:
        return _rough_speed(config)
    nearest = min((run.batched or 1 for run in found), key=lambda size: abs(math.log(size / batch)))
    return nearest * statistics.median(_speeds([run for run in found if run.batched == nearest]))


def _alike(config: Config, runs: Iterable[RunRecord], device: str, threads: int | None) -> list[RunRecord]:
    """The newest runs of a shape on one hardware: the device and the threads given, or else those of the newest run."""
    shape = list(_shape(config))
    found = [
        run
        for run in islice(runs, _LOOKED_AT)
        if run.speed
        and (device == "auto" or _kind(run.device) == _kind(device))
        and (threads is None or run.threads == threads)
        and run.schema.code == config.schema().code
        and [run.values.get(name) for name in config.paced_by] == shape
    ]
    return [run for run in found if _hardware(run) == _hardware(found[0])]


def _hardware(run: RunRecord) -> tuple[Any, ...]:
    """What decides the speed of equal runs. A run from before the GPU was stored is comparable only with its like."""
    return _kind(run.device), run.versions.get("gpu"), run.versions.get("tf32"), run.threads


def _speeds(runs: Iterable[RunRecord]) -> list[float]:
    return [run.speed for run in runs if run.speed]


def _kind(device: str) -> str:
    return device.partition(":")[0]


def _stacked(config: Config, device: str) -> bool:
    """Whether the batched engine trains such a run, even alone; for `auto` as the engine itself decides."""
    return _is_stacked(_engine(config), device)


def _as_ensemble(run: RunRecord) -> bool:
    return _is_stacked(run.values.get("engine"), run.device)


def _is_stacked(engine: Any, device: str) -> bool:
    return engine == "ensemble" or (engine == "auto" and _kind(device) == "cuda")


def _engine(config: Config) -> Any:
    """The engine that a config asks for; None for a problem that has no choice, whose runs train alone."""
    return getattr(config, "engine", None)


def _shape(config: Config) -> tuple[Any, ...]:
    return tuple(getattr(config, name) for name in config.paced_by)


def _rough_speed(config: Config) -> float:
    """Fitted to measurements on two CPU cores: 4,500 steps/s at width 32, 3,300 at 64, 750 at 256.

    It is half too high for the transformer at width 128, where 12 steps/s were measured, and 27 with 16 bits. NaN where
    nothing is known of a step.
    """
    if not config.step_flops:
        return math.nan
    return 1 / (2e-4 + config.step_flops / 1e11)
