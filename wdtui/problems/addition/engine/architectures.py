"""The networks that a training can train, and which of them a config means."""

from __future__ import annotations

from typing import Protocol

import torch

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.network import Network
from wdtui.problems.addition.engine.parts import AnyNetwork
from wdtui.problems.addition.engine.transformer import Transformer


class Trainable(AnyNetwork, Protocol):
    """The network of one model, whose ε may be changed between steps."""

    epsilon: float


def make_network(config: RunConfig, device: torch.device | str = "cpu") -> Trainable:
    """The network of a config with its initial parameters."""
    return Transformer(config, device) if config.architecture == "transformer" else Network(config, device)
