"""What tells curves and events apart on a terminal with few colours or none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from rich.color import ColorType
from rich.segment import Segment
from rich.style import Style
from textual.color import Color
from tui_tools import Recorded, press, settle

from wdtui.plots.terminal import EVENTS, RUN_COLORS
from wdtui.problems.addition.metrics import CHARTS
from wdtui.tui.feed import Feed
from wdtui.tui.fewer_colours import BrightGreys, SixteenColours
from wdtui.tui.figures import Figure, figure
from wdtui.tui.identity import Identities
from wdtui.tui.subjects import subjects
from wdtui.tui.view import View
from wdtui.tui.widgets.chart import ChartPanel

_WHOLE = View()


def figures(recorded: Recorded, *run_ids: int, view: View = _WHOLE) -> dict[str, Figure]:
    feed = Feed(recorded.store)
    feed.show(run_ids)
    snapshot = feed.poll()
    assert snapshot
    return {chart.name: figure(chart, subjects(snapshot.shown, Identities().of), view) for chart in CHARTS}


def test_the_curves_of_a_run_differ_by_their_markers(recorded: Recorded) -> None:
    run = recorded.add("epsilon-1e-5")
    for drawn in (figures(recorded, run), figures(recorded, run, view=View(per_layer=True))):
        for name, chart in drawn.items():
            markers = [curve.marker for curve in chart.series]
            assert len(set(markers)) == len(markers), name


def test_each_kind_of_event_has_a_glyph_that_the_chart_of_accuracy_explains(recorded: Recorded) -> None:
    drawn = figures(recorded, recorded.add("epsilon-1e-5"))
    glyphs = {mark.label.split(" ")[0]: mark.glyph for mark in drawn["accuracy"].marks}
    assert glyphs == {"fit": "◇", "blow-up": "▲", "generalised": "●"}
    assert [event.plain for event in drawn["accuracy"].events] == ["◇ fit", "▲ blow-up", "● generalised"]
    assert drawn["norm"].marks and not drawn["norm"].events
    assert len({glyph for glyph, _ in EVENTS.values()}) == len(EVENTS)


async def test_the_lower_border_explains_as_many_events_as_there_is_room_for(
    recorded: Recorded, make_app: Callable[..., Any]
) -> None:
    recorded.add("epsilon-1e-5")
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "escape", "down")
        panel = app.screen.query(ChartPanel).first()
        foot = panel.render_line(panel.size.height - 1)
        assert foot.text.endswith(" ◇ fit  ▲ blow-up  ● generalised ─╯") and foot.cell_length == panel.size.width
        panel.styles.width = 24
        await settle(pilot)
        foot = panel.render_line(panel.size.height - 1)
        assert foot.text.endswith(" ◇ fit  ▲ blow-up ─╯") and foot.cell_length == panel.size.width


def test_the_colours_of_runs_and_events_stay_different_on_a_terminal_with_16() -> None:
    events = [color for _, color in EVENTS.values() if color.startswith("#")]
    styles = [Style.parse(color) for color in dict.fromkeys((*RUN_COLORS, *events))]
    replaced = SixteenColours().apply([Segment("x", style) for style in styles], Color(0, 0, 0))
    colors = [segment.style.color for segment in replaced if segment.style]
    assert len({color and color.number for color in colors}) == len(styles) > 7
    assert {color and color.type for color in colors} == {ColorType.STANDARD}


def test_other_colours_become_the_nearest_of_16() -> None:
    (segment,) = SixteenColours().apply([Segment("x", Style.parse("bold #fe0101 on #000001"))], Color(0, 0, 0))
    assert segment.style and segment.style.bold and segment.style.color and segment.style.bgcolor
    assert (segment.style.color.number, segment.style.bgcolor.number) == (1, 0)


@pytest.mark.parametrize(
    ("background", "greys"), [("#14161a", ["#b2b2b2", "#14161a"]), ("#fbfaf7", ["#0072b2", "#14161a"])]
)
def test_without_colours_curves_are_bright_greys_on_a_dark_background(background: str, greys: list[str]) -> None:
    segments = [Segment("─", Style.parse("#0072b2 on #14161a"))]
    (segment,) = BrightGreys().apply(segments, Color.parse(background))
    assert segment.style and segment.style.color and segment.style.bgcolor
    assert [segment.style.color.name, segment.style.bgcolor.name] == greys
