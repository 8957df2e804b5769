"""A sweep while it trains: a curve over one axis or a map over two, the values of one cell, and the progress."""

from __future__ import annotations

import dataclasses
import itertools
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal
from textual.timer import Timer

from wdtui.analysis.sweep_table import Row, Table, columns, label
from wdtui.runs.sweep_words import progress_line, spread_text, states_text, values_name
from wdtui.runs.sweeps import Progress
from wdtui.schema.hyperparameters import Value
from wdtui.store.records import RunRecord, StoreError
from wdtui.store.sweeps import Sweep
from wdtui.support.text import clean
from wdtui.tui import key_order, keys
from wdtui.tui.feed import Snapshot
from wdtui.tui.figures import Figure, figure
from wdtui.tui.keymap import key_of
from wdtui.tui.screens.actions import RunScreen
from wdtui.tui.subjects import subjects
from wdtui.tui.view import View
from wdtui.tui.widgets.chart import ChartPanel
from wdtui.tui.widgets.lines import HeaderLine, KeyLine
from wdtui.tui.widgets.plain_text import PlainText

_APP_KEYS = tuple(key for key in keys.APP if key.action.startswith("app.") and key.action != "app.experiments")
_BACK = keys.Key("escape,backspace", "back", "back", "Return to the runs.", shown="esc", footer=1)
_BAR, _PADDING = 24, 4
"""The number of cells of the bar of progress, and of the blanks at both ends of its line."""
_RETRY_SECONDS = 1.0
"""How long to wait with a store that could not be read."""


