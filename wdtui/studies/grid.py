"""Grids: axes as text, and the runs that they span. Plain Python: no torch, no UI, no store.

An axis is a list of values separated by commas. Each may also be one of

    linspace(a, b, n)     n values from a to b with equal differences
    logspace(a, b, n)     n values from a to b with equal ratios; a and b are values, not exponents
    range(a, b[, step])   whole numbers from a up to but not including b, as in Python

as in `weight_decay=0,logspace(0.01,1,5)`. Values between a and b are rounded to few digits.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from wdtui.problems import registry
from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import ConfigError, Hyperparameter, Value, format_value, nearest
from wdtui.schema.schema import Schema

MOST_CELLS = 10_000
"""The largest grid. Anything larger is assumed to be a mistake."""

_FUNCTIONS = {"linspace": "linspace(a,b,n)", "logspace": "logspace(a,b,n)", "range": "range(a,b[,step])"}
_CALL = re.compile(r"(\w+)\s*\((.*)\)")
_TOLERANCE = 0.1
"""How far rounding may move a value, as a fraction of the distance to its neighbour."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """One run of a grid: its values on the axes, in their order, and its config."""

    values: tuple[Value, ...]
    config: Config


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """All combinations of values of some fields, repeated over seeds. All other fields are those of `base`."""

    base: Config
    axes: dict[str, tuple[Value, ...]]
    """Values by field. Numbers ascend. The seed is never an axis here."""
    seeds: tuple[int, ...]

    @classmethod
    def of(cls, base: Config, axes: Mapping[str, Iterable[Any]], seeds: int | None = None) -> Grid:
        """Make a grid. `seeds` repeats it over this number of seeds, starting with the seed of the base.

        Raises ConfigError for an invalid value of a field and for more than MOST_CELLS runs.
        """
        field = base.schema().field
        checked = {name: _distinct(map(field(name).check, values)) for name, values in axes.items()}
        if "seed" in checked and seeds is not None:
            raise ConfigError("seed is already an axis: give either the axis or the number of seeds.", "seed")
        own: Any = checked.pop("seed", None) or range(base.seed, base.seed + (seeds or 1))
        check_count(math.prod(map(len, checked.values())) * len(own), *axes)
        return cls(base=base, axes=checked, seeds=tuple(own))

    @property
    def size(self) -> int:
        """The number of combinations. There may be fewer runs, as equal ones count once."""
        return math.prod(map(len, self.axes.values())) * len(self.seeds)

    def cells(self) -> list[Cell]:
        """All runs, coarse to fine: the ends and the middle of each axis before the gaps, seed after seed.

        Raises ConfigError for an invalid combination of values.
        """
        base = self.base.to_mapping()
        cells: dict[Config, Cell] = {}
        for seed, indices in itertools.product(self.seeds, self._indices()):
            values = tuple(axis[index] for axis, index in zip(self.axes.values(), indices, strict=True))
            config = self.base.from_mapping(base, dict(zip(self.axes, values, strict=True)), {"seed": seed})
            config = config.for_batch() if self.size > 1 else config
            cells.setdefault(config, Cell(values, config))
        return list(cells.values())

    def _indices(self) -> list[tuple[int, ...]]:
        """The indices into the axes of all combinations, coarse to fine."""
        levels = [_levels(len(values)) for values in self.axes.values()]

        def fineness(indices: tuple[int, ...]) -> tuple[int, int]:
            own = [level[index] for level, index in zip(levels, indices, strict=True)]
            return max(own, default=0), sum(own)

        return sorted(itertools.product(*map(range, map(len, levels))), key=fineness)

    @property
    def title(self) -> str:
        """The axes and seeds, e.g. 'weight_decay 0.01, 0.1 × 3 seeds'."""
        parts = [f"{name} {', '.join(map(format_value, values))}" for name, values in self.axes.items()]
        parts += [f"{len(self.seeds)} seeds"] if len(self.seeds) > 1 else []
        return " × ".join(parts) or "one run"

    def to_mapping(self) -> dict[str, Any]:
        """The grid as plain JSON types, for `from_mapping`."""
        spec = {"config": self.base.to_mapping(), "axes": self.axes, "seeds": self.seeds}
        schema = self.base.schema()
        if schema.source:
            return spec | {"schema": schema.to_json()}
        return spec | ({"problem": schema.problem} if schema.problem != registry.DEFAULT else {})

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Grid:
        """Raises ConfigError if another version of wdtui had other fields, or the problem is not known."""
        if "schema" in mapping:
            kind = registry.config_of(Schema.from_json(mapping["schema"]))
        else:
            kind = registry.find(mapping.get("problem", registry.DEFAULT)).config
        base = kind.from_mapping(mapping["config"])
        return cls.of(base, mapping["axes"] | {"seed": mapping["seeds"]})


def check_count(runs: int, *axes: str) -> None:
    """Raise ConfigError if axes make more than MOST_CELLS runs. Called before they are created."""
    if runs > MOST_CELLS:
        raise ConfigError(f"The axes make {runs:,} runs; at most {MOST_CELLS:,} are allowed: give fewer values.", *axes)


def read_axes(schema: Schema, texts: Iterable[str]) -> dict[str, tuple[Value, ...]]:
    """Read axes over a problem's fields, each written FIELD=VALUES. Raises ConfigError."""
    axes: dict[str, tuple[Value, ...]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        if not equals:
            raise ConfigError(f"The axis {text} has no values: give FIELD=V1,V2,… as in weight_decay=0.01,0.1.")
        try:
            field = schema.find(name)
        except ConfigError as error:
            raise ConfigError(f"The axis {error}", *error.fields) from None
        if field.name in axes:
            raise ConfigError(f"The axis {field.name} is given twice. Give all its values together.", field.name)
        axes[field.name] = read_axis(schema, field.name, values)
    return axes


def read_axis(schema: Schema, name: str, text: str) -> tuple[Value, ...]:
    """Read the values of one axis, without duplicates and with numbers ascending. Raises ConfigError."""
    field = schema.field(name)
    if not field.sweep:
        sweepable = ", ".join(schema.sweepable)
        raise ConfigError(f"{field.name} cannot be an axis; these can: {sweepable}.", field.name)
    values = itertools.chain.from_iterable(_read_part(field, part.strip()) for part in _parts(text))
    limited = list(itertools.islice(values, MOST_CELLS + 1))
    if len(limited) > MOST_CELLS:
        raise ConfigError(
            f"The axis {field.name} has more than {MOST_CELLS:,} values, which is the maximum.", field.name
        )
    return _distinct(limited)


def axes_over(
    kind: type[Config],
    axes: Mapping[str, Iterable[Any]],
    fields: Mapping[str, Any],
    own: Mapping[str, tuple[Value, ...]],
) -> dict[str, Iterable[Any]]:
    """The axes of an experiment after the user gave fields and axes, which replace those of the experiment.

    Raises ConfigError for a field that is given both as a value and as an axis.
    """
    for name in own:
        if name in fields:
            raise ConfigError(f"{name} is given both as a value and as an axis: give one of the two.", name)
    given = fields.keys() | own.keys()
    given |= {rival for name, rival in kind.rivals.items() if name in given}  # λ and λ_norm replace each other
    return {name: values for name, values in axes.items() if name not in given} | dict(own)


def coarse_to_fine(count: int) -> list[int]:
    """The indices 0 … count - 1: the ends, the middle, then the middles of the remaining gaps, widest first."""
    levels = _levels(count)
    return sorted(range(count), key=levels.__getitem__)


def _levels(count: int) -> list[int]:
    """The level of each index of an axis: 0 for the ends and the middle, 1 for the middles between those …"""
    levels = [0] * count
    gaps = deque([(0, count - 1, 0)])
    while gaps:
        first, last, level = gaps.popleft()
        if last - first > 1:
            middle = (first + last) // 2
            levels[middle] = level
            gaps += [(first, middle, level + 1), (middle, last, level + 1)]
    return levels


def _distinct(values: Iterable[Value]) -> tuple[Value, ...]:
    """Each value once. Numbers are sorted, other values keep their order."""
    distinct = list(dict.fromkeys(values))
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in distinct):
        distinct.sort()
    return tuple(distinct)


