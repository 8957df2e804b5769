"""A small ConvNet with BatchNorm on scikit-learn's digits: 1,797 images of 8 × 8 pixels, real and at hand offline.

Two effects can be seen in it. Lobacheva et al. 2021 (arXiv 2106.15739): SGD with weight decay is unstable again and
again, with a period, when all trained weights are scale-invariant. Wang & Aitchison 2024 (arXiv 2405.13698): the best
time constant of AdamW's decay, in epochs, depends little on the number of examples.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wdtui.problems.declared import Problem, knob

_TEST = 597
"""Images for the test, so that 1,200 remain to train on."""
_LAST_NORM = 10
"""The norm of the last layer where it is fixed: large enough for a training loss near 0."""


class Digits(Problem):
    """Digits: a ConvNet with BatchNorm on small images."""

    examples: int = knob(1200, ge=2, le=1200, symbol="N", affects="data", sweep="log", help="Images to train on.")
    label_noise: float = knob(
        0.0, ge=0, le=1, affects="data", sweep="linear", help="Share of the training labels that are drawn at random."
    )
    width: int = knob(8, ge=1, le=512, affects="shape", sweep="log", help="Channels of the first of the two layers.")
    scale_invariant: bool = knob(
        False, affects="shape",
        help="Train only the layers before a BatchNorm. The last layer is fixed, and BatchNorm has no γ and β.",
    )  # fmt: skip
    optimizer: str = knob("sgd", choices=("sgd", "adamw"), affects="shape", help="SGD without momentum, or AdamW.")
    batch_size: int = knob(64, ge=2, le=1200, affects="update", sweep="log", help="Images of a step.")
    learning_rate: float = knob(0.1, gt=0, affects="live", sweep="log", help="Learning rate.")
    weight_decay: float = knob(
        0.01, ge=0, affects="live", sweep="log", help="Weight decay: L2 for SGD, decoupled for AdamW."
    )
    steps = 3000
    log_every = 20

    def setup(self) -> None:
        """Split the images at random, and build the network. Raises ModuleNotFoundError without scikit-learn."""
        import torch
        from torch import nn

        images, digits = _images()
        order = torch.randperm(len(digits))
        x, y = torch.from_numpy(images)[order, None], torch.from_numpy(digits)[order]
        test, train = slice(_TEST), slice(_TEST, _TEST + self.examples)
        noisy = torch.rand(self.examples) < self.label_noise
        labels = torch.where(noisy, torch.randint(10, (self.examples,)), y[train])
        self.test = x[test].to(self.device), y[test].to(self.device)
        self.train = x[train].to(self.device), labels.to(self.device)

        width, affine = self.width, not self.scale_invariant
        last = nn.Linear(16 * 2 * width, 10, bias=affine)
        if self.scale_invariant:
            last.weight.requires_grad_(False).mul_(_LAST_NORM / last.weight.norm())
        self.model = nn.Sequential(
            nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width, affine=affine), nn.ReLU(),
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False), nn.BatchNorm2d(2 * width, affine=affine), nn.ReLU(),
            nn.Flatten(), last,
        ).to(self.device)  # fmt: skip
        kind = torch.optim.SGD if self.optimizer == "sgd" else torch.optim.AdamW
        trained = [one for one in self.model.parameters() if one.requires_grad]
        self.descent = kind(trained, lr=self.learning_rate, weight_decay=self.weight_decay)

    def step(self) -> Mapping[str, Any]:
        """One update with images drawn at random, with replacement."""
        import torch
        from torch.nn.functional import cross_entropy

        x, y = self.train
        chosen = torch.randint(len(y), (self.batch_size,)).to(self.device)
        loss = cross_entropy(self.model(x[chosen]), y[chosen])
        self.descent.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.descent.step()
        return {"train_loss": loss}

    def measure(self) -> Mapping[str, Any]:
        """Accuracy on the images trained on, with their noisy labels, and on those of the test; the test loss."""
        from torch.nn.functional import cross_entropy

        (x, y), (test_x, test_y) = self.train, self.test
        answers = self.model(test_x)
        return {
            "train_accuracy": (self.model(x).argmax(1) == y).float().mean(),
            "test_accuracy": (answers.argmax(1) == test_y).float().mean(),
            "test_loss": cross_entropy(answers, test_y),
        }


def _images() -> tuple[Any, Any]:
    """The images, [1797, 8, 8] float32 with mean 0 and standard deviation 1, and their digits, [1797] int64."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError("The digits come with scikit-learn: pip install 'wdtui[digits]'") from error
    data = load_digits()
    images = data.images.astype("float32")
    return (images - images.mean()) / images.std(), data.target.astype("int64")


PROBLEM = Digits
