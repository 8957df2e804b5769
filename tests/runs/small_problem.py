"""A problem of one weight, declared and trained here alone: what wdtui must take without knowing it."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from wdtui.problems.registry import Entry
from wdtui.schema.config import Config
from wdtui.schema.curves import Point
from wdtui.schema.hyperparameters import knob
from wdtui.schema.metric import Metric
from wdtui.schema.steering import Plan
from wdtui.training import Batch
from wdtui.training.session import Poll, Session

STEPS_PER_EPOCH = 5


@dataclasses.dataclass(frozen=True, kw_only=True)
class SmallConfig(Config):
    """Gradient descent on (w - target)²."""

    pull: float = knob(
        0.1, symbol="p", label="pull", group="all", affects="live", ge=0, sweep="log", help="Decay of w."
    )
    target: float = knob(1.0, label="target", group="all", affects="data", help="Where the loss is least.")
    rate: float = knob(0.05, label="rate", group="all", affects="live", gt=0, sweep="log", help="Step size.")
    seed: int = knob(0, label="seed", group="all", affects="start", ge=0, sweep="linear", help="Decides w at first.")
    epochs: int = knob(20, label="epochs", group="all", affects="bookkeeping", ge=1, help="How long.")
    log_every: int = knob(1, label="log every", group="all", affects="bookkeeping", ge=1, help="How often.")
    keep_every: int = knob(0, label="keep every", group="all", affects="bookkeeping", ge=0, help="Checkpoints.")
    keep_megabytes: int = knob(8, label="room", group="all", affects="bookkeeping", ge=1, help="For checkpoints.")

    problem: ClassVar[str] = "small"
    groups: ClassVar[Mapping[str, str]] = {"all": "All"}
    metrics: ClassVar[Mapping[str, Metric]] = {
        "train_loss": Metric(name="train_loss", label="loss", help="(w - target)².", log=True),
        "weight": Metric(name="weight", label="w", help="The weight."),
        "steps_per_second": Metric(name="steps_per_second", label="speed", help="Speed.", timing=True),
    }

    @property
    def steps_per_epoch(self) -> int:
        return STEPS_PER_EPOCH


SMALL = Entry(title="one weight", config=SmallConfig, module=__name__)


class SmallSession(Session):
    """The whole of its training."""

    config: SmallConfig

    def __init__(self, config: SmallConfig, plan: Plan) -> None:
        self.config = config
        self._live: dict[str, Any] = {"pull": config.pull, "rate": config.rate}
        self._at = 0, 0
        self._weight = torch.full((1,), float(config.seed), dtype=torch.float64)
        super().__init__(plan)

    @property
    def epoch(self) -> int:
        return self._at[0]

    @property
    def batch(self) -> int:
        return self._at[1]

    def move_to(self, epoch: int, batch: int) -> None:
        self._at = epoch, batch

    def state(self) -> dict[str, Tensor]:
        return {"weight": self._weight}

    def get(self, name: str) -> Any:
        return self._live[name]

    def set(self, name: str, value: Any) -> None:
        self._live[name] = value

    def points(self, poll: Poll = lambda: True) -> Iterator[Point]:
        while not self.ended:
            for batch in range(self.batch, STEPS_PER_EPOCH):
                if not poll():
                    return
                if batch == 0:
                    self.begin_epoch()
                gradient = 2 * (self._weight - self.config.target) + self._live["pull"] * self._weight
                self._weight -= self._live["rate"] * gradient
                self._at = self.epoch, batch + 1
            self._at = self.epoch + 1, 0
            weight = float(self._weight)
            if self.point_due:
                yield self.point([(weight - self.config.target) ** 2, weight])


def open_session(config: SmallConfig, device: str, plan: Plan) -> SmallSession:
    return SmallSession(config, plan)


def batch_key(config: SmallConfig, device: str, plan: Plan) -> Hashable:
    return None


def open_batch(configs: Sequence[SmallConfig], device: str, plans: Sequence[Plan]) -> Batch:
    raise NotImplementedError("each is trained alone")


def state_shapes(config: SmallConfig, batch: int) -> dict[str, tuple[int, ...]]:
    return {"weight": (1,)}
