"""The last state of the form, in a small file beside the store. Errors of reading and writing are ignored."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from pathlib import Path
from typing import Any

from wdtui.store.paths import FORM_NAME
from wdtui.support import private


@dataclasses.dataclass(frozen=True)
class Kept:
    """An experiment, and the texts of fields that differ from it."""

    experiment: str
    texts: dict[str, str]


class FormMemory:
    """Reads and writes `form.json` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FORM_NAME
        self._last: Kept | None = None

    def read(self) -> Kept | None:
        """The saved form, or None. It may contain fields of another version."""
        try:
            self._last = _checked(json.loads(self._file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            self._last = None
        return self._last

    def write(self, kept: Kept) -> None:
        """Save a form, if it has changed."""
        if kept == self._last:
            return
        self._last = kept
        new = self._file.with_suffix(".new")
        with contextlib.suppress(OSError):  # a read-only store can still be opened
            with private.opened(new, "wb", private.is_shared(new.parent)) as file:
                file.write(json.dumps(dataclasses.asdict(kept), ensure_ascii=False).encode())
            new.replace(self._file)


def _checked(content: Any) -> Kept | None:
    match content:
        case {"experiment": str(experiment), "texts": dict(texts)}:
            return Kept(experiment, {name: text for name, text in texts.items() if _is_text(text)})
        case _:
            return None


def _is_text(text: Any) -> bool:
    return isinstance(text, str) and text.isprintable()
