"""Which run is which on the screen: the colour and the sign that it keeps."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """What marks a run in charts and table."""

    color: str
    marker: str


class Identities:
    """Gives each run the next colour and sign when it is first marked; it keeps them as long as the app runs."""

    def __init__(self) -> None:
        self._order: list[int] = []

    def keep(self, run_id: int) -> Identity:
        """The run's own colour and sign, from now on."""
        if run_id not in self._order:
            self._order.append(run_id)
        return self.of(run_id)

    def of(self, run_id: int) -> Identity:
        """The run's colour and sign, or those it would get."""
        from wdtui.plots.terminal import look

        place = self._order.index(run_id) if run_id in self._order else len(self._order)
        return Identity(*look(place))
