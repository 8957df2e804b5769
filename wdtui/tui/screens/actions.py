"""The actions on a run that several screens offer: each asks what it must, acts through Controls, says the outcome."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from textual.screen import Screen

from wdtui.errors import WdtuiError
from wdtui.runs.records import RunRecord
from wdtui.text import number
from wdtui.tui.controls import Controls
from wdtui.tui.feed import Snapshot
from wdtui.tui.keymap import key_of
from wdtui.tui.screens.dialogs import ForkDialog, LineDialog, SteerDialog, delete_question
from wdtui.tui.widgets.chart_grid import ChartGrid

if TYPE_CHECKING:
    from wdtui.tui.app import WorkbenchApp


class RunScreen(Screen[None]):
    """A screen with charts and a run that keys act upon."""

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
    def run_in_hand(self) -> RunRecord | None:
        """The run that actions are about."""
        raise NotImplementedError

    @property
    def runs_to_delete(self) -> list[RunRecord]:
        return [self.run_in_hand] if self.run_in_hand else []

    def do(self, action: Callable[..., str], *arguments: Any) -> None:
        """Do something to the store and say the outcome."""
        try:
            said = action(*arguments)
        except WdtuiError as error:
            self.notify(str(error), severity="error", markup=False)
        else:
            if said:
                self.notify(said, markup=False, timeout=3)
        self.workbench.look()

    def with_run(self, action: Callable[[RunRecord], None]) -> None:
        """Act on the run in hand, or say that there is none."""
        run = self.run_in_hand
        if run is None:
            key = key_of("launch", self.workbench.keymap)
            self.notify(f"There is no run to do this with; {key} starts one.", markup=False)
            return
        try:
            action(run)
        except WdtuiError as error:  # above all of a run of another version
            self.notify(str(error), severity="error", markup=False)

    def action_chart(self, name: str, *arguments: float) -> None:
        self.query_one(ChartGrid).act(name, *arguments)

    def action_pause(self) -> None:
        self.with_run(lambda run: self.do(self.controls.pause_or_resume, run))

    def action_stop(self) -> None:
        self.with_run(lambda run: self.do(self.controls.stop, run))

    def action_steer(self) -> None:
        self.with_run(self._ask_steering)

    def _ask_steering(self, run: RunRecord) -> None:
        if not run.live:
            self.notify(f"Run {run.id} is {run.status}; only a live run can be steered.", markup=False)
            return

        def answered(values: dict[str, Any] | None) -> None:
            if values:
                self.do(self.controls.steer, run, values)
            elif values is not None:
                self.notify("Nothing was changed.", markup=False)

        self.app.push_screen(SteerDialog(run, self.controls.in_force_next(run)), answered)

    def action_fork(self) -> None:
        self.with_run(self._ask_fork)

    def _ask_fork(self, run: RunRecord) -> None:
        """Ask for changes and where to leave the run: where the charts' cursor is, or else at its last point."""
        if not run.step:
            self.notify(f"Run {run.id} has no points yet, so there is nothing to leave it for.", markup=False)
            return
        cursor = self.query_one(ChartGrid).view.cursor
        step = min(int(cursor), run.step) if cursor is not None else run.step

        def answered(values: dict[str, Any] | None) -> None:
            if values is not None:
                self.do(self._fork, run, values.pop("step"), values)

        self.app.push_screen(ForkDialog(run, step), answered)

    def _fork(self, run: RunRecord, step: int, values: dict[str, Any]) -> str:
        run_id = self.controls.fork(run, step, values)
        self.after_fork(run, run_id)
        return f"Run {run_id} leaves run {run.id} at step {number(self.controls.store.run(run_id).parent_step)}."

    def after_fork(self, parent: RunRecord, run_id: int) -> None:
        """The fork is in the store."""

    def action_rename(self) -> None:
        def ask(run: RunRecord) -> None:
            dialog = LineDialog(f"name of run {run.id}", run.name, "Enter keeps it, Escape leaves it as it was.")
            self.app.push_screen(
                dialog, lambda name: None if name is None else self.do(self.controls.rename, run, name)
            )

        self.with_run(ask)

    def action_note(self) -> None:
        def ask(run: RunRecord) -> None:
            dialog = LineDialog(f"note on run {run.id}", run.note, "Enter keeps it, Escape leaves it as it was.")
            self.app.push_screen(
                dialog, lambda note: None if note is None else self.do(self.controls.annotate, run, note)
            )

        self.with_run(ask)

    def action_delete(self) -> None:
        runs = self.runs_to_delete
        if not runs:
            return
        if live := next((run for run in runs if run.live), None):
            self.notify(f"Run {live.id} is {live.status}; stop it before you delete it.", markup=False)
            return

        def answered(answer: str | None) -> None:
            if answer == "yes":
                self.do(self.controls.delete, runs)
                self.after_delete()

        self.app.push_screen(delete_question(runs), answered)

    def after_delete(self) -> None:
        """The runs are gone."""
