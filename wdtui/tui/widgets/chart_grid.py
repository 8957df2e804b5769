"""The charts of a screen with a common view, one of them current, above a status line."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.containers import Container

from wdtui.runs.query import QueryError, find_step
from wdtui.schema.chart import Chart
from wdtui.schema.schema import Schema
from wdtui.tui import key_order
from wdtui.tui.feed import Shown
from wdtui.tui.figures import Figure, figure, milestones_of, title, written_values
from wdtui.tui.identity import Identity
from wdtui.tui.key_order import KeyOrder
from wdtui.tui.layouts import Layouts, Picked
from wdtui.tui.readouts import comparison, legend, place_text, readout
from wdtui.tui.subjects import Subject, axes_of, position, positions, subjects, whole_span
from wdtui.tui.view import View
from wdtui.tui.widgets.chart import ChartPanel
from wdtui.tui.widgets.plain_text import PlainText

_BREATH = 0.001
"""The pause between two charts, in which a key that has come meanwhile gets to the widget that handles it."""


class ChartGrid(Container):
    """Charts of the runs given to `show`, with one View. `act` does what keys ask for."""

    DEFAULT_CSS = """
    ChartGrid { layout: vertical; }
    ChartGrid > #charts { layout: grid; grid-size: 2; height: 1fr; }
    ChartGrid > #charts.-one { layout: vertical; }
    ChartGrid > #charts.-one ChartPanel { display: none; height: 1fr; }
    ChartGrid > #charts.-one ChartPanel.-current { display: block; }
    ChartGrid > #charts ChartPanel.-unused { display: none; }
    ChartGrid > #status { height: auto; min-height: 1; max-height: 9; padding: 0 2; color: $muted;
        text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(
        self,
        schema: Schema,
        most: int,
        identity: Callable[[int], Identity],
        status_line: Callable[[Shown], str],
        layouts: Layouts,
        *,
        per_layer: bool = False,
        id: str | None = None,
    ) -> None:
        """Show at most `most` charts; while no run is shown, those of `schema`.

        `status_line` describes a single run in one line. `per_layer` is the initial view.
        """
        super().__init__(id=id)
        self._idle = schema
        self._most = most
        self._layouts = layouts
        self._charts = self._charts_of(())
        self._identity = identity
        self._status_line = status_line
        self._subjects: list[Subject] = []
        self._shown: tuple[Shown, ...] = ()
        self._initial = self._view = View(per_layer=per_layer)
        self._current = 0
        self._maximised = False
        self._narrow = False
        self._waiting: list[int] = []
        """The charts that the present update still has to draw."""
        self.greeting = ""
        """The status line while no run is shown."""

    def compose(self) -> ComposeResult:
        with Container(id="charts"):
            for index in range(self._most):
                yield ChartPanel(Figure("", "", ()), id=f"chart-{index}")
        yield PlainText(id="status")

    def on_mount(self) -> None:
        self._arrange()

    @property
    def panels(self) -> list[ChartPanel]:
        return list(self.query(ChartPanel))

    def show(self, shown: tuple[Shown, ...]) -> None:
        """Show these runs. Nothing happens if they are the same as before."""
        if shown == self._shown and shown:
            return
        if [run.run.id for run in shown] != [run.run.id for run in self._shown]:
            self._view = dataclasses.replace(self._view, span=None, cursor=None)
        self._shown = shown
        self._subjects = subjects(shown, self._identity)
        if shown and self._view.axis not in axes_of(self._subjects):
            self._view = self._view.with_axis("step")
        charts = self._charts_of(shown)
        if charts != self._charts:
            self._charts, self._current = charts, min(self._current, len(charts) - 1)
            self._arrange()
        else:
            self._draw(at_once=False)

    def _charts_of(self, shown: Sequence[Shown]) -> tuple[Chart, ...]:
        """The charts of the first run. Runs of other problems show metrics with the same names."""
        schema, columns = (shown[0].run.schema, shown[0].curves.names) if shown else (self._idle, ())
        return self._layouts.charts(schema, schema.charts_of(columns)[: self._most])

    def use_narrow(self, narrow: bool) -> None:
        """Show one chart at a time if there is no room for all."""
        if narrow != self._narrow:
            self._narrow = narrow
            self._arrange()

    def use_at_most(self, charts: int) -> None:
        """Show no more than so many charts at a time."""
        if charts != self._most:
            self._most = charts
            self._charts = self._charts_of(self._shown)
            self._current = min(self._current, len(self._charts) - 1)
            self._arrange()

    def select_layers(self, pattern: str) -> None:
        """Draw only the layers whose names have this pattern, where layers have curves."""
        self._look(dataclasses.replace(self._view, layers=pattern))

    def _arrange(self) -> None:
        self.query_one("#charts").set_class(self._maximised or self._narrow, "-one")
        for index, panel in enumerate(self.panels):
            panel.current = index == self._current
            panel.set_class(index == self._current, "-current")
            panel.set_class(index >= len(self._charts), "-unused")
        self._draw()

    def _draw(self, *, at_once: bool = True) -> None:
        """Pass the figures to the visible charts, to one at a time, between which keys are handled.

        The current one comes first, `at_once` if a person waits for it, and then those that have waited longest.
        """
        visible = [self._current] if self._maximised or self._narrow else range(len(self._charts))
        waiting = [index for index in self._waiting if index in visible]
        order = dict.fromkeys([self._current, *waiting, *visible])
        drawing, self._waiting = bool(self._waiting), list(order)
        if at_once:
            self._draw_one()
        if not drawing:
            self.call_later(self._draw_others)
        self._show_status()

    def _draw_one(self) -> None:
        """Draw the chart that comes next."""
        index = self._waiting.pop(0)
        if index < min(len(self._charts), len(self.panels)):
            self.panels[index].show(figure(self._charts[index], self._subjects, self._view))

    async def _draw_others(self) -> None:
        """Draw the charts that wait, one at a time and not while a person types."""
        while self._waiting and self.is_attached:
            if isinstance(self.app, KeyOrder) and self.app.typing:
                self.set_timer(key_order.TYPING_SECONDS, self._draw_others)
                return
            self._draw_one()
            await asyncio.sleep(_BREATH)
        self._waiting = []

    def on_resize(self) -> None:
        self._show_status()

    def _show_status(self) -> None:
        status, line = self._status(), self.query_one("#status", PlainText)
        line.set_text(status, same_size=line.lines(status.plain) == line.size.height)

    def _status(self) -> Text:
        text = Text(no_wrap=True, overflow="ellipsis")
        if self._view.cursor is not None and self._subjects:
            room = self.size.width - 4
            if len(self._subjects) > 1 and self._narrow:
                return readout(self._chart.main, self._subjects, self._view, room)
            if len(self._subjects) > 1:
                return comparison(self._charts, self._subjects, self._view, room)
            text.append(f"{place_text(self._view)}   ", "bold").append(f"{title(self._chart, self._view)}   ")
            return text.append_text(written_values(self._chart, self._subjects, self._view, "label"))
        if len(self._subjects) > 1:
            return text.append_text(legend(self._subjects, self._view))
        return text.append(self._status_line(self._subjects[0].shown) if self._subjects else self.greeting)

    def act(self, name: str, *arguments: float) -> None:
        """Perform an action of the keys."""
        actions: dict[str, Callable[..., None]] = {
            "change_time_scale": lambda: self._look(self._view.with_time_scale_changed()),
            "change_value_scale": lambda: self._look(self._view.with_value_scale_changed(self._chart.name)),
            "change_axis": self._change_axis,
            "change_bands": lambda: self._look(dataclasses.replace(self._view, bands=not self._view.bands)),
            "smooth": lambda: self._look(self._view.with_next_smoothing()),
            "zoom_values": lambda factor: self._look(self._view.with_values_zoomed(self._chart.name, factor)),
            "next_event": self._go_to_event,
            "change_layers": lambda: self._look(dataclasses.replace(self._view, per_layer=not self._view.per_layer)),
            "zoom": lambda factor: self._look(self._view.zoomed(factor, self._whole)),
            "pan": lambda share: self._look(self._view.panned(share, self._whole)),
            "move_cursor": self._move_cursor,
            "reset": lambda: self._look(dataclasses.replace(self._initial, layers=self._view.layers)),
            "maximise": self._maximise,
            "next": lambda: self._choose((self._current + 1) % len(self._charts)),
            "swap": self._swap,
        }
        actions[name](*arguments)

    @property
    def _chart(self) -> Chart:
        return self._charts[self._current]

    @property
    def _whole(self) -> tuple[float, float]:
        return whole_span(self._subjects, self._view)

    @property
    def _steps(self) -> NDArray[np.float64]:
        """All points of the runs on the charts, on the view's axis, ascending."""
        return np.unique(np.concatenate([[], *(positions(subject, self._view) for subject in self._subjects)]))

    @property
    def cursor_step(self) -> int | None:
        """The step of the last of the runs that is nearest to the cursor; None without a cursor."""
        if self._view.cursor is None or not self._subjects:
            return None
        subject = self._subjects[-1]
        steps = subject.shown.curves.steps
        return int(steps[np.abs(positions(subject, self._view) - self._view.cursor).argmin()]) if len(steps) else None

    # What a person puts into the charts

    @property
    def schema(self) -> Schema:
        """The schema of the first run."""
        return self._shown[0].run.schema if self._shown else self._idle

    @property
    def columns(self) -> tuple[str, ...]:
        """What the runs on the charts record; before any is read, what the problem measures."""
        recorded = dict.fromkeys(name for one in self._shown for name in one.curves.names)
        return tuple(recorded or (name for name, metric in self._idle.metrics.items() if metric.pooled))

    @property
    def picked(self) -> Picked | None:
        """What was picked for the current chart."""
        return self._layouts.at(self.schema, self._current)

    def pick(self, picked: Picked | None) -> None:
        """Set what the current chart shows, from now on for all runs of the problem; None for its own chart."""
        self._layouts.put(self.schema, self._current, picked)
        self.refresh_layout()

    def refresh_layout(self) -> None:
        """Show the charts as they are laid out now."""
        self._charts = self._charts_of(self._shown)
        self._current = min(self._current, len(self._charts) - 1)
        self._arrange()

    def _swap(self) -> None:
        """Exchange the current chart and the next one."""
        if len(self._charts) > 1:
            other = (self._current + 1) % len(self._charts)
            self._layouts.swap(self.schema, self._charts, self._current, other)
            self._current = other
            self.refresh_layout()

    def go_to(self, text: str) -> str:
        """Put the cursor on a step, or where a condition such as `test>0.9` first holds; return what is wrong.

        Of several runs, the last one decides.
        """
        if not self._subjects:
            return "There are no points yet."
        shown = self._subjects[-1].shown
        try:
            step = find_step(text, shown.curves, shown.run.schema)
        except QueryError as error:
            return str(error)
        if step is None:
            return f"{text} holds at no point of run {shown.run.id}."
        self._look(self._view.pointing_at(position(self._subjects[-1], step, self._view), self._whole))
        return ""

    def _go_to_event(self, direction: int) -> None:
        """Put the cursor on the next marked event, or on the previous one."""
        places = sorted(
            {
                position(subject, step, self._view)
                for subject in self._subjects
                for step, *_ in milestones_of(subject.shown)
            }
        )
        cursor, margin = self._view.cursor, 1e-9 * self._whole[1]
        if cursor is not None:
            places = [place for place in places if (place - cursor) * direction > margin]
        if places:
            self._look(self._view.pointing_at(places[0 if direction > 0 else -1], self._whole))

    def _change_axis(self) -> None:
        """Use the next axis that all runs can be drawn over."""
        names = axes_of(self._subjects) or ["step"]
        following = names[(names.index(self._view.axis) + 1) % len(names)] if self._view.axis in names else names[0]
        self._look(self._view.with_axis(following))

    def _look(self, view: View) -> None:
        """Set the view, with the cursor on a logged step if one is in view."""
        if view.cursor is not None:
            low, high = view.visible(self._whole)
            steps = self._steps
            steps = steps[(steps >= low) & (steps <= high)]
            if len(steps):
                view = dataclasses.replace(view, cursor=float(steps[abs(steps - view.cursor).argmin()]))
        self._view = view
        self._draw()

    @property
    def maximised(self) -> bool:
        return self._maximised

    def _maximise(self) -> None:
        self._maximised = not self._maximised
        self._arrange()

    def _choose(self, index: int) -> None:
        self._current = index
        self._arrange()

    def _move_cursor(self, columns: float) -> None:
        """Move to a point about one column away. Initially, the newest point in view."""
        low, high = self._view.visible(self._whole)
        steps = self._steps
        if not len(steps):
            return
        if self._view.cursor is None:
            index = int(np.searchsorted(steps, high, "right")) - 1
        else:
            seen = np.count_nonzero((steps >= low) & (steps <= high))
            stride = max(round(seen / max(self.panels[self._current].size.width - 10, 1)), 1)
            index = int(abs(steps - self._view.cursor).argmin()) + int(columns) * stride
        step = float(steps[min(max(index, 0), len(steps) - 1)])
        self._look(self._view.pointing_at(step, self._whole))

    @on(ChartPanel.Pointed)
    def _point(self, event: ChartPanel.Pointed) -> None:
        event.stop()
        self._look(self._view.pointing_at(event.x, self._whole))

    @on(ChartPanel.Zoomed)
    def _zoom(self, event: ChartPanel.Zoomed) -> None:
        event.stop()
        self._look(self._view.zoomed(event.factor, self._whole, around=event.x))

    @on(ChartPanel.ValuesZoomed)
    def _zoom_values(self, event: ChartPanel.ValuesZoomed) -> None:
        event.stop()
        self._choose(self.panels.index(event.panel))
        self._look(self._view.with_values_zoomed(self._chart.name, event.factor))

    @on(ChartPanel.Dragged)
    def _show_part(self, event: ChartPanel.Dragged) -> None:
        event.stop()
        self._look(self._view.showing(event.low, event.high, self._whole))

    @on(ChartPanel.Panned)
    def _pan(self, event: ChartPanel.Panned) -> None:
        event.stop()
        self._look(self._view.panned(event.share, self._whole))

    @on(ChartPanel.Chosen)
    def _choose_reached(self, event: ChartPanel.Chosen) -> None:
        event.stop()
        if (index := self.panels.index(event.panel)) != self._current:
            self._choose(index)
