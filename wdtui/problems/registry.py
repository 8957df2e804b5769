"""The problems that can be trained: a declaration each, and the module that trains it. No torch."""

from __future__ import annotations

import dataclasses
from functools import cache

from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import ConfigError, nearest


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """What can be trained: its hyperparameters and metrics are those of `config`."""

    title: str
    config: type[Config]
    module: str
    """The module that trains it, as `wdtui.training.Trains` says; only it imports torch."""

    @property
    def name(self) -> str:
        return self.config.problem


DEFAULT = "addition"
"""The problem of an experiment that names none."""

_problems: dict[str, Problem] = {}


def register(problem: Problem) -> Problem:
    """Make a problem known by its name."""
    _problems[problem.name] = problem
    return problem


def find(name: str) -> Problem:
    """A problem by its name. Raises ConfigError, with the nearest name, for one that there is not."""
    known = _known()
    if name not in known:
        raise ConfigError(f"There is no problem {name}{nearest(name, known)} Known are {', '.join(known)}.")
    return known[name]


def names() -> tuple[str, ...]:
    """The names of all problems, that of the default first."""
    return tuple(_known())


def of(config: Config) -> Problem:
    """The problem that a config is of."""
    return find(config.problem)


def _known() -> dict[str, Problem]:
    _register_built_in()
    return _problems


@cache
def _register_built_in() -> None:
    from wdtui.problems.addition.config import RunConfig

    register(Problem(title="binary arithmetic", config=RunConfig, module="wdtui.problems.addition.engine.problem"))
