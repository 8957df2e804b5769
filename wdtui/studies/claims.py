"""Claims: statements about the runs of an experiment, read from TOML. `verdicts.py` checks them.

Every claim compares one value with bounds. In TOML, under [[claims]]:

says       = "…"                    the claim as a sentence
measure    = "test_accuracy"        a metric, "metric/layer" for that of a layer, or one of MEASURES
at         = "end"                  where a metric is read: "end" (the default), "fit", "highest", "lowest" or a step
where      = {weight_decay = 0.1}   the cells it is about; a list allows any of its values. {branch = "bn_epsilon=0.01"}
                                    selects a branch of them (see `branches.py`) instead of the runs themselves
seeds      = "median"               how the values of several seeds are combined: median (the default), mean, min, max,
                                    or "all" if the bounds must hold for every seed
along      = "weight_decay"         with find: the cells form a curve along this field, and the value is …
find       = "highest_at"           … where it is highest ("lowest_at": lowest), or its "largest_rise" or "largest_fall"
                                    from any cell to any later one: a curve rises when its largest fall is about zero
minus      = {weight_decay = 0}     subtract the value of the cells with these values instead
divided_by = {epochs = 96}          divide by the value of the cells with these values instead
at_least, at_most                   the bounds; or between = [a, b]; or about = x with tolerance = t
only       = "full"                 the only variant, "full" or "quick", that has this claim
quick      = {at_least = 0.2}       the keys that differ in the quick variant

A branch includes the points of its parent up to the fork, so its measures cover the whole run. Only its blow-ups, and
its highest and lowest values, are those after the fork.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from wdtui.analysis.milestones import Milestones
from wdtui.schema.hyperparameters import ConfigError, Hyperparameter, format_value, nearest
from wdtui.schema.schema import Schema
from wdtui.studies.branches import BRANCH, Case, config_of, value_in
from wdtui.support.text import clean, number, percent, too_long

MEASURES: dict[str, tuple[str, Callable[[Milestones], float | None]]] = {
    "fit_step": ("step of the fit", lambda seen: seen.fit_step),
    "generalise_step": ("step of generalisation", lambda seen: seen.generalise_step),
    "delay": ("steps from fit to generalisation", lambda seen: seen.delay),
    "fitted": ("share of seeds that fit", lambda seen: seen.fit_step is not None),
    "generalised": ("share of seeds that generalise", lambda seen: seen.generalise_step is not None),
    "blowups": ("blow-ups", lambda seen: len(seen.blowup_steps)),
    "first_blowup": ("step of the first blow-up", lambda seen: next(iter(seen.blowup_steps), None)),
    "blowup_period": ("steps from blow-up to blow-up", lambda seen: seen.blowup_period),
}
"""Label and value of each measure that is not a metric."""

_PLACES = ("end", "fit", "highest", "lowest")
_SEEDS = ("median", "mean", "min", "max", "all")
_FINDS = ("highest_at", "lowest_at", "largest_rise", "largest_fall")
_BOUNDS = ("at_least", "at_most", "between", "about", "tolerance")
_TEXT, _NUMBER, _TABLE = "text", "a number", "a table"
_KEYS = {
    **dict.fromkeys(("says", "measure", "seeds", "along", "find", "only"), _TEXT),
    "at": "text or a step",
    **dict.fromkeys(("where", "minus", "divided_by", "quick"), _TABLE),
    **dict.fromkeys(("at_least", "at_most", "about", "tolerance"), _NUMBER),
    "between": "two numbers, the smaller first",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim in one variant of its experiment. The module describes the fields."""

    says: str
    schema: Schema
    """The schema of its runs."""
    measure: str
    at: str | int = "end"
    where: dict[str, Any] = dataclasses.field(default_factory=dict)
    seeds: str = "median"
    along: str = ""
    find: str = ""
    minus: dict[str, Any] = dataclasses.field(default_factory=dict)
    divided_by: dict[str, Any] = dataclasses.field(default_factory=dict)
    at_least: float = -math.inf
    at_most: float = math.inf

    @property
    def subject(self) -> str:
        """A description of the measure."""
        if self.measure in MEASURES:
            label = MEASURES[self.measure][0]
        else:
            name, _, layer = self.measure.partition("/")
            label = f"{self.schema.metrics[name].label}{layer and f' of {layer}'}"
            if isinstance(self.at, int):
                label = f"{label} at step {number(self.at)}"
            elif self.at in ("end", "fit"):
                label = f"{label} at the {self.at}"
            else:
                label = f"{self.at} {label}"
        if BRANCH in self.where and ("blowup" in self.measure or self.at in ("highest", "lowest")):
            label = f"{label} after the fork"
        if not self.find:
            return label
        field = self.schema.symbol(self.along)
        word = self.find.removesuffix("_at").replace("_", " ")
        return f"{field} of the {word} {label}" if self.find.endswith("_at") else f"{word} of {label} along {field}"

    @property
    def bounds(self) -> str:
        """A description of the bounds."""
        if self.at_least == self.at_most:
            return self.shown(self.at_least)
        if math.isinf(self.at_most):
            return f"at least {self.shown(self.at_least)}"
        if math.isinf(self.at_least):
            return f"at most {self.shown(self.at_most)}"
        return f"between {self.shown(self.at_least)} and {self.shown(self.at_most)}"

    def shown(self, value: float) -> str:
        """A value of this claim as text."""
        if math.isinf(value):
            return "never"
        if self.divided_by:
            return f"× {number(value)}"
        return self.shown_term(value)

    def shown_term(self, value: float) -> str:
        """A value before the division as text."""
        if math.isinf(value):
            return "never"
        metric = self.schema.metric(self.measure)
        share = metric.share if metric else self.measure in ("fitted", "generalised")
        return percent(value) if share and not self.find.endswith("_at") else number(value)

    def cells(self, cells: Iterable[Case]) -> tuple[list[Case], list[Case]]:
        """The cells it is about, and the cells of `minus` or `divided_by` (empty without them)."""
        cells = list(cells)
        other = self.minus or self.divided_by
        return choose(cells, self.where), choose(cells, self.where | other) if other else []


