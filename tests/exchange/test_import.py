"""What the original code recorded for TensorBoard becomes a finished run that can be laid over others."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from exchange_tools import CONFIG, ORIGINAL, stored_run, taken_in, write_original

from wdtui.exchange.export import export
from wdtui.exchange.exported import ExchangeError, load
from wdtui.problems.addition.config import RunConfig
from wdtui.runs.evidence import Evidence
from wdtui.store.store import Store, StoreError

pytest.importorskip("tensorboard")


def test_a_run_of_the_original_code_is_imported_as_finished(tmp_path: Path) -> None:
    write_original(tmp_path / "logs" / "version_0", ORIGINAL)
    with Store(tmp_path / "store") as store:
        (run_id,) = taken_in(tmp_path / "logs", store)
        run = load(store, run_id)
        assert run.status == "done" and run.name == "version_0, imported"
        assert run.config == RunConfig(weight_decay=0.3, width=128, epochs=3)
        assert run.curves["epoch"].tolist() == [1, 2, 3] and run.curves["step"].tolist() == [77, 155, 233]
        np.testing.assert_allclose(run.curves["train_loss"], [0.25, 0.24, 0.23], rtol=1e-6)
        assert run.curves["test_accuracy"].tolist() == [0, 1 / 16, 1 / 8]
        assert run.curves["validation_accuracy"].tolist() == [0, 1 / 8, 1 / 4]
        assert run.curves["weight_norm"].tolist() == [116, 115, 114]
        assert all(math.isnan(value) for value in run.curves["test_loss"])
        assert [event.kind for event in run.events] == ["imported"]


def test_imported_runs_are_not_used_for_claims_or_sweeps(tmp_path: Path) -> None:
    write_original(tmp_path / "version_0", ORIGINAL)
    with Store(tmp_path / "store") as store:
        taken_in(tmp_path, store)
        assert Evidence(store).run(RunConfig(weight_decay=0.3, width=128, epochs=3)) is None
        assert store.sweeps.unmodified_runs() == []


def test_a_failed_import_leaves_no_partial_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **options: object) -> None:
        raise StoreError("The disk is full.")

    write_original(tmp_path / "version_0", ORIGINAL)
    monkeypatch.setattr(Store, "append", full)
    with Store(tmp_path / "store") as store:
        with pytest.raises(StoreError, match="The disk is full"):
            taken_in(tmp_path, store)
        assert not store.runs()


def test_an_import_without_hyperparameters_uses_the_defaults(tmp_path: Path) -> None:
    write_original(tmp_path / "version_0")
    with Store(tmp_path / "store") as store:
        (run_id,) = taken_in(tmp_path, store)
        assert load(store, run_id).config == RunConfig(epochs=3)


def test_a_tensorboard_export_can_be_imported(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "store")
    export([run], "tensorboard", tmp_path / "board")
    with Store(tmp_path / "other") as store:
        (run_id,) = taken_in(tmp_path / "board", store)
        back = load(store, run_id)
    assert back.config == CONFIG and back.milestones == run.milestones
    for name, column in run.curves.items():
        np.testing.assert_array_equal(np.float32(back.curves[name]), np.float32(column))


def test_folders_without_runs_and_unknown_configs_give_one_sentence_errors(tmp_path: Path) -> None:
    from wdtui.exchange import event_files

    with pytest.raises(ExchangeError, match="is not a folder"):
        event_files.read(tmp_path / "none")
    with pytest.raises(ExchangeError, match="has no event files"):
        event_files.read(tmp_path)
    write_original(tmp_path / "version_0", ORIGINAL | {"hidden_dim": -4})
    found, (refused,) = event_files.read(tmp_path)
    assert not found and "records hidden_dim -4" in refused