class SweepView(RunScreen):
    """One sweep, updated while its runs train, in this process or another."""

    CSS_PATH = "sweep.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings((_BACK,), keys.SWEEP, _APP_KEYS)
    AUTO_FOCUS = None

    def __init__(self, sweep: Sweep) -> None:
        """Raises StoreError if another version of wdtui stored the sweep."""
        super().__init__()
        self._sweep = sweep
        self._schema = sweep.grid.base.schema()
        self._axes = sweep.grid.axes or {"seed": sweep.grid.seeds}
        self._indices = [0] * len(self._axes)
        """The index of the selected cell on each axis."""
        self._cells = sweep.cells
        self._table = Table.of(self._schema, self._axes, ())
        self._metric = self._seed = 0
        self._progress = Progress(sweep, (None,) * len(sweep.config_texts))
        self._settling: Timer | None = None

    def compose(self) -> ComposeResult:
        name = clean(self._sweep.name or self._sweep.experiment)
        yield HeaderLine(" · ".join(filter(None, [f"sweep {self._sweep.label}", name])))
        yield ChartPanel(Figure("", "", ()), id="map")
        with Horizontal(id="selected"):
            yield PlainText(id="cell")
            yield ChartPanel(Figure("", "", ()), id="curves")
        yield PlainText(id="progress")
        yield KeyLine([_BACK, *(key for key in (*keys.SWEEP, *_APP_KEYS) if key.footer)])

    def on_mount(self) -> None:
        self.query_one("#map").focus()
        self.watch(self.app, "snapshot", self._take)

    def on_screen_resume(self) -> None:
        self._take(self.snapshot)
        self._read_curves()

    # What is shown

    @property
    def _shown_metrics(self) -> tuple[str, ...]:
        """The metrics of the first chart, then each other quantity. A map shows one at a time, first the main one."""
        first = self._schema.charts_of(())[0].several
        others = [(name,) for name in columns(self._schema) if name not in first]
        choices = [first if len(self._axes) == 1 else (first[-1],), *others]
        choices[1:1] = [(name,) for name in reversed(first[:-1])] if len(self._axes) > 1 else []
        return choices[self._metric % len(choices)]

    @property
    def _values(self) -> tuple[Value, ...]:
        """The values of the selected cell."""
        return tuple(values[index] for values, index in zip(self._axes.values(), self._indices, strict=True))

    @property
    def _row(self) -> Row | None:
        return self._table.row(self._values)

    @property
    def selected_run(self) -> RunRecord | None:
        runs = [run for run in self._row.runs if isinstance(run, RunRecord)] if self._row else []
        return runs[self._seed % len(runs)] if runs else None

    @property
    def _run_ids(self) -> list[int]:
        """The runs of the selected cell."""
        return [run.id for run in self._row.runs if isinstance(run, RunRecord)] if self._row else []

    def _read_curves(self) -> None:
        """Make the feed read the runs of the selected cell, unless another screen is on top."""
        self._settling = None
        if self.app.screen is self:
            self.workbench.feed.show(self._run_ids)
            self.workbench.look()

    def _take(self, snapshot: Snapshot) -> None:
        """Read the runs of the cells."""
        if not snapshot.loaded or self.covered:
            return
        try:
            run_ids = self.workbench.controls.store.sweeps.run_ids(self._sweep.id)
        except StoreError:  # the app reports it
            self.set_timer(_RETRY_SECONDS, lambda: self._take(self.snapshot))
            return
        wanted = set(run_ids)
        runs = {run.id: run for run in snapshot.runs if run.id in wanted}
        self._progress = Progress(self._sweep, tuple(runs.get(run_id or -1) for run_id in run_ids))
        self._show()

    def _show(self) -> None:
        progress = self._progress
        cells = zip(self._cells, progress.runs, strict=True)
        if self._sweep.grid.axes:
            self._table = Table.of(self._schema, self._axes, ((cell.values, run) for cell, run in cells))
        else:
            self._table = Table.of(self._schema, self._axes, (((cell.config.seed,), run) for cell, run in cells))
        self._schema = self._table.schema
        self.query_one("#map", ChartPanel).show(self._figure())
        self.query_one("#curves", ChartPanel).show(self._curves())
        self.query_one("#cell", PlainText).set_text(self._about_cell(), same_size=True)
        self.query_one("#progress", PlainText).set_text(self._about_progress(), same_size=True)
        sizes = [f"{len(values)} {self._schema.symbol(axis)}" for axis, values in self._axes.items()]
        seeds = len(self._sweep.grid.seeds)
        sizes += [f"{seeds} seeds"] if self._sweep.grid.axes and seeds > 1 else []
        self.query_one(HeaderLine).show(" × ".join(sizes))

    def _figure(self) -> Figure:
        from wdtui.plots.terminal.heatmap import heatmap
        from wdtui.plots.terminal.sweeps import curve, title

        metrics, axes = self._shown_metrics, list(self._axes)
        if len(axes) == 1:
            named = title(self._schema, self._axes, metrics)
            table, index = self._table, self._indices[0]

            def drawing(width: int, height: int) -> Text:
                return curve(table, width=width, height=height, metrics=metrics, selected=index)

        else:
            further = dict(zip(axes[2:], self._values[2:], strict=True))
            selected = (self._indices[0], self._indices[1])
            table = self._table.at(further)

            def drawing(width: int, height: int) -> Text:
                colors = not (self.app.no_color or self.app.native_ansi_color)
                return heatmap(table, metrics[0], width=width, height=height, selected=selected, colors=colors)

            symbol, field = self._schema.symbol, self._schema.field
            named = f"{label(self._schema, metrics[0])} over {' and '.join(map(symbol, axes[:2]))}"
            named += "".join(f", at {symbol(axis)} {field(axis).written(value)}" for axis, value in further.items())
        value = spread_text(self._schema, self._row, metrics[-1]) if self._row else ""
        return Figure(named, "", (Text(value),), drawing=drawing)

    def _curves(self) -> Figure:
        """The curves of the selected cell, of the metric on the map if a chart has it, else of the first chart."""
        wanted = self._run_ids
        shown = [one for one in self.workbench.snapshot.shown if one.run.id in wanted]
        if wanted and not shown and self._settling is None:
            self._settling = self.set_timer(key_order.TYPING_SECONDS, self._read_curves)
        charts = self._schema.charts_of(shown[0].curves.names if shown else ())
        metric = self._shown_metrics[-1]
        chart = next((one for one in charts if metric in (trace.metric for trace in one.traces)), charts[0])
        return figure(chart, subjects(shown, self.workbench.identities.of), View())

    def _about_cell(self) -> Text:
        row, run = self._row, self.selected_run
        text = Text(no_wrap=True, overflow="ellipsis")
        grid = dataclasses.replace(self._sweep.grid, axes=self._axes)
        text.append(f"{values_name(grid, self._values)}   ", "bold")
        if row is None:
            return text.append("This combination equals another cell.")
        text.append(states_text(row))
        if run:
            text.append(f"   run {run.id}" + (f", seed {run.values['seed']}" if len(row.runs) > 1 else ""))
        schema = self._schema
        results = [(label(schema, name), spread_text(schema, row, name)) for name in columns(schema)]
        in_a_line, width = 3 if self.has_class("-short") else 1, max(len(name) for name, _ in results)
        for index, (name, value) in enumerate(results):
            text.append("   " if index % in_a_line else "\n")
            text.append(f"{name} " if in_a_line > 1 else f"{name.ljust(width)}  ", "dim").append(value)
        return text

    def _about_progress(self) -> Text:
        progress = self._progress
        done, left = progress.steps, progress.steps_left
        bar = _BAR if self.size.width >= 100 else _BAR // 3
        full = round(bar * done / max(done + left, 1))
        line = progress_line(progress, self.size.width - _PADDING - bar - 2)
        return Text.assemble(("━" * full, "bold"), ("─" * (bar - full), "dim"), f"  {line}", no_wrap=True)

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.height < 14, "-tiny")
        self.set_class(event.size.height < 30 or event.size.width < 80, "-short")
        self._take(self.snapshot)  # its texts depend on the width

    # Actions

    def action_move(self, down: int, across: int) -> None:
        """Select a neighbouring cell. A single axis runs across."""
        steps = (across,) if len(self._indices) == 1 else (down, across)
        for axis, step in enumerate(steps):
            last = len(list(self._axes.values())[axis]) - 1
            self._indices[axis] = min(max(self._indices[axis] + step, 0), last)
        self._show()

    def on_click(self, event: events.Click) -> None:
        indices = event.style.meta.get("cell")
        if indices is not None:
            self._indices[:2] = indices
            self._show()
            if event.chain > 1:
                self.action_open_cell()

    @on(ChartPanel.Pointed)
    def _point(self, event: ChartPanel.Pointed) -> None:
        """Select the value of the single axis that is nearest to a click in the curve."""
        from wdtui.plots.terminal.sweeps import axis_positions

        event.stop()
        (positions,) = (axis_positions(self._schema, axis, values) for axis, values in self._axes.items())
        self._indices[0] = min(range(len(positions)), key=lambda index: abs(positions[index] - event.x))
        self._show()

    def action_next_metric(self) -> None:
        self._metric += 1
        self._show()

    def action_next_seed(self) -> None:
        self._seed += 1
        self._show()

    def action_next_layer(self) -> None:
        """Show the next combination of the third and further axes."""
        sizes = [range(len(values)) for values in list(self._axes.values())[2:]]
        combinations = list(itertools.product(*sizes))
        index = combinations.index(tuple(self._indices[2:]))
        self._indices[2:] = combinations[(index + 1) % len(combinations)]
        self._show()

    def action_open_cell(self) -> None:
        run = self.selected_run
        if run is None:
            key = key_of("go_on", self.workbench.keymap)
            self.notify(f"This cell has no run yet: {key} trains the missing runs.", markup=False)
            return
        self.workbench.feed.show([run.id])
        self.workbench.open_run(run.id)
        self.workbench.look()

    def action_go_on(self) -> None:
        def gone_on(outcome: str) -> None:
            self.workbench.look()
            self.notify(outcome, markup=False, timeout=3)

        self.workbench.do_in_thread(partial(self.controls.resume_sweep, self._sweep), gone_on)

    def action_stop_sweep(self) -> None:
        self.do(self.controls.stop_sweep, self._sweep)

    def action_back(self) -> None:
        self.dismiss()
