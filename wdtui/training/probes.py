"""Probes: what wdtui measures of any model at a point, on the model's device, without waiting for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from wdtui.support.third_party import foreach_norm


def weight_norms(models: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The L2 norm of all parameters that are trained, together, and of each that is no vector, by its layer."""
    weights = {
        layer_name(prefix, name): parameter
        for prefix, model in models.items()
        for name, parameter in model.named_parameters()
        if parameter.requires_grad and not isinstance(parameter, nn.UninitializedParameter)
    }
    if not weights:
        return {}
    dtype = torch.float32 if all(one.dtype.itemsize <= 4 for one in weights.values()) else None
    norms = [whole(norm) for norm in foreach_norm([*weights.values()], dtype=dtype)]
    together = torch.linalg.vector_norm(torch.stack([norm.to(norms[0]) for norm in norms]))
    named = zip(weights.items(), norms, strict=True)
    layers = {f"weight_norm/{name.removesuffix('.weight')}": norm for (name, one), norm in named if one.dim() > 1}
    return {"weight_norm": together, **layers}


def running_variances(models: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The smallest and the median running variance over the channels of all layers, and of each that keeps one.

    And the share of channels in which the layer's ε is larger.
    """
    variances = {
        layer_name(prefix, name): (whole(variance), getattr(module, "eps", 0.0))
        for prefix, model in models.items()
        for name, module in model.named_modules()
        if isinstance(variance := getattr(module, "running_var", None), Tensor)
    }
    if not variances:
        return {}
    (first, _), *_ = variances.values()
    channels = torch.cat([variance.to(first) for variance, _ in variances.values()])
    below = {name: (variance < epsilon).float() for name, (variance, epsilon) in variances.items()}
    measured = {
        "running_variance_min": channels.min(),
        "running_variance_median": channels.median(),
        "running_variance_below_epsilon": torch.cat([one.to(first) for one in below.values()]).mean(),
    }
    for name, (variance, _) in variances.items():
        measured[f"running_variance_min/{name}"] = variance.min()
        measured[f"running_variance_median/{name}"] = variance.median()
        measured[f"running_variance_below_epsilon/{name}"] = below[name].mean()
    return measured


Probe = Callable[[Mapping[str, nn.Module]], dict[str, Tensor]]
"""Measures models, which are by the prefix of their layers' names: 0-dimensional tensors by the name of a metric."""
PROBES: tuple[Probe, ...] = (weight_norms, running_variances)
"""What is measured at each point."""


def layer_name(prefix: str, name: str) -> str:
    """The name of a layer without what wrappers add to it."""
    parts = [part for part in name.split(".") if part not in ("_orig_mod", "_fsdp_wrapped_module")]
    inner = parts[1:] if parts[:1] == ["module"] and len(parts) > 1 else parts
    return ".".join(filter(None, [prefix, *inner])) or "model"


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that is spread over ranks, each of which has to call this."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor
