"""The filter of the run table: words and conditions, e.g. `λ>=0.1 ε<1e-3 test>0.9 done`. Pure, no Textual.

A word is a status, a tag such as #good, or is searched for in name, note and experiment. A condition compares a
hyperparameter, a metric's newest value or a property of the run. For a steered hyperparameter it uses the value in
force, which the table shows.
All parts must match.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from wdtui.analysis.sweep_table import quantity
from wdtui.runs.labels import schemas_of
from wdtui.schema.curves import Curves
from wdtui.schema.hyperparameters import format_value, nearest
from wdtui.schema.schema import Schema
from wdtui.store.records import ORPHANED, TAG, UNCONFIRMED, RunRecord, Status
from wdtui.support.errors import WdtuiError

Test = Callable[[RunRecord], bool]

_PART = re.compile(r"^(?P<name>[^<>=!:~\s]+?)(?P<sign><=|>=|!=|==|=|<|>|≤|≥|≠|:)(?P<value>.*)$")
_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    ">": operator.gt,
    "<=": operator.le,
    "≤": operator.le,
    ">=": operator.ge,
    "≥": operator.ge,
    "=": operator.eq,
    "==": operator.eq,
    ":": operator.eq,
    "!=": operator.ne,
    "≠": operator.ne,
}
_PROPERTIES: dict[str, Callable[[RunRecord], Any]] = {
    "id": lambda run: run.id,
    "step": lambda run: run.step,
    "epoch": lambda run: run.epoch,
    "speed": lambda run: run.speed,
    "parent": lambda run: run.parent,
    "fit": lambda run: quantity(run, "fit_step"),
    "generalise": lambda run: quantity(run, "generalise_step"),
    "blowups": lambda run: quantity(run, "blowups"),
}
_TEXTS: dict[str, Callable[[RunRecord], str]] = {
    "name": lambda run: run.name,
    "note": lambda run: run.note,
    "experiment": lambda run: run.experiment,
    "device": lambda run: run.device,
    "status": lambda run: run.status_text,
}


class QueryError(WdtuiError, ValueError):
    """A filter that cannot be parsed. The message is one sentence."""


def parse(text: str, schemas: Sequence[Schema]) -> Test:
    """Turn a filter of runs with these schemas into a test. Raises QueryError. An empty filter accepts all runs."""
    tests = [_part(part, schemas) for part in _joined(text).split()]
    return lambda run: all(test(run) for test in tests)


def as_typed(text: str, runs: Sequence[RunRecord]) -> tuple[Test, str]:
    """The test of a filter that is still being typed, and a sentence if its last part is ignored.

    The last part is ignored while it is not a valid condition, or is a word that matches no run. Raises QueryError for
    the other parts.
    """
    *before, last = _joined(text).split() or [""]
    schemas = schemas_of(runs)
    rest = parse(" ".join(before), schemas)
    try:
        keep = parse(text, schemas)
    except QueryError as error:
        return rest, str(error)
    if last and text.endswith(last) and not _PART.match(last) and not any(map(keep, runs)):
        return rest, f"No run matches {last}."
    return keep, ""


def find_step(text: str, curves: Curves, schema: Schema) -> int | None:
    """The step that a text names, or the first at which its condition on a metric holds, as in `test>0.9`.

    None if it holds nowhere. Raises QueryError.
    """
    text = _joined(text)
    digits = text.removeprefix("step=").replace(",", "").replace("_", "")
    if digits.isdecimal():
        return int(digits)
    condition = _PART.match(text)
    name = schema.metric_names.get(condition["name"].lower().replace("-", "_"), condition["name"]) if condition else ""
    if condition is None or name not in curves or not condition["value"]:
        raise QueryError(f"{text} is neither a step nor a condition on a metric: give one such as 10000 or test>0.9.")
    wanted, compare = _number(condition["value"]), _SIGNS[condition["sign"]]
    holds = (
        step for step, value in zip(curves.steps.tolist(), curves[name].tolist(), strict=True) if compare(value, wanted)
    )
    return next(holds, None)


def _joined(text: str) -> str:
    """The text with each condition such as `λ >= 0.1` as one part."""
    return re.sub(r"\s*(<=|>=|!=|==|[<>=≤≥≠])\s*", r"\1", text.strip())


def _part(part: str, schemas: Sequence[Schema]) -> Test:
    condition = _PART.match(part)
    if condition is None:
        if part[0] in "<>=!≤≥≠:":
            raise QueryError(f"{part} has no name: write one before it, as in λ{part}.")
        return _word(part.lower())
    name, sign, value = condition["name"], condition["sign"], condition["value"]
    if not value:
        raise QueryError(f"{part} needs a value, as in {name}{sign}0.1.")
    return _condition(name.lower().replace("-", "_"), sign, value, schemas)


def _word(word: str) -> Test:
    if word in {*Status, ORPHANED, UNCONFIRMED}:
        return lambda run: word in (run.status_text, run.state)
    if word == "live":
        return lambda run: run.live
    if word.startswith("#") and word.isascii() and word[1:].isdigit():
        return lambda run: run.id == int(word[1:])
    if TAG.fullmatch(word):
        return lambda run: word in map(str.lower, run.tags)
    return lambda run: word in f"{run.name} {run.note} {run.experiment}".lower()


def _condition(name: str, sign: str, value: str, schemas: Sequence[Schema]) -> Test:
    if name in _TEXTS:
        return _text_condition(_TEXTS[name], name, sign, value)
    kinds = {schema.find(name).kind for schema in schemas if name in schema.names}
    if kinds - {"int", "float"}:
        return _exact_condition(name, sign, value)
    wanted, compare = _number(value), _SIGNS[sign]
    read = _PROPERTIES.get(name)
    if read is None:
        if not kinds and not any(name in schema.metric_names for schema in schemas):
            raise QueryError(f"{name} is neither a hyperparameter nor a metric{_near(name, schemas)}")
        read = partial(_value, name)
    return lambda run: _compared(compare, read(run), wanted)


def _value(name: str, run: RunRecord) -> Any:
    """A run's hyperparameter in force, or newest value of a metric; None if its problem does not have it."""
    schema = run.schema
    if name in schema.names:
        return run.in_force.get(schema.names[name])
    return run.latest.get(schema.metric_names.get(name, ""))


