"""wdtui: a workbench for the effects of weight decay. `wdtui.load` and `wdtui.train` are its Python API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wdtui.api import ConfigError, DivergedError, Run, RunConfig, StoreError, WdtuiError, load, train
    from wdtui.problems.declared import Problem, knob
    from wdtui.schema.decay import DECAY_RULES
    from wdtui.training.decay_rules import decay_by
    from wdtui.watching.watch import Watch, watch

__all__ = [
    "DECAY_RULES", "ConfigError", "DivergedError", "Problem", "Run", "RunConfig", "StoreError", "Watch", "WdtuiError",
    "decay_by", "knob", "load", "train", "watch",
]  # fmt: skip
_MODULES = {
    "DECAY_RULES": "wdtui.schema.decay", "decay_by": "wdtui.training.decay_rules",
    "Problem": "wdtui.problems.declared", "knob": "wdtui.problems.declared",
    "Watch": "wdtui.watching.watch", "watch": "wdtui.watching.watch",
}  # fmt: skip
"""Where the names come from that are not of `wdtui.api`."""


def __getattr__(name: str) -> Any:
    """Import the API on first use, so that importing wdtui is cheap."""
    if name not in __all__:
        raise AttributeError(f"module 'wdtui' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_MODULES.get(name, "wdtui.api")), name)
