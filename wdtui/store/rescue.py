"""Rescue files: the measurements of a run whose store has disappeared, as JSON lines.

The first line describes the run: its config, its plan and the names of its values. Each further line is a point:
`{"step": …, "epoch": …, "values": […]}`. A value that is not finite is written as "nan", "inf" or "-inf".
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import time
from array import array
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wdtui.analysis.milestones import milestones
from wdtui.problems import registry
from wdtui.problems.declared import DeclaredConfig
from wdtui.schema.config import Config
from wdtui.schema.curves import Curves, Point
from wdtui.schema.hyperparameters import ConfigError
from wdtui.schema.schema import Schema
from wdtui.schema.steering import Plan, from_json
from wdtui.store.records import RunRecord, Status, StoreError
from wdtui.support.files import check_regular
from wdtui.support.outputs import writing
from wdtui.support.text import clean

if TYPE_CHECKING:
    from wdtui.store.store import Store

_KIND = "wdtui rescue"
_MOST_BYTES = 10_000_000_000
"""Far more than a real run needs: a million points take about one gigabyte."""


class Measured:
    """The points that a process has measured of one run, in eight bytes per value."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = tuple(columns)
        """The names of the values of a point."""
        self._steps, self._values = array("q"), array("d")
        """Step and epoch of each point, and its values, flat."""

    def add(self, point: Point) -> None:
        """Add the next point."""
        self._steps.extend((point.step, point.epoch))
        self._values.extend(point.values)

    def widen(self, columns: Sequence[str]) -> None:
        """Have the values of each point be of other columns, NaN where there is none."""
        points = [point.under(self.columns, columns) for point in self.points()]
        self.columns = tuple(columns)
        self._steps, self._values = array("q"), array("d")
        for point in points:
            self.add(point)

    def forget_after(self, step: int) -> None:
        """Drop the points after a step, which will be measured again."""
        steps = self._steps[::2]
        kept = sum(1 for earlier in steps if earlier <= step)
        width = len(self._values) // len(steps) if len(steps) else 0
        del self._steps[2 * kept :], self._values[width * kept :]

    def __len__(self) -> int:
        return len(self._steps) // 2

    def points(self) -> Iterator[Point]:
        """All of them, in order."""
        width = len(self._values) // max(len(self), 1)
        for at in range(len(self)):
            step, epoch = self._steps[2 * at : 2 * at + 2]
            yield Point(step, epoch, tuple(self._values[width * at : width * (at + 1)]))


@dataclasses.dataclass(frozen=True)
class Rescued:
    """A run read from a rescue file."""

    path: Path
    name: str
    experiment: str
    config: Config
    plan: Plan
    columns: tuple[str, ...]
    points: list[Point]


def write_rescue(folder: Path, run: RunRecord, measured: Measured) -> Path:
    """Write the points of a run beside its store, or in the nearest parent folder that exists. Raises FileError."""
    while not folder.is_dir():
        folder = folder.parent
    stem = f"run-{run.id}-rescued-{time.strftime('%Y%m%d-%H%M%S')}"
    names = (folder / f"{stem}{f'-{at}' if at else ''}.jsonl" for at in range(1000))
    path = next(path for path in names if not os.path.lexists(path))
    header = {
        "kind": _KIND,
        "run": run.id,
        "name": run.name,
        "experiment": run.experiment,
        "problem": run.schema.problem,
        "schema": run.schema.recording(measured.columns).to_json() if isinstance(run.config, DeclaredConfig) else "",
        "config": json.loads(run.config_text),
        "plan": json.loads(run.plan_text),
        "columns": measured.columns,
    }
    with writing(path, mode=0o600) as partial, partial.open("wb") as file:
        file.write(json.dumps(header).encode() + b"\n")
        for point in measured.points():
            values = [value if math.isfinite(value) else repr(value) for value in point.values]
            file.write(json.dumps({"step": point.step, "epoch": point.epoch, "values": values}).encode() + b"\n")
    return path


def read_rescue(path: Path) -> Rescued:
    """Read a rescue file. Raises StoreError if it is not one, or was changed."""
    try:
        check_regular(path, _MOST_BYTES)
        with path.open(encoding="utf-8") as file:
            header = _parsed(file.readline())
            if header.get("kind") != _KIND:
                raise ValueError
            config = _config_class(header).from_mapping(header["config"])
            names = tuple(map(str, header["columns"]))
            points = [_point(_parsed(line), names, config) for line in file]
            if [point.step for point in points] != sorted({point.step for point in points}):
                raise ValueError
            plan = from_json(config.schema(), header["plan"])
            return Rescued(path, str(header["name"]), str(header["experiment"]), config, plan, names, points)
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error
    except ConfigError as error:
        raise StoreError(f"{path} contains a run that this version of wdtui does not know: {error}") from error
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise StoreError(f"{path} is not a rescue file of wdtui, or was changed. Give an unchanged file.") from error


def add_rescued(store: Store, rescued: Rescued) -> int:
    """Add the run to a store as interrupted, so that `wdtui resume` can train it to its end; returns its number.

    Raises StoreError if the store cannot take all of it, and then leaves nothing behind.
    """
    run_id = store.add_run(rescued.config, name=rescued.name, experiment=rescued.experiment, plan=rescued.plan)
    with whole(store, run_id):
        claim = store.claim(run_id, device="", threads=1, versions={})
        store.add_event(claim, 0, "rescued", {"from": clean(str(rescued.path))})
        columns = store.add_columns(claim, rescued.columns)
        points = [point.under(rescued.columns, columns) for point in rescued.points]
        seen = milestones(Curves.of(columns, points), store.run(run_id).schema.judged).to_json()
        store.append(claim, points, speed=None, milestones=seen)
        goes_on = f" `wdtui resume {run_id}` trains it from its beginning."
        reason = f"Imported from a rescue file.{'' if rescued.config.schema().watched else goes_on}"
        store.set_status(claim, Status.INTERRUPTED, reason)
    return run_id


@contextlib.contextmanager
def whole(store: Store, run_id: int) -> Iterator[None]:
    """Delete a run that is being imported if the store cannot take all of it."""
    try:
        yield
    except StoreError:
        with contextlib.suppress(StoreError):
            store.set_status(store.run(run_id).claim, Status.FAILED)  # a live run cannot be deleted
            store.delete([run_id])
        raise


def _config_class(header: Mapping[str, Any]) -> type[Config]:
    if header.get("schema"):
        return registry.config_of(Schema.from_json(header["schema"]))
    return registry.find(header.get("problem", registry.DEFAULT)).config


def _parsed(line: str) -> dict[str, Any]:
    return dict(json.loads(line))


def _point(line: dict[str, Any], names: tuple[str, ...], config: Config) -> Point:
    """A point of a run of this config; raises ValueError if it is not one."""
    step, epoch, values = line["step"], line["epoch"], tuple(map(float, line["values"]))
    first, last = (0, math.inf) if config.schema().watched else (1, config.epochs)  # a script measures at will
    measured = type(epoch) is int and first <= epoch <= last and step == epoch * config.steps_per_epoch
    if not measured or len(values) != len(names):
        raise ValueError
    return Point(int(step), epoch, values)