def _near(name: str, schemas: Sequence[Schema]) -> str:
    known = [*(name for schema in schemas for name in (*schema.names, *schema.metric_names)), *_PROPERTIES, *_TEXTS]
    hint = nearest(name, known)
    tried = ", ".join([*schemas[0].main][:-1])
    return hint if hint != "." else f"; try {f'{tried}, ' if tried else ''}step or name."


def _text_condition(read: Callable[[RunRecord], str], name: str, sign: str, value: str) -> Test:
    if sign not in ("=", "==", ":", "!=", "≠"):
        raise QueryError(f"{name} is text: compare it with = or !=.")
    found = sign in ("=", "==", ":")
    return lambda run: (value.lower() in read(run).lower()) == found


def _exact_condition(name: str, sign: str, value: str) -> Test:
    if sign not in ("=", "==", ":", "!=", "≠"):
        raise QueryError(f"{name} has no order: compare it with = or !=.")
    equal = sign in ("=", "==", ":")
    return lambda run: (format_value(_value(name, run)).lower() == value.lower()) == equal


def _number(text: str) -> float:
    share = text.endswith("%")
    digits = text.removesuffix("%").replace(",", "")
    thousands = digits.lower().endswith("k")
    try:
        value = float(digits[:-1] if thousands else digits)
    except ValueError:
        raise QueryError(f"{text} is not a number.") from None
    if not math.isfinite(value):
        raise QueryError(f"{text} is not a number.")
    return value * (1000 if thousands else 1) / (100 if share else 1)


def _compared(compare: Callable[[Any, Any], bool], value: Any, wanted: float) -> bool:
    """Compare two values. The result is False if a value is missing."""
    if not isinstance(value, (int, float)) or math.isnan(value):
        return False
    if compare in (operator.eq, operator.ne):
        return math.isclose(value, wanted, rel_tol=1e-9) == (compare is operator.eq)
    return compare(value, wanted)
