"""A small JSON file beside the store for what the app remembers. Errors of reading and writing are ignored."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from wdtui.support import private


class KeptFile:
    """One such file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> Any:
        """What was written last, or None. Another version may have written it."""
        try:
            return json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def write(self, content: Any) -> None:
        """Replace the content, which is made of plain JSON types."""
        new = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):  # a read-only store can still be opened
            with private.opened(new, "wb", private.is_shared(new.parent)) as file:
                file.write(json.dumps(content, ensure_ascii=False).encode())
            new.replace(self._path)
