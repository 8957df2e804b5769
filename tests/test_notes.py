"""Notes: said when a run gets there, with the values of that moment; what is wrong with one is said at load time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from wdtui.analysis.milestones import milestones
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.metrics import METRICS
from wdtui.schema.curves import Curves
from wdtui.schema.hyperparameters import ConfigError
from wdtui.schema.steering import Steering
from wdtui.studies import experiments
from wdtui.studies.experiments import load, names, notes_of
from wdtui.studies.notes import reached, read_notes

SCHEMA = RunConfig.schema()
CONFIG = RunConfig(epochs=10)
TRAIN = [0.2, 0.9, 1.0, 1.0, 0.5, 1.0, 1.0, 1.0]
TEST = [0.0, 0.0, 0.03, 0.1, 0.1, 0.2, 0.96, 0.98]


@pytest.fixture(autouse=True)
def read_anew() -> None:
    """Experiments are read once, and another test may have changed what reading them gives."""
    experiments._own.cache_clear()


def curves(epochs: int = len(TRAIN)) -> Curves:
    """One point an epoch, of 78 steps each: fit in epoch 3, blow-up in epoch 5, generalisation in epoch 7."""
    numbers = np.arange(1, epochs + 1)
    values = np.column_stack([TRAIN[:epochs], TEST[:epochs], 120.0 - numbers])
    return Curves(("train_accuracy", "test_accuracy", "weight_norm"), numbers * 78, numbers, values)


def told(epochs: int, *notes: dict[str, Any], config: RunConfig = CONFIG) -> list[tuple[int, str]]:
    seen = curves(epochs)
    return reached(read_notes(SCHEMA, list(notes)), config, seen, milestones(seen, SCHEMA.judged))


def note(when: Any, says: str = "Here.", **more: Any) -> dict[str, Any]:
    return {"when": when, "says": says, **more}


@pytest.mark.parametrize(
    ("when", "epoch"),
    [("start", 1), ("fit", 3), ("blow-up", 5), ("generalise", 7), ({"epoch": 4}, 4), ({"step": 4 * 78}, 4)],
)
def test_a_note_appears_when_the_run_reaches_it(when: Any, epoch: int) -> None:
    for seen in range(1, len(TRAIN) + 1):
        assert told(seen, note(when)) == ([(epoch * 78, "Here.")] if seen >= epoch else [])


def test_the_end_is_the_last_step() -> None:
    assert told(8, note("end"), config=RunConfig(epochs=8)) == [(8 * 78, "Here.")]
    assert told(7, note("end"), config=RunConfig(epochs=8)) == []


def test_the_values_in_a_note_are_fixed_at_its_step() -> None:
    says = "{train_accuracy} and {test_accuracy} at step {step}, epoch {epoch}, norm {weight_norm}"
    for seen in (3, 8):
        assert told(seen, note("fit", says)) == [(234, "100 % and 3.0 % at step 234, epoch 3, norm 117")]
    assert told(8, note("generalise", "{delay} after {fit_step}")) == [(546, "312 after 234")]


def test_a_step_between_two_points_takes_the_values_of_the_next_and_its_step() -> None:
    assert told(8, note({"step": 100}, "{test_accuracy} {epoch}")) == [(156, "0 % 2")]


def test_notes_come_in_the_order_of_the_run() -> None:
    notes = note("generalise", "second"), note("fit", "first"), note("fit", "and")
    assert [says for _, says in told(8, *notes)] == ["first", "and", "second"]


def test_a_note_is_for_the_runs_it_names() -> None:
    one = note("fit", where={"bn_epsilon": [1e-5, 1e-4]})
    assert told(8, one) == [] and told(8, one, config=CONFIG.replace(bn_epsilon=1e-5))


def test_only_the_start_note_appears_before_the_first_point() -> None:
    assert told(0, note("start", "{test_accuracy} {step}"), note("fit")) == [(0, "– 0")]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (note("fitted"), "when = fitted is not a moment: give start, fit"),
        (note({"steps": 3}), "is not a moment"),
        (note({"step": -1}), "is not a moment"),
        ({"says": "Here."}, "when is missing"),
        ({"when": "fit"}, "a note has no sentence"),
        (note("fit", "{test_acuracy}"), "there is no value {test_acuracy}; did you mean test_accuracy?"),
        (note("fit", "{test_accuracy:.3f}"), "a name alone"),
        (note("fit", "{test_accuracy.__class__}"), "there is no value"),
        (note("fit", "{"), "braces do not pair up"),
        (note("fit", "{}"), "there is no value {}"),
        (note("fit", where={"widht": 8}), "there is no field widht; did you mean width?"),
        (note("fit", whn=3), "whn is not a key of a note; did you mean when?"),
    ],
)
def test_an_invalid_note_gives_a_one_sentence_error(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        read_notes(SCHEMA, [table])
    assert said in str(error.value) and str(error.value).endswith((".", "?"))


@pytest.mark.parametrize("name", [name for name in names() if load(name).notes])
def test_notes_appear_only_for_runs_of_their_experiment(name: str) -> None:
    experiment = load(name)
    assert notes_of(name, experiment.base()) == experiment.notes
    for cell in (*experiment.cells(), *(experiment.quick.cells() if experiment.quick else ())):
        assert (
            notes_of(name, cell)
            == notes_of(name, cell.replace(**{"seed": 7, experiment.schema.length: 9}))
            == experiment.notes
        )
    assert notes_of(name, experiment.base().replace(learning_rate=0.07)) == ()
    assert notes_of("", experiment.base()) == notes_of("gone", experiment.base()) == ()


def test_a_cell_of_a_sweep_over_the_demo_has_no_notes() -> None:
    demo = load("demo").base()
    assert notes_of("demo", demo.replace(weight_decay=0.01)) == notes_of("demo", demo.replace(width=64)) == ()


def test_a_run_that_was_steered_has_no_notes() -> None:
    demo = load("demo").base()
    assert notes_of("demo", demo, (Steering(780, "weight_decay", 0.3, 0.0),)) == ()


@pytest.mark.parametrize("name", names())
def test_shipped_notes_fit_the_status_line(name: str) -> None:
    """Of a terminal of 120 columns."""
    longest = {metric: "100.0 %" if metric.endswith("accuracy") else "1.4e-4" for metric in METRICS}
    for one in load(name).notes:
        filled = one.says.format_map(
            longest | {"step": "30,030", "epoch": "385", "fit_step": "3,822", "delay": "25,000"}
        )
        assert len(f"Step 30,030: {filled}") <= 80, filled
