"""`wdtui runs decay` says what decay does to each layer, and so do the summaries of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import wdtui

from wdtui.bench.layered import Layered
from wdtui.problems.addition.config import RunConfig
from wdtui.store.store import Status, Store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run of the addition problem that is queued, and one of a transformer with 100 layers."""
    folder = tmp_path_factory.mktemp("runs")
    with Store(folder) as store:
        store.add_run(RunConfig())
        run = Layered(store, 100)
        run.append(60)
        store.set_status(run.claim, Status.DONE)
    return folder


def test_sentences_come_first_and_then_the_layers_that_deviate_most(folder: Path) -> None:
    printed = wdtui("runs", "decay", "last", store=folder)
    assert printed.returncode == 0, printed.stderr
    sentences, _, table = printed.stdout.partition("\nlayer ")
    assert sentences.splitlines()[0] == "1/(ηλ) is 1,000 steps, 33 % of this run."
    lines = table.splitlines()[1:]
    assert lines[-1] == "and 60 further layers; --most prints more, --layer selects some."
    assert all("│" in line or "┿" in line for line in lines[:34])
    assert all("not scale-invariant" in line for line in lines[34:-1])


def test_layers_are_selected_and_ordered(folder: Path) -> None:
    printed = wdtui("runs", "decay", "2", "--layer", "mlp*1", "--sort", "network", "--most", "3", store=folder)
    named = [line.split()[0] for line in printed.stdout.splitlines() if line.startswith("blocks")]
    assert named == ["blocks.0.mlp.fc1", "blocks.1.mlp.fc1", "blocks.2.mlp.fc1"]


def test_json_has_all_layers_under_the_names_of_their_metrics(folder: Path) -> None:
    printed = json.loads(wdtui("runs", "decay", "2", "--sort", "share", "--json", store=folder).stdout)
    assert printed["time_constant"] == pytest.approx(1000)
    assert len(printed["layers"]) == 100
    shares = [layer["decay_share"] for layer in printed["layers"]]
    assert shares == sorted(shares, reverse=True)
    assert printed["layers"][0]["rotation_of_equilibrium"] is None and not printed["layers"][0]["scale_invariant"]
    assert printed["layers"][0]["weight_norm"] > 0


def test_a_pattern_without_a_layer_is_refused(folder: Path) -> None:
    refused = wdtui("runs", "decay", "2", "--layer", "conv", store=folder)
    assert refused.returncode == 2
    assert refused.stderr == "wdtui: No layer of run 2 has conv in its name.\n"


def test_a_run_without_gauges_says_so(folder: Path) -> None:
    printed = wdtui("runs", "decay", "1", store=folder)
    assert printed.returncode == 0
    assert printed.stdout == "Run 1 has recorded no decay gauges.\n"


def test_the_summary_of_a_run_says_what_decay_did(folder: Path) -> None:
    shown = wdtui("runs", "show", "2", store=folder).stdout
    assert "1/(ηλ) is 1,000 steps, 33 % of this run." in shown
    assert "34 scale-invariant layers" in shown
