"""What a watched run is of: the schema and the values that come from the script's config and the optimizer."""

from __future__ import annotations

import inspect
import keyword
import math
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from torch import nn
from torch.optim import Optimizer

from wdtui.problems.declared import DeclaredConfig, Problem, config_of, declared
from wdtui.schema.hyperparameters import ALIASES, SYMBOLS, ConfigError, Hyperparameter, Value
from wdtui.schema.recorded import SPEED
from wdtui.schema.schema import Schema
from wdtui.support.text import clean
from wdtui.training.live import LiveSettings

Setting = bool | int | float | str
Knob = tuple[Callable[[], Any], Callable[[Any], object]]
"""What reads a value of the training, and what changes it."""

_GROUPS = {"config": "Config", "live": "Live", "run": "Run"}
_NOT_NEGATIVE = {"lr", "learning_rate", "weight_decay", "eps", "bn_epsilon", "momentum"}
_LONGEST_TEXT, _LONGEST_NAME = 1000, 60
_RESERVED = {name for base in DeclaredConfig.__mro__ for name in inspect.get_annotations(base)} - {"seed"}


def describe(config: Mapping[str, Any], live: Mapping[str, Setting], steps: int, every: int) -> DeclaredConfig:
    """The config of a run: what the script says, and the settings in force that can be changed while it runs.

    Numbers, texts, true and false become fields, other values their text. A setting that the script's config names,
    also as `learning_rate`, has the value that it has there. Raises ConfigError for `steps` and `every`.
    """
    fields: dict[str, Hyperparameter] = {}
    values: dict[str, Value] = {}
    for name, value in live.items():
        fields[name], values[name] = _live_field(name, value), value
    for given, value in config.items():
        plain = plain_value(value)
        if given in live:
            values[given] = _said(fields[given], plain, live[given])
        else:
            name = field_name(str(given), taken=fields)
            fields[name], values[name] = _config_field(name, clean(str(given)), plain), plain
    schema = Schema(
        problem=_script(),
        title="a training that a script owns",
        groups=_GROUPS,
        fields=dict(sorted(fields.items(), key=lambda item: item[1].group)) | _own_fields(),
        metrics={SPEED.name: SPEED},
        watched=True,
    ).recording(())
    return config_of(schema).from_mapping(values, {"steps": steps, "log_every": every})


def field_name(name: str, taken: Iterable[str] = ()) -> str:
    """A name as fields can have it: an identifier that nothing else of a config has."""
    plain = re.sub(r"\W", "_", clean(name).strip())[:_LONGEST_NAME]
    plain = f"_{plain}" if not plain or plain[0].isdigit() else plain
    while keyword.iskeyword(plain) or hasattr(DeclaredConfig, plain) or plain in _RESERVED or plain in taken:
        plain += "_"
    return plain


def plain_value(value: Any) -> Setting:
    """A value as fields can have it; text where it is no finite number."""
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return clean(str(value))[:_LONGEST_TEXT]


def _own_fields() -> dict[str, Hyperparameter]:
    """How long the run is, and what of it is kept, as every declared problem has it."""
    fields = declared(Problem, None).fields
    return {name: fields[name] for name in ("steps", "log_every", "keep_megabytes")}


def _said(field: Hyperparameter, said: Any, in_force: Value) -> Value:
    """The value of a setting as the script's config has it, where it is one; else that in force."""
    try:
        return field.check(said)
    except ConfigError:
        return in_force


def _live_field(name: str, value: Setting) -> Hyperparameter:
    kind = type(value)
    return Hyperparameter(
        name=name,
        kind=kind.__name__,
        default=kind(),
        label=name.replace("_", " "),
        symbol=SYMBOLS.get(name, ""),
        aliases=ALIASES.get(name, ()),
        group="live",
        ge=0 if name in _NOT_NEGATIVE and cast(float, value) >= 0 else None,
        affects="live",
    )


def _config_field(name: str, given: str, value: Value) -> Hyperparameter:
    return Hyperparameter(
        name=name,
        kind=type(value).__name__,
        optional=True,
        label=given.replace("_", " ")[:_LONGEST_NAME],
        symbol=SYMBOLS.get(name, ""),
        aliases=(*((given,) if given != name else ()), *ALIASES.get(name, ())),
        identifier=name == "seed",
        group="config",
        affects="start",
    )


def _script() -> str:
    """The name of the script, by which its runs are told from others."""
    path = getattr(sys.modules["__main__"], "__file__", None) or ""
    return clean(Path(path).name) or "watched"


def several(one: Any) -> list[Any]:
    """What may be given alone or as a list."""
    return list(one) if isinstance(one, (list, tuple)) else [one]


def by_prefix(model: nn.Module | Sequence[nn.Module] | Mapping[str, nn.Module]) -> dict[str, nn.Module]:
    """Models by the prefix of their layers' names: none for one alone, its place for one of several."""
    if isinstance(model, nn.Module):
        return {"": model}
    return dict(model) if isinstance(model, Mapping) else {str(place): one for place, one in enumerate(model)}


def device_of(models: Iterable[nn.Module]) -> str:
    """Where the first parameter is."""
    first = next((parameter for model in models for parameter in model.parameters()), None)
    return "cpu" if first is None else str(first.device)


def live_values(
    config: Mapping[str, Any], settings: LiveSettings, optimizers: Iterable[Optimizer], knobs: Mapping[str, Knob]
) -> dict[str, Setting]:
    """What can be steered, with its value; that of the learning rate is the one with which a scheduler began."""
    values: dict[str, Setting] = {}
    groups = [group for optimizer in optimizers for group in optimizer.param_groups]
    for setting in settings.names:
        name = "learning_rate" if setting == "lr" and "learning_rate" in config else setting
        value = settings.get(setting)
        if setting == "lr":
            value = next((float(group["initial_lr"]) for group in groups if "initial_lr" in group), value)
        if math.isfinite(value) and field_name(name) == name:
            values[name] = value
    return values | {name: plain_value(get()) for name, (get, _) in knobs.items()}
