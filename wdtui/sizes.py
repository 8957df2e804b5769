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


def training_bytes(config: RunConfig, runs: int = 1) -> int:
    """Bytes of memory, about, that training takes on a CPU, of so many runs of this shape side by side.

    Counted are parameters, gradients, the parameters before an epoch's last step, what the optimiser remembers, one
    checkpoint on its way to the disk (a copy and the file's content), what a step and an evaluation keep, and the
    pairs; not PyTorch itself. It is meant to be too low rather than too high: what it refuses has no chance.
    """
    moments = 1 if config.optimizer == "sgd" else 2
    copies = 3 + moments + 2 * (1 + moments)
    held_out = config.validation_size + config.test_size
    pairs = config.train_size + held_out
    return 4 * runs * (copies * config.parameters + _activations(config) + 3 * config.bits * pairs)


def _activations(config: RunConfig) -> int:
    """Numbers that a training step keeps until its backward pass; for the transformer about, as autograd keeps them."""
    if config.architecture == "transformer":
        return config.batch_size * config.bits * config.width * (4 + 14 * config.blocks)
    layers = 2 * config.blocks
    return config.batch_size * config.width * (1 + layers * (2 if config.batch_norm else 1))


def step_flops(config: RunConfig) -> int:
    """Floating-point operations of one step, about: two for each weight and use of it, forward and twice backward.

    A pair goes through the residual network once, and through the transformer at each of its bit positions.
    """
    uses = config.bits if config.architecture == "transformer" else 1
    return 6 * config.batch_size * uses * config.parameters
