"""The check of a TOML table's keys and of the types of their values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from wdtui.schema.hyperparameters import ConfigError, nearest
from wdtui.support.text import too_long

Kinds = Mapping[str, tuple[type, str]]
"""The type of each key's value, and that type in words."""


def check_keys(table: Mapping[str, Any], kinds: Kinds, what: str) -> None:
    """Raise ConfigError if a table has another key, or a value of another type. `what` the table describes."""
    for key, value in table.items():
        if key not in kinds:
            raise ConfigError(f"{key} is not a key of {what}{nearest(key, kinds)}")
        kind, words = kinds[key]
        if not isinstance(value, kind):
            raise ConfigError(f"{key} of {what} must be {words}.")
        if isinstance(value, str) and (why := too_long(value)):
            raise ConfigError(f"{key} {why}.")
