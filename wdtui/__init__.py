"""wdtui: a workbench for the effects of weight decay. `wdtui.load` and `wdtui.train` are its Python API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wdtui.api import ConfigError, DivergedError, Run, RunConfig, StoreError, WdtuiError, load, train
    from wdtui.problems.declared import Problem, knob

__all__ = [
    "ConfigError", "DivergedError", "Problem", "Run", "RunConfig", "StoreError", "WdtuiError", "knob", "load", "train",
]  # fmt: skip
_DECLARATIONS = {"Problem", "knob"}


def __getattr__(name: str) -> Any:
    """Import the API on first use, so that importing wdtui is cheap."""
    if name not in __all__:
        raise AttributeError(f"module 'wdtui' has no attribute {name!r}")
    import importlib

    module = "wdtui.api" if name not in _DECLARATIONS else "wdtui.problems.declared"
    return getattr(importlib.import_module(module), name)
