"""What can be changed in any training while it runs: settings of optimizers, and the ε of normalisation layers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from torch import nn
from torch.optim import Optimizer

_NAMES = {"learning_rate": "lr"}
"""Names that a field may have instead of the optimizer's own."""
_FOLLOWS = {"lr": ("initial_lr", "max_lr", "min_lr")}
"""What schedulers keep in the param groups of a setting; it is scaled with the setting."""
_KEPT_BY_SCHEDULERS = "base_lrs", "max_lrs"
"""Lists of learning rates that schedulers keep and compute from."""


class LiveSettings:
    """Numbers in the param groups of optimizers, by name, and `bn_epsilon`, the ε of the normalisation layers.

    The value of a setting is that of the first group that has it. The others keep their ratio to it, and what
    schedulers remember of the learning rate follows. Where the first is 0, all get the value that is set.
    """

    def __init__(
        self, optimizers: Iterable[Optimizer], modules: Iterable[nn.Module] = (), schedulers: Iterable[Any] = ()
    ) -> None:
        self._optimizers, self._schedulers = list(optimizers), list(_flat(schedulers))
        self._norms: list[Any] = [one for module in modules for one in module.modules() if _is_norm(one)]
        """Any, as mypy takes the attributes of modules for tensors."""

    @property
    def names(self) -> list[str]:
        """What can be set here, under the names of the param groups."""
        groups = [group for optimizer in self._optimizers for group in optimizer.param_groups]
        names = [
            name
            for group in groups
            for name, value in group.items()
            if _is_number(value) and name not in _FOLLOWS["lr"]
        ]
        return [*dict.fromkeys(names), *(["bn_epsilon"] if self._norms else [])]

    def __contains__(self, name: str) -> bool:
        return _NAMES.get(name, name) in self.names

    def get(self, name: str) -> float:
        """The value in force; raises KeyError for a name that is not in `names`."""
        name = _NAMES.get(name, name)
        if name == "bn_epsilon" and self._norms:
            return float(self._norms[0].eps)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                if name in group:
                    return float(group[name])
        raise KeyError(name)

    def scale(self, name: str, before: float, value: float) -> None:
        """Change a setting as it has to change for one of `before` to become `value`; raises KeyError.

        So a schedule keeps its shape when the learning rate that it began with is changed.
        """
        name = _NAMES.get(name, name)
        if name == "bn_epsilon":
            for norm in self._norms:
                norm.eps = value
            return
        if name not in self.names:
            raise KeyError(name)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                if name in group:
                    _assign(group, name, _scaled(group[name], before, value))
                    for kept in _FOLLOWS.get(name, ()):
                        if kept in group:
                            _assign(group, kept, _scaled(group[kept], before, value))
        if name == "lr":
            for scheduler in self._schedulers:
                for kept in _KEPT_BY_SCHEDULERS:
                    if rates := getattr(scheduler, kept, None):
                        setattr(scheduler, kept, [_scaled(rate, before, value) for rate in rates])


def _flat(schedulers: Iterable[Any]) -> Iterator[Any]:
    """Schedulers, and those that they consist of."""
    for scheduler in schedulers:
        yield scheduler
        yield from _flat(getattr(scheduler, "_schedulers", ()))


def _assign(group: dict[str, Any], name: str, value: float) -> None:
    """Into the tensor where the setting is one, as it is in a captured or compiled optimizer."""
    if hasattr(group[name], "fill_"):
        group[name].fill_(value)
    else:
        group[name] = int(value) if isinstance(group[name], int) and value == int(value) else value


def _scaled(old: Any, before: float, value: float) -> float:
    if before == 0 or float(old) == before:
        return value
    return float(old) * (value / before)


def _is_number(value: Any) -> bool:
    if hasattr(value, "numel"):
        return bool(value.numel() == 1)
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_norm(module: nn.Module) -> bool:
    return isinstance(getattr(module, "eps", None), float) and "Norm" in type(module).__name__
