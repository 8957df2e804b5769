"""The load of the machine and of the processes that train, over the last minutes, as one line of sparklines.

Samples are kept only in the app, not in the store. No Textual, no drawing.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections import deque
from collections.abc import Callable, Iterator, Sequence

from wdtui.plots.terminal.inline import sparkline
from wdtui.store.records import RunRecord
from wdtui.support.machine import Load, gigabytes
from wdtui.support.text import number

_CELLS, _SECONDS = 8, 15.0
"""The number of cells of a sparkline, and the seconds of each: what is drawn moves only so often."""
_MOST_CORES = 16
"""The number of cells for the cores; of more cores each cell stands for several."""
_GAP = 3

Part = tuple[str, str]
"""A text and its theme colour."""


class LoadHistory:
    """The samples of the last minutes, with the time of each in seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Load]] = deque()

    @property
    def newest(self) -> Load | None:
        return self._samples[-1][1] if self._samples else None

    def add(self, load: Load, at: float) -> None:
        """Add a sample, later than all others, and drop those that are too old."""
        self._samples.append((at, load))
        while self._samples[0][0] < (at // _SECONDS - _CELLS + 1) * _SECONDS:
            self._samples.popleft()

    def curve(self, of: Callable[[Load], float | None]) -> list[float]:
        """The mean of a quantity in each cell, from the oldest; NaN where it was not sampled."""
        newest = self._samples[-1][0] // _SECONDS if self._samples else 0
        cells: list[list[float]] = [[] for _ in range(_CELLS)]
        for at, load in self._samples:
            if (value := of(load)) is not None:
                cells[int(at // _SECONDS - newest) - 1].append(value)
        return [statistics.fmean(values) if values else math.nan for values in cells]


def load_line(history: LoadHistory, runs: Sequence[RunRecord], width: int) -> list[Part]:
    """The cores, the memory, the GPUs and the processes of these live runs, as many as fit into `width` cells."""
    newest, line, room = history.newest, list[Part](), width
    kinds = (_machine(history, newest), _processes(history, newest, runs), _details(history, newest)) if newest else ()
    groups = itertools.chain.from_iterable(kinds)
    for group in groups:
        cells = sum(len(text) for text, _ in group) + (_GAP if line else 0)
        if cells <= room:
            line += [(" " * _GAP, ""), *group] if line else group
            room -= cells
    return line


def _machine(history: LoadHistory, newest: Load) -> Iterator[list[Part]]:
    use = history.curve(lambda load: load.cpu_percent)
    yield _quantity("CPU", use, _percent(newest.cpu_percent), 100)
    if newest.cores:
        yield [("cores ", "muted"), (sparkline(_merged(newest.cores), (0, 100)), "running")]
    memory = history.curve(lambda load: load.memory[0])
    yield _quantity("memory", memory, gigabytes(newest.memory), newest.memory[1])
    for place, gpu in enumerate(newest.gpus):
        use = history.curve(lambda load, place=place: _of_gpu(load, place)[0])  # type: ignore[misc]
        yield _quantity("GPU" if len(newest.gpus) == 1 else f"GPU {place}", use, _percent(gpu.percent), 100)


def _details(history: LoadHistory, newest: Load) -> Iterator[list[Part]]:
    """What else the GPUs report."""
    for place, gpu in enumerate(newest.gpus):
        name = "GPU" if len(newest.gpus) == 1 else f"GPU {place}"
        held = history.curve(lambda load, place=place: _of_gpu(load, place)[1])  # type: ignore[misc]
        if gpu.memory:
            yield _quantity(f"{name} memory", held, gigabytes(gpu.memory), gpu.memory[1])
        sensors = [(gpu.celsius, "°C"), (gpu.watts, "W")]
        if told := " ".join(number(round(value), unit) for value, unit in sensors if value is not None):
            yield [(f"{name} ", "muted"), (told, "")]


def _processes(history: LoadHistory, newest: Load, runs: Sequence[RunRecord]) -> Iterator[list[Part]]:
    """The use of each process, under the runs that it trains."""
    trained: dict[int, list[int]] = {}
    for run in runs:
        if run.pid is not None and run.pid in newest.processes:
            trained.setdefault(run.pid, []).append(run.id)
    for pid, run_ids in trained.items():
        percent, memory = newest.processes[pid]
        use = history.curve(lambda load, pid=pid: load.processes.get(pid, (None, 0))[0])  # type: ignore[misc]
        name = f"#{min(run_ids)}" + (f"…{max(run_ids)}" if len(run_ids) > 1 else "")
        yield _quantity(name, use, f"{_percent(percent)} {memory / 1e6:,.0f} MB", None)


def _quantity(name: str, curve: Sequence[float], value: str, most: float | None) -> list[Part]:
    """A name, a sparkline from 0 to `most` or to the largest value, and the newest value."""
    top = most or max((100.0, *(height for height in curve if not math.isnan(height))))
    return [(f"{name} ", "muted"), (sparkline(curve, (0, top)).lstrip(), "running"), (f" {value}", "")]


def _merged(cores: Sequence[float]) -> list[float]:
    """The use of each core, or the mean of neighbours where there are many."""
    each = -(-len(cores) // _MOST_CORES)
    return [statistics.fmean(cores[at : at + each]) for at in range(0, len(cores), each)]


def _of_gpu(load: Load, place: int) -> tuple[float | None, float | None]:
    """The use and the memory of a GPU, which may be missing in some samples."""
    gpu = load.gpus[place] if place < len(load.gpus) else None
    return (gpu.percent, gpu.memory[0] if gpu.memory else None) if gpu else (None, None)


def _percent(value: float | None) -> str:
    return number(None if value is None else round(value), "%")
