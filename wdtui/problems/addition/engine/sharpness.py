"""The sharpness of a training: how near its largest curvature is to making it unstable. Measuring changes nothing.

Sharpness is learning rate · largest eigenvalue of D^(-1/2) H D^(-1/2), with H the Hessian of the training loss (without
the decay) and D what the optimiser divides the gradient by: sqrt(v̂) + epsilon for Adam (Cohen et al. 2022,
arXiv 2207.14484), 1 for SGD, where it is learning rate · largest eigenvalue of H.

The loss is the mean over a few fixed training batches, with BatchNorm in training mode. Fewer batches than all make
it larger, as a curvature that single pairs cause is not averaged away: compare it only with itself.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import functional_call

from wdtui.problems.addition.engine.losses import loss_value
from wdtui.problems.addition.engine.residual import residual_network

if TYPE_CHECKING:
    from wdtui.problems.addition.engine.training import Training

BATCHES = 4
PRODUCTS = 3
"""Hessian-vector products at each measurement: three do, because each measurement starts where the last one ended."""


class Sharpness:
    """Measures a training every so many epochs. It keeps the direction of the largest curvature from the last time."""

    def __init__(self, training: Training) -> None:
        """Of a residual network: configs refuse the others."""
        self._training = training
        self._every = training.config.sharpness_every
        self._inputs, self._targets = _fixed_batches(training)
        with torch.device("meta"):  # only its forward is used: the parameters are the training's
            self._reference = residual_network(training.config)
        for norm in self._reference.norms():
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None
        generator = torch.Generator().manual_seed(training.config.seed)
        start = torch.randn(len(training.network.parameters), generator=generator)
        self.state = {"direction": (start / start.norm()).to(training.network.parameters)}
        """The unit vector to start from, [parameters]; writing into it restores it."""

    def due(self, epoch: int) -> bool:
        """Whether the point of this epoch gets a value: the first point from each multiple on, and the last point."""
        config = self._training.config
        return epoch % self._every < config.log_every or epoch == config.epochs

    def measure(self) -> Tensor:
        """The sharpness now, a scalar; NaN where the curvature is no longer finite."""
        with torch.inference_mode(False), torch.enable_grad():
            product = self._hessian_product()
        direction = self.state["direction"]
        value, vector = largest_eigenvalue(product, direction, PRODUCTS)
        if bool(vector.isfinite().all()):
            direction.copy_(vector)
        return value * self._training.optimizer.learning_rate

    def _hessian_product(self) -> Callable[[Tensor], Tensor]:
        """v ↦ D^(-1/2) H D^(-1/2) v, by differentiating the gradient once more along a vector (Pearlmutter 1994)."""
        training = self._training
        scale = training.optimizer.denominator().rsqrt()
        parameters = training.network.parameters.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(self._loss(parameters), parameters, create_graph=True)

        def product(vector: Tensor) -> Tensor:
            with torch.inference_mode(False), torch.enable_grad():
                (along,) = torch.autograd.grad(gradient, parameters, scale * vector, retain_graph=True)
            return scale * along

        return product

    def _loss(self, parameters: Tensor) -> Tensor:
        """The mean loss over the batches, given the parameters as a flat vector."""
        network, kind = self._reference, self._training.config.loss
        for norm in network.norms():
            norm.eps = self._training.network.epsilon
        shapes = {name: parameter.shape for name, parameter in network.named_parameters()}
        pieces = torch.split(parameters, [shape.numel() for shape in shapes.values()])
        named = {name: piece.view(shape) for (name, shape), piece in zip(shapes.items(), pieces, strict=True)}
        logits = torch.vmap(lambda batch: functional_call(network, named, (batch,)))(self._inputs)
        return loss_value(kind, logits, self._targets)


def largest_eigenvalue(product: Callable[[Tensor], Tensor], start: Tensor, products: int) -> tuple[Tensor, Tensor]:
    """The largest eigenvalue and its unit vector of a symmetric matrix, estimated from `products` products.

    Power iteration that keeps all its vectors and takes the best of their span (Lanczos 1950). It needs fewer
    products, and it finds the largest eigenvalue also where a negative one is larger in size. The estimate is never
    above the true value. `start` is a unit vector.
    """
    basis, images = [start], [product(start)]
    while len(basis) < products:
        rest = images[-1]
        for vector in basis * 2:  # twice, because once leaves what rounding added
            rest = rest - torch.dot(rest, vector) * vector
        norm = rest.norm()
        if not norm > torch.finfo(rest.dtype).eps * images[-1].norm():  # the span holds all that can be found; or NaN
            break
        basis.append(rest / norm)
        images.append(product(basis[-1]))
    spanned = torch.stack(basis)
    small = spanned @ torch.stack(images).t()
    if not bool(small.isfinite().all()):
        return small.new_full((), torch.nan), torch.full_like(start, torch.nan)
    value, along = _largest(small)
    vector = along @ spanned
    return value, vector / vector.norm()


def _largest(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """The same of a small matrix, symmetric but for rounding; in float64 on the CPU, as MPS has no float64."""
    values, vectors = torch.linalg.eigh((matrix + matrix.t()).cpu().double() / 2)
    return values[-1].to(matrix), vectors[:, -1].to(matrix)


def _fixed_batches(training: Training) -> tuple[Tensor, Tensor]:
    """Inputs and targets [batches, pairs, bits] of a few batches of the split's order, evenly spaced."""
    config, pairs = training.config, training.task.train
    count = min(BATCHES, config.steps_per_epoch)
    firsts = [index * config.steps_per_epoch // count * config.batch_size for index in range(count)]
    rows = torch.cat([torch.arange(first, first + config.batch_size) for first in firsts]).to(pairs.inputs.device)
    shape = count, config.batch_size, -1
    return pairs.inputs[rows].view(shape), pairs.targets[rows].view(shape)