def _parts(text: str) -> Iterator[str]:
    """The parts of a text between commas that are not in parentheses."""
    begin = depth = 0
    for index, character in enumerate(text):
        if character == "," and not depth:
            yield text[begin:index]
            begin = index + 1
        elif character in "()":
            depth = max(0, depth + (1 if character == "(" else -1))
    yield text[begin:]


def _read_part(field: Hyperparameter, text: str) -> Iterable[Value]:
    call = _CALL.fullmatch(text)
    if not call:
        return [field.parse(text)]
    name, arguments = call[1], [argument.strip() for argument in call[2].split(",")]
    if name not in _FUNCTIONS:
        known = ", ".join(_FUNCTIONS.values())
        raise ConfigError(f"{field.name}: {name}(…) is not known{nearest(name, _FUNCTIONS)} Known are {known}.")
    if field.kind not in ("int", "float"):
        raise ConfigError(f"{field.name}: {name}(…) makes numbers; give {field.allowed}.", field.name)
    if len(arguments) not in ((2, 3) if name == "range" else (3,)):
        raise ConfigError(f"{field.name}: {text} should be {_FUNCTIONS[name]}.", field.name)
    values = _range(field, text, arguments) if name == "range" else _spaced(field, text, arguments, name == "logspace")
    return [field.check(value) for value in values]


