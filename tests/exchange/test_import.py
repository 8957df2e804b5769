"""What the original code recorded for TensorBoard becomes a finished run that can be laid over others."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exchange_tools import CONFIG, stored_run

from wdtui.config import RunConfig
from wdtui.exchange.export import export
from wdtui.exchange.taken import ExchangeError, take
from wdtui.runs.evidence import Evidence
from wdtui.runs.store import Store

pytest.importorskip("tensorboard")
ORIGINAL = {
    "l2_norm": 0.3, "hidden_dim": 128, "num_layers": 2, "loss": "mse", "optimizer": "adam", "lr": 1e-3,
    "momentum": 0.95, "batch_size": 64, "train_size": 5000, "val_size": 500, "seed": 0, "train_range": "[2, 4]",
    "val_range": "[3]", "input_dim": "(32, 2)",
}  # fmt: skip


def write_original(folder: Path, hparams: dict[str, Any] | None = None) -> None:
    """Three epochs of 78 steps as the original logs them, with no loss on the second validation set."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.summary_v2 import hparams_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    writer = EventFileWriter(str(folder))
    if hparams:
        writer.add_event(Event(wall_time=1.0, summary=hparams_pb(hparams, "trial", 1.0)))
    for epoch in range(3):
        scalars = {
            "train/loss": 0.25 - epoch / 100,
            "train/accuracy": epoch / 4,
            "train/l2_norm": 116.0 - epoch,
            "val/accuracy/dataloader_idx_0": epoch / 8,
            "val/accuracy/dataloader_idx_1": epoch / 16,
            "epoch": epoch,
            "hp_metric": -1.0,
        }
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items()]
        writer.add_event(Event(step=78 * (epoch + 1) - 1, wall_time=2.0 + epoch, summary=Summary(value=values)))
    writer.close()


def taken_in(folder: Path, store: Store) -> list[int]:
    from wdtui.exchange import event_files

    return [event_files.add(store, one) for one in event_files.read(folder)]


def test_a_run_of_the_original_is_taken_in_as_a_finished_run(tmp_path: Path) -> None:
    write_original(tmp_path / "logs" / "version_0", ORIGINAL)
    with Store(tmp_path / "store") as store:
        (run_id,) = taken_in(tmp_path / "logs", store)
        run = take(store, run_id)
        assert run.status == "done" and run.name == "imported version_0"
        assert run.config == RunConfig(weight_decay=0.3, width=128, epochs=3)
        assert run.curves["epoch"].tolist() == [1, 2, 3] and run.curves["step"].tolist() == [77, 155, 233]
        np.testing.assert_allclose(run.curves["train_loss"], [0.25, 0.24, 0.23], rtol=1e-6)
        assert run.curves["test_accuracy"].tolist() == [0, 1 / 16, 1 / 8]
        assert run.curves["validation_accuracy"].tolist() == [0, 1 / 8, 1 / 4]
        assert run.curves["weight_norm"].tolist() == [116, 115, 114]
        assert all(math.isnan(value) for value in run.curves["test_loss"])
        assert [event.kind for event in run.events] == ["imported"]


def test_what_another_program_trained_is_evidence_for_no_claim_and_fills_no_sweep(tmp_path: Path) -> None:
    write_original(tmp_path / "version_0", ORIGINAL)
    with Store(tmp_path / "store") as store:
        taken_in(tmp_path, store)
        assert Evidence(store).run(RunConfig(weight_decay=0.3, width=128, epochs=3)) is None
        assert store.sweeps.faithful_runs() == []


def test_without_hyperparameters_the_defaults_stand(tmp_path: Path) -> None:
    write_original(tmp_path / "version_0")
    with Store(tmp_path / "store") as store:
        (run_id,) = taken_in(tmp_path, store)
        assert take(store, run_id).config == RunConfig(epochs=3)


def test_what_was_exported_to_tensorboard_comes_back(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "store")
    export([run], "tensorboard", tmp_path / "board")
    with Store(tmp_path / "other") as store:
        (run_id,) = taken_in(tmp_path / "board", store)
        back = take(store, run_id)
    assert back.config == CONFIG and back.milestones == run.milestones
    for name, column in run.curves.items():
        np.testing.assert_array_equal(np.float32(back.curves[name]), np.float32(column))


def test_a_folder_without_runs_and_a_config_beyond_wdtui_are_one_sentence(tmp_path: Path) -> None:
    from wdtui.exchange import event_files

    with pytest.raises(ExchangeError, match="is no folder"):
        event_files.read(tmp_path / "none")
    with pytest.raises(ExchangeError, match="has no event files"):
        event_files.read(tmp_path)
    write_original(tmp_path / "version_0", ORIGINAL | {"hidden_dim": -4})
    with pytest.raises(ExchangeError, match="records hidden_dim -4"):
        event_files.read(tmp_path)
