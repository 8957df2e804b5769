"""The gauge `scale_invariance` is 0 for exactly those layers whose length the loss does not depend on."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from wdtui.bench.plain import plain_network
from wdtui.problems.addition.config import RunConfig
from wdtui.training.gauges import Gauges

torch.set_num_threads(1)


class Residual(nn.Module):
    """A block of a ResNet: the shortcut has a convolution and a BatchNorm of its own."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.shortcut = nn.Sequential(nn.Conv2d(channels, out, 1, stride=2, bias=False), nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + self.shortcut(x))


class Block(nn.Module):
    """A block of a transformer, with LayerNorm before each part."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        normed = self.norm1(x)
        x = x + self.attention(normed, normed, normed, need_weights=False)[0]
        return x + self.down(functional.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """LayerNorm follows the embedding alone, and `narrow`, once without and once with a bias."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.norm = nn.Embedding(11, 16), nn.LayerNorm(16)
        self.block = Block(16)
        self.narrow, self.narrow_norm = nn.Linear(16, 12, bias=False), nn.LayerNorm(12)
        self.biased, self.biased_norm = nn.Linear(12, 12), nn.LayerNorm(12)
        self.head = nn.Linear(12, 11)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.narrow_norm(self.narrow(self.block(self.norm(self.embedding(tokens)))))
        return self.head(self.biased_norm(self.biased(x)))[:, -1]


def mlp() -> tuple[nn.Module, Tensor, int]:
    layers = [nn.Linear(20, 30), nn.BatchNorm1d(30), nn.ReLU(), nn.Linear(30, 30), nn.BatchNorm1d(30), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(30, 20), nn.ReLU(), nn.Linear(20, 10)), torch.randn(64, 20), 10


def convnet() -> tuple[nn.Module, Tensor, int]:
    stem = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()
    rest = Residual(8, 12), Residual(12, 16), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)
    return nn.Sequential(*stem, *rest), torch.randn(32, 3, 12, 12), 10


def transformer() -> tuple[nn.Module, Tensor, int]:
    return Transformer(), torch.randint(11, (64, 6)), 11


def addition() -> tuple[nn.Module, Tensor, int]:
    config = RunConfig(width=24, bn_epsilon=1e-5)
    return plain_network(config), torch.randint(2, (64, config.inputs)).to(torch.float64), config.bits


Case = Callable[[], tuple[nn.Module, Tensor, int]]
CASES: list[tuple[Case, set[str], set[str]]] = [
    (mlp, {"0", "3"}, {"6", "8"}),
    (
        convnet,
        {"0", *(f"{block}.{part}" for block in (3, 4) for part in ("conv1", "conv2", "shortcut.0"))},
        {"7"},
    ),
    (
        transformer,
        {"embedding", "narrow"},
        {"block.attention.in_proj_weight", "block.attention.out_proj", "block.up", "block.down", "biased", "head"},
    ),
    (addition, {f"block{block}.linear{place}" for block in (1, 2) for place in (1, 2)}, {"input", "output"}),
]


@pytest.mark.parametrize(("case", "invariant", "others"), CASES, ids=[case.__name__ for case, _, _ in CASES])
def test_the_cosine_is_0_for_just_the_layers_whose_length_does_not_matter(
    case: Case, invariant: set[str], others: set[str]
) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        torch.manual_seed(0)
        model, inputs, classes = case()
        targets = torch.randint(classes, (len(inputs),))
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1)

        def loss() -> Tensor:
            return functional.cross_entropy(model(inputs), targets)

        for _ in range(10):  # away from what is special at the start, such as biases of 0
            optimizer.zero_grad()
            loss().backward()
            gauges = Gauges({"": model}, [optimizer])
            optimizer.step()
        cosines = {
            name.partition("/")[2]: abs(float(value))
            for name, value in gauges.measure().items()
            if name.startswith("scale_invariance/")
        }
        matters = {}
        with torch.no_grad():
            expected = loss()
            for name, parameter in model.named_parameters():
                if parameter.dim() > 1:
                    parameter.mul_(1.5)
                    matters[name.removesuffix(".weight")] = abs(float(loss() / expected - 1))
                    parameter.div_(1.5)
    finally:
        torch.set_default_dtype(torch.float32)
    assert matters.keys() == cosines.keys() == invariant | others
    assert {name for name, change in matters.items() if change < 1e-4} == invariant
    assert {name for name, cosine in cosines.items() if cosine < 1e-3} == invariant
