"""The step engine trains exactly what a plain nn.Module trains under autograd, whatever the config."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import pytest
import torch

from wdtui.bench.plain import plain_network, plain_optimizer
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.losses import loss_value
from wdtui.problems.addition.engine.tasks import make_task
from wdtui.problems.addition.engine.training import Training
from wdtui.problems.addition.sizes import parameter_shapes

pytestmark = pytest.mark.cpu_only

SMALL = {
    "width": 24, "train_size": 320, "validation_size": 40, "test_size": 200, "batch_size": 32, "epochs": 4,
    "weight_decay": 0.3,
}  # fmt: skip


def train_plainly(config: RunConfig) -> tuple[torch.Tensor, list[float], torch.nn.Module]:
    """Parameters, training losses and network after the whole run under autograd, in float32."""
    network = plain_network(config)
    optimizer = plain_optimizer(config, network, fused=False)
    pairs = make_task(config).train
    losses = []
    for _ in range(config.epochs):
        for start in range(0, config.steps_per_epoch * config.batch_size, config.batch_size):
            batch = slice(start, start + config.batch_size)
            optimizer.zero_grad()
            loss = loss_value(config.loss, network(pairs.inputs[batch]), pairs.targets[batch])
            loss.backward()
            if config.optimizer == "sgd" and config.decoupled:
                with torch.no_grad():
                    for parameter in network.parameters():
                        parameter.mul_(1 - config.learning_rate * config.weight_decay)
            optimizer.step()
            losses.append(loss.item())
    return torch.cat([p.detach().flatten() for p in network.parameters()]), losses, network


@pytest.fixture
def double_precision() -> Iterator[None]:
    """Rounding grows from step to step in float32; in float64 hundreds of steps stay equal to nine digits."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_same_run(config: RunConfig) -> None:
    exact = torch.get_default_dtype() == torch.float64
    expected, losses, network = train_plainly(config)
    training = Training(config)
    points = list(training.points())
    torch.testing.assert_close(
        training.network.parameters, expected, **{"rtol": 1e-9, "atol": 1e-9} if exact else {"rtol": 2e-4, "atol": 2e-5}
    )
    last_epoch = sum(losses[-config.steps_per_epoch :]) / config.steps_per_epoch
    assert points[-1].values[0] == pytest.approx(last_epoch, rel=1e-4)
    network.eval()
    inputs = training.task.test.inputs
    torch.testing.assert_close(
        training.network.evaluate(inputs), network(inputs).detach(), rtol=1e-3, atol=1e-6 if exact else 1e-3
    )


OPTIMISERS = list(
    itertools.product(("adamw", "adam", "sgd"), ("decoupled", "l2"), ("mse", "cross_entropy"), (True, False))
)


@pytest.mark.parametrize(("optimizer", "decay", "loss", "batch_norm"), OPTIMISERS)
def test_engine_equals_autograd_for_every_optimiser_decay_loss_and_norm(
    optimizer: str, decay: str, loss: str, batch_norm: bool
) -> None:
    learning_rate = 0.05 if optimizer == "sgd" else 1e-3
    assert_same_run(
        RunConfig(
            **SMALL, optimizer=optimizer, decay=decay, loss=loss, batch_norm=batch_norm, learning_rate=learning_rate
        )
    )


@pytest.mark.parametrize("width", [1, 2, 7, 64, 256])
@pytest.mark.parametrize("blocks", [0, 1, 3])
@pytest.mark.usefixtures("double_precision")
def test_engine_equals_autograd_at_every_size(width: int, blocks: int) -> None:
    assert_same_run(RunConfig(**SMALL | {"width": width, "epochs": 3}, blocks=blocks))


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
@pytest.mark.usefixtures("double_precision")
def test_engine_equals_autograd_over_hundreds_of_steps_in_float64(optimizer: str) -> None:
    assert_same_run(RunConfig(**SMALL | {"epochs": 32}, optimizer=optimizer))


def test_every_parameter_gradient_equals_autograds_in_shape_and_value() -> None:
    config = RunConfig(width=16, blocks=2)
    training = Training(config)
    network = plain_network(config)
    inputs, targets = training.task.train.inputs[:64], training.task.train.targets[:64]
    loss_value(config.loss, network(inputs), targets).backward()
    training.steps.take_step(inputs, targets, 0)
    gradients = training.network.gradients.split([p.numel() for p in network.parameters()])
    for (name, shape), parameter, gradient in zip(
        parameter_shapes(config).items(), network.parameters(), gradients, strict=True
    ):
        assert parameter.grad is not None and parameter.shape == shape
        torch.testing.assert_close(gradient, parameter.grad.flatten(), rtol=1e-4, atol=1e-7, msg=name)


def test_initial_parameters_are_pytorchs_default_ones_under_the_same_seed() -> None:
    config = RunConfig(seed=5)
    expected = torch.cat([p.detach().flatten() for p in plain_network(config).parameters()])
    assert torch.equal(Training(config).network.parameters, expected)
    assert len(expected) == config.parameters == 290_080


def test_names_shapes_and_count_of_the_parameters_are_those_of_the_module() -> None:
    for changes in ({"width": 3}, {"blocks": 0}, {"batch_norm": False, "blocks": 1}, {"bits": 16}):
        config = RunConfig(**changes)
        named = [(name, tuple(parameter.shape)) for name, parameter in plain_network(config).named_parameters()]
        assert list(parameter_shapes(config).items()) == named
        assert config.parameters == sum(math.prod(shape) for _, shape in named)


def test_running_statistics_equal_those_of_batch_norm() -> None:
    config = RunConfig(**SMALL)
    _, _, network = train_plainly(config)
    training = Training(config)
    list(training.points())
    means = torch.stack([m.running_mean for m in network.modules() if isinstance(m, torch.nn.BatchNorm1d)])
    variances = torch.stack([m.running_var for m in network.modules() if isinstance(m, torch.nn.BatchNorm1d)])
    torch.testing.assert_close(training.network.running, torch.stack([means, variances], 1), rtol=1e-4, atol=1e-5)
