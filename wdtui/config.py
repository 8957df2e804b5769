"""RunConfig: every hyperparameter of a run, defined once.

Plain Python: no torch, no UI. Flags, form fields, TOML keys, the stored JSON and the reference in the docs all derive
from the declarations below; `hyperparameters.py` says how their values are read and checked.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from wdtui.consistency import check_together
from wdtui.decay import RIVALS, RIVALS_CLASH, decay_by_rule, normalized_decay
from wdtui.hyperparameters import ConfigError, Hyperparameter, hyperparameters_of, knob, nearest
from wdtui.sizes import count_parameters

__all__ = [
    "FIELDS", "GROUPS", "NAMES", "ConfigError", "Hyperparameter", "RunConfig", "find_field", "nearest", "no_field",
    "normalized_decay",
]  # fmt: skip

GROUPS = {
    "article": "The article's knobs",
    "task": "Task",
    "model": "Model",
    "optimiser": "Optimiser",
    "training": "Training",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """All that decides a run: equal configs on equal hardware give equal curves, bit for bit.

    Raises ConfigError, whose message says what is allowed, for a value out of bounds and for values that clash.
    """

    weight_decay: float = knob(
        0.1,
        symbol="λ",
        aliases=("lambda", "wd"),
        label="weight decay",
        group="article",
        ge=0,
        le=1e6,
        sweep="log",
        steerable=True,
        help="How fast every parameter shrinks: parameters ← parameters · (1 − learning rate · λ) at each step.",
    )
    bn_epsilon: float = knob(
        1e-2,
        symbol="ε",
        aliases=("eps", "epsilon"),
        label="BatchNorm epsilon",
        group="article",
        gt=0,
        le=1e3,
        sweep="log",
        steerable=True,
        help="Added to the batch variance before its root is divided by; PyTorch's default is 1e-5. "
        "In the transformer it is LayerNorm's.",
    )
    width: int = knob(
        256,
        symbol="H",
        label="width",
        unit="units",
        group="article",
        ge=1,
        le=16_384,
        sweep="log",
        help="Units of every hidden layer; in the transformer, numbers per bit position, four times that between.",
    )

    task: str = knob(
        "add",
        label="task",
        group="task",
        choices=("add", "multiply"),
        sweep="linear",
        help="What is learned from the operands' bits: their sum or their product.",
    )
    train_digits: tuple[int, ...] = knob(
        (2, 4),
        label="training digits",
        unit="decimal digits",
        group="task",
        ge=1,
        le=18,
        help="Digit counts of the operands in training and validation; a count d is drawn with weight 10^d.",
    )
    test_digits: tuple[int, ...] = knob(
        (3,),
        label="test digits",
        unit="decimal digits",
        group="task",
        ge=1,
        le=18,
        help="Digit counts of the operands in the test, which training never shows.",
    )
    bits: int = knob(
        32, label="bits", unit="bits", group="task", ge=1, le=62, help="Bits of each operand and of the answer."
    )
    train_size: int = knob(
        5000,
        label="training pairs",
        unit="pairs",
        group="task",
        ge=1,
        le=10_000_000,
        sweep="log",
        help="Pairs to train on.",
    )
    validation_size: int = knob(
        500,
        label="validation pairs",
        unit="pairs",
        group="task",
        ge=1,
        le=1_000_000,
        help="Held-out pairs with the digit counts of training.",
    )
    test_size: int = knob(
        500,
        label="test pairs",
        unit="pairs",
        group="task",
        ge=1,
        le=1_000_000,
        help="Pairs with the digit counts of the test.",
    )
    label_noise: float = knob(
        0.0,
        label="label noise",
        unit="probability",
        group="task",
        ge=0,
        le=1,
        sweep="linear",
        help="Probability that a training or validation bit is replaced by a fair coin; the test stays clean.",
    )
    data_seed: int = knob(
        0,
        label="data seed",
        group="task",
        ge=0,
        le=2**63 - 1,
        sweep="linear",
        identifier=True,
        help="Decides the pairs, their split and their noise.",
    )

    architecture: str = knob(
        "residual",
        label="architecture",
        group="model",
        choices=("residual", "transformer"),
        sweep="linear",
        help="residual: the article's network; transformer: the original code's encoder over the bit positions.",
    )
    blocks: int = knob(
        2,
        label="blocks",
        unit="blocks",
        group="model",
        ge=0,
        le=256,
        sweep="linear",
        help="Residual blocks of two layers each, or encoder layers of the transformer.",
    )
    heads: int = knob(
        1,
        label="attention heads",
        unit="heads",
        group="model",
        ge=1,
        le=1024,
        sweep="log",
        help="Heads of each attention in the transformer; they share its width.",
    )
    batch_norm: bool = knob(
        True,
        label="BatchNorm",
        group="model",
        sweep="linear",
        help="Normalise after each hidden layer of a residual block; the transformer always has LayerNorm instead.",
    )
    bn_momentum: float = knob(
        0.1,
        label="BatchNorm momentum",
        group="model",
        ge=0,
        le=1,
        help="Weight of the newest batch in the running mean and variance that evaluation uses.",
    )
    loss: str = knob(
        "mse",
        label="loss",
        group="model",
        choices=("mse", "cross_entropy"),
        sweep="linear",
        help="mse: squared error of the sigmoid outputs; cross_entropy: binary, on the logits.",
    )

    optimizer: str = knob(
        "adamw",
        label="optimiser",
        group="optimiser",
        choices=("adamw", "adam", "sgd"),
        sweep="linear",
        help="adamw and adam take the same step; they differ in what decay auto means.",
    )
    decay: str = knob(
        "auto",
        label="decay",
        group="optimiser",
        choices=("auto", "decoupled", "l2"),
        sweep="linear",
        help="decoupled: shrink the parameters themselves; l2: add λ · parameters to the gradient; "
        "auto: decoupled for adamw, l2 for adam and sgd.",
    )
    normalized_weight_decay: float | None = knob(
        None,
        symbol="λ_norm",
        aliases=("lambda_norm",),
        label="normalised weight decay",
        group="optimiser",
        ge=0,
        le=1e6,
        sweep="log",
        help="Sets λ to λ_norm · sqrt(batch size / (training pairs · epochs)) / learning rate; try 0.025 to 0.05.",
    )
    learning_rate: float = knob(
        1e-3,
        label="learning rate",
        aliases=("lr",),
        group="optimiser",
        gt=0,
        le=1e3,
        sweep="log",
        steerable=True,
        help="Step size of the optimiser.",
    )
    betas: tuple[float, ...] = knob(
        (0.9, 0.98),
        label="betas",
        group="optimiser",
        ge=0,
        lt=1,
        help="Adam's decay rates of the gradient's running mean and running square.",
    )
    adam_epsilon: float = knob(
        1e-3, label="Adam epsilon", group="optimiser", gt=0, le=1e3, help="Added to Adam's denominator."
    )
    momentum: float = knob(0.95, label="momentum", group="optimiser", ge=0, lt=1, help="Momentum of sgd.")

    batch_size: int = knob(
        64,
        label="batch size",
        aliases=("bs",),
        unit="pairs",
        group="training",
        ge=1,
        le=1_000_000,
        sweep="log",
        help="Pairs per step; an incomplete last batch is dropped.",
    )
    epochs: int = knob(
        385,
        label="epochs",
        unit="epochs",
        group="training",
        ge=1,
        le=10_000_000,
        sweep="log",
        help="Passes over the training pairs.",
    )
    shuffle: bool = knob(
        False,
        label="shuffle",
        group="training",
        help="Draw a new order each epoch; the article keeps the order of the split.",
    )
    seed: int = knob(
        0,
        label="seed",
        group="training",
        ge=0,
        le=2**63 - 1,
        sweep="linear",
        identifier=True,
        help="Decides the initial parameters and the order of shuffled batches.",
    )
    log_every: int = knob(
        1,
        label="log every",
        unit="epochs",
        group="training",
        ge=1,
        le=10_000_000,
        help="Epochs from one logged point to the next.",
    )
    sharpness_every: int = knob(
        0,
        label="sharpness every",
        unit="epochs",
        group="training",
        ge=0,
        le=10_000_000,
        help="Epochs from one measurement of the sharpness to the next; 0 for none. Every 5 costs a tenth of the time.",
    )
    engine: str = knob(
        "auto",
        label="engine",
        group="training",
        choices=("auto", "alone", "ensemble"),
        help="ensemble: runs of one shape train side by side, many times as fast in all up to width 64, each slower; "
        "auto: alone, but in sweeps as an ensemble where that is faster.",
    )
    keep_every: int = knob(
        0,
        label="keep every",
        unit="epochs",
        group="training",
        ge=0,
        le=10_000_000,
        help="Epochs from one kept checkpoint to the next, besides the newest and those at milestones; 0 for none.",
    )
    keep_megabytes: int = knob(
        256,
        label="room for checkpoints",
        unit="MB",
        group="training",
        ge=1,
        le=10_000_000,
        help="Disk space for the checkpoints that are kept; the newest two are, whatever they take.",
    )

    def __post_init__(self) -> None:
        for name, field in FIELDS.items():
            object.__setattr__(self, name, field.check(getattr(self, name)))
        check_together(self)
        if self.normalized_weight_decay is not None:
            by_rule = decay_by_rule(self, self.normalized_weight_decay, FIELDS["weight_decay"])
            object.__setattr__(self, "weight_decay", by_rule)

    @classmethod
    def from_mapping(cls, *layers: Mapping[str, Any]) -> RunConfig:
        """Build a config from layers of values, a later one over an earlier one, all over the defaults.

        Of λ and λ_norm the later layer's wins. Raises ConfigError, also for a name that is no field.
        """
        values: dict[str, Any] = {}
        for layer in layers:
            for name in layer:
                if name not in FIELDS:
                    raise no_field(name)
            given = {name for name in layer if layer[name] is not None}
            if given >= RIVALS.keys():
                raise ConfigError(RIVALS_CLASH, *RIVALS)
            values = {name: value for name, value in values.items() if RIVALS.get(name) not in given} | dict(layer)
        return cls(**values)

    def to_mapping(self) -> dict[str, Any]:
        """All values as plain JSON types; `from_mapping` reads them back to an equal config."""
        values = {name: getattr(self, name) for name in FIELDS}
        if self.normalized_weight_decay is not None:
            del values["weight_decay"]
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    def replace(self, **changes: Any) -> RunConfig:
        """This config with some values changed, checked anew."""
        return RunConfig.from_mapping(self.to_mapping(), changes)

    @property
    def decoupled(self) -> bool:
        """Whether λ shrinks the parameters themselves, rather than through the gradient as an L2 term does."""
        return self.decay == "decoupled" or (self.decay == "auto" and self.optimizer == "adamw")

    @property
    def inputs(self) -> int:
        """Inputs of the network: the bits of both operands."""
        return 2 * self.bits

    @property
    def steps_per_epoch(self) -> int:
        return self.train_size // self.batch_size

    @property
    def steps(self) -> int:
        return self.steps_per_epoch * self.epochs

    @property
    def norm_layers(self) -> int:
        """How many BatchNorm layers the network has."""
        return 2 * self.blocks if self.batch_norm and self.architecture == "residual" else 0

    @cached_property
    def parameters(self) -> int:
        """How many parameters the network has."""
        return count_parameters(self)


FIELDS: dict[str, Hyperparameter] = hyperparameters_of(RunConfig)

NAMES: dict[str, str] = {
    said.lower(): name for name, field in FIELDS.items() for said in (name, field.symbol, *field.aliases) if said
}
"""The fields by all that a person may type for one, in lower case: names, symbols and aliases.

Where fields are typed (axes, `--set`, the filter) all of these count. Files and Python take full names alone.
"""


def find_field(text: str) -> Hyperparameter:
    """The field that a person names by its name, symbol or alias, in any case. Raises ConfigError."""
    name = text.strip().lower().replace("-", "_")
    if name not in NAMES:
        raise ConfigError(f"{text} is no field of a run{nearest(name, NAMES)}", text)
    return FIELDS[NAMES[name]]


def no_field(name: str) -> ConfigError:
    """What to say of a name that is no field's full name, where only that is allowed."""
    meant = NAMES.get(name.lower())
    return ConfigError(
        f"{name} is no field of a run{f'; did you mean {meant}?' if meant else nearest(name, FIELDS)}", name
    )
