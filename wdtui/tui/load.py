"""The load of the machine in the last minutes: the samples, and the charts of them.

Samples are kept only in the app, not in the store. No Textual, no drawing.
"""

from __future__ import annotations

import dataclasses
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator

from rich.text import Text

from wdtui.plots.terminal import Series, look
from wdtui.plots.terminal.scale import round_step
from wdtui.support.machine import Gpu, Load
from wdtui.support.text import number
from wdtui.tui.figures import Figure

MINUTES = 10
"""How long a sample is kept."""
_SPANS = (2, 4, MINUTES)
"""Possible lengths of the time axis in minutes. The first that fits all samples is used."""
_GAP_SECONDS = 10.0
"""Samples that are farther apart are not joined by a line."""


class LoadHistory:
    """The samples of the last minutes, with the time of each in seconds."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, Load]] = deque()

    def __len__(self) -> int:
        return len(self._samples)

    def __iter__(self) -> Iterator[tuple[float, Load]]:
        return iter(self._samples)

    def add(self, load: Load, at: float) -> None:
        """Add a sample, later than all others, and drop those that are too old."""
        self._samples.append((at, load))
        while self._samples[0][0] < at - 60 * MINUTES:
            self._samples.popleft()


@dataclasses.dataclass(frozen=True)
class _Device:
    """The CPU with the machine's memory, or a GPU. Each is one line of a chart."""

    label: str
    gpu: int | None = None

    @property
    def look(self) -> tuple[str, str]:
        """Colour and marker, the same in all charts."""
        return look(0 if self.gpu is None else self.gpu + 1)

    def in_load(self, load: Load) -> Load | Gpu | None:
        if self.gpu is None:
            return load
        return load.gpus[self.gpu] if self.gpu < len(load.gpus) else None


@dataclasses.dataclass(frozen=True)
class _Quantity:
    """A quantity of a device. It is None if the device does not report it."""

    title: str
    unit: str
    of: Callable[[Load | Gpu], float | None]
    most: float | None = None
    """The end of the value axis; None if it depends on the hardware."""
    cpu: bool = False
    """Whether it also applies to the CPU and its memory, which may be missing in some samples."""


def _percent(device: Load | Gpu) -> float | None:
    return device.cpu_percent if isinstance(device, Load) else device.percent


def _memory_percent(device: Load | Gpu) -> float | None:
    return 100 * device.memory[0] / device.memory[1] if device.memory and device.memory[1] else None


_QUANTITIES = (
    _Quantity("use", "%", _percent, 100, cpu=True),
    _Quantity("memory", "%", _memory_percent, 100, cpu=True),
    _Quantity("temp.", "°C", lambda device: getattr(device, "celsius", None), 100),
    _Quantity("power", "W", lambda device: getattr(device, "watts", None)),
)
MOST_CHARTS = len(_QUANTITIES)
"""Their titles are short: at 80 columns each chart has 16 columns for its title and newest values."""


def load_figures(history: Iterable[tuple[float, Load]]) -> list[Figure]:
    """A chart of each quantity that some device reports, over the last minutes; empty without samples."""
    samples = list(history)
    devices = _devices(samples)
    figures = (_figure(quantity, devices, samples) for quantity in _QUANTITIES if samples)
    return [figure for figure in figures if figure.series]


def load_legend(history: Iterable[tuple[float, Load]]) -> Text:
    """The line of each device, on one line of text."""
    text = Text("this machine", no_wrap=True, overflow="ellipsis")
    for device in _devices(list(history)):
        color, marker = device.look
        text.append("   ").append(f"─{marker or '─'}─ ", color).append(device.label)
    return text


def _devices(samples: list[tuple[float, Load]]) -> list[_Device]:
    count = len(samples[-1][1].gpus) if samples else 0
    return [_Device("CPU"), *(_Device("GPU" if count == 1 else f"GPU {gpu}", gpu) for gpu in range(count))]


def _figure(quantity: _Quantity, devices: list[_Device], samples: list[tuple[float, Load]]) -> Figure:
    reported = {device: values for device in devices if (values := _values(quantity, device, samples))}
    minutes = [(at - samples[-1][0]) / 60 for at, _ in samples]
    span = next((span for span in _SPANS if -minutes[0] <= span), MINUTES)
    return Figure(
        title=quantity.title,
        about="",
        values=tuple(_newest(quantity, reported, **how) for how in ({"named": True}, {}, {"united": False})),
        series=tuple(Series("", *_with_gaps(minutes, values), *device.look) for device, values in reported.items()),
        x_range=(-span, 0),
        x_ticks=((-span, f"−{span} min"), (0, "now"), (-span / 2, f"−{span // 2}")),
        y_range=(0, quantity.most or _round_end(reported.values())),
    )


def _values(quantity: _Quantity, device: _Device, samples: list[tuple[float, Load]]) -> list[float]:
    """A quantity of a device at each sample, NaN if it is missing; empty if it is always missing."""
    seen = [device.in_load(load) for _, load in samples]
    values = [math.nan if part is None or (value := quantity.of(part)) is None else float(value) for part in seen]
    return [] if all(map(math.isnan, values)) and not (quantity.cpu and device.gpu is None) else values


def _with_gaps(minutes: list[float], values: list[float]) -> tuple[list[float], list[float]]:
    """Both with a gap between samples that are too far apart to be joined."""
    x, y = minutes[:1], values[:1]
    for before, now, value in zip(minutes, minutes[1:], values[1:], strict=False):
        if now - before > _GAP_SECONDS / 60:
            x.append(now)
            y.append(math.nan)
        x.append(now)
        y.append(value)
    return x, y


def _newest(
    quantity: _Quantity, reported: dict[_Device, list[float]], named: bool = False, united: bool = True
) -> Text:
    """The newest value of each device in its colour, with or without its name and the unit."""
    text = Text()
    for device, values in reported.items():
        text.append(("  " if united else " ") if text else "").append(
            f"{device.label} " if named and len(reported) > 1 else "", "dim"
        )
        value = number(None if math.isnan(values[-1]) else round(values[-1]), quantity.unit if united else "")
        text.append(value, device.look[0])
    return text


def _round_end(curves: Iterable[list[float]]) -> float:
    """A round value above all others, so that the axis seldom changes."""
    top = max((value for values in curves for value in values if not math.isnan(value)), default=0.0)
    return round_step(top, 1) if top > 0 else 1.0
