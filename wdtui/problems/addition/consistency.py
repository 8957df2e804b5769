"""Which values of a config are fine alone and impossible together.

Plain Python; `config.RunConfig` calls `check_together` on itself, so that every face refuses the same configs.
"""

from __future__ import annotations

import random
from collections.abc import Collection
from functools import lru_cache

from wdtui.problems.addition.fields import Fields
from wdtui.schema.hyperparameters import ConfigError, format_value

_LANES = 16
"""Numbers that a processor handles at once, at most: what is left over is reckoned in another way."""


def check_together(config: Fields) -> None:
    """Raise ConfigError for values that are fine alone and impossible together."""
    if config.train_size < config.batch_size:
        raise _clash(config, "train_size", "batch_size", reason="training needs at least one full batch")
    _check_architecture(config)
    if config.architecture == "residual" and config.batch_norm and config.batch_size == 1:
        raise _clash(
            config,
            "batch_size",
            "batch_norm",
            reason="one pair has no variance, so BatchNorm needs a batch of 2 or more",
        )
    if config.engine == "ensemble":
        _check_ensemble(config)
    if len(config.betas) != 2:
        raise ConfigError(f"betas: give two numbers, not {len(config.betas)}.", "betas")
    _check_digits(config, "train_digits", config.train_size + config.validation_size, ("train_size", "validation_size"))
    _check_digits(config, "test_digits", config.test_size, ("test_size",))


def _check_architecture(config: Fields) -> None:
    if config.architecture == "residual":
        if config.heads != 1:
            reason = "only the transformer has attention heads, so leave heads at 1"
            raise _clash(config, "heads", "architecture", reason=reason)
        return
    if config.width % config.heads:
        raise _clash(config, "heads", "width", reason="each head takes an equal share of the width")
    if not config.batch_norm:
        reason = "the transformer has no BatchNorm, so leave batch_norm at true"
        raise _clash(config, "batch_norm", "architecture", reason=reason)
    if config.sharpness_every:
        reason = "sharpness is measured for residual networks only, so leave sharpness_every at 0"
        raise _clash(config, "sharpness_every", "architecture", reason=reason)


def _check_ensemble(config: Fields) -> None:
    if config.architecture != "residual":
        raise _clash(config, "engine", "architecture", reason="a batch trains residual networks only")
    if config.sharpness_every:
        raise _clash(config, "engine", "sharpness_every", reason="sharpness is not measured in a batch")
    for name in ("width", "bits"):
        if getattr(config, name) % _LANES:
            raise _clash(
                config,
                "engine",
                name,
                reason=(f"it must be a multiple of {_LANES}, or the other runs in the batch would change its result"),
            )


def _check_digits(config: Fields, field: str, pairs: int, sizes: Collection[str]) -> None:
    digits: tuple[int, ...] = getattr(config, field)
    if len(set(digits)) != len(digits):
        raise ConfigError(f"{field}: a digit count is given twice. Give each once.", field)
    largest = 10 ** max(digits) - 1
    answer, word = (2 * largest, "sum") if config.task == "add" else (largest**2, "product")
    if answer >= 2**config.bits:
        needed = f"the {word} of {max(digits)}-digit numbers needs {answer.bit_length()} bits"
        raise _clash(config, field, "bits", reason=needed)
    if pairs > sum(9 * 10 ** (d - 1) for d in digits):
        raise _too_few(config, field, sizes, f"{pairs:,} pairs are more than the numbers with that many digits allow")
    for d, count in digit_counts(digits, pairs, f"{field} {config.data_seed}").items():
        available = 9 * 10 ** (d - 1)
        if count > available:
            raise _too_few(
                config,
                field,
                sizes,
                f"{count:,} pairs of {d} digits are requested, but only {available:,} such numbers exist",
            )


def _too_few(config: Fields, field: str, sizes: Collection[str], reason: str) -> ConfigError:
    return _clash(config, field, *sizes, reason=f"operands are drawn without replacement, {reason}")


def _clash(config: Fields, *fields: str, reason: str) -> ConfigError:
    values = " and ".join(f"{name} {format_value(getattr(config, name))}" for name in fields)
    return ConfigError(f"{values} clash: {reason}.", *fields)


@lru_cache(maxsize=256)
def digit_counts(digits: tuple[int, ...], pairs: int, seed: str) -> dict[int, int]:
    """How many of `pairs` get operands of each digit count: one multinomial draw with weights 10^d."""
    if len(digits) == 1:
        return {digits[0]: pairs}
    drawn = random.Random(seed).choices(digits, weights=[10**d for d in digits], k=pairs)
    return {d: drawn.count(d) for d in digits}
