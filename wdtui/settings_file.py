"""Changes one value in the text of a settings file and keeps its comments and order."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

from wdtui.settings import SettingsError
from wdtui.support.files import parse_toml

_HEADER = re.compile(r"\s*\[")


def changed(text: str, name: str, value: str | int | float | None) -> str:
    """The text with `name` (dotted: the part before the last dot is a table) set to a value, or without it at None.

    Raises SettingsError where the text is written in a way that this cannot change.
    """
    table, _, key = name.rpartition(".")
    lines = text.splitlines()
    begin, end = _section(lines, table)
    mine = [at for at in range(begin, end) if re.match(rf"\s*{re.escape(key)}\s*=", lines[at])]
    entry = [] if value is None else [f"{key} = {json.dumps(value, ensure_ascii=False)}"]
    if mine:
        lines[mine[0] : mine[0] + 1] = entry
    elif entry and table and begin > len(lines):
        lines += [*([""] if lines else []), f"[{table}]", *entry]
    elif entry:
        while end > begin and not lines[end - 1].strip():
            end -= 1
        lines[end:end] = entry
    after = "\n".join(lines) + "\n" if lines else ""
    if _value(after, name) != value:
        raise SettingsError(f"{name} cannot be changed automatically in this file. Edit it by hand.")
    return after


def _section(lines: list[str], table: str) -> tuple[int, int]:
    """From which line to which a table's values stand; beyond the end where there is no such table."""
    headers = [at for at, line in enumerate(lines) if _HEADER.match(line)]
    begin = 0
    if table:
        begin = next((at + 1 for at in headers if lines[at].split("#")[0].strip() == f"[{table}]"), len(lines) + 1)
    return begin, next((at for at in headers if at >= begin), len(lines))


def _value(text: str, name: str) -> Any:
    try:
        value: Any = parse_toml(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(
            f"{name} cannot be changed automatically in this file ({error}). Edit it by hand."
        ) from error
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
