"""Experiments: a question as a TOML file, with the config that answers it and the axes along which to look.

question = "..."            what is asked
article = "..."             where the article or a paper speaks of it
look_for = "..."            what to watch
[config]                    fields of RunConfig that differ from the defaults
[axes]                      optional: field = [values], or text as `--axis` takes it: "logspace(0.01,1,5)"; the grid of
                            all combinations is the experiment's cells
[fork]                      optional: forks of each of those runs, see `branches.py`
"""

from __future__ import annotations

import dataclasses
import itertools
import tomllib
from pathlib import Path
from typing import Any

from wdtui.branches import Branching
from wdtui.config import FIELDS, ConfigError, RunConfig, nearest
from wdtui.grid import read_axis
from wdtui.hyperparameters import format_value
from wdtui.text import clean

_KEYS = {"question": str, "article": str, "look_for": str, "config": dict, "axes": dict, "fork": dict}


class ExperimentError(ValueError):
    """An experiment that is not there or cannot be read, said in one sentence."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """A question and the runs that answer it."""

    name: str
    question: str
    article: str = ""
    look_for: str = ""
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    axes: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    fork: Branching | None = None

    def base(self, *layers: dict[str, Any]) -> RunConfig:
        """The experiment's config, with layers of other values over it, and no axis varied."""
        return RunConfig.from_mapping(self.config, *layers)

    def cells(self, *layers: dict[str, Any]) -> list[RunConfig]:
        """One config for each combination of the axes' values; the layers lie over config and axes alike."""
        combinations = itertools.product(*self.axes.values())
        cells = [RunConfig.from_mapping(self.config, dict(zip(self.axes, cell)), *layers) for cell in combinations]  # noqa: B905
        return list(dict.fromkeys(cells))

    @property
    def title(self) -> str:
        """The name with what varies, e.g. 'batchnorm-epsilon (bn_epsilon 1e-5, 0.01)'."""
        axes = [f"{field} {', '.join(map(format_value, values))}" for field, values in self.axes.items()]
        return f"{self.name} ({'; '.join(axes)})" if axes else self.name


def folder() -> Path:
    """Where the experiments that come with wdtui lie: in the wheel inside the package, in a checkout beside it."""
    package = Path(__file__).parent
    return package / "presets" if (package / "presets").is_dir() else package.parent / "experiments"


def names() -> list[str]:
    """The experiments that come with wdtui."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def load(name: str) -> Experiment:
    """Load an experiment by its name, or by the path of a TOML file. Raises ExperimentError and ConfigError."""
    path = Path(name) if name.endswith(".toml") else folder() / f"{name}.toml"
    if not name.endswith(".toml") and name not in names():
        near = nearest(name, names())
        raise ExperimentError(f"There is no experiment {name}{near} `wdtui experiments list` shows them all.")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ExperimentError(f"{path} cannot be read: {reason}.") from error
    try:
        return _experiment(path.stem, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise ExperimentError(f"{path} is not valid TOML: {error}.") from error
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error}", *error.fields) from error
    except ExperimentError as error:
        raise ExperimentError(f"{path.name}: {error}") from error


def _experiment(name: str, content: dict[str, Any]) -> Experiment:
    for key, value in content.items():
        if key not in _KEYS:
            raise ExperimentError(f"{key} is no part of an experiment{nearest(key, _KEYS)}")
        if not isinstance(value, _KEYS[key]):
            raise ExperimentError(f"{key} must be {'a table' if _KEYS[key] is dict else 'text'}.")
    if "question" not in content:
        raise ExperimentError('the question is missing: question = "…".')
    texts = {key: clean(value) for key, value in content.items() if isinstance(value, str)}
    forks = {"fork": Branching.read(content["fork"])} if "fork" in content else {}
    experiment = Experiment(name=name, **content | texts | forks)
    for field, values in experiment.axes.items():
        if field not in FIELDS:
            raise ExperimentError(f"the axis {field} is no field of a run{nearest(field, FIELDS)}")
        if isinstance(values, str):
            experiment.axes[field] = list(read_axis(FIELDS[field], values))
        elif not isinstance(values, list) or not values:
            raise ExperimentError(f"the axis {field} must be a list of values, or text as --axis takes it.")
    experiment.base()
    experiment.cells()
    return experiment
