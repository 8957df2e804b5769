"""Problem: how a user's own training is declared, and the configs of problems that only their schema describes.

    class ModularAddition(wdtui.Problem):
        p: int = wdtui.knob(113, ge=2, affects="data", help="The modulus.")

        def setup(self): ...    # build the model, the optimizer and the data
        def step(self): ...     # one update
        def measure(self): ...  # the metrics of a point

No torch here: the class is read in a process of its own (`describe.py`), and what it declares travels as a Schema.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from typing import Any, ClassVar, cast, get_args

from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import (
    ALIASES,
    SYMBOLS,
    Affects,
    ConfigError,
    Hyperparameter,
    Value,
    kind_of,
    nearest,
)
from wdtui.schema.hyperparameters import knob as knob
from wdtui.schema.metric import ROLES, Metric
from wdtui.schema.recorded import SPEED, charts_of, recorded
from wdtui.schema.schema import Schema
from wdtui.schema.source import Source

_GROUPS = {"problem": "Problem", "run": "Run"}
_RESERVED = frozenset(
    {
        "address", "axis", "detach", "device", "epochs", "executor", "experiment", "force", "fps", "headless", "help",
        "json", "measure", "metric", "metrics", "mouse", "name", "output", "problem", "seeds", "setup", "steered",
        "step", "store", "threads", "title", "workers",
    }
)  # fmt: skip
"""Names of options of the command line and of attributes that every problem has."""
_PROPERTIES = {field.name for field in dataclasses.fields(Hyperparameter)} - {"name", "kind", "optional", "default"}


class Problem:
    """A training that is declared: subclass it in a file and run `wdtui run FILE`.

    Each run is an instance. Its knobs are attributes: those of the class, `seed`, `steps` and `log_every`. `device` is
    where to train, as "cpu" or "cuda:0". Whatever else `setup` and `step` keep as attributes is the run's state, which
    checkpoints hold; attributes whose names begin with an underscore are left out and are to be built by `setup`.
    """

    title: ClassVar[str] = ""
    """What the problem is, in a few words."""
    metrics: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Properties of metrics, by name, where the name does not say them: those of `wdtui.schema.metric.Metric`."""

    seed: int = knob(
        0, ge=0, lt=2**32, group="run", affects="start", identifier=True, sweep="linear",
        help="Seed of torch, numpy and random before setup.",
    )  # fmt: skip
    steps: int = knob(
        1000, ge=1, le=10**10, group="run", affects="bookkeeping", unit="steps", help="How many updates the run has."
    )
    log_every: int = knob(
        10, ge=1, le=10**9, group="run", affects="bookkeeping", unit="steps", help="Steps from one point to the next."
    )
    keep_every: int = knob(
        0, ge=0, le=10**10, group="run", affects="bookkeeping", unit="steps",
        help="Steps from one checkpoint that stays to the next. 0 keeps those of milestones only.",
    )  # fmt: skip
    keep_megabytes: int = knob(
        2000, ge=1, le=10**9, group="run", affects="bookkeeping", unit="MB",
        help="What checkpoints that stay may take.",
    )  # fmt: skip

    device: str

    def setup(self) -> None:
        """Build the model, the optimizer and the data; torch, numpy and random are seeded with `seed` before."""
        raise NotImplementedError

    def step(self) -> Mapping[str, Any] | None:
        """Take one update. What it returns is recorded as its mean over the steps up to the next point."""
        raise NotImplementedError

    def measure(self) -> Mapping[str, Any] | None:
        """The metrics of a point, each a number or a tensor with one; called in eval mode and without gradients."""
        return None

    def steered(self, name: str, value: Any) -> None:
        """Called when a live knob has changed that is no setting of an optimizer; the attribute has the new value."""


class DeclaredConfig(Config):
    """A config of a problem whose schema is all that is known of it; `config_of` makes the classes."""

    declared: ClassVar[Schema]
    steps: int

    @classmethod
    @cache
    def schema(cls) -> Schema:
        return cls.declared

    @classmethod
    @cache
    def fields(cls) -> dict[str, Hyperparameter]:
        return dict(cls.declared.fields)

    @property
    def epochs(self) -> int:  # type: ignore[override]
        """Its unit is the step."""
        return self.steps

    @property
    def columns(self) -> tuple[str, ...]:
        """What every run records; the run's session adds what it finds."""
        return (SPEED.name,)

    def may_record(self, column: str) -> bool:
        """True: what it records is known once it has been trained."""
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        """The class is made anew where the config is unpickled."""
        return _unpickled, (self.declared.to_json(), self.to_mapping())