def _range(field: Hyperparameter, text: str, arguments: list[str]) -> Iterable[int | float]:
    try:
        values = range(*map(int, arguments))
        count = len(values)
    except OverflowError:
        count = MOST_CELLS + 1
    except ValueError:
        raise ConfigError(
            f"{field.name}: {text} should be range(a,b[,step]) with whole numbers, a step not 0.", field.name
        ) from None
    if not 0 < count <= MOST_CELLS:
        many = f"more than {MOST_CELLS:,} values" if count else "no values"
        raise ConfigError(f"{field.name}: {text} has {many}; it goes from a on and stops before b.", field.name)
    return values


def _spaced(field: Hyperparameter, text: str, arguments: list[str], log: bool) -> Iterable[int | float]:
    ends: list[Any] = [field.parse(argument) for argument in arguments[:2]]
    count = int(arguments[2]) if arguments[2].isascii() and arguments[2].isdigit() else 0
    if not 2 <= count <= MOST_CELLS:
        raise ConfigError(
            f"{field.name}: {text} should end in how many values there are, 2 to {MOST_CELLS:,}.", field.name
        )
    low, high = sorted(ends)
    if log and low <= 0:
        raise ConfigError(
            f"{field.name}: {text} cannot begin at {format_value(low)}, as ratios need numbers > 0; "
            f"write {format_value(low)} before it: {field.name}={format_value(low)},logspace(…).",
            field.name,
        )
    return _rounded(low, high, count, log, field.kind == "int")


def _rounded(low: float, high: float, count: int, log: bool, whole: bool) -> list[int | float]:
    """Values from low to high, each rounded to as few digits as keep it near its exact position."""

    def position(value: float) -> float:
        return math.log10(value) if log else value

    step = (position(high) - position(low)) / (count - 1)
    between = [position(low) + index * step for index in range(1, count - 1)]
    exact = [10**value if log else value for value in between]
    values = [_readable(value, position, step, None if log else step) for value in exact]
    return [low, *(_whole(value, readable) if whole else readable for value, readable in zip(exact, values)), high]  # noqa: B905


def _readable(value: float, position: Callable[[float], float], step: float, unit: float | None) -> float:
    """A value with as few digits as keep it near its position. Digits count within the value, or within a unit."""
    for digits in range(1, 17):
        lead = 0 if not unit else math.floor(math.log10(unit))
        rounded = round(value, digits - 1 - lead) if unit else float(f"{value:.{digits - 1}e}")
        if abs(position(rounded) - position(value)) <= _TOLERANCE * step:
            return rounded
    return value


def _whole(value: float, readable: float) -> int:
    """A readable value as a whole number. An exact whole number, such as a power of two, is kept."""
    return round(value if math.isclose(value, round(value), rel_tol=1e-9) else readable)
