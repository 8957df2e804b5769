"""The problems that can be trained, by name: a declaration each, which is imported once it is asked for. No torch."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from functools import cache

from wdtui import problems
from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import ConfigError, nearest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """A problem that can be trained; `config` declares its hyperparameters, metrics and charts."""

    title: str
    config: type[Config]
    module: str
    """The module that trains it, as `wdtui.training.Trains` says; only it imports torch."""

    @property
    def name(self) -> str:
        return self.config.problem


DEFAULT = "addition"
"""The problem of an experiment that names none."""

_registered: dict[str, Problem] = {}


def register(problem: Problem) -> Problem:
    """Make a problem known by its name."""
    _registered[problem.name] = problem
    return problem


def find(name: str) -> Problem:
    """A problem by its name. Raises ConfigError, with the nearest name, for one that there is not."""
    if name in _registered:
        return _registered[name]
    if name not in names():
        raise ConfigError(f"There is no problem {name}{nearest(name, names())} Known are {', '.join(names())}.")
    problem: Problem = importlib.import_module(f"{problems.__name__}.{name}").PROBLEM
    return register(problem)


def names() -> tuple[str, ...]:
    """The names of all problems, that of the default first."""
    return tuple(dict.fromkeys([DEFAULT, *_built_in(), *_registered]))


def of(config: Config) -> Problem:
    """The problem that a config is of."""
    return find(config.problem)


@cache
def _built_in() -> tuple[str, ...]:
    """The modules and packages beside this one; each is named like its problem, and defines PROBLEM."""
    return tuple(module.name for module in pkgutil.iter_modules(problems.__path__) if module.name != "registry")
