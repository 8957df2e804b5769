"""λ from the normalised λ_norm of Loshchilov & Hutter. Plain Python; `config.RunConfig` applies it to itself."""

from __future__ import annotations

import math

from wdtui.problems.addition.fields import Fields
from wdtui.schema.config import rivals_clash
from wdtui.schema.hyperparameters import ConfigError, Hyperparameter
from wdtui.support.text import exact, number

RIVALS = {"weight_decay": "normalized_weight_decay", "normalized_weight_decay": "weight_decay"}
"""Of these two a config is given one."""


def normalized_decay(config: Fields, normalized: float) -> dict[str, float]:
    """Convert a normalised weight decay to λ by λ = λ_norm · sqrt(b / (B·T)) (Loshchilov & Hutter 2019, appendix B.1).

    b is the batch size, B the training pairs, T the epochs. Two conventions of λ are in use: "paper", where the decay
    step is θ ← θ − λ·θ, and "pytorch", where it is θ ← θ − lr·λ·θ, so that λ carries a division by the learning rate.
    All optimisers here decay by lr·λ: "pytorch" is the one they take.
    """
    paper = normalized * math.sqrt(config.batch_size / (config.train_size * config.epochs))
    return {"paper": paper, "pytorch": paper / config.learning_rate}


def decay_by_rule(config: Fields, normalized: float, field: Hyperparameter) -> float:
    """The λ that the rule makes of λ_norm; raises ConfigError where `field`, λ's, forbids it or has another value."""
    by_rule = normalized_decay(config, normalized)["pytorch"]
    if config.weight_decay not in (field.default, by_rule):
        raise rivals_clash(*RIVALS)
    largest = field.le or math.inf
    if not by_rule <= largest:
        given = f"normalized_weight_decay {exact(normalized)} and learning_rate {exact(config.learning_rate)}"
        reason = f"they give a weight decay of {number(by_rule)}; the largest is {number(largest)}"
        raise ConfigError(f"{given} clash: {reason}.", "normalized_weight_decay", "learning_rate")
    return by_rule
