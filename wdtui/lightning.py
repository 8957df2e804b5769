"""Watch a training with PyTorch Lightning: `Trainer(callbacks=[wdtui.lightning.Watch()])`. Needs the extra `lightning`.

What the module logs is recorded: at a point what was logged in its step, and at the ends of validations and epochs what
was logged there. A stop sets `trainer.should_stop`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning

from wdtui.watching.description import Knob
from wdtui.watching.watch import Watch as Run
from wdtui.watching.watch import watch

__all__ = ["Watch"]


class Watch(pytorch_lightning.Callback):
    """Records each call of `trainer.fit` as a run; see `wdtui.watch` for the arguments.

    `config` is added to the module's `hparams`. `run` is the run under way.
    """

    def __init__(
        self,
        *,
        config: Mapping[str, Any] | None = None,
        every: int = 50,
        name: str = "",
        knobs: Mapping[str, Knob] | None = None,
        store: str | Path | None = None,
    ) -> None:
        self.run: Run | None = None
        self._config = config or {}
        self._options: dict[str, Any] = {"every": every, "name": name, "knobs": knobs, "store": store}
        self._seen: dict[str, Any] = {}
        """What was logged last under each name. Lightning keeps values, so that what is new is another object."""
        self._updates = 0

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        steps = trainer.estimated_stepping_batches
        self._seen, self._updates = dict(trainer.callback_metrics), trainer.global_step
        self.run = watch(
            pl_module,
            trainer.optimizers,
            config={**pl_module.hparams, **self._config},
            steps=int(steps) if 0 < steps < float("inf") else 1,
            schedulers=[one.scheduler for one in trainer.lr_scheduler_configs],
            **self._options,
        )

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        if not self.run or trainer.global_step == self._updates:  # gradients are still being accumulated
            return
        self._updates = trainer.global_step
        logged = self._logged(trainer)
        if not logged and isinstance(outputs, Mapping) and "loss" in outputs:
            logged = {"loss": outputs["loss"]}
        if not self.run.step(**logged):
            trainer.should_stop = True

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self._log(trainer)

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        if not trainer.sanity_checking:
            self._log(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        if self.run:
            self.run.close()

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        if self.run:
            self.run.__exit__(type(exception), exception, exception.__traceback__)

    def _log(self, trainer: Any) -> None:
        if self.run and (logged := self._logged(trainer)):
            self.run.log(**logged)

    def _logged(self, trainer: Any) -> dict[str, Any]:
        """What was logged since this was last asked."""
        metrics = dict(trainer.callback_metrics)
        new = {name: value for name, value in metrics.items() if self._seen.get(name) is not value}
        self._seen = metrics
        return new
