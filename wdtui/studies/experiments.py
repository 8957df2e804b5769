"""Experiments: TOML files with a question, the config that answers it and the axes to vary.

question = "..."            the question
effect = "grokking"         optional: the effect that it is about, one of EFFECTS
problem = "addition"        optional: the problem to train
article = "..."             the passage of the article or of a paper
expected = "..."            the result to expect
[config]                    fields of the problem that differ from their defaults
[axes]                      optional: field = [values], or text as `--axis` takes it: "logspace(0.01,1,5)"; the grid of
                            all combinations is the experiment's cells
[fork]                      optional: forks of each of those runs, see `branches.py`
[quick.config] [quick.axes] optional: what is different in a variant that takes minutes
[[claims]]                  optional: statements about the runs, see `claims.py`
[[notes]]                   optional: texts shown while a run trains, see `notes.py`
[picture]                   optional: the curves that show what it is about, see `pictures.py`
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import math
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from wdtui.problems import registry
from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import ConfigError, format_value, nearest
from wdtui.schema.schema import Schema
from wdtui.schema.steering import Plan
from wdtui.studies.branches import Branching, Case
from wdtui.studies.claims import Claim, read_claims
from wdtui.studies.grid import check_count, read_axis
from wdtui.studies.keys import Kinds, check_keys
from wdtui.studies.notes import Note, read_notes
from wdtui.studies.pictures import Picture, Thumbnail, read_picture
from wdtui.support.errors import WdtuiError
from wdtui.support.files import parse_toml, read_toml_text
from wdtui.support.text import clean

EFFECTS = (
    "first steps",
    "grokking",
    "range of weight decay",
    "blow-ups",
    "double descent",
    "edge of stability",
    "kinds of weight decay",
    "rotation",
)
"""The effects by which experiments are grouped, in the order in which they are listed."""
OTHER = "other questions"
"""The group of the experiments that name no effect, the last one."""

_TEXTS, _TABLES, _LISTS = ("question", "article", "expected"), ("config", "axes"), ("claims", "notes")
_KINDS: Kinds = (
    dict.fromkeys((*_TEXTS, "effect", "problem"), (str, "text"))
    | dict.fromkeys((*_TABLES, "fork", "quick", "picture"), (dict, "a table"))
    | dict.fromkeys(_LISTS, (list, "tables, as [[claims]] is"))
)


class ExperimentError(WdtuiError, ValueError):
    """An experiment does not exist or cannot be read. The message is one sentence."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Experiment:
    """A question and the runs that answer it."""

    name: str
    question: str
    effect: str = ""
    """One of EFFECTS, or empty."""
    problem: str = registry.DEFAULT
    article: str = ""
    expected: str = ""
    config: dict[str, Any] = dataclasses.field(default_factory=dict)
    axes: dict[str, Sequence[Any]] = dataclasses.field(default_factory=dict)
    fork: Branching | None = None
    claims: tuple[Claim, ...] = ()
    notes: tuple[Note, ...] = ()
    picture: Picture = dataclasses.field(default_factory=Picture)
    """What to draw of the runs of the variant that has it: the quick one, or the only one."""
    quick: Experiment | None = None
    """The variant that takes minutes. None without one, and in that variant itself."""

    @property
    def kind(self) -> type[Config]:
        """The config class of its problem. Raises ConfigError if the problem is not known."""
        return registry.find(self.problem).config

    @property
    def schema(self) -> Schema:
        """The declarations of its problem."""
        return self.kind.schema()

    def base(self, *layers: dict[str, Any]) -> Config:
        """The experiment's config with the values of `layers` on top, and no axis varied."""
        return self.kind.from_mapping(self.config, *layers)

    def cells(self, *layers: dict[str, Any]) -> list[Config]:
        """One config for each combination of the axes' values. `layers` override config and axes."""
        combinations = itertools.product(*self.axes.values())
        cells = [self.kind.from_mapping(self.config, dict(zip(self.axes, cell)), *layers) for cell in combinations]  # noqa: B905
        return list(dict.fromkeys(cell.for_batch() for cell in cells) if len(cells) > 1 else cells)

    def check_count(self) -> None:
        """Raise ConfigError if it has too many runs. None is created for this."""
        each = 1 + (len(self.fork.branches) if self.fork else 0)
        check_count(each * math.prod(map(len, self.axes.values())), *self.axes)

    def cases(self) -> list[Case]:
        """The subjects of claims: its cells, then the forks of each."""
        cells = self.cells()
        return [*cells, *(branch for cell in cells for branch in (self.fork.of(cell) if self.fork else ()))]

    def variant(self, quick: bool) -> Experiment:
        """The quick variant if it is asked for and exists, else this experiment."""
        return self.quick or self if quick else self

    def with_seeds(self, count: int) -> Experiment:
        """This experiment with each cell trained with the seeds 0 … count − 1.

        Raises ExperimentError if a claim uses another seed.
        """
        changed = dataclasses.replace(self, axes=self.axes | {"seed": range(count)})
        changed.check_count()
        cases = changed.cases()
        for claim in self.claims:
            first, second = claim.cells(cases)
            if not first or (not second and (claim.minus or claim.divided_by)):
                raise ExperimentError(f"{self.name}: “{claim.says}” uses a seed outside 0 to {count - 1}.")
        return changed

    def to_json(self) -> dict[str, Any]:
        """As plain JSON types, with the claims as text."""
        plain = {key: getattr(self, key) for key in ("name", "effect", "problem", *_TEXTS, *_TABLES)}
        claims = [{"says": claim.says, "measures": claim.subject, "bounds": claim.bounds} for claim in self.claims]
        fork = {self.fork.key: self.fork.epochs, "branches": self.fork.names(self.schema)} if self.fork else None
        return plain | {"fork": fork, "claims": claims, "quick": self.quick.to_json() if self.quick else None}

    @property
    def drawn(self) -> dict[str, Any]:
        """What a thumbnail of this variant is recorded of, as plain JSON types."""
        described = {key: value for key, value in self.to_json().items() if key in ("problem", "fork", *_TABLES)}
        plain: dict[str, Any] = json.loads(json.dumps(described | {"picture": self.picture.table}, default=list))
        return plain

    @property
    def title(self) -> str:
        """The name and the axes, e.g. 'batchnorm-epsilon (bn_epsilon 1e-5, 0.01)'."""
        axes = [f"{field} {', '.join(map(format_value, values))}" for field, values in self.axes.items()]
        return f"{self.name} ({'; '.join(axes)})" if axes else self.name


