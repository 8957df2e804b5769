"""The parameters of a config's network by name and shape, and what follows from them. Plain Python; nothing is built.

Tests hold the shapes to the nn.Module of each architecture.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from wdtui.problems.addition.fields import Fields
from wdtui.problems.addition.optimizers import OPTIMIZERS

Shapes = dict[str, tuple[int, ...]]


def parameter_shapes(config: Fields) -> Shapes:
    """Shapes of all parameters by name, in the order in which the network's nn.Module holds them."""
    named = _transformer(config) if config.architecture == "transformer" else _residual(config)
    return dict(named)


def layer_names(config: Fields, kind: str) -> tuple[str, ...]:
    """The layers of a network: "linear" all with a matrix, "norm" BatchNorms, "invariant" those followed by one.

    No layer of the transformer is invariant: each LayerNorm normalises a sum of which its layer makes only a part.
    """
    weights = {
        name.removesuffix(".weight"): shape for name, shape in parameter_shapes(config).items() if "weight" in name
    }
    linear = tuple(name for name, shape in weights.items() if len(shape) == 2)
    if kind == "linear":
        return linear
    if config.architecture == "transformer":
        return ()
    norms = tuple(name for name, shape in weights.items() if len(shape) == 1)
    return norms if kind == "norm" else tuple(name for name in linear if name.replace("linear", "norm") in norms)


def count_parameters(config: Fields) -> int:
    """How many parameters the network has."""
    return sum(map(math.prod, parameter_shapes(config).values()))


def training_bytes(config: Fields, runs: int = 1) -> int:
    """Bytes of memory, about, that training takes on a CPU, of so many runs of this shape side by side.

    Counted are parameters, gradients, the parameters before an epoch's last step, what the optimiser remembers, one
    checkpoint on its way to the disk (a copy and the file's content), what a step and an evaluation keep, and the
    pairs; not PyTorch itself. It is meant to be too low rather than too high: what it refuses has no chance.
    """
    moments = OPTIMIZERS[config.optimizer].moments
    copies = 3 + moments + 2 * (1 + moments)
    held_out = config.validation_size + config.test_size
    pairs = config.train_size + held_out
    return 4 * runs * (copies * count_parameters(config) + _activations(config) + 3 * config.bits * pairs)


def _activations(config: Fields) -> int:
    """Numbers that a training step keeps until its backward pass; for the transformer about, as autograd keeps them."""
    if config.architecture == "transformer":
        return config.batch_size * config.bits * config.width * (4 + 14 * config.blocks)
    layers = 2 * config.blocks
    return config.batch_size * config.width * (1 + layers * (2 if config.batch_norm else 1))


def step_flops(config: Fields) -> int:
    """Floating-point operations of one step, about: two for each weight and use of it, forward and twice backward.

    A pair goes through the residual network once, and through the transformer at each of its bit positions.
    """
    uses = config.bits if config.architecture == "transformer" else 1
    return 6 * config.batch_size * uses * count_parameters(config)


_Named = Iterator[tuple[str, tuple[int, ...]]]


def _residual(config: Fields) -> _Named:
    width = config.width
    yield from _linear("input", config.inputs, width)
    for block in range(1, config.blocks + 1):
        for place in (1, 2):
            yield from _linear(f"block{block}.linear{place}", width, width)
            if config.batch_norm:
                yield from _norm(f"block{block}.norm{place}", width)
    yield from _linear("output", width, config.bits)


def _transformer(config: Fields) -> _Named:
    """Those of a block are in the order of torch.nn.TransformerEncoderLayer.

    `attention` is the matrix that makes queries, keys and values, `mixing` the one that their result goes through.
    """
    width = config.width
    yield from _linear("input", 2, width)
    yield "position.weight", (config.bits, width)
    yield from _norm("norm", width)
    for block in range(1, config.blocks + 1):
        yield from _linear(f"block{block}.attention", width, 3 * width)
        yield from _linear(f"block{block}.mixing", width, width)
        yield from _linear(f"block{block}.linear1", width, 4 * width)
        yield from _linear(f"block{block}.linear2", 4 * width, width)
        yield from _norm(f"block{block}.norm1", width)
        yield from _norm(f"block{block}.norm2", width)
    yield from _linear("output", width, 1)


def _linear(name: str, inputs: int, outputs: int) -> _Named:
    yield f"{name}.weight", (outputs, inputs)
    yield f"{name}.bias", (outputs,)


def _norm(name: str, width: int) -> _Named:
    yield f"{name}.weight", (width,)
    yield f"{name}.bias", (width,)
