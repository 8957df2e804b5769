"""The first screen: form, charts and runs. It reads everything from the store and changes it through Controls."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from time import monotonic as _seconds
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical
from textual.timer import Timer
from textual.widgets import Input

from wdtui.problems import registry
from wdtui.runs.labels import schemas_of
from wdtui.runs.query import QueryError, as_typed, parse
from wdtui.runs.sweeps import Progress
from wdtui.schema.config import Config
from wdtui.store.processes import this_process
from wdtui.store.records import RunRecord
from wdtui.studies.experiments import Experiment
from wdtui.studies.grid import Grid
from wdtui.support import machine
from wdtui.tui import key_order, keys
from wdtui.tui.feed import Snapshot
from wdtui.tui.form_memory import FormMemory
from wdtui.tui.keymap import key_of
from wdtui.tui.load import LoadHistory
from wdtui.tui.screens.actions import RunScreen
from wdtui.tui.screens.sweep_form import SweepForm, SweepList
from wdtui.tui.status_line import headline, status_line
from wdtui.tui.widgets.chart import ChartPanel
from wdtui.tui.widgets.chart_grid import ChartGrid
from wdtui.tui.widgets.group_heading import GroupHeading
from wdtui.tui.widgets.launch_form import LaunchForm
from wdtui.tui.widgets.lines import HeaderLine, KeyLine
from wdtui.tui.widgets.load_strip import LoadStrip
from wdtui.tui.widgets.run_table import RunTable

_NARROW, _SHORT = 100, 30
"""With fewer columns or lines, only one chart is shown at a time, and the form only while it is used."""
_LOAD_SECONDS = 2.0
"""How often the load is sampled, while this screen is visible and runs are live or the load charts are shown."""
_CURVE_SECONDS = 2.0
"""How often the curve of a live run is read for the table."""
_AT_ONCE = 64
"""The number of runs whose curves are read before the table is drawn again."""
_CHARTS = 4
_GREETING = "No runs yet: press Enter to train the demo and watch a network learn addition."
_GREETING_OF_A_FILE = "No runs yet: press r to train what the form contains."
_USUAL = "train_accuracy", "test_accuracy", "train_loss", "test_loss", "weight_norm", "rotation"
"""What the charts of a file are of as long as nobody knows what it records."""
_ALL_KEYS = (*keys.RUNS, *keys.TABLE, *keys.CHARTS, *keys.APP)


class Workbench(RunScreen):
    """The runs of the store, one of them selected and some marked, their charts, and the form for the next run."""

    CSS_PATH = "workbench.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings(keys.RUNS, keys.TABLE, keys.CHARTS, keys.APP)
    AUTO_FOCUS = ""

    def __init__(self) -> None:
        super().__init__()
        self._marked: list[int] = []
        self._settling: Timer | None = None
        self._looked = False
        self._started: int | None = None
        """A run that was started here and will be selected once the feed has read it."""
        self._left_sweep: int | None = None
        """A sweep whose screen was left, which will be selected once the feed has read it."""
        self._reading = False
        """Whether a thread is reading curves."""
        self._read_at: dict[int, float] = {}
        """When the curve of each live run was read last."""
        self._load = ""
        self._loads = LoadHistory()

    def compose(self) -> ComposeResult:
        yield HeaderLine("weight decay workbench")
        with Horizontal(id="bench"):
            form = LaunchForm(FormMemory(self.controls.store.folder), problem=self.workbench.problem, id="form")
            yield form
            with Vertical(id="views"):
                file = self.workbench.problem
                schema = registry.find(file).config.schema().recording(_USUAL) if file else form.schema
                yield ChartGrid(
                    schema, _CHARTS, self.workbench.identities.of, status_line, self.workbench.layouts, id="grid"
                )
        yield LoadStrip(id="machine")
        with Vertical(id="runs"):
            yield RunTable(
                lambda run_id: self.workbench.identities.of(run_id) if self._is_shown(run_id) else None,
                self.workbench.digests,
                self.workbench.layouts.columns,
            )
            search = Input(
                id="filter", placeholder="words and conditions, such as λ>=0.1 ε<1e-3 test>0.9 done", compact=True
            )
            search.cursor_blink = False
            yield search
        yield KeyLine([key for key in _ALL_KEYS if key.footer])

    def on_mount(self) -> None:
        self.query_one("#runs").border_title = "runs"
        self.query_one("#filter").display = False
        self.watch(self.app, "snapshot", self._take)
        self.set_interval(_LOAD_SECONDS, self.look_at_machine)

    def on_screen_resume(self) -> None:
        self._take(self.snapshot)
        self.query_one(ChartGrid).refresh_layout()  # another screen may have changed it
        if self._looked:  # another screen may have changed which runs the feed reads
            self._show_selected()

    # What is shown

    @property
    def table(self) -> RunTable:
        return self.query_one(RunTable)

    @property
    def form(self) -> LaunchForm:
        return self.query_one(LaunchForm)

    @property
    def selected_run(self) -> RunRecord | None:
        return self.snapshot.run(self.table.selected)

    @property
    def runs_to_delete(self) -> list[RunRecord]:
        marked = [run for run in self.snapshot.runs if run.id in self._marked]
        if not marked and (group := self.table.group):
            return list(group.runs)
        return marked or super().runs_to_delete

    def _is_shown(self, run_id: int) -> bool:
        return bool(self._marked) and (run_id in self._marked or run_id == self.table.selected)

    def _take(self, snapshot: Snapshot) -> None:
        """Show a snapshot of the store. Unchanged parts are not drawn again."""
        if not snapshot.loaded or self.covered:
            return
        if not self._looked:
            self._looked = True
            self._focus_first(bool(snapshot.runs))
        arrived = self._started if self._started is not None and snapshot.run(self._started) else None
        known = {run.id for run in snapshot.runs} if self._marked else set()
        self._marked = [run_id for run_id in self._marked if run_id in known]
        greeting = _GREETING_OF_A_FILE if self.workbench.problem else _GREETING
        self.table.greeting = "" if snapshot.runs else greeting
        self.table.show(snapshot.runs, snapshot.sweeps)
        self._read_curves()
        if arrived is not None:
            self._started = None
            if any(run.id == arrived for run in self.table.runs):
                self.table.select(arrived)
            else:
                self.notify(f"The filter hides run {arrived}.", markup=False)
        if self._left_sweep is not None and any(sweep.id == self._left_sweep for sweep in snapshot.sweeps):
            self.table.select_sweep(self._left_sweep)
            self._left_sweep = None
        grid = self.query_one(ChartGrid)
        what = "what the form contains" if self.workbench.problem else "the demo"
        grid.greeting = f"Press Enter to train {what}." if not snapshot.runs and self.has_class("-narrow") else ""
        grid.show(snapshot.shown)
        if self.table.group and self._settling is None and self.workbench.feed.wanted != tuple(self._to_show()):
            self._settling = self.set_timer(
                key_order.TYPING_SECONDS, self._show_selected
            )  # another cell is the best by now
        self.form.use_runs(snapshot.runs)
        self._update_texts()

    def _focus_first(self, has_runs: bool) -> None:
        """Focus what Enter acts on. It trains the demo only if there are no runs, so nothing is focused before."""
        if self.focused is None and has_runs:
            self.set_focus(self.table)
        elif self.focused is None:
            self._open_form(True)
            self.set_focus(self.query_one("#run"), scroll_visible=False)

    @on(RunTable.Scrolled)
    def _read_curves(self) -> None:
        """Read what the table lacks of curves in a thread, a little at a time, so that keys are handled meanwhile."""
        runs, metrics = self.table.lacking()
        now = _seconds()
        due = [run for run in runs if not run.live or now - self._read_at.get(run.id, 0.0) >= _CURVE_SECONDS][:_AT_ONCE]
        if not due or self._reading:
            return
        digests, self._reading = self.workbench.digests, True
        self._read_at |= {run.id: now for run in due if run.live}

        def read(_: None) -> None:
            self._reading = False
            self.table.show_read()
            if not all(digests.outdated(run, metrics) for run in due):  # else the store cannot be read now
                self._read_curves()

        self.workbench.do_in_thread(partial(digests.read, due, metrics), read)

    def _update_texts(self) -> None:
        """Update the texts of the header and of the table's border."""
        runs, table = self.snapshot.runs, self.table
        self.query_one(HeaderLine).show(headline(runs, self.workbench.device), self._load)
        count = f"{len(table.runs):,} of {len(runs):,}" if len(table.runs) != len(runs) else f"{len(runs):,}"
        notes = [count if runs else "", table.order, f"{len(self._marked)} marked" if self._marked else ""]
        box, title = self.query_one("#runs"), " · ".join(["runs", *(note for note in notes if note)])
        if box.border_title != title:
            box.border_title = title

    def look_at_machine(self) -> None:
        """Sample the load and show it, in the header while something trains or in a line of its own if that is open."""
        open_line, load = self.has_class("-machine"), ""
        live = [run for run in self.snapshot.runs if run.live]
        if self.app.screen is self and (open_line or live):
            me = this_process()
            here = (run for run in live if (run.host, run.domain) == (me.host, me.domain))
            sample = machine.sample(run.pid for run in here if run.pid is not None)
            self._loads.add(sample, _seconds())
            load = "" if open_line else machine.load_text(sample)
            self._show_loads()
        if load != self._load:
            self._load = load
            self._update_texts()

    def action_machine(self) -> None:
        """Show or hide the line about the load. It starts with the samples for the header."""
        self.toggle_class("-machine")
        self.look_at_machine()

    def _show_loads(self) -> None:
        if self.has_class("-machine"):
            self.query_one(LoadStrip).show(self._loads, [run for run in self.snapshot.runs if run.live])

    def _show_selected(self) -> None:
        """Make the feed read the marked runs and the selected one, unless another screen is on top."""
        self._settling = None
        if self.app.screen is not self:
            return
        self.workbench.feed.show(self._to_show())
        self.workbench.look()
        self.table.refresh()

    def _to_show(self) -> list[int]:
        """The marked runs and the selected one. A sweep shows its best cell."""
        selected, group = self.table.selected, self.table.group
        further = [] if selected is None else [selected]
        if group and not self._marked:
            further = [run.id for run in group.best_seeds]
        return [*self._marked, *(run_id for run_id in further if run_id not in self._marked)]

    @on(RunTable.Selected)
    def _select(self, event: RunTable.Selected) -> None:
        event.stop()
        if self._settling is not None:
            self._settling.stop()
        self._settling = self.set_timer(key_order.TYPING_SECONDS, self._show_selected)

    # Starting

    @on(LaunchForm.Submitted)
    def _launch(self, event: LaunchForm.Submitted) -> None:
        event.stop()
        with self.showing_errors():
            self._started = self.controls.start(event.config, experiment=event.experiment)
            self.action_leave_form()
            self.workbench.look()

    def action_launch(self) -> None:
        self.form.submit()

    def action_launch_all(self) -> None:
        """Start the form's experiment as a sweep, in its quick variant if it has one, and mark its runs."""
        experiment = self.form.experiment
        if experiment is None or not (experiment.axes or experiment.fork):
            self.form.submit()
            return
        self.workbench.do_in_thread(partial(self._start_all, experiment.variant(quick=True)), self._show_started)

    def _start_all(self, experiment: Experiment) -> list[int]:
        """Runs in a thread; returns the runs and their branches. Raises StoreError and ConfigError."""
        with self.controls.sweeping:
            sweep = self.controls.start_sweep(Grid.of(experiment.base(), experiment.axes), experiment=experiment.name)
            started = [run_id for run_id in self.controls.store.sweeps.run_ids(sweep.id) if run_id is not None]
            if experiment.fork is None or experiment.fork.before_blow_up:  # which these runs do not have yet
                return started
            return started + self.controls.branch(started, experiment.fork)

    def _show_started(self, run_ids: list[int]) -> None:
        self._marked = run_ids
        for run_id in run_ids:
            self.workbench.identities.keep(run_id)
        self._started = run_ids[0]
        self.action_leave_form()
        self.workbench.look()

    def action_sweep(self) -> None:
        """Ask for axes over the form's config, start the sweep and show it."""
        form, slots = self.form, self.controls.scheduler.slots
        if form.config is None:
            self.notify("The form has an error: correct it first.", severity="warning", markup=False)
            return
        name = form.experiment.name if form.experiment else ""

        def answered(grid: Grid | None) -> None:
            if grid:
                self.workbench.start_sweep(grid, experiment=name)

        axes = form.experiment.axes if form.experiment else {}
        self.app.push_screen(SweepForm(form.config, axes, self.snapshot.runs, slots, self.workbench.device), answered)

    def action_sweeps(self) -> None:
        def answered(sweep_id: int | None) -> None:
            if sweep_id is not None:
                self._open_sweep(sweep_id)

        with self.showing_errors():
            sweeps = self.controls.store.sweeps
            listed = [Progress(sweep, sweeps.runs(sweep.id)) for sweep in sweeps.all() if not sweep.damage]
            self.app.push_screen(SweepList(listed), answered)

    def _open_sweep(self, sweep_id: int) -> None:
        with self.showing_errors():
            self.workbench.open_sweep(self.controls.store.sweeps.get(sweep_id))

    def select_sweep(self, sweep_id: int) -> None:
        """Select the row of a sweep whose screen was left."""
        self._left_sweep = sweep_id
        self._take(self.snapshot)

    def follow(self, run_id: int, config: Config, experiment: str) -> None:
        """Select a run that was started elsewhere, and fill the form with its config."""
        self._started = run_id
        self.form.use_experiment(experiment)
        self.form.use_config(config)
        self.action_leave_form()

    def use_experiment(self, name: str, run: bool) -> None:
        """Fill the form with an experiment from the gallery, and train it if asked to."""
        self.form.use_experiment(name)
        if run:
            self.action_launch_all()
        else:
            self.action_form()

    # The form on small screens

    def action_form(self) -> None:
        self._open_form(True)
        self.form.query(Input).first().focus()

    @on(LaunchForm.Left)
    def action_leave_form(self) -> None:
        self._open_form(False)
        self.table.focus()

    def _open_form(self, opened: bool) -> None:
        """Show the form in place of the rest. A wide screen always shows it, and is not laid out anew."""
        self.set_class(opened and self.has_class("-narrow"), "-form-open")

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        in_form = self.form in event.widget.ancestors
        self._open_form(in_form)
        shown = tuple(key for key in _ALL_KEYS if key.footer)
        if event.widget.id == "filter":
            shown = keys.FILTER
        elif isinstance(event.widget, GroupHeading):
            shown = keys.HEADING
        elif in_form and event.widget.id != "run":
            shown = keys.FORM
        self.query_one(KeyLine).show(shown)

    def on_resize(self, event: events.Resize) -> None:
        narrow = event.size.width < _NARROW or event.size.height < _SHORT
        in_form = self.focused is not None and self.form in self.focused.ancestors
        self.set_class(narrow, "-narrow")
        self._open_form(in_form)
        self.set_class(event.size.height < 14, "-tiny")
        self.query_one(ChartGrid).use_narrow(narrow)
        self.call_after_refresh(self._keep_focus)

    def _keep_focus(self) -> None:
        """Move the focus to the table if the focused widget was hidden: Textual would then focus nothing."""
        if self._looked and (self.focused is None or not self.focused.display):
            self.table.focus()

    # Marks, order, filter

    def action_copy_config(self) -> None:
        """Put the selected run's config into the form."""

        def copy(run: RunRecord) -> None:
            self.form.use_config(run.config)
            self.action_form()

        self.with_run(copy)

    def action_fold(self) -> None:
        self.table.fold()

    def action_fold_all(self) -> None:
        self.table.fold_all()

    def with_run(self, action: Callable[[RunRecord], None]) -> None:
        """Act on the selected run. A sweep's row is none."""
        if group := self.table.group:
            fold, enter = (key_of(name, self.workbench.keymap) for name in ("fold", "open"))
            self.notify(f"{group.sweep.label} is a sweep: {fold} shows its runs, {enter} opens its map.", markup=False)
            return
        super().with_run(action)

    def action_mark(self) -> None:
        def change(run: RunRecord) -> None:
            if run.id in self._marked:
                self._marked.remove(run.id)
            else:
                self._marked.append(run.id)
                self.workbench.identities.keep(run.id)
            self._show_selected()
            self._update_texts()

        self.with_run(change)

    def after_fork(self, parent: RunRecord, run_id: int) -> None:
        """Mark both runs."""
        for marked in (parent.id, run_id):
            if marked not in self._marked:
                self._marked.append(marked)
                self.workbench.identities.keep(marked)
        self._started = run_id

    def action_unmark(self) -> None:
        self._marked.clear()
        self._show_selected()
        self._update_texts()

    def action_sort(self) -> None:
        """Ask for the column to sort by; the shown ones come first."""
        from wdtui.tui.screens.picker import OrderPicker

        entries = {key: column.listed for key, column in self.table.possible.all.items() if column.value}

        def answered(key: str | None) -> None:
            if key is not None:
                self.table.sort_by(key)
                self._update_texts()

        first = ["", *self.table.keys] if self.table.sort else self.table.keys
        self.app.push_screen(OrderPicker({"": "newest first"} | entries, first, [self.table.sort]), answered)

    def action_columns(self) -> None:
        """Ask which columns the table shows."""
        from wdtui.tui.screens.picker import ColumnPicker

        table = self.table
        entries = {key: column.listed for key, column in table.possible.all.items()}

        def answered(keys: tuple[str, ...] | None) -> None:
            if keys is not None:
                self.workbench.layouts.put_columns(table.possible.problem, keys)
                table.show_columns()
                self._read_curves()

        self.app.push_screen(ColumnPicker(entries, table.keys, table.keys), answered)

    def action_reverse(self) -> None:
        self.table.reverse()
        self._update_texts()

    @on(RunTable.Ordered)
    def _say_order(self, event: RunTable.Ordered) -> None:
        event.stop()
        self._update_texts()

    def action_filter(self) -> None:
        search = self.query_one("#filter", Input)
        search.display = True
        search.focus()

    @on(Input.Changed, "#filter")
    def _filter_as_typed(self, event: Input.Changed) -> None:
        event.stop()
        try:
            keep, unfinished = as_typed(event.value, self.snapshot.runs)
        except QueryError as error:
            self._say_of_filter(str(error), wrong=True)
            return
        self._say_of_filter(unfinished)
        self._filter_by(keep if event.value.strip() else None)

    def _filter_by(self, keep: Callable[[RunRecord], bool] | None) -> None:
        self.table.filter_by(keep)
        self._update_texts()

    def _say_of_filter(self, sentence: str, *, wrong: bool = False) -> None:
        """Show a sentence beside the filter: an error, or an unfinished part."""
        box = self.query_one("#runs")
        box.border_subtitle = sentence.replace("[", "\\[")
        box.set_class(wrong, "-wrong")

    @on(Input.Submitted, "#filter")
    def _filter_entered(self, event: Input.Submitted) -> None:
        event.stop()
        try:
            self._filter_by(parse(event.value, schemas_of(self.snapshot.runs)) if event.value.strip() else None)
            self._say_of_filter("")
        except QueryError as error:
            self._say_of_filter(str(error), wrong=True)
        event.input.display = bool(event.value.strip())
        self.table.focus()

    def key_escape(self) -> None:
        """Return to the runs: close and clear the filter, or restore a maximised chart."""
        search = self.query_one("#filter", Input)
        if search.display:
            search.value = ""
            search.display = False
        elif self.query_one(ChartGrid).maximised:
            self.action_chart("maximise")
        self.table.focus()

    # Other screens

    def action_open(self) -> None:
        if not isinstance(self.focused, ChartPanel):
            if group := self.table.group:
                self._open_sweep(group.sweep.id)
                return
            self._show_selected()  # the cursor may just have moved
            self.with_run(lambda run: self.workbench.open_run(run.id))
        else:
            self.action_chart("maximise")

    @on(RunTable.Opened)
    def _double_clicked(self) -> None:
        self.action_open()
