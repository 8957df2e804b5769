"""Runs are named by what differs between them, and keep their colour and sign."""

from __future__ import annotations

import json
import sqlite3

from tui_tools import Recorded

from wdtui.runs.labels import labels
from wdtui.tui.identity import Identities


def test_labels_show_only_differences(recorded: Recorded) -> None:
    recorded.add("epsilon-1e-5", points=5)
    recorded.add("epsilon-1e-2", points=5)
    assert labels(recorded.store.runs()) == ["ε 0.01", "ε 1e-5"]


def test_labels_show_epochs_only_without_other_differences(recorded: Recorded) -> None:
    recorded.add("epsilon-1e-2", points=5)
    recorded.add("epsilon-1e-2", points=5, epochs=400)
    assert labels(recorded.store.runs()) == ["epochs 400", "epochs 310"]
    recorded.add("decay-1", points=5)
    assert labels(recorded.store.runs())[0] == "λ 1"


def test_a_run_older_than_a_hyperparameter_has_its_default(recorded: Recorded) -> None:
    """Runs were stored before there was a choice of architectures."""
    old, new = recorded.add("epsilon-1e-5", points=5), recorded.add("epsilon-1e-2", points=5)
    with sqlite3.connect(recorded.store.folder / "wdtui.sqlite3") as connection:
        (text,) = connection.execute("SELECT config FROM runs WHERE id = ?", (old,)).fetchone()
        values = {name: value for name, value in json.loads(text).items() if name not in ("architecture", "heads")}
        connection.execute("UPDATE runs SET config = ?, seal = NULL WHERE id = ?", (json.dumps(values), old))
    connection.close()
    assert labels(recorded.store.runs()) == ["ε 0.01", "ε 1e-5"]
    assert recorded.store.run(old).config.architecture == recorded.store.run(old).values["architecture"] == "residual"
    assert recorded.store.run(old).config == recorded.store.run(new).config.replace(bn_epsilon=1e-5)


def test_equal_runs_are_labelled_by_name_or_number(recorded: Recorded) -> None:
    recorded.add("demo", points=5)
    recorded.add("demo", points=5, name="again")
    assert labels(recorded.store.runs()) == ["again", "#1"]


def test_long_numbers_in_labels_are_rounded(recorded: Recorded) -> None:
    recorded.add("demo", points=5)
    recorded.add("demo", points=5, normalized_weight_decay=0.05)
    assert labels(recorded.store.runs()) == ["λ 0.496", "λ 0.3"]


def test_nearly_equal_numbers_in_labels_are_exact(recorded: Recorded) -> None:
    recorded.add("demo", points=5, learning_rate=0.0010001)
    recorded.add("demo", points=5)
    assert labels(recorded.store.runs()) == ["learning rate 0.001", "learning rate 0.0010001"]


def test_colours_and_markers_are_stable_and_distinct_for_49_runs() -> None:
    identities = Identities()
    first = identities.of(7)
    identities.keep(7)
    preview = identities.of(9)
    for run_id in (8, *range(49)):
        identities.keep(run_id)
    assert (identities.of(7), identities.of(8)) == (first, preview)
    assert len({identities.of(run_id) for run_id in range(49)}) == 49
