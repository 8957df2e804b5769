"""The transformer trains exactly what torch.nn's own encoder layers train, and as a run like any other."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from calls import comparable
from torch import Tensor, nn

from wdtui.bench.plain import plain_optimizer
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine import transformer as transformer_module
from wdtui.problems.addition.engine.losses import loss_value
from wdtui.problems.addition.engine.tasks import make_task
from wdtui.problems.addition.engine.training import DivergedError, Training
from wdtui.problems.addition.engine.transformer import Transformer
from wdtui.problems.addition.sizes import parameter_shapes
from wdtui.schema.curves import Point

pytestmark = pytest.mark.cpu_only

SMALL = RunConfig(
    architecture="transformer", width=12, heads=2, blocks=2, train_digits=(2,), test_digits=(1,), bits=8, train_size=70,
    validation_size=20, test_size=9, batch_size=10, epochs=6, learning_rate=1e-2, weight_decay=0.5,
)  # fmt: skip
"""Seven steps an epoch."""


class PlainTransformer(nn.Module):
    """An encoder of torch.nn's own layers over the bit positions; logits [pairs, bits] from inputs [pairs, 2·bits]."""

    def __init__(self, config: RunConfig) -> None:
        super().__init__()
        self.input = nn.Linear(2, config.width)
        self.position = nn.Embedding(config.bits, config.width)
        self.norm = nn.LayerNorm(config.width, eps=config.bn_epsilon)
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(
                    config.width, config.heads, 4 * config.width, dropout=0.0, activation="relu",
                    layer_norm_eps=config.bn_epsilon, batch_first=True, norm_first=False,
                )
                for _ in range(config.blocks)
            )
        )  # fmt: skip
        self.output = nn.Linear(config.width, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        tokens = torch.stack([inputs[:, 0::2], inputs[:, 1::2]], 2)
        x = self.norm(self.input(tokens) + self.position.weight)
        logits: Tensor = self.output(self.blocks(x)).squeeze(2)
        return logits


def plain_transformer(config: RunConfig, parameters: Tensor) -> PlainTransformer:
    """The plain network with these parameters, a flat vector."""
    network = PlainTransformer(config)
    nn.utils.vector_to_parameters(parameters.clone(), network.parameters())
    return network


@pytest.fixture
def double_precision() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def by_name(config: RunConfig, point: Point) -> dict[str, float]:
    return dict(zip(config.columns, point.values, strict=True))


def measured(points: list[Point]) -> list[tuple[Any, ...]]:
    """All of the points but their speed."""
    return [(point.step, point.epoch, *comparable(point.values[:-1])) for point in points]


SIZES = [
    {},
    {"heads": 1, "blocks": 1, "width": 7},
    {"heads": 6, "blocks": 3, "loss": "cross_entropy", "bn_epsilon": 1e-12},
    {"blocks": 0, "bits": 16},
]


@pytest.mark.parametrize("changes", SIZES, ids=str)
@pytest.mark.usefixtures("double_precision")
def test_logits_and_every_gradient_equal_those_of_torchs_encoder_layers(changes: dict[str, Any]) -> None:
    config = SMALL.replace(**changes)
    task, network = make_task(config).train, Transformer(config)
    plain = plain_transformer(config, network.parameters)
    inputs, targets = task.inputs[:10], task.targets[:10]
    expected = plain(inputs)
    loss_value(config.loss, expected, targets).backward()
    training = Training(config)
    with torch.inference_mode():
        training.steps.take_step(inputs, targets, 0)
    torch.testing.assert_close(training.record.logits[0], expected.detach(), rtol=1e-9, atol=1e-9)
    gradients = training.network.gradients.split([parameter.numel() for parameter in plain.parameters()])
    for (name, shape), parameter, gradient in zip(
        parameter_shapes(config).items(), plain.parameters(), gradients, strict=True
    ):
        assert parameter.grad is not None and parameter.shape == shape
        torch.testing.assert_close(gradient, parameter.grad.flatten(), rtol=1e-9, atol=1e-9, msg=name)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.usefixtures("double_precision")
def test_the_curve_equals_that_of_torchs_encoder_layers_in_the_plain_loop(optimizer: str) -> None:
    config = SMALL.replace(optimizer=optimizer, decay="auto", weight_decay=0.01 if optimizer == "sgd" else 0.5)
    task = make_task(config)
    plain = plain_transformer(config, Transformer(config).parameters)
    update = plain_optimizer(config, plain, fused=False)
    for point in Training(config).points():
        losses = []
        for start in range(0, 70, 10):
            logits = plain(task.train.inputs[start : start + 10])
            loss = loss_value(config.loss, logits, task.train.targets[start : start + 10])
            update.zero_grad()
            loss.backward()
            update.step()
            losses.append(loss.item())
        seen = by_name(config, point)
        plain.eval()
        with torch.no_grad():
            logits = plain(task.test.inputs)
        right = (logits > 0) == task.test.targets.bool()
        norms = {name: parameter.detach().norm().item() for name, parameter in plain.named_parameters()}
        assert seen["train_loss"] == pytest.approx(sum(losses) / 7, rel=1e-9)
        assert seen["test_loss"] == pytest.approx(loss_value(config.loss, logits, task.test.targets).item(), rel=1e-9)
        assert seen["test_bit_accuracy"] == pytest.approx(right.double().mean().item())
        assert seen["weight_norm"] == pytest.approx(sum(norms.values()), rel=1e-9)
        assert seen["weight_norm/position"] == pytest.approx(norms["position.weight"], rel=1e-9)
        assert seen["weight_norm/block2.mixing"] == pytest.approx(norms["blocks.1.self_attn.out_proj.weight"], rel=1e-9)
        plain.train()


@pytest.mark.parametrize("changes", [*SIZES, {"bits": 32, "width": 128, "heads": 1}], ids=str)
def test_the_parameter_count_of_the_config_is_that_of_the_network(changes: dict[str, Any]) -> None:
    config = SMALL.replace(**changes)
    count = sum(parameter.numel() for parameter in PlainTransformer(config).parameters())
    assert config.parameters == Transformer(config).parameters.numel() == count


def test_initial_parameters_are_drawn_from_the_seed_as_bert_draws_them() -> None:
    config = SMALL.replace(width=64)
    named = Transformer(config).named
    for block in ("block1", "block2"):
        for layer in ("attention", "mixing", "linear1", "linear2"):
            assert named[f"{block}.{layer}.weight"].std().item() == pytest.approx(0.02, rel=0.05)
            assert not named[f"{block}.{layer}.bias"].any()
        assert (named[f"{block}.norm1.weight"] == 1).all() and not named[f"{block}.norm1.bias"].any()
    assert 0 < named["output.weight"].abs().max() <= 1 / 8
    assert 0.5 < named["input.weight"].abs().max() <= math.sqrt(0.5)
    assert torch.equal(Transformer(config).parameters, Transformer(config).parameters)
    assert not torch.equal(Transformer(config).parameters, Transformer(config.replace(seed=1)).parameters)


@pytest.mark.parametrize("numbers", [1, 2000])
def test_evaluation_in_parts_gives_the_logits_of_the_whole(numbers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_task(SMALL).train.inputs
    whole = Transformer(SMALL).evaluate(inputs)
    monkeypatch.setattr(transformer_module, "_EVALUATION_NUMBERS", numbers)
    sizes: list[int] = []
    network = Transformer(SMALL)
    run = network._run
    monkeypatch.setattr(network, "_run", lambda part, weights: sizes.append(len(part)) or run(part, weights))
    torch.testing.assert_close(network.evaluate(inputs), whole)
    assert len(sizes) > 10 and sum(sizes) == len(inputs) == len(whole)
    assert max(sizes) * SMALL.bits * 8 * SMALL.width <= max(numbers, SMALL.bits * 8 * SMALL.width)


def test_a_point_says_nothing_of_batch_norm_and_all_of_the_layers() -> None:
    names = SMALL.columns
    assert not any(name.startswith(("bn_", "running_", "effective_")) for name in names)
    layers = [name.split("/")[1] for name in names if name.startswith("weight_norm/")]
    assert layers[:4] == ["input", "position", "block1.attention", "block1.mixing"] and layers[-1] == "output"
    assert {f"{layer}.weight" for layer in layers} <= Transformer(SMALL).named.keys()
    (point, *_) = Training(SMALL).points()
    assert len(point.values) == len(names) and all(map(math.isfinite, point.values))


@functools.cache
def uninterrupted(shuffle: bool) -> list[tuple[Any, ...]]:
    return measured(list(Training(SMALL.replace(shuffle=shuffle)).points()))


@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("stop", [1, 7, 17])
def test_a_transformer_resumed_at_any_step_goes_on_bit_for_bit(stop: int, shuffle: bool) -> None:
    first = Training(SMALL.replace(shuffle=shuffle))
    points = list(first.points(lambda: first.step < stop))
    state = {name: tensor.clone() for name, tensor in first.state().items()}
    position = json.loads(json.dumps(first.position()))
    resumed = Training(SMALL.replace(shuffle=shuffle))
    resumed.restore(state, position)
    points += list(resumed.points())
    assert measured(points) == uninterrupted(shuffle)


def test_a_transformer_is_steered_like_any_run() -> None:
    training = Training(SMALL)
    points = iter(training.points())
    before = [next(points)]
    training.steer(bn_epsilon=5.0, weight_decay=0.0)
    after = list(points)
    assert {steering.field for steering in training.take_steerings()} == {"bn_epsilon", "weight_decay"}
    assert training.network.epsilon == 5.0
    plain = uninterrupted(False)
    assert measured(before) == plain[:1] and measured(after)[0] != plain[1]


def test_a_transformer_that_diverges_says_at_which_step() -> None:
    config = SMALL.replace(optimizer="sgd", decay="decoupled", learning_rate=1e3, weight_decay=10.0, epochs=30)
    with pytest.raises(DivergedError, match="no longer finite"):
        list(Training(config).points())