# Reading


def read_claims(schema: Schema, tables: Any, cells: Sequence[Case], *, quick: bool) -> tuple[Claim, ...]:
    """The claims of [[claims]] for a variant with these cells. Raises ConfigError."""
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigError("claims must be tables: begin each with [[claims]].")
    claims = []
    for table in tables:
        says = table.get("says")
        if not isinstance(says, str) or not says.strip():
            raise ConfigError('a claim has no sentence: give says = "…".')
        if why := too_long(says):
            raise ConfigError(f"what a claim says {why}.")
        try:
            if _variant(table) in ("", "quick" if quick else "full"):
                claims.append(_claim(schema, table | (table.get("quick", {}) if quick else {})))
                _check_cells(claims[-1], cells)
        except ConfigError as error:
            variant = "the quick variant of " if quick else ""
            raise ConfigError(f"in {variant}the claim “{clean(says)}”: {error}", *error.fields) from error
    return tuple(claims)


def _variant(table: Mapping[str, Any]) -> str:
    for key, value in [*table.items(), *_table(table.get("quick", {}), "quick").items()]:
        if key not in _KEYS:
            raise ConfigError(f"{key} is not a key of a claim{nearest(key, _KEYS)}")
        if not _is_of_kind(value, _KEYS[key]):
            raise ConfigError(f"{key} must be {_KEYS[key]}, not {format_value(value)}.")
    return str(_one_of("only", table.get("only", ""), ("", "full", "quick")))


def _claim(schema: Schema, table: dict[str, Any]) -> Claim:
    if "measure" not in table:
        raise ConfigError('it has no measure: give measure = "…".')
    if schema.source and table["measure"] not in MEASURES:  # a run shows what it records only once it is trained
        schema = schema.recording([table["measure"]])
    _one_of("measure", table["measure"].partition("/")[0], [*schema.metrics, *MEASURES])
    if not isinstance(table.get("at"), int):
        _one_of("at", table.get("at", "end"), _PLACES)
    if table["measure"] in MEASURES and "at" in table:
        raise ConfigError(f"{table['measure']} is a measure of the whole run, and at is for metrics.")
    _one_of("seeds", table.get("seeds", "median"), _SEEDS)
    _one_of("find", table.get("find", ""), ("", *_FINDS))
    if ("along" in table) != ("find" in table):
        raise ConfigError("along and find must be given together.")
    if "along" in table:
        _one_of("along", table["along"], schema.fields)
        if table.get("seeds") == "all":
            raise ConfigError('seeds "all" gives no curve for along: give median, mean, min or max.')
    if "minus" in table and "divided_by" in table:
        raise ConfigError("minus and divided_by clash: give one of the two.")
    wheres: dict[str, Any] = {
        key: read_cases(schema, table[key], key) for key in ("where", "minus", "divided_by") if key in table
    }
    low, high = _bounds(table)
    plain = {key: table[key] for key in ("measure", "at", "seeds", "along", "find") if key in table}
    return Claim(says=clean(table["says"]), schema=schema, at_least=low, at_most=high, **plain, **wheres)


def _bounds(table: Mapping[str, Any]) -> tuple[float, float]:
    given = [key for key in _BOUNDS if key in table]
    if given in (["at_least"], ["at_most"], ["at_least", "at_most"]):
        low, high = float(table.get("at_least", -math.inf)), float(table.get("at_most", math.inf))
    elif given == ["between"]:
        low, high = map(float, table["between"])
    elif given == ["about", "tolerance"]:
        low, high = table["about"] - table["tolerance"], table["about"] + table["tolerance"]
    else:
        raise ConfigError(
            f"it is bounded by {' and '.join(given) or 'nothing'}: give at_least, at_most or both; between; "
            "or about and tolerance."
        )
    if not low <= high:
        raise ConfigError(f"no value is at least {number(low)} and at most {number(high)}.")
    return low, high