def folder() -> Path:
    """The folder of wdtui's experiments: inside the package in a wheel, beside it in a checkout."""
    package = Path(__file__).parents[1]
    return package / "presets" if (package / "presets").is_dir() else package.parent / "experiments"


def names() -> list[str]:
    """The names of wdtui's experiments."""
    return sorted(path.stem for path in folder().glob("*.toml"))


def by_effect() -> dict[str, list[str]]:
    """The names of wdtui's experiments by their effect, in the order of EFFECTS, then those without one under OTHER.

    Of each file only the effect is read, so that listing them is fast and a file with an error is listed too.
    """
    groups: dict[str, list[str]] = {effect: [] for effect in (*EFFECTS, OTHER)}
    for name in names():
        groups[_effect(folder() / f"{name}.toml")].append(name)
    return {effect: found for effect, found in groups.items() if found}


def _effect(path: Path) -> str:
    try:
        effect = parse_toml(read_toml_text(path)).get("effect")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return OTHER
    return effect if effect in EFFECTS else OTHER


def thumbnail_file(name: str) -> Path:
    """The file with the recorded picture of one of wdtui's experiments."""
    return folder() / "thumbnails" / f"{name}.json"


def thumbnail(experiment: Experiment) -> Thumbnail | None:
    """The recorded picture of one of wdtui's experiments; None if there is none of it as it is now."""
    shown = experiment.variant(quick=True)
    try:
        found = Thumbnail.from_text(thumbnail_file(experiment.name).read_text(encoding="utf-8"))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return found if found.of == shown.drawn else None


def notes_of(name: str, config: Config, plan: Plan = ()) -> tuple[Note, ...]:
    """The notes for a run of an experiment that comes with wdtui.

    A run with another config, as in a sweep of the user over the experiment, or with steering, has none. Seed and
    length may differ.
    """
    notes, configs = _own(name, folder())
    return notes if not plan and _essence(config) in configs else ()


@functools.cache
def _own(name: str, folder: Path) -> tuple[tuple[Note, ...], frozenset[tuple[Any, ...]]]:
    """The notes of an experiment in a folder and the configs of its runs; cached."""
    try:
        experiment = load(name) if name in names() else None
    except (ExperimentError, ConfigError):
        experiment = None
    if experiment is None or not experiment.notes:
        return (), frozenset()
    variants = [experiment, *([experiment.quick] if experiment.quick else [])]
    configs = [config for variant in variants for config in (variant.base(), *variant.cells())]
    return experiment.notes, frozenset(map(_essence, configs))


