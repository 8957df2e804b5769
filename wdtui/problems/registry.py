"""The problems that can be trained, by name or by the file that declares one. No torch.

A built-in problem is a module or package beside this one, named like its problem, which is imported once it is asked
for. Its PROBLEM is an Entry, or a class of the kind that a user's file declares. A user's file is run in a process of
its own, and only its schema comes back.
"""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
from functools import cache
from pathlib import Path
from types import ModuleType

from wdtui import problems
from wdtui.problems import files
from wdtui.problems.declared import DeclaredConfig, Problem, declared
from wdtui.problems.declared import config_of as _declared_config
from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import ConfigError, nearest
from wdtui.schema.schema import Schema
from wdtui.schema.source import Source


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
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
_DECLARED = "wdtui.training.declared"
_NO_PROBLEMS = {"declared", "describe", "files", "registry", "user_code"}
"""The modules beside this one that are no problem."""

_registered: dict[str, Entry] = {}


def register(problem: Entry) -> Entry:
    """Make a problem known by its name."""
    _registered[problem.name] = problem
    return problem


def find(name: str) -> Entry:
    """A problem by its name, or by a file as FILE.py or FILE.py:Class. Raises ConfigError, with the nearest name."""
    if is_file(name):
        return _entry(files.schema_of(name))
    if name in _registered:
        return _registered[name]
    if name not in names():
        raise ConfigError(f"There is no problem {name}{nearest(name, names())} Known are {', '.join(names())}.")
    module = importlib.import_module(f"{problems.__name__}.{name}")
    return register(_declared_by(module, name) if isinstance(module.PROBLEM, type) else module.PROBLEM)


def is_file(name: str) -> bool:
    """Whether a name is that of a file which declares a problem."""
    return name.partition(":")[0].endswith(".py") or ".py:" in name


def names() -> tuple[str, ...]:
    """The names of all problems that have one, that of the default first."""
    return tuple(dict.fromkeys([DEFAULT, *_built_in(), *_registered]))


def of(config: Config) -> Entry:
    """The problem that a config is of. Raises ConfigError for one that only its own script can train."""
    if not isinstance(config, DeclaredConfig):
        return find(config.problem)
    if config.declared.watched:
        raise ConfigError(f"{config.problem} is trained by a script of its own; start that script to train it.")
    return _entry(config.declared)


def config_of(schema: Schema) -> type[Config]:
    """The configs of runs that carry a schema. Raises ConfigError for a built-in problem that is not known here."""
    if schema.source or schema.watched:
        return _declared_config(schema)
    return find(schema.problem).config


def trains(schema: Schema) -> bool:
    """Whether the runs that carry a schema can be trained here."""
    return not schema.watched and (schema.source is not None or schema.problem in names())


def is_built_in(schema: Schema) -> bool:
    """Whether a schema is that of a problem that comes with wdtui, of this version or another."""
    return schema.problem in _built_in()


def _declared_by(module: ModuleType, name: str) -> Entry:
    """The problem of a module whose PROBLEM is a class. Its runs keep a copy of the module, as of a user's file."""
    problem: type[Problem] = module.PROBLEM
    schema = declared(problem, Source.read(Path(str(module.__file__)), problem.__name__))
    return _entry(dataclasses.replace(schema, problem=name))


def _entry(schema: Schema) -> Entry:
    return Entry(title=schema.title, config=_declared_config(schema), module=_DECLARED)


@cache
def _built_in() -> tuple[str, ...]:
    """The modules and packages beside this one; each is named like its problem, and defines PROBLEM."""
    return tuple(module.name for module in pkgutil.iter_modules(problems.__path__) if module.name not in _NO_PROBLEMS)
