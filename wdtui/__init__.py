"""wdtui: a workbench for the effects of weight decay. `wdtui.load` and `wdtui.train` are its Python API."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wdtui.api import ConfigError, DivergedError, Run, RunConfig, StoreError, WdtuiError, load, train

__all__ = ["ConfigError", "DivergedError", "Run", "RunConfig", "StoreError", "WdtuiError", "load", "train"]


def __getattr__(name: str) -> Any:
    """Import the API on first use, so that importing wdtui is cheap."""
    if name not in __all__:
        raise AttributeError(f"module 'wdtui' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module("wdtui.api"), name)
