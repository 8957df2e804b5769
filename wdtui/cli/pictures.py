"""What `wdtui plot` and `wdtui experiments report` share: runs made ready to be drawn, and files written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wdtui.cli.errors import CommandError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from wdtui.figures.curves import Subject
    from wdtui.runs.records import RunRecord
    from wdtui.runs.store import Store
    from wdtui.schema.curves import Curves

_KNOBS = ("weight_decay", "bn_epsilon", "width", "seed")


def require_matplotlib() -> None:
    """Raise CommandError where matplotlib is not installed."""
    from wdtui.figures.style import installed

    if not installed():
        raise CommandError("Pictures are drawn with matplotlib, which is not here: pip install 'wdtui[plot]'.")


def subjects(store: Store, runs: Sequence[RunRecord]) -> list[Subject]:
    """Runs as figures take them: one with its knobs as a title, several with what tells them apart."""
    from wdtui.branches import in_words
    from wdtui.figures.curves import Subject
    from wdtui.runs.labels import labels

    named = labels(runs) if len(runs) > 1 else [title(run) for run in runs]
    made = []
    for run, name in zip(runs, named, strict=True):
        curves = store.curves(run.id)
        changes = tuple(
            (one.step, in_words({one.field: (one.new, one.epochs) if one.epochs > 1 else one.new}))
            for one in run.plan
            if one.step < run.step
        )
        made.append(Subject(name, curves, _epsilon(run, curves), changes))
    return made


def title(run: RunRecord) -> str:
    """A run's name, where it has one, and the hyperparameters that matter most."""
    from wdtui.config import FIELDS
    from wdtui.text import clean, number

    knobs = [f"{FIELDS[name].symbol or name} {_digits(number(run.values[name]))}" for name in _KNOBS]
    return ": ".join(filter(None, [clean(run.name), ", ".join(knobs)]))


def _digits(text: str) -> str:
    return text.replace(",", "")


def _epsilon(run: RunRecord, curves: Curves) -> NDArray[np.float64] | None:
    """The ε in force at each point, as it was steered; None without BatchNorm."""
    import numpy as np

    from wdtui.steering import values_at

    if "bn_variance_min" not in curves:
        return None
    length = run.config.steps_per_epoch
    plan = tuple(one for one in run.plan if one.field == "bn_epsilon")
    if not plan:
        return np.full(len(curves), run.config.bn_epsilon)
    return np.array([values_at(plan, int(step) - length, length)["bn_epsilon"] for step in curves.steps], np.float64)


def write(path: Path, save: Callable[[Path], None]) -> None:
    """Write a file and say where on stdout; raises CommandError where that cannot be done."""
    import typer

    try:
        save(path)
    except OSError as error:
        raise CommandError(f"{path} cannot be written: {error.strerror or error}.") from error
    typer.echo(f"Wrote {path}.")