def _essence(config: Config) -> tuple[Any, ...]:
    """The values that identify an experiment's run: all but those that affect only the start or bookkeeping."""
    fields = config.fields().values()
    names = [field.name for field in fields if field.affects not in ("start", "bookkeeping")]
    return config.schema().code, *(getattr(config, name) for name in names)


def load(name: str) -> Experiment:
    """Load an experiment by its name, or by the path of a TOML file. Raises ExperimentError and ConfigError.

    The name of a problem loads an experiment with the problem's defaults.
    """
    if registry.is_file(name) or (name in registry.names() and name not in names()):
        problem = registry.find(name)
        return Experiment(name=problem.name, question=problem.title, problem=name)
    path = Path(name) if name.endswith(".toml") else folder() / f"{name}.toml"
    if not name.endswith(".toml") and name not in names():
        near = nearest(name, names())
        raise ExperimentError(f"There is no experiment {name}{near} `wdtui experiments list` shows them all.")
    try:
        text = read_toml_text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ExperimentError(f"{path} cannot be read: {reason}.") from error
    try:
        return _experiment(clean(path.stem), parse_toml(text), path.parent)
    except tomllib.TOMLDecodeError as error:
        raise ExperimentError(f"{path} is not valid TOML: {error}.") from error
    except ConfigError as error:
        raise ConfigError(f"{path.name}: {error}", *error.fields) from error
    except ExperimentError as error:
        raise ExperimentError(f"{path.name}: {error}") from error


def _experiment(name: str, content: dict[str, Any], beside: Path) -> Experiment:
    """An experiment from what its TOML says; a problem's file is named relative to the folder `beside`."""
    check_keys(content, _KINDS, "an experiment")
    if "question" not in content:
        raise ExperimentError('the question is missing: question = "…".')
    parts: dict[str, Any] = {key: clean(content[key]) for key in _TEXTS if key in content}
    if "effect" in content:
        if content["effect"] not in EFFECTS:
            effect, known = clean(content["effect"]), ", ".join(EFFECTS)
            near = nearest(effect, EFFECTS)
            raise ExperimentError(f"there is no effect “{effect}”{near if near != '.' else f': give one of {known}.'}")
        parts["effect"] = content["effect"]
    problem = content.get("problem", registry.DEFAULT)
    parts["problem"] = str(beside / problem) if registry.is_file(problem) else problem
    schema = registry.find(parts["problem"]).config.schema()
    parts["notes"] = read_notes(schema, content.get("notes", []))
    if "fork" in content:
        parts["fork"] = Branching.read(schema, content["fork"])
    config, axes = content.get("config", {}), content.get("axes", {})
    full = _variant(name, config, axes, parts, content, quick=False)
    if "quick" not in content:
        return full
    changes = content["quick"]
    check_keys(changes, {key: _KINDS[key] for key in _TABLES}, "quick")
    config, axes = config | changes.get("config", {}), axes | changes.get("axes", {})
    axes = {field: values for field, values in axes.items() if field not in changes.get("config", {})}
    return dataclasses.replace(full, quick=_variant(name, config, axes, parts, content, quick=True))


def _variant(
    name: str,
    config: dict[str, Any],
    axes: dict[str, Any],
    parts: dict[str, Any],
    content: dict[str, Any],
    *,
    quick: bool,
) -> Experiment:
    experiment = Experiment(name=name, config=config, axes=axes, **parts)
    for field, values in axes.items():
        try:
            experiment.schema.field(field)
        except ConfigError as error:
            raise ExperimentError(f"the axis {error}") from error
        if isinstance(values, str):
            experiment.axes[field] = list(read_axis(experiment.schema, field, values))
        elif not isinstance(values, list) or not values:
            raise ExperimentError(f"the axis {field} must be a list of values, or text in the format of --axis.")
    experiment.check_count()
    experiment.base()
    cases = experiment.cases()
    claims = read_claims(experiment.schema, content.get("claims", []), cases, quick=quick)
    picture = Picture()
    if quick or "quick" not in content:
        picture = read_picture(experiment.schema, content.get("picture", {}), cases, experiment.axes)
    return dataclasses.replace(experiment, claims=claims, picture=picture)
