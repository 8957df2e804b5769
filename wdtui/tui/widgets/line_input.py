"""A text box for one line that takes its keys in the order in which they come."""

from __future__ import annotations

from textual import events
from textual.binding import Binding
from textual.widgets import Input

_EDITS = {
    key: binding.action
    for binding in Input.BINDINGS
    if isinstance(binding, Binding) and binding.action not in ("copy", "cut", "paste", "submit")
    for key in binding.key.split(",")
}


class LineInput(Input):
    """Textual's inserts letters at once, but edits (backspace, arrows) only when the key has bubbled up to the app.

    What a slow line delivers in one piece would be taken in another order: letters first, then all that erases them.
    """

    async def _on_key(self, event: events.Key) -> None:
        action = _EDITS.get(event.key)
        if action is None:
            await super()._on_key(event)
        else:
            event.stop()
            event.prevent_default()
            await self.run_action(action)
