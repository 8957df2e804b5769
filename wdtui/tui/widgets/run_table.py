"""The table of runs.

What takes a run's whole curve, such as its best value, is read elsewhere: `lacking` says of which runs, and `show_read`
shows it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import BindingType
from textual.geometry import Size
from textual.message import Message
from textual.strip import Strip

from wdtui.runs.columns import RunColumn, RunColumns, sorted_by
from wdtui.runs.digests import Digests
from wdtui.runs.groups import Group, grouped
from wdtui.store.records import RunRecord
from wdtui.store.sweeps import Membership
from wdtui.support.table import fitting
from wdtui.tui.identity import Identity
from wdtui.tui.keys import ROWS, bindings
from wdtui.tui.theme import style_of
from wdtui.tui.widgets.line_table import LineTable, column_at

_CHIP = 2


class RunTable(LineTable):
    """Runs sorted by a column, with a cursor. Posts Selected when the cursor moves to another run."""

    BINDINGS: ClassVar[list[BindingType]] = bindings(ROWS)

    class Selected(Message):
        """The cursor moved to another run, or to none."""

        def __init__(self, run_id: int | None) -> None:
            super().__init__()
            self.run_id = run_id

    class Opened(Message):
        """A run was double-clicked."""

    class Scrolled(Message):
        """Other rows are in sight."""

    class Ordered(Message):
        """The title of a column was clicked, and the rows were sorted by it."""

    def __init__(
        self,
        identity_of: Callable[[int], Identity | None],
        digests: Digests,
        chosen: Callable[[str], Sequence[str]],
        *,
        id: str | None = None,
    ) -> None:
        """`identity_of` returns the colour and marker of a marked run, `chosen` the columns for a problem, by key."""
        super().__init__(id=id)
        self._identity_of, self._digests, self._chosen = identity_of, digests, chosen
        self._all: Sequence[RunRecord] = ()
        self._runs: list[RunRecord] = []
        self._rows: list[RunRecord | Group] = []
        self._sweeps: Sequence[Membership] = ()
        self._open: set[int] = set()
        """The sweeps whose runs have rows."""
        self._keep: Callable[[RunRecord], bool] | None = None
        self.possible = RunColumns.of((), digests)
        """All columns for the problems of the runs."""
        self._columns: list[tuple[RunColumn, int]] = []
        self._needed: dict[str, int] = {}
        """The width of the widest cell of each column that was visible so far, by key."""
        self.sort = ""
        """The key of the column by which the runs are sorted; empty for newest first."""
        self._reverse = False
        self.greeting = ""
        """Shown instead of the table if not empty."""

    selected: int | None = None
    """The run under the cursor."""
    selected_sweep: int | None = None
    """The sweep whose own row is under the cursor."""

    @property
    def group(self) -> Group | None:
        """The sweep under the cursor, with those of its runs that are in the table."""
        index = self._row_index()
        row = None if index is None else self._rows[index]
        return row if isinstance(row, Group) else None

    @property
    def runs(self) -> Sequence[RunRecord]:
        """The runs that pass the filter, in order."""
        return self._runs

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the columns that are to be shown: those that were chosen, or the usual ones."""
        known = [key for key in self._chosen(self.possible.problem) if key in self.possible.all]
        return tuple(known) or self.possible.usual

    @property
    def order(self) -> str:
        """The sort order as text; empty for newest first."""
        column = self.possible.all.get(self.sort)
        return f"by {column.title} {self._arrow}" if column else ""

    @property
    def _arrow(self) -> str:
        return "↑" if self._reverse else "↓"

    def show(self, runs: Sequence[RunRecord], sweeps: Sequence[Membership] = ()) -> None:
        """Show these runs in the current order. Unchanged lines are not painted again."""
        if runs is self._all and sweeps is self._sweeps and runs:
            return
        self.possible = RunColumns.of(runs, self._digests, self.possible)
        self._all, self._sweeps = runs, sweeps
        self._arrange()

    def _arrange(self) -> None:
        """Make the rows and paint what has changed."""
        runs = self._all
        before, in_sight = self._rows, self._cursor_in_sight()
        column = self.possible.all.get(self.sort)
        self._runs = sorted_by(column, self._reverse, filter(self._keep, runs) if self._keep else runs)
        self._group()
        if len(before) != len(self._rows) or self.greeting:
            self.virtual_size = Size(self.size.width, len(self._rows) + 1)
            self.refresh()
        else:
            self._refresh_rows(before)
        if in_sight:
            self._scroll_to_cursor()
        self._keep_cursor()
        self._fit_columns()

    def _group(self) -> None:
        """Make the rows. While a filter is on, all runs that pass have one."""
        self._rows = [*self._runs] if self._keep else grouped(self._runs, self._sweeps, self._open)

    def fold(self) -> None:
        """Fold the runs of the sweep under the cursor into one row, or show them again."""
        sweep_id = self.selected_sweep
        if sweep_id is None:
            found = [sweep for sweep in self._sweeps if self.selected in sweep.run_ids]
            if not found or self._keep:
                return
            sweep_id = found[-1].id
        self._open ^= {sweep_id}
        if sweep_id not in self._open:
            self.selected, self.selected_sweep = None, sweep_id
        self._show_folds()

    def fold_all(self) -> None:
        """Fold all sweeps, or show the runs of all if all are folded."""
        self._open = set() if self._open else {sweep.id for sweep in self._sweeps}
        self._show_folds()

    def _show_folds(self) -> None:
        self._arrange()
        self._scroll_to_cursor()
        self.refresh()
        self.post_message(self.Selected(self.selected))

    def filter_by(self, keep: Callable[[RunRecord], bool] | None) -> None:
        """Show only the runs that pass a test."""
        self._keep = keep
        self._show_anew()

    def sort_by(self, key: str) -> None:
        """Sort by the column with this key, or reverse the order if it is already sorted by it; "" is newest first.

        The column is shown also where it was not chosen.
        """
        self._reverse = bool(key) and key == self.sort and not self._reverse
        self.sort = key
        self._show_anew()

    def _sort_by_title(self, x: int) -> None:
        at = column_at(x - _CHIP, self._columns)
        if at is not None and at.value is not None:
            self.sort_by(at.key)
            self.post_message(self.Ordered())

    def show_columns(self) -> None:
        """Show the columns that are chosen now."""
        self._needed.clear()
        self._show_anew()

    def _show_anew(self) -> None:
        self._arrange()
        self.refresh()

    def lacking(self) -> tuple[list[RunRecord], set[str]]:
        """The runs of which curves are to be read, and the metrics: of rows in sight, or of all that are sorted so."""
        metrics = {column.metric for column, _ in self._columns if column.metric}
        top = self.scroll_offset.y
        shown = (row.best if isinstance(row, Group) else row for row in self._rows[top : top + self.size.height])
        sorting = self.possible.all.get(self.sort)
        runs = [run for run in shown if run is not None]
        if sorting is not None and sorting.metric:
            runs += self._runs
        return [run for run in runs if self._digests.outdated(run, metrics)], metrics

    def show_read(self) -> None:
        """Show what was read of curves."""
        sorting = self.possible.all.get(self.sort)
        if sorting is not None and sorting.metric:
            self._show_anew()
        else:
            self.refresh_changed(range(1, self.size.height))

    def reverse(self) -> None:
        self._reverse = not self._reverse
        self._show_anew()

    def select(self, run_id: int | None) -> None:
        """Move the cursor to a run and scroll to it; its sweep is unfolded if it has to be."""
        if run_id is not None and not any(isinstance(row, RunRecord) and row.id == run_id for row in self._rows):
            self._open |= {sweep.id for sweep in self._sweeps if run_id in sweep.run_ids}
            self._group()
            self.virtual_size = Size(self.size.width, len(self._rows) + 1)
            self.call_after_refresh(self._scroll_to_cursor)  # once there is something to scroll
        self._move_to(run_id, None)

    def select_sweep(self, sweep_id: int) -> None:
        """Move the cursor to the row of a sweep, or to its first run in the table where it has no row."""
        if any(isinstance(row, Group) and row.sweep.id == sweep_id for row in self._rows):
            self._move_to(None, sweep_id)
            return
        members = {run_id for sweep in self._sweeps if sweep.id == sweep_id for run_id in sweep.run_ids}
        if self.selected not in members and (run := next((run for run in self._runs if run.id in members), None)):
            self.select(run.id)

    def _move_to(self, run_id: int | None, sweep_id: int | None) -> None:
        moved = (run_id, sweep_id) != (self.selected, self.selected_sweep)
        self.selected, self.selected_sweep = run_id, sweep_id
        self._scroll_to_cursor()
        if moved:
            self.refresh()
            self.post_message(self.Selected(run_id))

    def _select_row(self, index: int) -> None:
        row = self._rows[min(max(index, 0), len(self._rows) - 1)]
        if isinstance(row, Group):
            self._move_to(None, row.sweep.id)
        else:
            self._move_to(row.id, None)

    def _row_index(self) -> int | None:
        def under_the_cursor(row: RunRecord | Group) -> bool:
            if isinstance(row, Group):
                return row.sweep.id == self.selected_sweep
            return row.id == self.selected

        return next((index for index, row in enumerate(self._rows) if under_the_cursor(row)), None)

    def _keep_cursor(self) -> None:
        """Keep the cursor on its row. If that is gone, move it to the row of the run's sweep, or to the first."""
        if self._row_index() is None:
            folded = [sweep.id for sweep in self._sweeps if self.selected in sweep.run_ids]
            places = [
                index for index, row in enumerate(self._rows) if isinstance(row, Group) and row.sweep.id in folded
            ]
            if self._rows:
                self._select_row(places[0] if places else 0)
            else:
                self._move_to(None, None)

    def action_move(self, rows: int) -> None:
        if self._rows:
            self._select_row((self._row_index() or 0) + rows)

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(self.size.height - 2, 1))

    def _cursor_in_sight(self) -> bool:
        index = self._row_index()
        return index is not None and 0 <= index - self.scroll_offset.y < self.size.height - 1

    def _fit_columns(self) -> None:
        """Widen the columns if a visible row needs it. They do not shrink again."""
        top = self.scroll_offset.y
        shown = self.possible.chosen((*self.keys, self.sort))
        for column in shown:
            widths = map(column.needed, self._rows[top : top + self.size.height])
            self._needed[column.key] = max(self._needed.get(column.key, 0), *widths, 0)
        shown = [column for column in shown if self._needed[column.key] or not column.optional]
        needed = {column: self._needed[column.key] for column in shown}
        columns = fitting(shown, self.size.width - _CHIP, needed)
        if [(column.key, cells) for column, cells in columns] != [(one.key, cells) for one, cells in self._columns]:
            self.refresh()
        self._columns = columns

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        self._fit_columns()
        self.post_message(self.Scrolled())

    def _scroll_to_cursor(self) -> None:
        index = self._row_index()
        if index is not None:
            rows = max(self.size.height - 1, 1)
            top = min(max(self.scroll_offset.y, index - rows + 1), index)
            self.scroll_to(y=top)

    def on_resize(self) -> None:
        self._fit_columns()
        self.virtual_size = Size(self.size.width, len(self._rows) + 1)
        self._scroll_to_cursor()
        self.refresh()

    def on_focus(self) -> None:
        self.refresh()

    def on_blur(self) -> None:
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        index = event.y - 1 + self.scroll_offset.y
        if event.y == 0:
            self._sort_by_title(event.x)
        elif index < len(self._rows):
            self._select_row(int(index))
            if event.chain > 1:
                self.post_message(self.Opened())

    def _refresh_rows(self, before: Sequence[RunRecord | Group]) -> None:
        top = self.scroll_offset.y
        rows = range(top, min(top + self.size.height - 1, len(self._rows)))
        self.refresh_changed(index - top + 1 for index in rows if _differ(self._rows[index], before[index]))

    def line(self, y: int) -> Strip:
        width, base = self.size.width, self.rich_style
        index = y - 1 + self.scroll_offset.y
        if self.greeting:
            return Strip([Segment(f"  {self.greeting}" if y == 1 else "", base)]).adjust_cell_length(width, base)
        if y == 0:
            return self._header(width, base)
        if index >= len(self._rows):
            return Strip.blank(width, base)
        row = self._rows[index]
        return self._group_row(row, width, base) if isinstance(row, Group) else self._row(row, width, base)

    def _header(self, width: int, base: Style) -> Strip:
        muted, emphasised = (base + style_of(self.app, name) for name in ("muted", "foreground"))
        parts = [Segment(" " * _CHIP, base)]
        for column, cells in self._columns:
            style, arrow = (emphasised, self._arrow) if column.key == self.sort else (muted, "")
            parts.append(Segment(column.aligned(column.title + arrow, cells), style))
        return Strip(parts).adjust_cell_length(width, base)

    def _row(self, run: RunRecord, width: int, base: Style) -> Strip:
        if run.id == self.selected:
            base += self._cursor_style()
        identity = self._identity_of(run.id)
        chip = (
            Segment(f"{identity.marker or '─'} ", base + Style.parse(identity.color))
            if identity
            else Segment("  ", base)
        )
        parts = [chip]
        for column, cells in self._columns:
            parts += self._segments(column, column.cell(run, cells), column.tone(run), base)
        return Strip(parts).adjust_cell_length(width, base)

    def _group_row(self, group: Group, width: int, base: Style) -> Strip:
        if group.sweep.id == self.selected_sweep:
            base += self._cursor_style()
        parts = [Segment("  ", base)]
        for column, cells in self._columns:
            live = group.live and column.key in ("run:state", "run:progress")
            tone = "running" if live else "muted" if column.drawn else ""
            parts += self._segments(column, column.group_cell(group, cells), tone, base)
        return Strip(parts).adjust_cell_length(width, base)

    def _segments(self, column: RunColumn, cell: str, tone: str, base: Style) -> Iterator[Segment]:
        for part, colour in column.parts(cell, tone):
            yield Segment(part, base + style_of(self.app, colour) if colour and not base.reverse else base)

    def _cursor_style(self) -> Style:
        if self.app.native_ansi_color:
            return Style(reverse=self.has_focus or None, bold=True)
        return Style(bgcolor=style_of(self.app, "selection").color, bold=self.has_focus or None)


def _differ(row: RunRecord | Group, before: RunRecord | Group) -> bool:
    """Whether two rows may look different."""
    if isinstance(row, Group) and isinstance(before, Group):
        return row.folded != before.folded or any(
            one is not other for one, other in itertools.zip_longest(row.runs, before.runs)
        )
    return row is not before
