"""A sweep as it fills in: a curve over one axis or a map over two, the cell in hand in numbers, and how far it is."""

from __future__ import annotations

import dataclasses
import itertools
from functools import partial
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType

from wdtui.analysis.sweep_table import Row, Table, columns, label
from wdtui.runs.sweep_words import progress_line, spread_text, states_text, values_name
from wdtui.runs.sweeps import Progress
from wdtui.schema.hyperparameters import Value
from wdtui.store.records import RunRecord, StoreError
from wdtui.store.sweeps import Sweep
from wdtui.support.text import clean
from wdtui.tui import keys
from wdtui.tui.feed import Snapshot
from wdtui.tui.figures import Figure
from wdtui.tui.keymap import key_of
from wdtui.tui.screens.actions import RunScreen
from wdtui.tui.widgets.chart import ChartPanel
from wdtui.tui.widgets.lines import HeaderLine, KeyLine
from wdtui.tui.widgets.words import Words

_APP_KEYS = tuple(key for key in keys.APP if key.action.startswith("app.") and key.action != "app.experiments")
_BACK = keys.Key("escape,backspace", "back", "back", "Return to the runs.", shown="esc", footer=True)
_BAR = 24


class SweepView(RunScreen):
    """One sweep, followed while its runs are trained, here or elsewhere."""

    CSS_PATH = "sweep.tcss"
    BINDINGS: ClassVar[list[BindingType]] = keys.bindings((_BACK,), keys.SWEEP, _APP_KEYS)
    AUTO_FOCUS = None

    def __init__(self, sweep: Sweep) -> None:
        """Raises StoreError where another version of wdtui stored the sweep."""
        super().__init__()
        self._sweep = sweep
        self._schema = sweep.grid.base.schema()
        self._axes = sweep.grid.axes or {"seed": sweep.grid.seeds}
        self._place = [0] * len(self._axes)
        """Where the cell in hand stands on each axis."""
        self._cells = sweep.cells
        self._metric = self._seed = 0
        self._progress = Progress(sweep, (None,) * len(sweep.config_texts))

    def compose(self) -> ComposeResult:
        name = clean(self._sweep.name or self._sweep.experiment)
        yield HeaderLine(" · ".join(filter(None, [f"sweep {self._sweep.label}", name])))
        yield ChartPanel(Figure("", "", ()), id="map")
        yield Words(id="cell")
        yield Words(id="progress")
        yield KeyLine([_BACK, *(key for key in (*keys.SWEEP, *_APP_KEYS) if key.footer)])

    def on_mount(self) -> None:
        self.query_one("#map").focus()
        self.watch(self.app, "snapshot", self._take)

    # What is shown

    @property
    def _shown_metrics(self) -> tuple[str, ...]:
        """What the first chart compares, then each other quantity; a map shows one at a time, the main one first."""
        first = self._schema.charts_of(())[0].several
        others = [(name,) for name in columns(self._schema) if name not in first]
        choices = [first if len(self._axes) == 1 else (first[-1],), *others]
        choices[1:1] = [(name,) for name in reversed(first[:-1])] if len(self._axes) > 1 else []
        return choices[self._metric % len(choices)]

    @property
    def _values(self) -> tuple[Value, ...]:
        """The cell in hand."""
        return tuple(values[place] for values, place in zip(self._axes.values(), self._place, strict=True))

    @property
    def _row(self) -> Row | None:
        return self._table.row(self._values)

    @property
    def run_in_hand(self) -> RunRecord | None:
        runs = [run for run in self._row.runs if isinstance(run, RunRecord)] if self._row else []
        return runs[self._seed % len(runs)] if runs else None

    def _take(self, snapshot: Snapshot) -> None:
        """Look which runs the cells have now, and how these stand."""
        if not snapshot.loaded:
            return
        try:
            run_ids = self.workbench.controls.store.sweeps.run_ids(self._sweep.id)
        except StoreError:  # the app says so itself
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
        self.query_one("#cell", Words).say(self._about_cell(), same_size=True)
        self.query_one("#progress", Words).say(self._about_progress(), same_size=True)
        sizes = [f"{len(values)} {self._schema.symbol(axis)}" for axis, values in self._axes.items()]
        seeds = len(self._sweep.grid.seeds)
        sizes += [f"{seeds} seeds"] if self._sweep.grid.axes and seeds > 1 else []
        self.query_one(HeaderLine).tell(" × ".join(sizes))

    def _figure(self) -> Figure:
        from wdtui.plots.terminal.sweeps import curve, heatmap, title

        metrics, axes = self._shown_metrics, list(self._axes)
        if len(axes) == 1:
            named = title(self._schema, self._axes, metrics)
            drawing = partial(curve, self._table, metrics=metrics, selected=self._place[0])
        else:
            further = dict(zip(axes[2:], self._values[2:], strict=True))
            selected = (self._place[0], self._place[1])
            drawing = partial(heatmap, self._table.at(further), metrics[0], selected=selected)
            symbol, field = self._schema.symbol, self._schema.field
            named = f"{label(self._schema, metrics[0])} over {' and '.join(map(symbol, axes[:2]))}"
            named += "".join(f", at {symbol(axis)} {field(axis).written(value)}" for axis, value in further.items())
        value = spread_text(self._schema, self._row, metrics[-1]) if self._row else ""
        return Figure(named, "", (Text(value),), drawing=lambda width, height: drawing(width=width, height=height))

    def _about_cell(self) -> Text:
        row, run = self._row, self.run_in_hand
        text = Text(no_wrap=True, overflow="ellipsis")
        grid = dataclasses.replace(self._sweep.grid, axes=self._axes)
        text.append(f"{values_name(grid, self._values)}   ", "bold")
        if row is None:
            return text.append("This combination equals another cell.")
        text.append(states_text(row))
        if run:
            text.append(f"   run {run.id}" + (f", seed {run.values['seed']}" if len(row.runs) > 1 else ""))
        told = [f"{label(self._schema, name)} {spread_text(self._schema, row, name)}" for name in columns(self._schema)]
        text.append("\n" + "   ".join(told[:3]))
        return text.append("\n" + "   ".join(told[3:]))

    def _about_progress(self) -> Text:
        progress = self._progress
        done, left = progress.steps, progress.steps_left
        bar = _BAR if self.size.width >= 100 else _BAR // 3
        full = round(bar * done / max(done + left, 1))
        return Text.assemble(
            ("━" * full, "bold"), ("─" * (bar - full), "dim"), f"  {progress_line(progress)}", no_wrap=True
        )

    def on_resize(self, event: events.Resize) -> None:
        self.set_class(event.size.height < 14, "-tiny")

    # What is done

    def action_move(self, down: int, across: int) -> None:
        """To the neighbouring cell; a single axis runs across."""
        steps = (across,) if len(self._place) == 1 else (down, across)
        for axis, step in enumerate(steps):
            last = len(list(self._axes.values())[axis]) - 1
            self._place[axis] = min(max(self._place[axis] + step, 0), last)
        self._show()

    def on_click(self, event: events.Click) -> None:
        place = event.style.meta.get("cell")
        if place is not None:
            self._place[:2] = place
            self._show()
            if event.chain > 1:
                self.action_open_cell()

    @on(ChartPanel.Pointed)
    def _point(self, event: ChartPanel.Pointed) -> None:
        """Take the value of the single axis that is nearest to a click in its curve."""
        from wdtui.plots.terminal.sweeps import axis_places

        event.stop()
        (places,) = (axis_places(self._schema, axis, values) for axis, values in self._axes.items())
        self._place[0] = min(range(len(places)), key=lambda place: abs(places[place] - event.x))
        self._show()

    def action_next_metric(self) -> None:
        self._metric += 1
        self._show()

    def action_next_seed(self) -> None:
        self._seed += 1
        self._show()

    def action_next_layer(self) -> None:
        """The next combination of the axes beyond the second."""
        sizes = [range(len(values)) for values in list(self._axes.values())[2:]]
        combinations = list(itertools.product(*sizes))
        place = combinations.index(tuple(self._place[2:]))
        self._place[2:] = combinations[(place + 1) % len(combinations)]
        self._show()

    def action_open_cell(self) -> None:
        run = self.run_in_hand
        if run is None:
            key = key_of("go_on", self.workbench.keymap)
            self.notify(f"This cell has no run yet: {key} trains the missing runs.", markup=False)
            return
        self.workbench.feed.show([run.id])
        self.workbench.open_run(run.id)
        self.workbench.look()

    def action_go_on(self) -> None:
        go_on = partial(self.controls.resume_sweep, self._sweep)
        self.workbench.do_aside(go_on, lambda said: self.notify(said, markup=False, timeout=3))

    def action_stop_sweep(self) -> None:
        self.do(self.controls.stop_sweep, self._sweep)

    def action_back(self) -> None:
        self.dismiss()
