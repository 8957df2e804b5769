"""What a hyperparameter is: its name, unit, bounds and help, and how its values are read, checked and written.

Plain Python: no torch, no UI. `config.RunConfig` declares the hyperparameters; forms, flags, TOML and the store all
read and write values through this module, so that all accept the same values and refuse with the same sentence.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from wdtui.support.errors import WdtuiError
from wdtui.support.text import exact, number, too_long

Value = bool | int | float | str | tuple[int, ...] | tuple[float, ...] | None

Affects = Literal["live", "update", "data", "shape", "start", "bookkeeping"]
"""What a change of a hyperparameter means for a run.

live: the next step uses it; it can be steered. update: what a step computes; a fork may change it. data: the examples
or their batches. shape: the model. start: only how the run begins or is computed. bookkeeping: nothing of the steps
taken; how long, and what is recorded and kept.
"""

SYMBOLS = {
    "weight_decay": "λ", "learning_rate": "η", "lr": "η", "bn_epsilon": "ε", "width": "H", "batch_size": "B",
    "momentum": "μ", "seed": "",
}  # fmt: skip
"""Symbols of fields that have these names and declare none."""
ALIASES = {
    "weight_decay": ("lambda", "wd"), "learning_rate": ("lr",), "lr": ("learning_rate",), "batch_size": ("bs",),
    "bn_epsilon": ("eps", "epsilon"),
}  # fmt: skip
"""What people type for fields that have these names and declare no aliases."""

_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


class ConfigError(WdtuiError, ValueError):
    """Values that no run can have, said in one sentence; `fields` names the hyperparameters at fault."""

    def __init__(self, message: str, *fields: str) -> None:
        super().__init__(message)
        self.fields = fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hyperparameter:
    """One hyperparameter as every face shows it."""

    name: str = ""
    """The field of RunConfig, which is also the TOML key; with dashes for underscores it is the flag."""
    kind: str = ""
    """bool, int, float, choice, str, ints or floats."""
    optional: bool = False
    """Whether None (nothing given) is a value."""
    default: Value = None
    label: str = ""
    symbol: str = ""
    aliases: tuple[str, ...] = ()
    """Short names that a person may type for it, besides its symbol."""
    unit: str = ""
    group: str = ""
    help: str = ""
    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None
    choices: tuple[str, ...] = ()
    sweep: str = ""
    """The scale on which a sweep of it is drawn: "linear", "log", or "" where a sweep makes no sense."""
    suggested: tuple[float, ...] = ()
    """The values of it that a sweep over nothing else begins with."""
    identifier: bool = False
    """Whether its numbers are names, such as seeds, and no quantities."""
    fits: Literal["", "below", "above"] = ""
    """On which side of its interpolation threshold networks still fit; "" where it has none that is known."""
    affects: Affects = "shape"
    """What a change of it means for a run, see `Affects`."""

    @property
    def steerable(self) -> bool:
        """Whether it can be changed while the run is live."""
        return self.affects == "live"

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def title(self) -> str:
        return f"{self.symbol}  {self.label}" if self.symbol not in ("", self.label) else self.label

    @property
    def allowed(self) -> str:
        """The allowed values in words, e.g. 'a number ≥ 0'."""
        if self.choices:
            return " or ".join(self.choices)
        nouns = {"bool": "true or false", "int": "a whole number", "float": "a number", "str": "a short text"}
        noun = nouns.get(self.kind)
        noun = noun or ("whole numbers" if self.kind == "ints" else "numbers") + " with commas between them"
        bounds = [
            f"{sign} {int(bound):,}" if bound == int(bound) else f"{sign} {format_value(bound)}"
            for sign, bound in ((">", self.gt), ("≥", self.ge), ("<", self.lt), ("≤", self.le))
            if bound is not None
        ]
        return " ".join([noun, " and ".join(bounds)]).strip()

    def written(self, value: Value) -> str:
        """A value as it is read: numbers grouped and rounded to the digits that count, identifiers in full."""
        quantity = isinstance(value, (int, float)) and not isinstance(value, bool) and not self.identifier
        return number(value) if quantity else format_value(value)  # type: ignore[arg-type]

    def check(self, value: Any) -> Value:
        """Return `value` in the field's own type; raise ConfigError when it is not one of the allowed values."""
        if value is None and self.optional:
            return None
        if self.kind in ("ints", "floats"):
            if not isinstance(value, (list, tuple)) or not value:
                raise self._refusal(value)
            return tuple([self._checked_number(item, self.kind[:-1], value) for item in value])
        if self.kind == "bool":
            if not isinstance(value, bool):
                raise self._refusal(value)
            return value
        if self.kind == "choice":
            if value not in self.choices:
                raise self._refusal(value)
            return str(value)
        if self.kind == "str":
            if not isinstance(value, str) or too_long(value):
                raise self._refusal(value)
            return value
        number: int | float = self._checked_number(value, self.kind, value)
        return number

    def parse(self, text: str) -> Value:
        """Read a value that a person typed; raise ConfigError when it cannot be one."""
        text = text.strip()
        if self.optional and text.lower() in ("", "none"):
            return None
        try:
            return self.check(self._parsed(text))
        except ValueError:
            raise self._refusal(text) from None

    def _parsed(self, text: str) -> Any:
        if self.kind == "choice":
            return next((choice for choice in self.choices if choice.lower() == text.lower()), text)
        if self.kind == "str":
            return text
        if self.kind == "bool":
            if text.lower() not in _BOOLEANS:
                raise self._refusal(text)
            return _BOOLEANS[text.lower()]
        if self.kind in ("ints", "floats"):
            return [_parse_number(part.strip(), self.kind[:-1]) for part in text.strip("[]()").split(",")]
        return _parse_number(text, self.kind)

    def _checked_number(self, item: Any, kind: str, value: Any) -> Any:
        numeric = isinstance(item, int if kind == "int" else (int, float)) and not isinstance(item, bool)
        if not numeric or not self._in_bounds(item):
            raise self._refusal(value)
        return item if kind == "int" else float(item)

    def _in_bounds(self, number: float) -> bool:
        try:
            finite = math.isfinite(number)
        except OverflowError:  # an int beyond every float
            finite = False
        return (
            finite
            and (self.ge is None or number >= self.ge)
            and (self.gt is None or number > self.gt)
            and (self.le is None or number <= self.le)
            and (self.lt is None or number < self.lt)
        )

    def _refusal(self, value: Any) -> ConfigError:
        shown = "nothing" if value == "" else repr(value) if isinstance(value, float) else format_value(value)
        return ConfigError(f"{self.name}: {shown} is not allowed; give {self.allowed}.", self.name)


