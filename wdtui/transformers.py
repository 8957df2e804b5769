"""Watch a training with the Trainer of Hugging Face transformers: `Trainer(…, callbacks=[wdtui.transformers.Watch()])`.

Needs the extra `transformers`. What the Trainer logs is recorded. A stop sets `control.should_training_stop`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import transformers

from wdtui.watching.description import Knob
from wdtui.watching.watch import Watch as Run
from wdtui.watching.watch import watch

__all__ = ["Watch"]

_CONFIG = (
    "learning_rate", "weight_decay", "per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs",
    "lr_scheduler_type", "warmup_steps", "max_grad_norm", "seed", "bf16", "fp16",
)  # fmt: skip
"""The arguments of a training that its run has as fields."""
_NO_METRICS = ("epoch", "total_flos", "step")
_TIMINGS = ("_runtime", "_per_second")


class Watch(transformers.TrainerCallback):
    """Records each call of `trainer.train` as a run; see `wdtui.watch` for the arguments.

    Points come every `every` steps, by default as often as the Trainer logs. `run` is the run under way.
    """

    def __init__(
        self,
        *,
        config: Mapping[str, Any] | None = None,
        every: int | None = None,
        name: str = "",
        knobs: Mapping[str, Knob] | None = None,
        store: str | Path | None = None,
    ) -> None:
        self.run: Run | None = None
        self._config, self._every = config or {}, every
        self._options: dict[str, Any] = {"name": name, "knobs": knobs, "store": store}

    def on_train_begin(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        scheduler = objects.get("lr_scheduler")
        self.run = watch(
            objects["model"],
            objects["optimizer"],
            config={name: getattr(args, name) for name in _CONFIG if hasattr(args, name)} | dict(self._config),
            steps=state.max_steps,
            every=self._every or max(int(state.logging_steps), 1),
            schedulers=[scheduler] if scheduler else [],
            **self._options,
        )

    def on_step_end(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        if self.run and not self.run.step():
            control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **objects: Any) -> None:
        logs = logs or {}
        named = (name for name in logs if name not in _NO_METRICS and not name.endswith(_TIMINGS))
        if self.run and "train_runtime" not in logs:  # those are of the training as a whole
            self.run.log(**{name: logs[name] for name in named})

    def on_train_end(self, args: Any, state: Any, control: Any, **objects: Any) -> None:
        if self.run:
            self.run.close()