def declared(problem: type[Problem], source: Source | None) -> Schema:
    """What a class declares. Raises ConfigError with the attribute's name for what no hyperparameter can be."""
    fields = {name: field for name, field in _fields(problem)}
    metrics = recorded({name: _metric(name, properties) for name, properties in problem.metrics.items()}, ())
    groups = dict(_GROUPS) | {field.group: field.group for field in fields.values() if field.group not in _GROUPS}
    first = sorted(fields.values(), key=lambda field: list(groups).index(field.group))
    return Schema(
        problem=problem.__name__,
        title=problem.title or _first_line(problem),
        groups={name: title for name, title in groups.items() if any(field.group == name for field in first)},
        fields={field.name: field for field in first},
        metrics=metrics,
        charts=charts_of(metrics),
        source=source,
    )


def config_of(schema: Schema) -> type[DeclaredConfig]:
    """The configs of the runs that carry a schema."""
    return _config_class(schema.to_json())


@lru_cache(maxsize=256)
def _config_class(text: str) -> type[DeclaredConfig]:
    schema = Schema.from_json(text)
    attributes = [(name, Any, dataclasses.field(default=cast(Any, one.default))) for name, one in schema.fields.items()]
    namespace = {
        "declared": schema,
        "problem": schema.problem,
        "groups": schema.groups,
        "metrics": schema.metrics,
        "charts": schema.charts,
    }
    return dataclasses.make_dataclass(
        schema.problem, attributes, bases=(DeclaredConfig,), namespace=namespace, frozen=True, kw_only=True
    )


def _unpickled(text: str, values: Mapping[str, Any]) -> DeclaredConfig:
    return _config_class(text).from_mapping(values)


def _fields(problem: type[Problem]) -> Iterator[tuple[str, Hyperparameter]]:
    """The knobs of a class and its bases, its own first."""
    inherited = {name: given.metadata["hyperparameter"] for name, given in vars(Problem).items() if _is_knob(given)}
    annotations: dict[str, Any] = {}
    for base in reversed(problem.__mro__):
        annotations |= _annotations(base)
    attributes = {name: value for base in reversed(problem.__mro__) for name, value in vars(base).items()}
    bare = {
        name: type(value.default) for name, value in attributes.items() if _is_knob(value) and name not in annotations
    }
    annotations |= bare
    own = [name for name in annotations if name not in inherited]
    for name in (*own, *inherited):
        given = inspect.getattr_static(problem, name, None)
        if name in inherited and not _is_knob(given):  # steps = 5000
            given = knob(given)
        if _is_knob(given):
            default, properties = given.default, given.metadata["hyperparameter"]
            yield name, _field(name, annotations[name], default, inherited.get(name, {}) | dict(properties))


def _is_knob(value: Any) -> bool:
    return isinstance(value, dataclasses.Field) and "hyperparameter" in value.metadata


def _annotations(base: type) -> dict[str, Any]:
    try:
        return inspect.get_annotations(base, eval_str=True)
    except Exception:  # one that only a type checker can read
        return inspect.get_annotations(base)


def _field(name: str, annotation: Any, default: Value, properties: dict[str, Any]) -> Hyperparameter:
    if name in _RESERVED:
        raise ConfigError(f"{name}: wdtui uses this name itself. Give the knob another name.", name)
    if properties.get("affects", "shape") not in get_args(Affects):
        raise ConfigError(
            f"{name}: affects must be {' or '.join(get_args(Affects))}, not {properties['affects']}.", name
        )
    if unknown := next((one for one in properties if one not in _PROPERTIES), None):
        raise ConfigError(f"{name}: {unknown} is not a property of a knob. Known are {', '.join(sorted(_PROPERTIES))}.")
    assumed = {"label": name.replace("_", " "), "symbol": SYMBOLS.get(name, ""), "group": "problem"}
    aliases = {"aliases": ALIASES.get(name, ())}
    try:
        kind = kind_of(annotation, properties)
        field = Hyperparameter(name=name, default=default, **kind, **(assumed | aliases | properties))
        return dataclasses.replace(field, default=field.check(default))
    except ConfigError as error:
        raise ConfigError(f"The default of {error}", name) from error


def _metric(name: str, properties: Mapping[str, Any]) -> Metric:
    assumed = recorded({}, [name])[name]
    try:
        metric = dataclasses.replace(assumed, **properties)
    except TypeError as error:
        known = ", ".join(field.name for field in dataclasses.fields(Metric) if field.name != "name")
        raise ConfigError(f"metrics: {name} has properties that no metric has. Known are {known}.") from error
    if metric.role not in ("", *ROLES):
        hint = nearest(str(metric.role), ROLES)
        raise ConfigError(f"metrics: {name} has the role {metric.role}, but a role is {' or '.join(ROLES)}{hint}")
    return metric


def _first_line(problem: type[Problem]) -> str:
    return (inspect.getdoc(problem) or problem.__name__).partition("\n")[0] if problem.__doc__ else problem.__name__
