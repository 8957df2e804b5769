"""What the addition problem measures, and how it is looked at. `engine/measure.py` computes the values."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from wdtui.schema.chart import Chart, Trace
from wdtui.schema.metric import Metric, Role
from wdtui.schema.recorded import MEASURED

_ALIASES = {"train": ("train",), "validation": ("validation", "val"), "test": ("test",)}
_ROLES: dict[str, Role] = {"train": "fit", "test": "generalise"}


def _performance() -> Iterator[Metric]:
    kinds = {
        "train": ("training", "mean over the epoch's batches, in training mode"),
        "validation": ("validation", "on held-out pairs with the digit counts of training, in evaluation mode"),
        "test": ("test", "on pairs with digit counts that are not in the training data, in evaluation mode"),
    }
    for kind, (label, how) in kinds.items():
        yield Metric(name=f"{kind}_loss", label=f"{label} loss", log=True, help=f"Loss {how}.")
        yield Metric(
            name=f"{kind}_accuracy",
            label=f"{label} accuracy",
            aliases=_ALIASES[kind],
            share=True,
            role=_ROLES.get(kind, ""),
            help=f"Share of pairs with every output bit right, {how}.",
        )
        yield Metric(
            name=f"{kind}_bit_accuracy",
            label=f"{label} bit accuracy",
            share=True,
            help=f"Share of output bits right, {how}.",
        )


_VARIANCE = "over channels of the variance within a batch, averaged over the epoch's batches"

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *_performance(),
        Metric(
            name="weight_norm",
            label="weight norm",
            aliases=("norm",),
            log=True,
            layers="linear",
            sums_layers=True,
            help="Sum over parameter tensors of their L2 norms, as in the article's figure; per layer, the matrix's.",
        ),
        Metric(
            name="weight_norm_squared",
            label="squared weight norm",
            log=True,
            help="Sum of all squared parameters, as in the article's text.",
        ),
        Metric(
            name="gradient_norm",
            label="gradient norm",
            log=True,
            help="L2 norm of the gradient at the epoch's last step.",
        ),
        Metric(
            name="update_norm",
            label="update norm",
            log=True,
            help="L2 norm of the change of all parameters in the epoch's last step, decay included.",
        ),
        dataclasses.replace(MEASURED["effective_learning_rate"], layers="invariant"),
        *(
            dataclasses.replace(MEASURED[name], layers="linear")
            for name in ("rotation", "rotation_of_equilibrium", "decay_share", "scale_invariance")
        ),
        MEASURED["time_constant"],
        Metric(
            name="bn_variance_min",
            label="smallest BatchNorm variance",
            log=True,
            layers="norm",
            help=f"Smallest {_VARIANCE}.",
        ),
        Metric(
            name="bn_variance_median",
            label="median BatchNorm variance",
            log=True,
            layers="norm",
            help=f"Median {_VARIANCE}.",
        ),
        Metric(
            name="bn_variance_max",
            label="largest BatchNorm variance",
            log=True,
            layers="norm",
            help=f"Largest {_VARIANCE}.",
        ),
        Metric(
            name="bn_below_epsilon",
            label="channels below ε",
            share=True,
            layers="norm",
            help="Share of channels whose batch variance, averaged over the epoch, is below ε.",
        ),
        dataclasses.replace(MEASURED["running_variance_min"], layers="norm"),
        Metric(
            name="sharpness",
            label="sharpness",
            every="sharpness_every",
            help="Learning rate · largest eigenvalue of the Hessian of the training loss on a few fixed batches, "
            "preconditioned as Adam does (Cohen et al. 2022).",
        ),
        Metric(
            name="steps_per_second",
            label="speed",
            unit="steps/s",
            timing=True,
            help="Steps per second since the previous point.",
        ),
    )
}


def _performance_chart(kind: str, **about: str | bool) -> Chart:
    traces = tuple(Trace(f"{tone}_{kind}", tone, tone) for tone in ("train", "validation", "test"))
    return Chart(name=kind, title=kind, traces=traces, compared=(f"train_{kind}", f"test_{kind}"), **about)  # type: ignore


_NO_BATCH_NORM = "Nothing to draw: this network has no BatchNorm."

CHARTS = (
    _performance_chart(
        "accuracy",
        about="Share of sums with every bit right, on the training pairs and on numbers with other digit counts.",
    ),
    Chart(
        name="norm",
        title="weight norm",
        traces=(Trace("weight_norm"),),
        about="Size of the weights. It keeps falling after the training pairs are fitted.",
    ),
    Chart(
        name="variance",
        title="BatchNorm variance",
        traces=(Trace("bn_variance_median", "median", "train"), Trace("bn_variance_min", "smallest")),
        layers="bn_variance_min",
        layers_title="smallest variance, per layer",
        log=True,
        level="bn_epsilon",
        about="Variance of the inputs of BatchNorm, beside the ε that is added to it.",
        absent=_NO_BATCH_NORM,
    ),
    _performance_chart(
        "loss",
        log=True,
        about="The loss, on a logarithmic scale. It jumps when training blows up.",
    ),
    Chart(name="layer_norm", title="weight norm, per layer", layers="weight_norm", log=True),
    Chart(
        name="rate",
        title="effective lr, per layer",
        layers="effective_learning_rate",
        log=True,
        absent=_NO_BATCH_NORM,
    ),
    Chart(
        name="sharpness",
        title="sharpness",
        traces=(Trace("sharpness"),),
        forecast=True,
        instead="layer_norm",
        about="Curvature of the loss, relative to the learning rate. It rises before a blow-up and falls during it.",
    ),
)
