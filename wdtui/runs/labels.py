"""What tells several runs apart, in words: one naming for the legend of charts and for comparisons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from wdtui.config import FIELDS
from wdtui.runs.records import RunRecord
from wdtui.text import clean

_MOST = 3
"""How many differing hyperparameters a label names."""


def labels(runs: Sequence[RunRecord]) -> list[str]:
    """Name each of several runs by what differs between them, e.g. 'ε 1e-5'; else by name, else by number."""
    fields = _differing(runs)
    written = {name: _written(name, runs) for name in fields}
    texts = [", ".join(written[name][place] for name in fields) for place in range(len(runs))]
    counts = Counter(texts)
    named = [
        text if counts[text] == 1 else _with_name(text, clean(run.name)) for text, run in zip(texts, runs, strict=True)
    ]
    counts = Counter(named)
    return [
        text if text and counts[text] == 1 else f"{text} #{run.id}".strip()
        for text, run in zip(named, runs, strict=True)
    ]


def _differing(runs: Sequence[RunRecord]) -> list[str]:
    differing = [name for name in FIELDS if len({run.written(name) for run in runs}) > 1]
    if "weight_decay" in differing and "normalized_weight_decay" in differing:
        differing.remove("normalized_weight_decay")
    if len(differing) > 1 and "epochs" in differing:
        differing.remove("epochs")  # how long it ran is seen on the time axis
    return differing[:_MOST]


def _written(name: str, runs: Sequence[RunRecord]) -> list[str]:
    """One hyperparameter of each run, rounded to what can be read where that still tells them apart."""
    field, exact = FIELDS[name], [run.written(name) for run in runs]
    if field.kind in ("int", "float"):
        rounded = [run.written(name, field.written) for run in runs]
        exact = rounded if len(set(rounded)) == len(set(exact)) else exact
    return [f"{field.symbol or field.label} {text}" for text in exact]


def _with_name(text: str, name: str) -> str:
    return f"{text} {name}".strip()
