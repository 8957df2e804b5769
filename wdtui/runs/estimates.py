"""How long training will take here, from what the store knows of earlier runs."""

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

_LOOKED_AT = 200
"""How many of the newest runs are asked for their speed."""


def expected_speed(
    config: Config, runs: Iterable[RunRecord], *, device: str = "auto", threads: int | None = None
) -> float:
    """Expected steps/s of a run that is trained alone, or a rough guess for one CPU.

    It is the median of earlier runs, newest first, of the same shape that were trained alone by the same engine, on
    the same kind of device with as many threads. Where device or threads are not given, they are the newest one's.
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
) -> float:
    """How long it takes to train configs for so many steps each, several at once, in batches where they can be."""
    runs = list(islice(runs, _LOOKED_AT))
    places = workers or max((os.cpu_count() or 1) // (threads or 1), 1)
    alike: dict[tuple[Any, ...], list[tuple[Config, int]]] = defaultdict(list)
    for config, steps in work:
        alike[(config.schema().code, *_shape(config), _engine(config))].append((config, steps))
    total, batches = 0.0, 0
    for members in alike.values():
        config, evidence = members[0][0], _alike(members[0][0], runs, device, threads)
        kind = _kind(evidence[0].device if evidence else "cpu" if device == "auto" else device)
        batch = _batch(config, kind, len(members), places)
        total += sum(steps for _, steps in members) / _batch_speed(config, evidence, batch)
        batches += math.ceil(len(members) / batch)
    return total / max(min(places, batches), 1)


def _batch(config: Config, kind: str, runs: int, places: int) -> int:
    """How many of so many runs of a shape share one batch; 1 where each is trained alone."""
    return group_size(config.layer_width, kind, runs, places) if _stacked(config, kind) else 1


def _batch_speed(config: Config, evidence: Sequence[RunRecord], batch: int) -> float:
    """Expected steps/s of all runs of a batch together, by the batches of the nearest size."""
    found = [run for run in evidence if run.batched and _as_ensemble(run) == _stacked(config, run.device)]
    if not found:
        found = [run for run in evidence if run.batched == 1]
    if not found:
        return _rough_speed(config)
    nearest = min((run.batched or 1 for run in found), key=lambda size: abs(math.log(size / batch)))
    return nearest * statistics.median(_speeds([run for run in found if run.batched == nearest]))


def _alike(config: Config, runs: Iterable[RunRecord], device: str, threads: int | None) -> list[RunRecord]:
    """The newest runs of a shape on one kind of device with one number of threads: those given, or the newest one's."""
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
    return [run for run in found if (_kind(run.device), run.threads) == (_kind(found[0].device), found[0].threads)]


def _speeds(runs: Iterable[RunRecord]) -> list[float]:
    return [run.speed for run in runs if run.speed]


def _kind(device: str) -> str:
    return device.partition(":")[0]


def _stacked(config: Config, device: str) -> bool:
    """Whether an ensemble trains such a run, be it the only one in it; in doubt as `lab.ensemble` decides it."""
    return _is_stacked(_engine(config), device)


def _as_ensemble(run: RunRecord) -> bool:
    return _is_stacked(run.values.get("engine"), run.device)


def _is_stacked(engine: Any, device: str) -> bool:
    return engine == "ensemble" or (engine == "auto" and _kind(device) == "cuda")


def _engine(config: Config) -> Any:
    """Of a problem that leaves no choice of engine, none: its runs are trained alone."""
    return getattr(config, "engine", None)


def _shape(config: Config) -> tuple[Any, ...]:
    return tuple(getattr(config, name) for name in config.paced_by)


def _rough_speed(config: Config) -> float:
    """Fits what two CPU cores were measured at: 4,500 steps/s at width 32, 3,300 at 64, 750 at 256.

    For the transformer at width 128 it is too high by half: 12 steps/s were measured, 27 with 16 bits.
    """
    return 1 / (2e-4 + config.step_flops / 1e11)
