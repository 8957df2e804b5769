"""How large a config's network and its training steps are, reckoned without building it. Plain Python."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wdtui.config import RunConfig


def count_parameters(config: RunConfig) -> int:
    """How many parameters the network has."""
    width = config.width
    if config.architecture == "transformer":
        attention, between, norm = 4 * (width * width + width), 8 * width * width + 5 * width, 2 * width
        edges = 3 * width + config.bits * width + norm + width + 1
        return edges + config.blocks * (attention + between + 2 * norm)
    hidden = width * width + width
    edges = config.inputs * width + width + width * config.bits + config.bits
    return edges + 2 * config.blocks * hidden + config.norm_layers * 2 * width


def step_flops(config: RunConfig) -> int:
    """Floating-point operations of one step, about: two for each weight and use of it, forward and twice backward.

    A pair goes through the residual network once, and through the transformer at each of its bit positions.
    """
    uses = config.bits if config.architecture == "transformer" else 1
    return 6 * config.batch_size * uses * config.parameters
