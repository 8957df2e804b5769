"""The last state of the form, in a small file beside the store."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from wdtui.support.store_files import FORM_NAME
from wdtui.tui.kept_file import KeptFile


@dataclasses.dataclass(frozen=True)
class Kept:
    """An experiment, and the texts of fields that differ from it."""

    experiment: str
    texts: dict[str, str]


class FormMemory:
    """Reads and writes `form.json` in a folder."""

    def __init__(self, folder: Path) -> None:
        self._file = KeptFile(folder / FORM_NAME)
        self._last: Kept | None = None

    def read(self) -> Kept | None:
        """The saved form, or None. It may contain fields of another version."""
        self._last = _checked(self._file.read())
        return self._last

    def write(self, kept: Kept) -> None:
        """Save a form, if it has changed."""
        if kept != self._last:
            self._last = kept
            self._file.write(dataclasses.asdict(kept))


def _checked(content: Any) -> Kept | None:
    match content:
        case {"experiment": str(experiment), "texts": dict(texts)}:
            return Kept(experiment, {name: text for name, text in texts.items() if _is_text(text)})
        case _:
            return None


def _is_text(text: Any) -> bool:
    return isinstance(text, str) and text.isprintable()
