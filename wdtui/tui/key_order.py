"""Handles keys one at a time: the next key waits until everything caused by the previous one is done.

Textual passes a key to the focused widget at once, and from there it bubbles to the app through a queue per widget. A
key that opens a text box takes effect at the end of that path. Further keys that arrive in the same read, as on a slow
connection, would already be on their way and act as commands.
"""

from __future__ import annotations

import time
from collections import deque

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.errors import NoWidget

_QUIET_ROUNDS = 2
"""A message that a widget sends in reply to another may be missed in one round, but not in two."""
TYPING_SECONDS = 0.08
"""How long after a key what can wait does wait, such as the points of a run that the cursor may only pass.

By then the key is painted, and the next one is not yet due.
"""


class KeyOrder(App[None]):
    """An app that holds back all input until the last key, paste or click is handled.

    It is handled once a callback has passed twice in a row through the queues of the widgets from the one that got the
    input up to the app, and of those that are focused by then, and has found them empty. What comes before
    `accept_input` waits too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: deque[events.Event] = deque()
        self._dealing = True
        self._last_key = -TYPING_SECONDS

    @property
    def typing(self) -> bool:
        """Whether a key was pressed just now, or is still being handled."""
        return self._dealing or time.monotonic() - self._last_key < TYPING_SECONDS

    async def accept_input(self) -> None:
        """Handle the input from now on, and first what has come already."""
        await self._deal_with_held()

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key):
            self._last_key = time.monotonic()
        if event.is_forwarded or not isinstance(event, (events.InputEvent, events.Paste)):
            await super().on_event(event)
        elif self._dealing:
            self._held.append(event)
        else:
            await self._deal_with(event)

    async def _deal_with(self, event: events.Event) -> None:
        taker = self._taker(event)
        await super().on_event(event)
        if taker:
            self._dealing = True
            await self._go_round(taker, _QUIET_ROUNDS)

    def _taker(self, event: events.Event) -> DOMNode | None:
        """The widget that gets an event, if the next event must wait for it. A letter for a text box need not wait."""
        if isinstance(event, (events.Key, events.Paste)):
            taker = self.focused or self.screen
            letter = isinstance(event, events.Key) and taker.check_consume_key(event.key, event.character)
            return None if letter else taker
        try:
            return self.get_widget_at(event.x, event.y)[0] if isinstance(event, events.MouseUp) else None
        except NoWidget:
            return None

    async def _go_round(self, taker: DOMNode, rounds: int) -> None:
        """Pass this many times through all queues that may contain messages caused by an event."""
        last = (self.focused or self.screen).ancestors_with_self
        way = [*(node for node in taker.ancestors_with_self if node not in last), *last]
        pumps = iter(way)

        async def pass_on() -> None:
            if self.return_code is not None or any(pump.call_later(pass_on) for pump in pumps):
                return  # the app has quit, or the next widget that accepts callbacks continues
            if any(pump.message_queue_size for pump in way):
                await self._go_round(taker, _QUIET_ROUNDS)
            elif rounds > 1:
                await self._go_round(taker, rounds - 1)
            else:
                await self._deal_with_held()

        await pass_on()

    async def _deal_with_held(self) -> None:
        """Handle the events that were held back, up to the next one that others must wait for."""
        self._dealing = False
        while self._held and not self._dealing:
            await self._deal_with(self._held.popleft())
