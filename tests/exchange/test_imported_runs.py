"""A run that was taken in, and lacks most of what wdtui measures, is listed, told, drawn, compared and exported."""

from __future__ import annotations

import json
import math
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from command_line import assert_one_sentence
from exchange_tools import stored_run, taken_in, write_events, write_original

from wdtui.cli.main import main
from wdtui.exchange.export import FORMATS
from wdtui.store.store import Store

pytest.importorskip("tensorboard")
NATIVE, ORIGINAL, NORM, STAGGERED, BLOWN = "12345"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Runs 1 to 5: trained here; as the original records; the norm alone; no two metrics at one step; not finite."""
    monkeypatch.chdir(tmp_path)
    stored_run(tmp_path / "store")
    write_original(tmp_path / "logs" / "a")
    write_events(tmp_path / "logs" / "b", {step: {"train/l2_norm": 100.0 - step} for step in (10, 20)})
    rows = {10: {"train/accuracy": 1.0}, 11: {"val/accuracy": 0.25}, 20: {"train/accuracy": 1.0}}
    write_events(tmp_path / "logs" / "c", rows | {21: {"val/accuracy": 0.5}})
    write_events(tmp_path / "logs" / "d", {10: {"train/loss": 1.0}, 20: {"train/loss": math.inf}})
    with Store(tmp_path / "store") as opened:
        assert taken_in(tmp_path / "logs", opened) == [2, 3, 4, 5]
    monkeypatch.setenv("WDTUI_HOME", str(tmp_path / "store"))
    return tmp_path / "store"


def shown(capsys: pytest.CaptureFixture[str], *command: str) -> str:
    assert main(list(command)) == 0
    return " ".join(capsys.readouterr().out.split())


def test_unrecorded_metrics_are_reported_and_are_not_failures(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = shown(capsys, "runs", "show", NORM)
    assert "no values" in text and "Training accuracy was not recorded. Test accuracy was not recorded." in text
    assert "The weight norm fell from 90 to 80." in text and "steps/s" not in text and "Started" not in text
    text = shown(capsys, "runs", "show", STAGGERED)
    assert "Training accuracy passed 99.9 % at step 10; test accuracy was 25.0 % then." in text
    assert "its maximum is 50.0 %, and it is 50.0 % at the last point" in text
    assert "The loss or the parameters were no longer finite." in shown(capsys, "runs", "show", BLOWN)
    assert "imported" in shown(capsys, "runs", "show", ORIGINAL)


def test_json_has_null_for_unknown_values(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is no JSON")

    for run in (NATIVE, ORIGINAL, NORM, STAGGERED, BLOWN):
        assert main(["runs", "show", run, "--json"]) == 0
        told = json.loads(capsys.readouterr().out, parse_constant=refuse)
        assert (told["steps_per_second"] is None) == (run != NATIVE)


def test_imported_runs_are_compared_listed_and_exported(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    everything = [NATIVE, ORIGINAL, NORM, STAGGERED, BLOWN]
    assert shown(capsys, "runs", "compare", *everything).count("imported") == 4
    assert shown(capsys, "runs", "list").count("imported") == 4
    for format in FORMATS:
        pytest.importorskip({"parquet": "pyarrow"}.get(format, "json"))
        assert shown(capsys, "runs", "export", *everything, "--format", format, "--output", "out").count("points") == 5


def test_imported_runs_are_drawn_and_empty_metrics_are_reported(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    for runs in ([NORM], [STAGGERED, NATIVE], [BLOWN], [NATIVE, ORIGINAL, NORM]):
        assert "Wrote" in shown(capsys, "plot", *runs, "--output", "picture.svg", "--force")
    picture = Path("picture.svg").read_text(encoding="utf-8")
    assert "training accuracy not recorded" in picture
    assert main(["plot", NORM, "--metric", "train_loss", "--output", "none.svg"]) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert "No value of train_loss was recorded" in error and not Path("none.svg").exists()


def test_imported_runs_cannot_be_forked(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fork", ORIGINAL, "--at", "78", "--set", "weight_decay=0", "--headless"]) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert "`wdtui replay 2`" in error


def test_a_damaged_row_does_not_block_imports(store: Path) -> None:
    with sqlite3.connect(store / "wdtui.sqlite3") as connection:
        connection.execute("UPDATE runs SET config = '{' WHERE id = 1")
    write_events(store.parent / "logs" / "e", {0: {"train/loss": 1.0}})
    from wdtui.exchange import event_files

    with Store(store) as opened:
        [recorded], _ = event_files.read(store.parent / "logs" / "e")
        assert event_files.imported_before(opened, recorded) is None
