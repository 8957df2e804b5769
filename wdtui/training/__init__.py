"""How a problem is trained: sessions, batches of them, devices. It imports torch, and knows no files and no screens."""

from __future__ import annotations

import importlib
from collections.abc import Hashable, Sequence
from typing import Protocol, TypeVar, cast

from wdtui.problems import registry
from wdtui.schema.config import Config
from wdtui.schema.curves import Point
from wdtui.schema.steering import Plan
from wdtui.training.session import Poll, Session

_Config = TypeVar("_Config", bound=Config, contravariant=True)
_Of = TypeVar("_Of", bound=Config)


class Batch(Protocol):
    """Runs of one shape trained by one program, all at the same step; each is asked and steered through its session."""

    sessions: Sequence[Session]
    batch: int
    """Steps taken in the current epoch."""

    def run_epoch(self, poll: Poll) -> bool:
        """Take the steps that are left of this epoch; returns False where `poll` ended it before."""

    def end_epoch(self) -> list[tuple[int, Point]]:
        """Count that epoch; returns the points that are due, each with the place of its session."""


class Trains(Protocol[_Config]):
    """What the module of a problem defines, for configs of that problem."""

    def open_session(self, config: _Config, device: str, plan: Plan) -> Session:
        """A run of the problem at its beginning."""

    def batch_key(self, config: _Config, device: str, plan: Plan) -> Hashable:
        """What runs must have in common to be trained as a batch; None for one that is trained alone."""

    def state_shapes(self, config: _Config, batch: int) -> dict[str, tuple[int, ...]]:
        """Names and shapes of tensors that the state of a run has after so many steps of an epoch; others may be there.

        A checkpoint that lacks one of them is none of the run.
        """

    def open_batch(self, configs: Sequence[_Config], device: str, plans: Sequence[Plan]) -> Batch:
        """Runs with the same `batch_key` at their beginning."""


def trainer(config: _Of) -> Trains[_Of]:
    """The module that trains the problem of a config."""
    return cast("Trains[_Of]", importlib.import_module(registry.of(config).module))
