"""The app: starts the feed and the first screen, and quits in order. The screens define their own content."""

from __future__ import annotations

import asyncio
import gc
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from textual import work
from textual.filter import LineFilter
from textual.reactive import reactive
from textual.widgets import Input

from wdtui.runs.digests import Digests
from wdtui.runs.row_texts import blow_ups
from wdtui.settings import Settings
from wdtui.store.records import LIVE, RunRecord
from wdtui.store.store import Store
from wdtui.support.errors import WdtuiError
from wdtui.support.third_party import drop_notification, notifications
from wdtui.tui import Opening, key_order, terminal, theme
from wdtui.tui.colour_codes import sparing
from wdtui.tui.controls import Controls
from wdtui.tui.feed import Feed, Snapshot
from wdtui.tui.fewer_colours import BrightGreys, SixteenColours
from wdtui.tui.identity import Identities
from wdtui.tui.key_order import KeyOrder
from wdtui.tui.keymap import keymap
from wdtui.tui.layouts import Layouts
from wdtui.tui.palette import Actions
from wdtui.tui.screens.workbench import Workbench

if TYPE_CHECKING:
    from textual.driver import Driver

    from wdtui.runs.scheduler import Scheduler
    from wdtui.store.sweeps import Sweep
    from wdtui.studies.grid import Grid

_T = TypeVar("_T")
_LONG_SECONDS = 60.0
"""The end of a run that took longer is also announced outside the screen."""
_STOP_SECONDS = 60.0
_MOST_NOTICES = 3
_STARTED_SECONDS = 4.0
"""What is in memory by then, such as PyTorch's modules, stays. Garbage collections that skip it are shorter."""
_BREATH = 0.01
"""The pause after reading some of a run's very many points, in which what else has come is handled."""
_MOST_SECONDS_WAITED = 0.5
"""Reading the store waits for a person who types for no longer."""
_SIXTEEN_COLOURS, _BRIGHT_GREYS = SixteenColours(), BrightGreys()