def knob(default: Any, **properties: Any) -> Any:
    """Declare a hyperparameter as a dataclass field; `properties` are those of Hyperparameter."""
    return dataclasses.field(default=default, metadata={"hyperparameter": properties})


def hyperparameters_of(config_class: type) -> dict[str, Hyperparameter]:
    """Read the hyperparameters that a dataclass declares with `knob`, in their order, keyed by name."""
    annotations = typing.get_type_hints(config_class)
    return {
        field.name: Hyperparameter(
            name=field.name,
            default=typing.cast(Value, field.default),
            **kind_of(annotations[field.name], field.metadata["hyperparameter"]),
            **field.metadata["hyperparameter"],
        )
        for field in dataclasses.fields(config_class)
    }


def format_value(value: Any) -> str:
    """Write a value as a person would type it: 0.01, 0.0001 as 1e-4, (2, 4) as 2,4, True as true."""
    if isinstance(value, (list, tuple)):
        return ",".join(format_value(item) for item in value)
    if isinstance(value, bool):
        return str(value).lower()
    if value is None:
        return "none"
    if isinstance(value, float):
        return exact(value)
    if isinstance(value, int) and abs(value) >= 10**80:
        return "a number of more than 80 digits"
    return str(value)[:80]


def kind_of(annotation: Any, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The kind of a hyperparameter's values, and whether it is optional. Raises ConfigError for another type."""
    optional = False
    if isinstance(annotation, types.UnionType):
        optional = True
        annotation = next(kind for kind in typing.get_args(annotation) if kind is not type(None))
    if properties.get("choices"):
        return {"kind": "choice", "optional": optional}
    if typing.get_origin(annotation) is tuple:
        return {"kind": typing.get_args(annotation)[0].__name__ + "s", "optional": optional}
    if annotation not in (bool, int, float, str):
        raise ConfigError(f"{annotation} is not a type of hyperparameters; give bool, int, float or str.")
    return {"kind": annotation.__name__, "optional": optional}


def _parse_number(text: str, kind: str) -> int | float:
    """Python also reads 1_000, ١٢ and inf as numbers; people who type those mean something else."""
    if not text.isascii() or not (_INTEGER if kind == "int" else _NUMBER).fullmatch(text):
        raise ValueError(text)
    return int(text) if kind == "int" else float(text)


def nearest(name: str, names: Iterable[str]) -> str:
    """The end of a sentence about a misspelt `name`: which of `names` it may mean, or a full stop when none is near."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f"; did you mean {close[0]}?" if close else "."
