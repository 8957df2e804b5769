"""The optimisers that can be chosen: what is known of each without PyTorch. Their steps are in `engine/optimizers/`."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, kw_only=True)
class Known:
    """One optimiser."""

    module: str
    """The module in `engine/optimizers` that has its `Step`, and its `StackedStep` for several models at once."""
    decoupled: bool
    """What decay "auto" means for it: to shrink the parameters themselves, or to add λ · parameters to the gradient."""
    remembers: tuple[str, ...]
    """What it keeps from step to step, by name: a vector as long as the parameters each, "steps" a number."""

    @property
    def moments(self) -> int:
        """How many vectors as long as the parameters it keeps."""
        return len(self.remembers) - ("steps" in self.remembers)


_ADAM = ("mean", "square", "steps")
OPTIMIZERS = {
    "adamw": Known(module="adam", decoupled=True, remembers=_ADAM),
    "adam": Known(module="adam", decoupled=False, remembers=_ADAM),
    "sgd": Known(module="sgd", decoupled=False, remembers=("velocity",)),
}
