"""The command palette: finds every action of `keys` by name."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from wdtui.tui.keymap import title
from wdtui.tui.keys import GROUPS, Key

_HIDDEN = {"app.command_palette"}


class Actions(Provider):
    """The actions of the screen on which the palette was opened."""

    async def discover(self) -> Hits:
        for key in self._keys():
            yield DiscoveryHit(f"{key.label}  {self._title(key)}", partial(self._run, key), help=key.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for key in self._keys():
            score = max(matcher.match(key.label), matcher.match(key.help))
            if score:
                text = f"{key.label}  {self._title(key)}"
                yield Hit(score, matcher.highlight(text), partial(self._run, key), text=text, help=key.help)

    def _keys(self) -> Iterator[Key]:
        active = {bound.binding.action for bound in self.screen.active_bindings.values()}
        for group in GROUPS.values():
            yield from (key for key in group if key.action not in _HIDDEN and key.action in active)

    def _title(self, key: Key) -> str:
        return title(key, getattr(self.app, "keymap", {}))

    async def _run(self, key: Key) -> None:
        await self.screen.run_action(key.action)
