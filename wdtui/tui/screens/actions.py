"""The actions on a run that several screens share. Each asks for input, calls Controls and shows the outcome."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from textual.notifications import SeverityLevel
from textual.screen import Screen

from wdtui.runs.service import RefusedError
from wdtui.store.records import RunRecord
from wdtui.support.errors import WdtuiError
from wdtui.tui.controls import Controls
from wdtui.tui.feed import Snapshot
from wdtui.tui.keymap import key_of
from wdtui.tui.layouts import Picked
from wdtui.tui.screens.dialogs import ForkDialog, LineDialog, SteerDialog, delete_question
from wdtui.tui.widgets.chart_grid import ChartGrid

if TYPE_CHECKING:
    from wdtui.tui.app import WorkbenchApp


class RunScreen(Screen[None]):
    """A screen with charts and a run for the keys to act on."""

    @property
    def workbench(self) -> WorkbenchApp:
        from wdtui.tui.app import WorkbenchApp

        assert isinstance(self.app, WorkbenchApp)
        return self.app

    @property
    def controls(self) -> Controls:
        return self.workbench.controls

    @property
    def snapshot(self) -> Snapshot:
        return self.workbench.snapshot

    @property
    def covered(self) -> bool:
        """Whether another screen hides this one; a dialog does not.

        Textual paints all of the upper screen whenever a screen below it changes.
        """
        above = takewhile(lambda screen: screen is not self, reversed(self.app.screen_stack))
        return any(not screen.is_modal for screen in above)

    @property
    def selected_run(self) -> RunRecord | None:
        """The run for actions."""
        raise NotImplementedError

    @property
    def runs_to_delete(self) -> list[RunRecord]:
        return [self.selected_run] if self.selected_run else []

    def do(self, action: Callable[..., str], *arguments: Any) -> None:
        """Do something to the store and show the outcome."""
        with self.showing_errors():
            if outcome := action(*arguments):
                self.notify(outcome, markup=False, timeout=3)
        self.workbench.look()

    def with_run(self, action: Callable[[RunRecord], None]) -> None:
        """Act on the selected run, or show that there is none."""
        run = self.selected_run
        if run is None:
            key = key_of("launch", self.workbench.keymap)
            self.notify(f"There is no run yet: {key} starts one.", markup=False)
            return
        with self.showing_errors():
            action(run)

    @contextlib.contextmanager
    def showing_errors(self) -> Iterator[None]:
        """Show an error of a block that uses the store; a refusal only as a warning."""
        try:
            yield
        except WdtuiError as error:
            severity: SeverityLevel = "warning" if isinstance(error, RefusedError) else "error"
            self.notify(str(error), severity=severity, markup=False)

    def action_chart(self, name: str, *arguments: float) -> None:
        self.query_one(ChartGrid).act(name, *arguments)

    def action_pick(self) -> None:
        """Ask which metrics the current chart shows."""
        from wdtui.tui.screens.picker import USUAL, MetricPicker

        grid = self.query_one(ChartGrid)

        def answered(picked: Picked | None) -> None:
            if picked is not None:
                grid.pick(None if picked == USUAL else picked)

        self.app.push_screen(MetricPicker(grid.schema, grid.columns, grid.picked), answered)

    def action_go_to(self) -> None:
        """Ask for a step or a condition and put the cursor there."""

        def answered(text: str | None) -> None:
            if text and (wrong := self.query_one(ChartGrid).go_to(text)):
                self.notify(wrong, severity="warning", markup=False)

        hint = "A step such as 10000, or a condition such as test>0.9: Enter goes to the first point where it holds."
        self.app.push_screen(LineDialog("go to", "", hint), answered)

    def action_pause(self) -> None:
        self.with_run(lambda run: self.do(self.controls.pause_or_resume, run.id))

    def action_stop(self) -> None:
        self.with_run(lambda run: self.do(self.controls.stop, run.id))

    def action_steer(self) -> None:
        self.with_run(self._ask_steering)

    def _ask_steering(self, run: RunRecord) -> None:
        run = self.controls.check_steerable(run.id)

        def answered(values: dict[str, Any] | None) -> None:
            if values:
                self.do(self.controls.steer, run.id, values)
            elif values is not None:
                self.notify("Nothing was changed.", markup=False)

        self.app.push_screen(SteerDialog(run, self.controls.in_force_next(run)), answered)

    def action_fork(self) -> None:
        self.with_run(self._ask_fork)

    def _ask_fork(self, run: RunRecord) -> None:
        """Ask for the changes and the step of a fork: by default the charts' cursor, or else the last point."""
        run = self.controls.check_forkable(run.id)
        cursor = self.query_one(ChartGrid).cursor_step
        step = min(cursor, run.step) if cursor is not None else run.step

        def answered(values: dict[str, Any] | None) -> None:
            if values is not None:
                self.do(self._fork, run, values.pop("step"), values)

        self.app.push_screen(ForkDialog(run, step), answered)

    def _fork(self, run: RunRecord, step: int, values: dict[str, Any]) -> str:
        run_id = self.controls.fork(run.id, step, values)
        self.after_fork(run, run_id)
        return self.controls.where_it_leaves(run_id)

    def after_fork(self, parent: RunRecord, run_id: int) -> None:
        """Called after a fork was added to the store."""

    def action_rename(self) -> None:
        self.with_run(lambda run: self._ask_line(run, f"name of run {run.id}", run.name, self.controls.rename))

    def action_note(self) -> None:
        tags = " Words that begin with # are tags."
        self.with_run(lambda run: self._ask_line(run, f"note on run {run.id}", run.note, self.controls.annotate, tags))

    def _ask_line(self, run: RunRecord, title: str, text: str, save: Callable[[int, str], str], hint: str = "") -> None:
        """Ask for a line of text about a run and save it."""

        def answered(line: str | None) -> None:
            if line is not None:
                self.do(save, run.id, line)

        self.app.push_screen(LineDialog(title, text, f"Enter saves, Escape cancels.{hint}"), answered)

    def action_delete(self) -> None:
        run_ids = [run.id for run in self.runs_to_delete]
        if not run_ids:
            return

        def answered(answer: str | None) -> None:
            if answer == "yes":
                self.do(self.controls.delete, run_ids)
                self.after_delete()

        with self.showing_errors():
            self.app.push_screen(delete_question(self.controls.check_deletable(run_ids)), answered)

    def after_delete(self) -> None:
        """Called after runs were deleted."""
