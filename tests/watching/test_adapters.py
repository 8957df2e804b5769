"""`wdtui.lightning.Watch` and `wdtui.transformers.Watch` with the real libraries."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from wdtui.runs.service import Service
from wdtui.store.records import Status
from wdtui.store.store import Store
from wdtui.watching import recorder


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("WDTUI_HOME", str(tmp_path / "store"))
    monkeypatch.setattr(recorder, "_POLL_SECONDS", 0.02)
    torch.set_num_threads(1)
    with Store() as store:
        yield store


def asking(store: Store) -> threading.Thread:
    """Someone who steers the run and then stops it."""

    def person() -> None:
        with Store(store.folder) as mine:
            for seen in (lambda: mine.runs() and mine.runs()[0].step, lambda: mine.run(1).steered):
                deadline = time.monotonic() + 30
                while not seen():
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                if mine.run(1).steered:
                    Service(mine).stop(1)
                else:
                    name = next(one for one in ("learning_rate", "lr") if one in mine.run(1).schema.fields)
                    Service(mine).steer(1, {name: 0.5})

    thread = threading.Thread(target=person)
    thread.start()
    return thread


# Lightning


def lightning_trainer(folder: Path, **options: Any) -> tuple[Any, Any]:
    pytest.importorskip("pytorch_lightning")
    import pytorch_lightning

    from wdtui.lightning import Watch

    watch = Watch(every=5, config={"extra": 1})
    trainer = pytorch_lightning.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, callbacks=[watch], **options,
    )  # fmt: skip
    return watch, trainer


def module(**options: Any) -> Any:
    pytorch_lightning = pytest.importorskip("pytorch_lightning")

    class Module(pytorch_lightning.LightningModule):  # type: ignore[misc]
        def __init__(self, learning_rate: float = 0.01, fails_at: int = -1) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layers = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))
            self.losses: list[float] = []
            self.validated: list[float] = []

        def training_step(self, batch: list[Tensor], index: int) -> Tensor:
            if len(self.losses) == self.hparams["fails_at"]:
                raise ValueError("no more")
            loss = self.layers(batch[0]).square().mean()
            self.losses.append(loss.item())
            self.log("train/loss", loss)
            return loss

        def validation_step(self, batch: list[Tensor], index: int) -> None:
            loss = self.layers(batch[0]).square().mean()
            self.validated.append(loss.item())
            self.log("val/loss", loss)

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams["learning_rate"])
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1000)]

    return Module(**options)


def loader(batches: int) -> Any:
    data = torch.utils.data.TensorDataset(torch.randn(4 * batches, 4))
    return torch.utils.data.DataLoader(data, batch_size=4)


def test_lightning_is_recorded_with_what_its_module_logs(store: Store, tmp_path: Path) -> None:
    _, trainer = lightning_trainer(tmp_path, max_epochs=3)
    trained = module()
    trainer.fit(trained, loader(7), loader(1))
    run, curves = store.run(1), store.curves(1)
    assert (run.status, run.step, run.steps) == (Status.DONE, 21, 21)
    assert curves.steps.tolist() == [5, 7, 10, 14, 15, 20, 21]
    at = [step - 1 for step in curves.steps]
    np.testing.assert_array_equal(curves["train_loss"], np.float32(trained.losses)[at])
    steps, validated = curves.measured("val_loss")
    assert steps.tolist() == [7, 14, 21]
    np.testing.assert_array_equal(validated, np.float32(trained.validated[1:]))  # without the sanity check
    assert run.values["learning_rate"] == 0.01 and run.values["extra"] == 1 and run.values["fails_at"] == -1
    assert "weight_norm/layers.0" in curves.names


def test_lightning_counts_updates_where_gradients_are_accumulated(store: Store, tmp_path: Path) -> None:
    _, trainer = lightning_trainer(tmp_path, max_epochs=1, accumulate_grad_batches=2)
    trainer.fit(module(), loader(20))
    assert (store.run(1).step, store.run(1).steps) == (10, 10)


def test_lightning_is_steered_and_stopped(store: Store, tmp_path: Path) -> None:
    watch, trainer = lightning_trainer(tmp_path, max_epochs=10_000)
    person = asking(store)
    trainer.fit(module(), loader(50))
    person.join()
    assert store.run(1).status == Status.STOPPED
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.5 and watch.run.id == 1


def test_an_exception_in_lightning_is_the_reason(store: Store, tmp_path: Path) -> None:
    _, trainer = lightning_trainer(tmp_path, max_epochs=1)
    with pytest.raises(ValueError, match="no more"):
        trainer.fit(module(fails_at=6), loader(10))
    assert (store.run(1).status, store.run(1).reason) == (Status.FAILED, "ValueError: no more")


# transformers


def transformers_trainer(folder: Path, **options: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    from wdtui.transformers import Watch

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(4, 1)

        def forward(self, x: Tensor, labels: Tensor) -> dict[str, Tensor]:
            return {"loss": (self.linear(x) - labels).square().mean()}

    data = [{"x": x, "labels": x.sum(0, keepdim=True)} for x in torch.randn(64, 4)]
    arguments = transformers.TrainingArguments(
        output_dir=str(folder / "out"), per_device_train_batch_size=8, learning_rate=0.01, logging_steps=5,
        use_cpu=True, report_to=[], save_strategy="no", disable_tqdm=True, eval_strategy="steps", eval_steps=10,
        prediction_loss_only=True, **options,
    )  # fmt: skip
    return transformers.Trainer(
        Model(), arguments, train_dataset=data, eval_dataset=data[:8], callbacks=[Watch(name="hf")]
    )


def test_transformers_is_recorded_with_what_its_trainer_logs(store: Store, tmp_path: Path) -> None:
    trainer = transformers_trainer(tmp_path, max_steps=23)
    trainer.train()
    run, curves = store.run(1), store.curves(1)
    assert (run.status, run.step, run.steps, run.title) == (Status.DONE, 23, 23, "hf")
    assert curves.steps.tolist() == [5, 10, 15, 20, 23]
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    np.testing.assert_allclose(curves.measured("loss")[1], logged)
    assert curves.measured("eval_loss")[0].tolist() == [10, 20, 23]
    assert run.values["learning_rate"] == 0.01 and run.values["per_device_train_batch_size"] == 8
    assert not [name for name in curves.names if name.startswith(("train_", "eval_")) and name != "eval_loss"]


def test_transformers_is_steered_and_stopped(store: Store, tmp_path: Path) -> None:
    trainer = transformers_trainer(tmp_path, max_steps=100_000)
    person = asking(store)
    trainer.train()
    person.join()
    assert store.run(1).status == Status.STOPPED
    assert trainer.optimizer.param_groups[0]["lr"] == pytest.approx(0.5, rel=0.2)
    assert trainer.lr_scheduler.base_lrs[0] == pytest.approx(0.5, rel=0.2)
