"""The hyperparameters of the addition problem, each defined once.

Plain Python: no torch, no UI. Flags, form fields, TOML keys, the stored JSON and the reference in the docs all derive
from the declarations below; `schema/hyperparameters.py` says how their values are read and checked.
"""

from __future__ import annotations

import dataclasses

from wdtui.problems.addition.optimizers import OPTIMIZERS
from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import knob

GROUPS = {
    "article": "Main parameters",
    "task": "Task",
    "model": "Model",
    "optimiser": "Optimiser",
    "training": "Training",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fields(Config):
    """What a run of the addition problem is told; `RunConfig` says what follows from it."""

    weight_decay: float = knob(
        0.1,
        symbol="λ",
        aliases=("lambda", "wd"),
        label="weight decay",
        group="article",
        fits="below",
        affects="live",
        ge=0,
        le=1e6,
        sweep="log",
        suggested=(0.0, 0.01, 0.03, 0.1, 0.3, 1.0),
        help="How fast every parameter shrinks: parameters ← parameters · (1 − learning rate · λ) at each step.",
    )
    bn_epsilon: float = knob(
        1e-2,
        symbol="ε",
        aliases=("eps", "epsilon"),
        label="BatchNorm epsilon",
        group="article",
        affects="live",
        gt=0,
        le=1e3,
        sweep="log",
        help="Added to the batch variance before the square root. PyTorch's default is 1e-5. "
        "In the transformer it is LayerNorm's.",
    )
    width: int = knob(
        256,
        symbol="H",
        label="width",
        unit="units",
        group="article",
        fits="above",
        affects="shape",
        ge=1,
        le=16_384,
        sweep="log",
        help=(
            "Units of every hidden layer. In the transformer: features per "
            "bit position, with a feed-forward layer four times as wide."
        ),
    )

    task: str = knob(
        "add",
        label="task",
        group="task",
        affects="data",
        choices=("add", "multiply"),
        sweep="linear",
        help="The function of the operands to learn: their sum or their product.",
    )
    train_digits: tuple[int, ...] = knob(
        (2, 4),
        label="training digits",
        unit="decimal digits",
        group="task",
        affects="data",
        ge=1,
        le=18,
        help="Digit counts of the operands in training and validation. A count d is drawn with weight 10^d.",
    )
    test_digits: tuple[int, ...] = knob(
        (3,),
        label="test digits",
        unit="decimal digits",
        group="task",
        affects="data",
        ge=1,
        le=18,
        help="Digit counts of the operands in the test set. They should not occur in training.",
    )
    bits: int = knob(
        32,
        label="bits",
        unit="bits",
        group="task",
        affects="shape",
        ge=1,
        le=62,
        help="Bits of each operand and of the result.",
    )
    train_size: int = knob(
        5000,
        label="training pairs",
        unit="pairs",
        group="task",
        fits="below",
        affects="data",
        ge=1,
        le=10_000_000,
        sweep="log",
        help="Number of training pairs.",
    )
    validation_size: int = knob(
        500,
        label="validation pairs",
        unit="pairs",
        group="task",
        affects="data",
        ge=1,
        le=1_000_000,
        help="Number of held-out pairs with the digit counts of training.",
    )
    test_size: int = knob(
        500,
        label="test pairs",
        unit="pairs",
        group="task",
        affects="data",
        ge=1,
        le=1_000_000,
        help="Number of test pairs.",
    )
    label_noise: float = knob(
        0.0,
        label="label noise",
        unit="probability",
        group="task",
        fits="below",
        affects="data",
        ge=0,
        le=1,
        sweep="linear",
        help=(
            "Probability that a training or validation bit is replaced by a fair coin flip. The test set has no noise."
        ),
    )
    data_seed: int = knob(
        0,
        label="data seed",
        group="task",
        affects="data",
        ge=0,
        le=2**63 - 1,
        sweep="linear",
        identifier=True,
        help="Seed of the pairs, their split and their noise.",
    )

    architecture: str = knob(
        "residual",
        label="architecture",
        group="model",
        affects="shape",
        choices=("residual", "transformer"),
        sweep="linear",
        help="residual: the article's network; transformer: the original code's encoder over the bit positions.",
    )
    blocks: int = knob(
        2,
        label="blocks",
        unit="blocks",
        group="model",
        fits="above",
        affects="shape",
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
        affects="shape",
        ge=1,
        le=1024,
        sweep="log",
        help="Attention heads in each layer of the transformer. They share the width.",
    )
    batch_norm: bool = knob(
        True,
        label="BatchNorm",
        group="model",
        affects="shape",
        sweep="linear",
        help="Use BatchNorm after each hidden layer of a residual block. The transformer always uses LayerNorm.",
    )
    bn_momentum: float = knob(
        0.1,
        label="BatchNorm momentum",
        group="model",
        affects="update",
        ge=0,
        le=1,
        help="Weight of the newest batch in the running mean and variance, which evaluation uses.",
    )
    loss: str = knob(
        "mse",
        label="loss",
        group="model",
        affects="update",
        choices=("mse", "cross_entropy"),
        sweep="linear",
        help="mse: squared error of the sigmoid outputs; cross_entropy: binary, on the logits.",
    )

    optimizer: str = knob(
        "adamw",
        label="optimiser",
        group="optimiser",
        affects="update",
        choices=tuple(OPTIMIZERS),
        sweep="linear",
        help="adamw and adam make the same step. They differ only in the meaning of decay auto.",
    )
    decay: str = knob(
        "auto",
        label="decay",
        group="optimiser",
        affects="update",
        choices=("auto", "decoupled", "l2"),
        sweep="linear",
        help="decoupled: shrink the parameters directly; l2: add λ · parameters to the gradient; "
        "auto: decoupled for adamw, l2 for adam and sgd.",
    )
    normalized_weight_decay: float | None = knob(
        None,
        symbol="λ_norm",
        aliases=("lambda_norm",),
        label="normalised weight decay",
        group="optimiser",
        fits="below",
        affects="update",
        ge=0,
        le=1e6,
        sweep="log",
        help="Sets λ to λ_norm · sqrt(batch size / (training pairs · epochs)) / learning rate. Try 0.025 to 0.05.",
    )
    learning_rate: float = knob(
        1e-3,
        label="learning rate",
        aliases=("lr",),
        group="optimiser",
        affects="live",
        gt=0,
        le=1e3,
        sweep="log",
        help="Step size of the optimiser.",
    )
    betas: tuple[float, ...] = knob(
        (0.9, 0.98),
        label="betas",
        group="optimiser",
        affects="update",
        ge=0,
        lt=1,
        help="Adam's decay rates of the gradient's running mean and running square.",
    )
    adam_epsilon: float = knob(
        1e-3,
        label="Adam epsilon",
        group="optimiser",
        affects="update",
        gt=0,
        le=1e3,
        help="Added to Adam's denominator.",
    )
    momentum: float = knob(
        0.95, label="momentum", group="optimiser", affects="update", ge=0, lt=1, help="Momentum of sgd."
    )

    batch_size: int = knob(
        64,
        label="batch size",
        aliases=("bs",),
        unit="pairs",
        group="training",
        affects="data",
        ge=1,
        le=1_000_000,
        sweep="log",
        help="Pairs per step. An incomplete last batch is dropped.",
    )
    epochs: int = knob(
        385,
        label="epochs",
        unit="epochs",
        group="training",
        affects="bookkeeping",
        ge=1,
        le=10_000_000,
        sweep="log",
        help="Passes over the training pairs.",
    )
    shuffle: bool = knob(
        False,
        label="shuffle",
        group="training",
        affects="update",
        help="Shuffle the training pairs in each epoch. The article does not.",
    )
    seed: int = knob(
        0,
        label="seed",
        group="training",
        affects="start",
        ge=0,
        le=2**63 - 1,
        sweep="linear",
        identifier=True,
        help="Seed of the initial parameters and of the order of shuffled batches.",
    )
    log_every: int = knob(
        1,
        label="log every",
        unit="epochs",
        group="training",
        affects="bookkeeping",
        ge=1,
        le=10_000_000,
        help="Number of epochs between logged points.",
    )
    sharpness_every: int = knob(
        0,
        label="sharpness every",
        unit="epochs",
        group="training",
        affects="bookkeeping",
        ge=0,
        le=10_000_000,
        help=(
            "Number of epochs between measurements of sharpness, or 0 "
            "for none. A value of 5 costs a tenth of the training time."
        ),
    )
    engine: str = knob(
        "auto",
        label="engine",
        group="training",
        affects="start",
        choices=("auto", "alone", "ensemble"),
        help="ensemble: train runs of one shape as a batch, which is many times faster in total up to width 64. "
        "auto: alone, and in sweeps as a batch if that is faster.",
    )
    keep_every: int = knob(
        0,
        label="keep every",
        unit="epochs",
        group="training",
        affects="bookkeeping",
        ge=0,
        le=10_000_000,
        help="Number of epochs between additional checkpoints that are kept, or 0 for none.",
    )
    keep_megabytes: int = knob(
        256,
        label="checkpoint space",
        unit="MB",
        group="training",
        affects="bookkeeping",
        ge=1,
        le=10_000_000,
        help="Maximum disk space for a run's checkpoints. The newest two are always kept.",
    )

    @property
    def decoupled(self) -> bool:
        """Whether λ shrinks the parameters themselves, rather than through the gradient as an L2 term does."""
        return self.decay == "decoupled" or (self.decay == "auto" and OPTIMIZERS[self.optimizer].decoupled)

    @property
    def inputs(self) -> int:
        """Inputs of the network: the bits of both operands."""
        return 2 * self.bits

    @property
    def steps_per_epoch(self) -> int:
        return self.train_size // self.batch_size

    @property
    def norm_layers(self) -> int:
        """How many BatchNorm layers the network has."""
        return 2 * self.blocks if self.batch_norm and self.architecture == "residual" else 0