class WorkbenchApp(KeyOrder):
    """Holds what all screens share: the store's snapshot, the controls, the identities of runs."""

    TITLE = "wdtui"
    CSS_PATH = "app.tcss"
    ENABLE_COMMAND_PALETTE = True
    MODES: ClassVar[Any] = {"workbench": Workbench}
    DEFAULT_MODE = "workbench"
    COMMANDS: ClassVar[Any] = {Actions}
    snapshot: reactive[Snapshot] = reactive(Snapshot(), init=False, repaint=False)

    def __init__(
        self,
        store: Store,
        scheduler: Scheduler,
        *,
        device: str = "auto",
        opening: Opening | None = None,
        fps: float | None = None,
        settings: Settings | None = None,
    ) -> None:
        super().__init__()
        self.animation_level = "none"  # a scroll in steps is late and sends more bytes over SSH
        chosen = settings or Settings(Path())
        self.keymap = keymap(chosen.keys)
        """The actions with keys other than the built-in ones."""
        self.themes = (*theme.THEMES, *theme.own_themes(chosen.themes))
        for known in self.themes:
            self.register_theme(known)
        self.theme = theme.full_name(chosen.value("theme")) or theme.suited_to(self.console.color_system)
        self.feed = Feed(store)
        self.controls = Controls(store, scheduler, device=device)
        self.identities = Identities()
        self.layouts = Layouts(store.folder)
        self.digests = Digests(store)
        self.device = device
        self._opening = opening
        self.problem = opening.problem if opening else ""
        """The file whose form is shown; empty for the experiments alone."""
        self._fps: float = fps or chosen.value("fps")
        self._complaint = ""
        self._rest_until = self._looked = 0.0
        self._reading_on = False

    def get_driver_class(self) -> type[Driver]:
        return sparing(super().get_driver_class())

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return theme.DEFAULTS

    def get_line_filters(self) -> Sequence[LineFilter]:
        """Textual's filters, after one for a theme of the terminal's own 16 colours, or for none."""
        filters = super().get_line_filters()
        if self.native_ansi_color:
            return [_SIXTEEN_COLOURS, *filters]
        return [_BRIGHT_GREYS, *filters] if self.no_color else filters

    def on_mount(self) -> None:
        self.set_keymap(self.keymap)
        terminal.handle_signals(self)
        self.call_after_refresh(self._begin)

    async def _begin(self) -> None:
        """Read the store after the first frame, which would otherwise come later. What a key does depends on it."""
        self.look()
        await self.accept_input()
        self._report_damage()
        self.call_after_refresh(self._start_opening)

    def _start_opening(self) -> None:
        """Import torch and start what was asked for. The store is drawn first, as importing torch blocks drawing."""
        self.controls.scheduler.warm_up()
        if self._opening:
            opening = self._opening
            if opening.grid:
                about = {"experiment": opening.experiment, "name": opening.name}
                self.start_sweep(opening.grid, threads=opening.threads, **about)
            elif opening.sweep_id is not None:
                self.resume_sweep(opening.sweep_id)
            elif opening.config or opening.run_id is not None:
                self.start(opening)
        self.set_interval(1 / self._fps, self._look_again)
        self.set_timer(_STARTED_SECONDS, _collect_from_now_on)

    def _look_again(self) -> None:
        """Read the store, unless the last time was slow: reading takes at most a fifth of the time. Keys come first."""
        began = time.monotonic()
        kept_waiting = self.typing and began < self._looked + _MOST_SECONDS_WAITED
        if began >= self._rest_until and not kept_waiting:
            self._looked = began
            self.look()
            ended = time.monotonic()
            self._rest_until = ended + 4 * (ended - began)

    def rest(self) -> None:
        """Read the store no more, so that the screen stays as it is."""
        self._rest_until = math.inf

    def start(self, opening: Opening) -> None:
        """Train a run from the command line as if the form had been submitted."""
        try:
            if opening.config:
                run_id = self.controls.start(
                    opening.config, experiment=opening.experiment, name=opening.name, threads=opening.threads
                )
            else:
                assert opening.run_id is not None
                run_id = opening.run_id
                self.controls.resume(run_id, threads=opening.threads)
            run = self.controls.store.run(run_id)
            for screen in self.screen_stack:
                if isinstance(screen, Workbench):
                    screen.follow(run_id, run.config, run.experiment)
        except WdtuiError as error:
            self.notify(str(error), severity="error", markup=False)

    def look(self) -> None:
        """Read what is new in the store and show the scheduler's notices."""
        try:
            snapshot = self.feed.poll()
        except WdtuiError as error:
            if str(error) != self._complaint:
                self._complaint = str(error)
                self.notify(self._complaint, severity="error", markup=False)
            return
        if snapshot:
            before, self.snapshot = self.snapshot, snapshot
            self._announce_ends(before, snapshot)
        if self.feed.behind and not self._reading_on:
            self._reading_on = True
            self.set_timer(_BREATH, self._read_on)
        for notice in self.controls.scheduler.notices():
            if notice.kind != "ended":
                self.notify(notice.text, severity="error" if notice.kind == "failed" else "warning", markup=False)

    def _read_on(self) -> None:
        """Read the next points of a run with very many, between the keys of a person who types."""
        if self.typing:
            self.set_timer(key_order.TYPING_SECONDS, self._read_on)
        else:
            self._reading_on = False
            self.look()

    def _report_damage(self) -> None:
        """Report runs and sweeps that cannot be found or read any more, as no row of the table can show them."""
        store = self.controls.store
        try:
            texts = [store.missing(), *(sweep.damage for sweep in store.sweeps.all())]
        except WdtuiError:  # `look` reports it
            return
        for text in filter(None, texts):
            self.notify(text, severity="error", markup=False)

    def _announce_ends(self, before: Snapshot, after: Snapshot) -> None:
        live = {run.id: blow_ups(run) for run in before.runs if run.status_text in LIVE}
        for run in after.runs if live else ():
            if run.id not in live or not _took_long(run):
                continue
            if run.status_text not in LIVE:
                terminal.announce(self, f"Run {run.id} is {run.status}: {run.title}")
            elif blow_ups(run) > live[run.id]:
                terminal.announce(self, f"Run {run.id} has blown up near step {run.step:,}: {run.title}")

    # Navigation

    def open_run(self, run_id: int) -> None:
        from wdtui.tui.screens.run import RunView

        if run := self.snapshot.run(run_id):
            self.push_screen(RunView(run))

    def open_sweep(self, sweep: Sweep) -> None:
        from wdtui.tui.screens.sweep import SweepView

        def left(_: None) -> None:
            for screen in self.screen_stack:
                if isinstance(screen, Workbench):
                    screen.select_sweep(sweep.id)

        self.look()
        try:
            self.push_screen(SweepView(sweep), left)
        except WdtuiError as error:  # stored by another version
            self.notify(str(error), severity="error", markup=False)

    def start_sweep(self, grid: Grid, *, experiment: str = "", name: str = "", threads: int | None = None) -> None:
        """Start a sweep and show it."""
        start = partial(self.controls.start_sweep, grid, experiment=experiment, name=name, threads=threads)
        self.do_in_thread(start, self.open_sweep)

    def resume_sweep(self, sweep_id: int) -> None:
        """Train the missing runs of a stored sweep and show it."""

        def go_on() -> Sweep:
            with self.controls.sweeping:  # so that quitting waits for it
                sweep = self.controls.store.sweeps.get(sweep_id)
                self.controls.resume_sweep(sweep)
            return sweep

        self.do_in_thread(go_on, self.open_sweep)

    @work(group="aside")
    async def do_in_thread(self, action: Callable[[], _T], then: Callable[[_T], object]) -> None:
        """Do something slow with the store in a thread, then continue with its result unless the app ends."""
        try:
            outcome = await asyncio.to_thread(action)
        except WdtuiError as error:
            self.notify(str(error), severity="error", markup=False)
            return
        if self.is_running:  # otherwise its screens have no widgets any more
            then(outcome)

    def action_experiments(self) -> None:
        from wdtui.tui.screens.experiments import Gallery

        def chosen(choice: tuple[str, bool] | None) -> None:
            if choice and isinstance(self.screen, Workbench):
                self.screen.use_experiment(*choice)

        if isinstance(self.screen, Workbench):
            self.push_screen(Gallery(self.controls.store, self.snapshot.runs), chosen)

    def action_help(self) -> None:
        from wdtui.tui.screens.help import Help

        self.push_screen(Help())

    def action_slots(self) -> None:
        from wdtui.tui.screens.dialogs import slots_dialog

        def answered(text: str | None) -> None:
            if text is not None:
                self.notify(self.controls.set_slots(text), markup=False)

        self.push_screen(slots_dialog(self.controls.scheduler.slots), answered)

    def action_change_theme(self) -> None:
        names = [known.name for known in self.themes]
        self.theme = names[(names.index(self.theme) + 1) % len(names)] if self.theme in names else names[0]

    def on_notify(self) -> None:
        """A new notice replaces the last one. The newest errors and warnings stay."""
        shown = notifications(self)
        stay = [notice for notice in shown if notice.severity != "information"][-(_MOST_NOTICES - 1) :]
        for notice in shown:
            if notice not in stay:
                drop_notification(self, notice)

    def on_command_palette_opened(self) -> None:
        """Stop the cursor from blinking."""
        for box in self.screen.query(Input):
            box.cursor_blink = False

    # Quitting

    async def action_quit(self) -> None:
        """Quit; if runs of this app are live, ask what to do with them."""
        from wdtui.tui.screens.dialogs import Question, quit_question

        if isinstance(self.screen, Question) and self.screen.title_text == "quit":
            return
        scheduler = self.controls.scheduler
        queueing, queued, live = self.controls.queueing, len(scheduler.queue), len(scheduler.live)  # as a run goes
        if queueing or queued or live:
            self.push_screen(quit_question(live, queued, queueing), self._leave)
        else:
            self.exit()

    def _leave(self, answer: str | None) -> None:
        if answer == "stop":
            self.run_worker(self.stop_and_exit("The app was closed", 0))
        elif answer == "detach":
            self.run_worker(self.detach_and_exit(0))

    async def stop_and_exit(self, reason: str, code: int) -> None:
        """Stop all runs of this app with a checkpoint, then quit."""
        self._say("Stopping the runs with a checkpoint …")
        await asyncio.to_thread(_stopped, self.controls, reason)
        self.exit(return_code=code)

    async def detach_and_exit(self, code: int) -> None:
        """Move the runs to processes of their own, then quit."""
        self._say("Moving the runs to the background …")
        await asyncio.to_thread(self.controls.detach)
        self.exit(return_code=code)

    def _say(self, text: str) -> None:
        from wdtui.tui.screens.dialogs import Waiting

        self.workers.cancel_group(self, "aside")  # a sweep that is being queued would open on top
        self.push_screen(Waiting(text))


def _collect_from_now_on() -> None:
    """Begin to collect garbage, but not among what is in memory by now."""
    gc.freeze()
    gc.enable()


def _stopped(controls: Controls, reason: str) -> bool:
    controls.interrupt(reason)
    return controls.scheduler.wait(_STOP_SECONDS)


def _took_long(run: RunRecord) -> bool:
    return bool(run.started and (run.ended or time.time()) - run.started > _LONG_SECONDS)