def read_cases(schema: Schema, table: Any, key: str) -> dict[str, tuple[Any, ...]]:
    """As `read_where`, and the branches. Raises ConfigError."""
    fields = {name: value for name, value in _table(table, key).items() if name != BRANCH}
    branches = [table[BRANCH]] if isinstance(table.get(BRANCH), str) else table.get(BRANCH, [])
    if not isinstance(branches, list) or not all(isinstance(name, str) for name in branches):
        raise ConfigError(f"{BRANCH} must be {_TEXT}, not {format_value(branches)}.")
    return read_where(schema, fields, key) | ({BRANCH: tuple(branches)} if BRANCH in table else {})


def read_where(schema: Schema, table: Any, key: str) -> dict[str, tuple[Any, ...]]:
    """The allowed values of each field that selects runs. Raises ConfigError."""
    for name in _table(table, key):
        _one_of("field", name, schema.fields)
    return {name: _allowed(schema.field(name), value) for name, value in table.items()}


def _allowed(field: Hyperparameter, value: Any) -> tuple[Any, ...]:
    """The selected values of a field, validated."""
    single = not isinstance(value, list) or field.kind in ("ints", "floats")
    return tuple(field.check(choice) for choice in ([value] if single else value))


def _check_cells(claim: Claim, cells: Sequence[Case]) -> None:
    """Raise ConfigError unless the selected runs give one value, or one curve."""
    for table, chosen in zip((claim.where, claim.minus or claim.divided_by), claim.cells(cells), strict=True):
        if table and not chosen:
            wanted = ", ".join(f"{name} {_listed(values)}" for name, values in table.items())
            there = "; ".join(f"{name} {_listed(dict.fromkeys(value_in(c, name) for c in cells))}" for name in table)
            raise ConfigError(f"the experiment has no run with {wanted}; it has {there}.", *table)
        curve = curve_of(claim, chosen)
        if any(not isinstance(position, (int, float)) for position in curve):
            raise ConfigError(f"{claim.along} has no numbers, so it cannot be used in along.", claim.along)
        for group in curve.values():
            fields = (*claim.schema.fields, BRANCH)
            if loose := [
                name
                for name in fields
                if name not in claim.schema.seeds and len({value_in(c, name) for c in group}) > 1
            ]:
                raise ConfigError(f"it does not fix {loose[0]}: give it in where or in along.", loose[0])
        if claim.find and chosen and len(curve) < 2:
            raise ConfigError(f"there is only one value of {claim.along} for along.", claim.along)
        for config in map(config_of, chosen):
            if claim.measure not in MEASURES and not config.may_record(claim.measure):
                raise ConfigError(f"{claim.measure} is not measured in such runs.")
            if isinstance(claim.at, int) and not 1 <= claim.at <= config.steps:
                raise ConfigError(f"at {claim.at:,} is not within the {config.steps:,} steps of its runs.")


def _one_of(key: str, value: Any, allowed: Iterable[str]) -> Any:
    allowed = list(allowed)
    if value not in allowed:
        near = nearest(str(value), allowed)
        choices = f"; give {', '.join(filter(None, allowed))}." if near == "." and len(allowed) < 10 else near
        raise ConfigError(f"there is no {key} {value}{choices}")
    return value


def _table(value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{key} must be {_KEYS[key]}, not {format_value(value)}.")
    return value


def _is_of_kind(value: Any, kind: str) -> bool:
    def is_number(item: Any) -> bool:
        return isinstance(item, (int, float)) and not isinstance(item, bool) and math.isfinite(item)

    if kind == _TEXT:
        return isinstance(value, str)
    if kind == _TABLE:
        return isinstance(value, dict)
    if kind == _NUMBER:
        return is_number(value)
    if isinstance(value, list):
        return kind == _KEYS["between"] and len(value) == 2 and all(map(is_number, value)) and value[0] <= value[1]
    return kind == _KEYS["at"] and (isinstance(value, str) or (isinstance(value, int) and is_number(value)))


def _listed(values: Iterable[Any]) -> str:
    return ", ".join(map(format_value, values))


def curve_of(claim: Claim, cells: Iterable[Case]) -> dict[Any, list[Case]]:
    """The cells by their value of the field `along`; all under 0 without it."""
    curve: dict[Any, list[Case]] = {}
    for cell in cells:
        curve.setdefault(value_in(cell, claim.along) if claim.along else 0, []).append(cell)
    return curve


def choose(cells: Iterable[Case], where: Mapping[str, tuple[Any, ...]]) -> list[Case]:
    where = {BRANCH: ("none",)} | dict(where)
    return [cell for cell in cells if all(value_in(cell, name) in values for name, values in where.items())]
