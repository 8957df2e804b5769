"""What is done differently on a GPU and on Apple's MPS, as far as a CPU can show it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from fake_cuda import tensors_in
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine import network as network_module
from wdtui.problems.addition.engine import sharpness
from wdtui.problems.addition.engine.layers import BatchNorm, BatchNormOfTensors, batch_norm_on
from wdtui.problems.addition.engine.problem import open_batch, open_session
from wdtui.problems.addition.engine.training import Training
from wdtui.schema.curves import Point
from wdtui.schema.steering import Steering

pytestmark = pytest.mark.cpu_only

SMALL = RunConfig(width=16, train_size=205, validation_size=30, test_size=20, batch_size=20, epochs=4, bn_epsilon=1e-3)


@pytest.fixture
def tf32() -> Iterator[None]:
    """A process that has allowed TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


@pytest.mark.usefixtures("tf32")
@pytest.mark.parametrize("engine", ["alone", "ensemble"])
@pytest.mark.parametrize(("device", "precision"), [("cpu", "high"), ("cuda:0", "highest")])
def test_a_session_on_cuda_switches_tf32_off(engine: str, device: str, precision: str) -> None:
    with contextlib.suppress(AssertionError, RuntimeError):  # on a machine without CUDA, once it makes tensors
        open_session(SMALL.replace(engine=engine), device)
    assert torch.get_float32_matmul_precision() == precision


@pytest.mark.usefixtures("tf32")
def test_a_batch_on_cuda_switches_tf32_off() -> None:
    with contextlib.suppress(AssertionError, RuntimeError):
        open_batch([SMALL], "cuda:0", [()])
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize(("device", "kind"), [("cpu", BatchNorm), ("cuda:0", BatchNorm), ("mps", BatchNormOfTensors)])
def test_on_mps_the_epsilon_of_batch_norm_is_in_a_tensor(device: str, kind: type) -> None:
    assert batch_norm_on(device) is kind


def test_batch_norm_with_epsilon_in_a_tensor_trains_as_pytorchs(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Steering(10, "bn_epsilon", 1e-3, 1.2e-5), Steering(20, "bn_epsilon", 1.2e-5, 1.23e-5)

    def points() -> list[Point]:
        return list(Training(SMALL, plan=plan).points())

    torch.set_default_dtype(torch.float64)
    try:
        expected = points()
        monkeypatch.setattr(network_module, "batch_norm_on", lambda _: BatchNormOfTensors)
        for ours, pytorchs in zip(points(), expected, strict=True):
            assert ours.values[:-1] == pytest.approx(pytorchs.values[:-1], rel=1e-8, abs=1e-11)
    finally:
        torch.set_default_dtype(torch.float32)


class NoFloat64(TorchDispatchMode):
    """Refuses float64 on MPS, as MPS does."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **kwargs or {})
        for tensor in tensors_in(result):
            assert tensor.device.type != "mps" or tensor.dtype != torch.float64, "MPS has no float64"
        return result


def test_the_largest_curvature_is_found_without_float64_on_mps() -> None:
    with FakeTensorMode(), NoFloat64():
        value, vector = sharpness._largest(torch.empty(3, 3, device="mps"))
    assert (value.device.type, value.dtype, vector.shape) == ("mps", torch.float32, (3,))
