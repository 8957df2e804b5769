"""One chart in a thin rounded border with its title and newest value. Only changed cells are redrawn."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.color import Color
from textual.geometry import Region
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from wdtui.support.text import number
from wdtui.tui.figures import Figure
from wdtui.tui.theme import style_of

if TYPE_CHECKING:
    from wdtui.plots.terminal import Drawing

_ZOOM, _PAN = 0.8, 0.1
"""How much of the span one notch of the wheel leaves in view, and by which share it moves it."""
_DRAG = 3
"""Over how many columns a drag goes at least."""
_LEFT = 2
"""Columns of border and padding left of the drawing."""


class ChartPanel(Widget, can_focus=True):
    """Shows a Figure. Draws nothing while it is hidden or unchanged."""

    DEFAULT_CSS = """
    ChartPanel { background: $background; color: $foreground; min-height: 3; }
    """
    current: reactive[bool] = reactive(False)

    class Chosen(Message):
        """The chart was clicked, or focused with Tab."""

        def __init__(self, panel: ChartPanel) -> None:
            super().__init__()
            self.panel = panel

    class Pointed(Message):
        """A value on the x axis was clicked."""

        def __init__(self, x: float) -> None:
            super().__init__()
            self.x = x

    class Zoomed(Message):
        """The wheel was turned: show `factor` times as much, around a value on the x axis."""

        def __init__(self, factor: float, x: float) -> None:
            super().__init__()
            self.factor, self.x = factor, x

    class Panned(Message):
        """The wheel was turned sideways: move the visible part by a share of itself."""

        def __init__(self, share: float) -> None:
            super().__init__()
            self.share = share

    class ValuesZoomed(Message):
        """The wheel was turned with Ctrl: show `factor` times as much of the range of values."""

        def __init__(self, panel: ChartPanel, factor: float) -> None:
            super().__init__()
            self.panel, self.factor = panel, factor

    class Dragged(Message):
        """The mouse was dragged from one value on the x axis to another."""

        def __init__(self, low: float, high: float) -> None:
            super().__init__()
            self.low, self.high = low, high

    def __init__(self, figure: Figure, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._pressed: int | None = None
        """The column at which a mouse button went down."""
        self._dragged: int | None = None
        """The column to which it was dragged."""
        self._selected = False
        """Whether the last press was a drag."""
        self._figure = figure
        self._strips: list[Strip] = []
        self._drawing: Drawing | None = None
        self._stale = True

    def show(self, figure: Figure) -> None:
        """Show another figure. Only cells that differ are painted."""
        self._figure = figure
        self._stale = True
        if self.is_mounted and self.size and self.display and self.region:
            before, after = self._strips, self._drawn()
            regions = [
                Region(start, y, end - start, 1)
                for y, (old, new) in enumerate(zip(before, after, strict=False))
                if (span := changed_cells(old, new)) and (start := span[0]) < (end := span[1])
            ]
            if len(before) != len(after):
                self.refresh()
            elif regions:
                self.refresh(*regions)

    def watch_current(self) -> None:
        self._redraw()

    def on_resize(self) -> None:
        self._redraw()

    def on_focus(self) -> None:
        self.post_message(self.Chosen(self))
        self._redraw()

    def on_blur(self) -> None:
        self._redraw()

    def on_mouse_down(self, event: events.MouseDown) -> None:
        self._pressed = event.x
        self.capture_mouse()

    def on_mouse_move(self, event: events.MouseEvent) -> None:
        """Show what a drag selects."""
        if self._pressed is not None:
            before, self._dragged = self._selection, min(max(event.x, 0), self.size.width - 1)
            if self._selection != before:
                self.refresh()  # all lines: a drag changes columns

    def on_mouse_up(self, event: events.MouseUp) -> None:
        """Show the part that was dragged over. A click ends where it began."""
        self.release_mouse()
        self.on_mouse_move(event)
        selected = self._selection
        self._pressed = self._dragged = None
        self._selected = selected is not None
        if selected:
            self.refresh()
            low, high = map(self.x_at, selected)
            if low is not None and high is not None:
                self.post_message(self.Dragged(low, high))

    @property
    def _selection(self) -> tuple[int, int] | None:
        """The first and the last column of a drag that is wide enough, within the plot; None without one."""
        if self._pressed is None or self._dragged is None or abs(self._dragged - self._pressed) < _DRAG:
            return None
        low, high = sorted((self._pressed, self._dragged))
        inside = [column for column in range(low, high + 1) if self.x_at(column) is not None]
        return (inside[0], inside[-1]) if inside else None

    def on_click(self, event: events.Click) -> None:
        """Set the cursor. The click that follows a drag does not."""
        self.post_message(self.Chosen(self))
        if not self._selected and (x := self.x_at(event.x)) is not None:
            self.post_message(self.Pointed(x))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        self._wheel(event, self._instead(event, -_PAN, _ZOOM), _ZOOM)

    def on_mouse_scroll_down(self, event: events.MouseScrollDown) -> None:
        self._wheel(event, self._instead(event, _PAN, 1 / _ZOOM), 1 / _ZOOM)

    def _instead(self, event: events.MouseEvent, share: float, factor: float) -> Message | None:
        """What the wheel does with Shift or Ctrl held."""
        if event.shift:
            return self.Panned(share)
        return self.ValuesZoomed(self, factor) if event.ctrl else None

    def on_mouse_scroll_left(self, event: events.MouseScrollLeft) -> None:
        self._wheel(event, self.Panned(-_PAN))

    def on_mouse_scroll_right(self, event: events.MouseScrollRight) -> None:
        self._wheel(event, self.Panned(_PAN))

    def _wheel(self, event: events.MouseEvent, instead: Message | None, factor: float = 1.0) -> None:
        if (x := self.x_at(event.x)) is not None:
            event.stop()
            self.post_message(instead or self.Zoomed(factor, x))

    def x_at(self, column: int) -> float | None:
        """The value on the x axis at a column of this widget; None outside the plot area and without points."""
        self._drawn()
        return self._drawing.x_at(column - _LEFT) if self._drawing else None

    def notify_style_update(self) -> None:
        self._stale = True
        super().notify_style_update()

    def _redraw(self) -> None:
        self._stale = True
        self.refresh()

    def render_line(self, y: int) -> Strip:
        strips = self._drawn()
        strip = strips[y] if y < len(strips) else Strip.blank(self.size.width, self.rich_style)
        return self._with_selection(strip, y) if self._selection else strip

    def _with_selection(self, strip: Strip, y: int) -> Strip:
        """A line with what a drag selects in another colour, or at the bottom with the selected range."""
        assert self._selection is not None
        first, last = self._selection
        style, text = self._selection_style(), ""
        if y == self.size.height - 1:
            low, high = (number(round(value)) for column in (first, last) if (value := self.x_at(column)) is not None)
            text = f" {low} – {high} "
            first = max(min(first, self.size.width - 1 - len(text)), 1)
            last = first + len(text) - 1
        if y == 0 or last >= self.size.width - 1:
            return strip
        before, inside, rest = strip.divide([first, last + 1, strip.cell_length])
        chosen = [Segment(text, self.rich_style)] if text else [*Segment.apply_style(inside, post_style=style)]
        return Strip.join([before, Strip(chosen), rest])

    def _selection_style(self) -> Style:
        if self.app.native_ansi_color or self.app.no_color:
            return Style(reverse=True)
        return Style(bgcolor=style_of(self.app, "selection").color)

    def _drawn(self) -> list[Strip]:
        if self._stale or len(self._strips) != self.size.height:
            self._strips = list(self._draw())
            self._stale = False
        return self._strips

    def _draw(self) -> list[Strip]:
        from wdtui.plots.terminal import Drawing, draw

        self._drawing = None
        width, height = self.size
        if width < 4 or height < 3:
            return [Strip.blank(width, self.rich_style)] * height
        figure = self._figure
        if figure.about:
            return self._framed(message(figure.about, width - 4, height - 2))
        if figure.drawing:
            text = figure.drawing(width - 4, height - 2)
            self._drawing = text if isinstance(text, Drawing) else None
            return self._framed(text)
        self._drawing = draw(
            figure.series,
            width=width - 4,
            height=height - 2,
            x_range=figure.x_range,
            y_range=figure.y_range,
            x_log=figure.x_log,
            y_log=figure.y_log,
            marks=figure.marks,
            levels=figure.levels,
            cursor=figure.cursor,
            outliers=figure.outliers,
        )
        return self._framed(self._drawing)

    def _framed(self, text: Text) -> list[Strip]:
        width = self.size.width
        base, edge = self.rich_style, style_of(self.app, "accent" if self.has_focus else "line")
        side = Segment("│", base + edge)
        blank = Segment(" ", base)
        body = [Strip([side, blank, *self._segments(line, base), blank, side], width) for line in text.split("\n")]
        return [self._head(width, base, edge), *body, self._foot(width, base, edge)]

    def _head(self, width: int, base: Style, edge: Style) -> Strip:
        """The upper border, with the title on its left and the value on its right if there is room."""
        title, room = self._figure.title, width - 4
        fitting = (value for value in self._figure.values if len(title) + value.cell_len + 5 <= room)
        value = next(fitting, Text())
        title = title[: max(room - 2, 0)].rstrip()
        left = [Segment("╭─", base + edge)]
        left += [Segment(f" {title} ", base + Style(bold=self.current or None))] if title else []
        right = [Segment(" ", base), *self._segments(value, base), Segment(" ", base)] if value else []
        rule = width - 4 - (len(title) + 2 if title else 0) - (value.cell_len + 2 if value else 0)
        parts = [*left, Segment("─" * max(rule, 0), base + edge), *right, Segment("─╮", base + edge)]
        return Strip(parts).adjust_cell_length(width, base)

    def _foot(self, width: int, base: Style, edge: Style) -> Strip:
        """The lower border. It says which axes are logarithmic and what is left out: the title often has no room."""
        figure = self._figure
        left = " log scale " if figure.y_log and not figure.about else ""
        right = " ".join(
            filter(None, ["log" if figure.x_log else "", figure.x_name or ("time" if figure.x_log else "")])
        )
        right = f" {right} " if right and not figure.about else ""
        note = f" {figure.note} " if figure.note and not figure.about else ""
        if len(left) + len(note) + len(right) + 5 > width:
            left = right = ""
        if len(note) + 4 > width:
            note = ""
        events = self._events(width - 5 - len(left) - len(note) - len(right), base)
        rule = "─" * (width - 4 - len(left) - len(note) - len(right) - sum(part.cell_length for part in events))
        line, words = base + edge, base + style_of(self.app, "muted")
        before, after = [("╰─", line), (left, words), (rule, line)], [(note, words), (right, words), ("─╯", line)]
        parts = [[Segment(text, style) for text, style in side if text] for side in (before, after)]
        return Strip([*parts[0], *events, *parts[1]]).adjust_cell_length(width, base)

    def _events(self, room: int, base: Style) -> list[Segment]:
        """The kinds of events that are marked, as many as there is room for."""
        text = Text()
        for event in () if self._figure.about else self._figure.events:
            if text.cell_len + event.cell_len + 2 <= room:
                text.append("  " if text else " ").append_text(event)
        return self._segments(text.append(" "), base + style_of(self.app, "muted")) if text else []

    def _segments(self, line: Text, base: Style) -> list[Segment]:
        """A line with dim parts in the theme's muted colour, as a terminal's own dim may be hard to read."""
        line = line.copy()
        line.end = ""
        return [
            Segment(segment.text, base + self._undimmed(segment.style or Style()))
            for segment in line.render(self.app.console)
        ]

    def _undimmed(self, style: Style) -> Style:
        if not style.dim or self.app.native_ansi_color:
            return style
        if style.color is None:
            return style_of(self.app, "muted")
        color = Color.from_rich_color(style.color).blend(self.background_colors[1], 0.5)
        return Style.from_color(color.rich_color)


def message(sentence: str, width: int, height: int) -> Text:
    """A dim sentence in the middle of this many cells."""
    lines = textwrap.wrap(sentence, min(width - 4, 40)) if width > 20 else []
    above = max((height - len(lines)) // 2, 0)
    rows = ([""] * above + [line.center(width) for line in lines] + [""] * height)[:height]
    text = Text("\n".join(row.ljust(width) for row in rows))
    text.stylize("dim")
    return text


def changed_cells(old: Strip, new: Strip) -> tuple[int, int] | None:
    """The first cell and the one after the last in which two lines of equal length differ; None if they are equal."""
    if old is new or list(old) == list(new):
        return None
    before, after = list(_cells(old)), list(_cells(new))
    if len(before) != len(after):
        return 0, max(len(before), len(after))
    differing = [index for index, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]]
    return (differing[0], differing[-1] + 1) if differing else None


def _cells(strip: Strip) -> list[tuple[str, Style | None]]:
    return [(character, segment.style) for segment in strip for character in segment.text]
