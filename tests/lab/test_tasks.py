"""The tasks: the pairs, their bits, their split and their noise."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.consistency import digit_counts
from wdtui.problems.addition.engine.tasks import Split, Task, make_task
from wdtui.schema.hyperparameters import ConfigError

pytestmark = pytest.mark.cpu_only

SMALL: dict[str, Any] = {"train_size": 200, "validation_size": 50, "test_size": 60}


def numbers(bits: Tensor) -> list[int]:
    """Read bits, least significant first, in plain Python."""
    return [sum(int(bit) << place for place, bit in enumerate(row)) for row in bits.tolist()]


def operands(split: Split) -> tuple[list[int], list[int]]:
    return numbers(split.inputs[:, 0::2]), numbers(split.inputs[:, 1::2])


def parts(task: Task) -> tuple[Split, Split, Split]:
    return task.train, task.validation, task.test


def assert_equal(one: Task, other: Task, equal: bool = True) -> None:
    for split, twin in zip(parts(one), parts(other), strict=True):
        assert torch.equal(split.inputs, twin.inputs) is equal
        assert torch.equal(split.targets, twin.targets) is equal


@st.composite
def configs(draw: st.DrawFn) -> RunConfig:
    task = draw(st.sampled_from(("add", "multiply")))
    largest = 18 if task == "add" else 9
    digits = st.lists(st.integers(1, largest), min_size=1, max_size=3, unique=True)
    train, test = draw(digits), draw(digits)
    top = 10 ** max(*train, *test)
    answers = 2 * top if task == "add" else top * top
    sizes: dict[str, Any] = {name: draw(st.integers(2, 40)) for name in ("train_size", "validation_size", "test_size")}
    bits = draw(st.integers(min(answers.bit_length(), 62), 62))
    try:
        return RunConfig(
            task=task, train_digits=tuple(train), test_digits=tuple(test), bits=bits, batch_size=2,
            data_seed=draw(st.integers(0, 2**63 - 1)), **sizes,
        )  # fmt: skip
    except ConfigError:
        assume(False)
        raise


@settings(deadline=None, max_examples=60)
@given(configs())
def test_answers_decoded_from_the_bits_are_right_and_operands_as_asked_for(config: RunConfig) -> None:
    task = make_task(config)
    sizes = [config.train_size, config.validation_size, config.test_size]
    assert [len(split) for split in parts(task)] == sizes
    for split, size in zip(parts(task), sizes, strict=True):
        assert split.inputs.shape == (size, 2 * config.bits) and split.targets.shape == (size, config.bits)
        assert split.inputs.dtype == split.targets.dtype == torch.float32
        assert bool(((split.inputs == 0) | (split.inputs == 1)).all())
        a, b = operands(split)
        answers = [x + y if config.task == "add" else x * y for x, y in zip(a, b, strict=True)]
        assert numbers(split.targets) == answers
        digits = config.test_digits if split is task.test else config.train_digits
        assert all(len(str(x)) == len(str(y)) and len(str(x)) in digits for x, y in zip(a, b, strict=True))
    assert_drawn_without_replacement([task.train, task.validation])
    assert_drawn_without_replacement([task.test])


def assert_drawn_without_replacement(splits: list[Split]) -> None:
    for place in (0, 1):
        drawn = [number for split in splits for number in operands(split)[place]]
        assert len(set(drawn)) == len(drawn)


def test_the_operands_bits_are_interleaved_least_significant_first() -> None:
    task = make_task(RunConfig(train_digits=(1,), test_digits=(1,), train_size=4, validation_size=1, test_size=4,
                               batch_size=2, bits=5))  # fmt: skip
    for row, answer, a, b in zip(task.test.inputs.int().tolist(), task.test.targets.int().tolist(),
                                 *operands(task.test), strict=True):  # fmt: skip
        assert row == [bit for pair in zip(f"{a:05b}"[::-1], f"{b:05b}"[::-1], strict=True) for bit in map(int, pair)]
        assert answer == [int(bit) for bit in f"{a + b:05b}"[::-1]]


def test_products_fill_all_32_bits() -> None:
    config = RunConfig(task="multiply", train_digits=(4,), test_digits=(4,), bits=32, train_size=500, test_size=500)
    test = make_task(config).test
    a, b = operands(test)
    assert numbers(test.targets) == [x * y for x, y in zip(a, b, strict=True)]
    wide = config.replace(train_digits=(9,), test_digits=(9,), bits=60)
    test = make_task(wide).test
    a, b = operands(test)
    assert numbers(test.targets) == [x * y for x, y in zip(a, b, strict=True)] and max(numbers(test.targets)) > 2**58


def test_both_operands_are_all_numbers_when_all_are_asked_for_each_in_its_own_order() -> None:
    task = make_task(RunConfig(train_digits=(2,), train_size=70, validation_size=20, batch_size=2))
    (a, b), (more_a, more_b) = operands(task.train), operands(task.validation)
    assert sorted(a + more_a) == sorted(b + more_b) == list(range(10, 100))
    assert a + more_a != b + more_b


def test_the_operands_of_a_pair_are_independent() -> None:
    """Two independent orders of nine numbers meet in one place on average, and are uncorrelated."""
    config = RunConfig(train_digits=(1,), test_digits=(1,), train_size=5, validation_size=4, test_size=9, batch_size=2)
    drawn = [operands(make_task(config.replace(data_seed=seed)).test) for seed in range(200)]
    meetings = sum(x == y for a, b in drawn for x, y in zip(a, b, strict=True))
    assert meetings / len(drawn) == pytest.approx(1, abs=0.3)
    a, b = (torch.tensor([pair[place] for pair in drawn], dtype=torch.float64).flatten() for place in (0, 1))
    assert abs(torch.corrcoef(torch.stack([a, b]))[0, 1]) < 0.1


def test_training_and_validation_are_one_shuffled_draw() -> None:
    task = make_task(RunConfig(train_digits=(3, 4), train_size=600, validation_size=600))
    shares = [sum(a < 1000 for a in operands(split)[0]) / len(split) for split in (task.train, task.validation)]
    assert shares == pytest.approx([1 / 11, 1 / 11], abs=0.05)
    places = [i for i, a in enumerate(operands(task.train)[0]) if a < 1000]
    assert 200 < sum(places) / len(places) < 400


def test_digit_counts_are_drawn_with_weights_of_powers_of_ten() -> None:
    draws = [digit_counts((2, 4), 5500, f"seed {seed}") for seed in range(60)]
    assert all(sum(draw.values()) == 5500 for draw in draws)
    twos = torch.tensor([draw[2] for draw in draws], dtype=torch.float64)
    mean = 5500 * 100 / 10_100
    assert twos.mean() == pytest.approx(mean, abs=4 * (mean / 60) ** 0.5)
    assert twos.std() == pytest.approx(mean**0.5, rel=0.4)


def test_the_pairs_have_the_digit_counts_that_the_config_was_checked_for() -> None:
    config = RunConfig(train_digits=(2, 3), test_digits=(1, 2), train_size=150, validation_size=50, test_size=50)
    for data_seed in range(5):
        task = make_task(config.replace(data_seed=data_seed))
        seen = operands(task.train)[0] + operands(task.validation)[0]
        checked = digit_counts((2, 3), 200, f"train_digits {data_seed}")
        assert {d: sum(len(str(a)) == d for a in seen) for d in (2, 3)} == checked
        checked = digit_counts((1, 2), 50, f"test_digits {data_seed}")
        assert {d: sum(len(str(a)) == d for a in operands(task.test)[0]) for d in (1, 2)} == checked


def test_the_data_seed_alone_decides_the_pairs() -> None:
    config = RunConfig(**SMALL)
    task = make_task(config)
    assert_equal(task, make_task(config))
    assert_equal(task, make_task(config.replace(data_seed=1)), equal=False)
    torch.manual_seed(99)
    for changes in ({"seed": 1}, {"width": 8}, {"batch_size": 7}, {"shuffle": True}, {"epochs": 2}, {"loss": "mse"}):
        assert_equal(task, make_task(config.replace(**changes)))


def test_label_noise_replaces_bits_of_training_and_validation_alone() -> None:
    config = RunConfig(train_size=2000, validation_size=1000)
    clean = make_task(config)
    for probability in (0.0, 0.15, 1.0):
        noisy = make_task(config.replace(label_noise=probability))
        assert all(torch.equal(x.inputs, y.inputs) for x, y in zip(parts(clean), parts(noisy), strict=True))
        assert torch.equal(noisy.test.targets, clean.test.targets)
        for split, twin in ((noisy.train, clean.train), (noisy.validation, clean.validation)):
            flipped = split.targets != twin.targets
            assert flipped.float().mean() == pytest.approx(probability / 2, abs=0.012)
            assert bool(((split.targets == 0) | (split.targets == 1)).all())
    assert_equal(noisy, make_task(config.replace(label_noise=1.0)))
    other = make_task(config.replace(label_noise=1.0, data_seed=1))
    assert not torch.equal(noisy.train.targets, other.train.targets)


def test_label_noise_falls_on_bits_whatever_they_are_and_wherever_they_stand() -> None:
    config = RunConfig(train_size=3000)
    clean = make_task(config).train.targets
    flipped = (make_task(config.replace(label_noise=0.4)).train.targets != clean).float()
    for value in (0, 1):
        assert flipped[clean == value].mean() == pytest.approx(0.2, abs=0.015)
    assert flipped.mean(0).tolist() == pytest.approx([0.2] * 32, abs=0.04)
    assert flipped.sum(1).var() == pytest.approx(32 * 0.2 * 0.8, rel=0.15)
