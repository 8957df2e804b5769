"""The tasks: arithmetic on binary numbers, as tensors.

Sampling, encoding and split are the article's. Everything is drawn on the CPU from `data_seed` alone, so that a config
means the same pairs on every device.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence

import torch
from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.consistency import digit_counts

Pairs = list[tuple[int, int]]


@dataclasses.dataclass(frozen=True, slots=True)
class Split:
    """Some of the task's pairs: inputs [pairs, 2·bits] and targets [pairs, bits], floats in {0, 1}."""

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return len(self.inputs)


@dataclasses.dataclass(frozen=True, slots=True)
class Task:
    """All pairs of a run. Training and validation share their digit counts; the test has its own."""

    train: Split
    validation: Split
    test: Split
    held_out: Tensor
    """Inputs of validation and test, one after the other: they are evaluated together."""


def make_task(config: RunConfig, device: torch.device | str = "cpu") -> Task:
    """Draw and encode the pairs of a run."""
    rng = random.Random(f"pairs {config.data_seed}")
    seen = draw_pairs(config, "train_digits", config.train_size + config.validation_size, rng)
    rng.shuffle(seen)
    unseen = draw_pairs(config, "test_digits", config.test_size, rng)

    known = encode(config, seen)
    known = Split(known.inputs, add_noise(known.targets, config.label_noise, seed=rng.getrandbits(63)))
    sizes = [config.train_size, config.validation_size]
    parts = torch.split(known.inputs, sizes)
    targets = torch.split(known.targets, sizes)
    train, validation = (Split(x.to(device), y.to(device)) for x, y in zip(parts, targets, strict=True))
    test = encode(config, unseen)
    test = Split(test.inputs.to(device), test.targets.to(device))
    return Task(train, validation, test, torch.cat([validation.inputs, test.inputs]))


def draw_pairs(config: RunConfig, field: str, count: int, rng: random.Random) -> Pairs:
    """Draw operands: digit counts by one multinomial draw, then a and b each without replacement, independently."""
    pairs: Pairs = []
    digits: tuple[int, ...] = getattr(config, field)
    for d, number in digit_counts(digits, count, f"{field} {config.data_seed}").items():
        numbers = range(10 ** (d - 1), 10**d)
        pairs += zip(rng.sample(numbers, number), rng.sample(numbers, number), strict=True)
    return pairs


def encode(config: RunConfig, pairs: Pairs) -> Split:
    """Write operands and answers as bits, least significant first, the operands' bits interleaved by position."""
    a, b = (to_bits(numbers, config.bits) for numbers in zip(*pairs, strict=True))
    answers = [x + y for x, y in pairs] if config.task == "add" else [x * y for x, y in pairs]
    return Split(torch.stack([a, b], dim=2).flatten(1), to_bits(answers, config.bits))


def to_bits(numbers: Sequence[int], bits: int) -> Tensor:
    """Numbers as floats [numbers, bits] of PyTorch's default type, least significant bit first."""
    return (torch.tensor(numbers).unsqueeze(1) >> torch.arange(bits) & 1).to(torch.get_default_dtype())


def add_noise(targets: Tensor, probability: float, seed: int) -> Tensor:
    """Replace each bit, with the given probability, by a fair coin."""
    generator = torch.Generator().manual_seed(seed)
    replaced = torch.rand(targets.shape, generator=generator) < probability
    coins = torch.randint(0, 2, targets.shape, generator=generator).to(targets)
    return torch.where(replaced, coins, targets)
