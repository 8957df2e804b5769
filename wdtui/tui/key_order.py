"""Keys one after the other: the next key is handled when everything that the last one caused is done.

Textual passes a key at once to the widget that has the focus, and from there it climbs to the app through a queue per
widget. A key that opens a text box opens it at the end of that way. Keys that a slow line delivers in the same piece
would be on the same way by then, and act as commands.
"""

from __future__ import annotations

from collections import deque

from textual import events
from textual.app import App
from textual.dom import DOMNode
from textual.errors import NoWidget

_QUIET_ROUNDS = 2
"""A message that a widget sends in reply to another may get behind one round, but not behind two."""


class KeyOrder(App[None]):
    """An app that holds back all input until the last key, paste or click is dealt with.

    It is dealt with when a callback has passed twice in a row through the queues of the widgets from the one that took
    the input up to the app, and of those that have the focus by then, and has found nothing left in them.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held: deque[events.Event] = deque()
        self._dealing = False

    async def on_event(self, event: events.Event) -> None:
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
        """The widget that an event goes to, where the next event must wait for it; a text box just takes letters."""
        if isinstance(event, (events.Key, events.Paste)):
            taker = self.focused or self.screen
            letter = isinstance(event, events.Key) and taker.check_consume_key(event.key, event.character)
            return None if letter else taker
        try:
            return self.get_widget_at(event.x, event.y)[0] if isinstance(event, events.MouseUp) else None
        except NoWidget:
            return None

    async def _go_round(self, taker: DOMNode, rounds: int) -> None:
        """Pass so many times through all queues that what an event causes may be in."""
        last = (self.focused or self.screen).ancestors_with_self
        way = [*(node for node in taker.ancestors_with_self if node not in last), *last]
        pumps = iter(way)

        async def pass_on() -> None:
            if self.return_code is not None or any(pump.call_later(pass_on) for pump in pumps):
                return  # the app was left, or a widget that still takes a callback has it now
            if any(pump.message_queue_size for pump in way):
                await self._go_round(taker, _QUIET_ROUNDS)
            elif rounds > 1:
                await self._go_round(taker, rounds - 1)
            else:
                await self._deal_with_held()

        await pass_on()

    async def _deal_with_held(self) -> None:
        """Take what was held back, up to the next that all others must wait for."""
        self._dealing = False
        while self._held and not self._dealing:
            await self._deal_with(self._held.popleft())
