"""The command palette: finds every action of `keys` by name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rich.text import Text
from textual.command import DiscoveryHit, Hit, Hits, Provider

from wdtui.tui.keymap import title
from wdtui.tui.keys import GROUPS, Key

_HIDDEN = {"app.command_palette"}
_WIDTH, _LABEL = 88, 16
"""Columns for an action, and for its name."""


class Actions(Provider):
    """The actions of the screen on which the palette was opened."""

    async def discover(self) -> Hits:
        for key in self._keys():
            yield DiscoveryHit(self._line(key), partial(self._run, key), text=key.label)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for key in self._keys():
            score = max(matcher.match(key.label), matcher.match(key.help))
            if score:
                yield Hit(score, self._line(key), partial(self._run, key), text=key.label)

    def _line(self, key: Key) -> Text:
        """The name of an action, what it does, and its key at the right, on one line."""
        title, width = self._title(key), min(_WIDTH, self.screen.size.width * 96 // 100 - 10)
        room = max(width - _LABEL - len(title) - 2, 0)
        says = Text(key.help.partition(":")[0].rstrip("."), "dim")
        says.truncate(room, overflow="ellipsis", pad=True)
        return Text.assemble(key.label.ljust(_LABEL), says, "  ", title, no_wrap=True)

    def _keys(self) -> Iterator[Key]:
        active = {bound.binding.action for bound in self.screen.active_bindings.values()}
        for group in GROUPS.values():
            yield from (key for key in group if key.action not in _HIDDEN and key.action in active)

    def _title(self, key: Key) -> str:
        return title(key, getattr(self.app, "keymap", {}))

    async def _run(self, key: Key) -> None:
        await self.screen.run_action(key.action)
