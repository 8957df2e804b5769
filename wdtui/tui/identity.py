"""The colour and marker that identify each run on the screen."""

from __future__ import annotations

import dataclasses


@dataclasses.dataclass(frozen=True, slots=True)
class Identity:
    """The colour and marker of a run in charts and table."""

    color: str
    marker: str


class Identities:
    """Assigns colours and markers to runs in the order in which they are first marked, as long as the app runs."""

    def __init__(self) -> None:
        self._order: list[int] = []

    def keep(self, run_id: int) -> None:
        """Assign a colour and marker to a run, if it has none."""
        if run_id not in self._order:
            self._order.append(run_id)

    def of(self, run_id: int) -> Identity:
        """The run's colour and marker, or those it would get next."""
        from wdtui.plots.terminal import look

        index = self._order.index(run_id) if run_id in self._order else len(self._order)
        return Identity(*look(index))
