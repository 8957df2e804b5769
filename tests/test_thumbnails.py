"""Pictures of experiments: what they show, and that the recorded ones are of the experiments as they are."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from wdtui.bench import thumbnails as bench
from wdtui.plots.terminal.thumbnails import thumbnail as draw
from wdtui.runs.evidence import Evidence
from wdtui.runs.thumbnails import thumbnail
from wdtui.schema.hyperparameters import ConfigError
from wdtui.store.store import Store
from wdtui.studies import experiments
from wdtui.studies.experiments import load
from wdtui.studies.pictures import MOST_CURVES, Thumbnail

FORKED = """
question = "Why?"
problem = "ridge"
[config]
dimensions = 4
steps = 12
log_every = 1
[axes]
weight_decay = [0, 1]
noise = [0.1, 0.5]
seed = [3, 4]
[fork]
at_epoch = 4
branches = [{ weight_decay = 2 }]
"""
Named = Callable[..., str]


@pytest.fixture
def tiny(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Named:
    """Makes an experiment that comes with wdtui."""
    monkeypatch.setattr(experiments, "folder", lambda: tmp_path)

    def tiny(picture: str = "", content: str = FORKED) -> str:
        (tmp_path / "tiny.toml").write_text(content + (f"[picture]\n{picture}\n" if picture else ""), encoding="utf-8")
        return "tiny"

    return tiny


def record(name: str, monkeypatch: pytest.MonkeyPatch) -> Thumbnail:
    monkeypatch.setattr(sys, "argv", ["thumbnails", name])
    bench.main()
    found = experiments.thumbnail(load(name))
    assert found
    return found


@pytest.mark.parametrize(
    "path", sorted((experiments.folder() / "thumbnails").glob("*.json")), ids=lambda path: path.stem
)
def test_the_recorded_pictures_are_of_the_experiments_as_they_are(path: Path) -> None:
    recorded = experiments.thumbnail(load(path.stem))
    assert recorded, f"python -m wdtui.bench.thumbnails {path.stem} records it anew"
    assert 1 <= len(recorded.curves) <= MOST_CURVES and path.stat().st_size < 10_000
    drawing = draw(recorded, load(path.stem).variant(quick=True), width=60, height=10)
    assert any(curve.label in drawing.plain for curve in recorded.curves)
    assert any("\u2800" < character <= "\u28ff" for character in drawing.plain)


def test_without_a_table_the_first_chart_of_the_runs_with_the_first_seed_is_drawn(tiny: Named) -> None:
    picture = load(tiny()).picture
    assert [*picture.lines] == ["λ 0, σ 0.1", "λ 0, σ 0.5", "λ 1, σ 0.1", "λ 1, σ 0.5"]
    assert {case.seed for case in picture.cases} == {3}


def test_forks_and_steps_are_recorded_from_real_runs(
    tiny: Named, monkeypatch: pytest.MonkeyPatch, in_threads: None, capsys: pytest.CaptureFixture[str]
) -> None:
    name = tiny('metrics = ["test_loss"]\nwhere = { noise = 0.5, branch = ["none", "weight_decay=2"] }')
    recorded = record(name, monkeypatch)
    assert "4 curves" in capsys.readouterr().out
    assert [curve.label for curve in recorded.curves] == ["λ 0", "λ 1", "λ 0 → 2", "λ 1 → 2"]
    assert (recorded.title, recorded.log, recorded.seed) == ("test loss", True, 3)
    with Store() as store:
        assert len(store.runs()) == 4  # two runs and a fork of each
        plain = {run.id: run.values["weight_decay"] for run in store.runs() if run.parent is None}
        at = {(plain.get(run.parent or run.id), run.steered): store.curves(run.id) for run in store.runs()}
    for curve, measured in zip(recorded.curves, (at[0, False], at[1, False], at[0, True], at[1, True]), strict=True):
        assert curve.x == tuple(measured.steps.tolist())
        assert curve.y == pytest.approx(measured["test_loss"], rel=0.01)


def test_an_axis_is_recorded_by_the_values_at_the_end(
    tiny: Named, monkeypatch: pytest.MonkeyPatch, in_threads: None
) -> None:
    recorded = record(tiny('metrics = ["train_loss", "test_loss"]\nalong = "weight_decay"'), monkeypatch)
    assert [curve.label.split()[:2] for curve in recorded.curves] == [["σ", "0.1"]] * 2 + [["σ", "0.5"]] * 2
    with Store() as store:
        ends = {(run.values["noise"], run.values["weight_decay"]): run.latest["train_loss"] for run in store.runs()}
    assert recorded.curves[0].x == (0, 1)
    assert recorded.curves[0].y == pytest.approx([ends[0.1, 0], ends[0.1, 1]], rel=0.01, abs=1e-20)
    drawn = draw(recorded, load("tiny").variant(quick=True), width=40, height=10).plain
    assert "0" in drawn.splitlines()[-1] and "1" in drawn.splitlines()[-1]


def test_a_picture_of_an_experiment_that_has_changed_is_not_shown(
    tiny: Named, monkeypatch: pytest.MonkeyPatch, in_threads: None
) -> None:
    record(tiny("where = { noise = 0.5 }"), monkeypatch)
    assert experiments.thumbnail(load(tiny("where = { noise = 0.5 }", FORKED.replace("12", "13")))) is None
    assert experiments.thumbnail(load(tiny("where = { noise = 0.1 }"))) is None
    path = experiments.thumbnail_file("tiny")
    for text in ("", "{}", "[]", json.dumps({"curves": [1]}), "\x00"):
        path.write_text(text)
        assert experiments.thumbnail(load("tiny")) is None


def test_there_is_no_picture_before_all_its_runs_have_finished(tiny: Named, tmp_path: Path) -> None:
    with Store(tmp_path / "store") as store:
        assert thumbnail(store, Evidence(store), load(tiny())) is None


@pytest.mark.parametrize(
    ("picture", "said"),
    [
        ('metric = ["test_loss"]', ["metric is not a key of [picture]", "metrics"]),
        ('metrics = "test_loss"', ["metrics", "a list"]),
        ('along = "wieght_decay"', ["wieght_decay", "weight_decay"]),
        ("where = { wieght_decay = 1 }", ["wieght_decay", "weight_decay"]),
        ("where = { weight_decay = 7 }", ["0 curves"]),
        ('metrics = ["train_loss", "test_loss"]\nlog = true', ["8 curves"]),
        ("where = { noise = 0.5, seed = [3, 4] }", ["one seed"]),
        ('where = { weight_decay = 1 }\nalong = "weight_decay"', ["for each point of along"]),
    ],
)
def test_an_impossible_picture_is_refused_in_a_sentence(tiny: Named, picture: str, said: list[str]) -> None:
    with pytest.raises(ConfigError) as error:
        load(tiny(picture))
    text = str(error.value)
    assert text.startswith("tiny.toml: ") and text.endswith((".", "?")) and all(part in text for part in said), text


def test_a_metric_that_no_run_records_is_refused_for_a_problem_that_knows_its_metrics(tiny: Named) -> None:
    with pytest.raises(ConfigError, match=re.escape("test_acuracy; did you mean test_accuracy?")):
        load(tiny('metrics = ["test_acuracy"]', 'question = "Why?"\n'))


def test_the_text_of_a_picture_reads_back_the_same() -> None:
    recorded: Any = experiments.thumbnail(load("double-descent"))
    assert Thumbnail.from_text(recorded.to_text()) == recorded
