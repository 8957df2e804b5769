"""Notes on the status line while a run trains, and verdicts of claims in the gallery."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import OptionList, Static
from tui_tools import Recorded, press, settle, svg

from wdtui.schema.curves import Point
from wdtui.store.records import Status
from wdtui.store.store import Store
from wdtui.studies import experiments
from wdtui.studies.verdicts import State
from wdtui.tui.screens.experiments import Gallery
from wdtui.tui.widgets.chart import ChartPanel
from wdtui.tui.widgets.lines import HeaderLine
from wdtui.tui.widgets.plain_text import PlainText

MakeApp = Callable[..., Any]

FILE = """question = "Does it speak?"
[config]
bn_epsilon = 1e-2
[[claims]]
says = "It fits."
measure = "fit_step"
at_most = 10000
[[claims]]
says = "It is perfect."
measure = "test_accuracy"
at_least = 1.0
[[notes]]
when = "start"
says = "Off it goes."
[[notes]]
when = "fit"
says = "Fitted at step {fit_step}; the test is at {test_accuracy}."
"""


@pytest.fixture
def speaking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One experiment comes with wdtui, and it speaks."""
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "speaking.toml").write_text(FILE, encoding="utf-8")
    monkeypatch.setattr(experiments, "folder", lambda: tmp_path / "presets")


@pytest.mark.usefixtures("speaking")
async def test_the_status_line_shows_the_note_that_the_run_has_reached(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("epsilon-1e-2", points=10, status=Status.RUNNING, experiment="speaking")
    recorded.add("epsilon-1e-2", points=150, status=Status.RUNNING, experiment="speaking")
    recorded.add("epsilon-1e-2", points=150, status=Status.RUNNING, experiment="another")
    lines = []
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape")
        for _ in range(3):
            lines.append(pilot.app.screen.query_one("#status", PlainText).content.plain)
            await press(pilot, "down")
    another, fitted, started = lines
    assert started == "Step 78: Off it goes."
    assert re.fullmatch(r"Step (\S+): Fitted at step \1; the test is at .* %\.", fitted) and "Fit reached at" in another


async def test_a_long_note_is_shown_in_full_on_the_run_page(
    recorded: Recorded, make_app: MakeApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = "Fitted. " + "The weight norm keeps falling, and the test accuracy rises. " * 2
    (tmp_path / "speaking.toml").write_text(FILE.replace("Off it goes.", says), encoding="utf-8")
    monkeypatch.setattr(experiments, "folder", lambda: tmp_path)
    recorded.add("epsilon-1e-2", points=10, status=Status.RUNNING, experiment="speaking")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape", "enter")
        status = pilot.app.screen.query_one("#status", PlainText)
        lines = [status.render_line(y).text.strip() for y in range(status.size.height)]
        assert len(lines) == 2 and " ".join(lines) == f"Step 78: {says.strip()}"


@pytest.mark.usefixtures("speaking")
async def test_a_note_is_replaced_by_the_current_state_after_a_while(recorded: Recorded, make_app: MakeApp) -> None:
    run_id = recorded.add("epsilon-1e-2", points=52, status=Status.RUNNING, experiment="speaking")
    config = recorded.store.run(run_id).config
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape")
        said = [pilot.app.screen.query_one("#status", PlainText).content.plain]
        for epoch in (53, 300):
            values = tuple({"train_accuracy": 1.0, "test_accuracy": 0.5}.get(name, 1.0) for name in config.columns)
            points = [Point(epoch * 78, epoch, values)]
            recorded.store.append(recorded.store.run(run_id).claim, points, speed=40.0, milestones={})
            await settle(pilot)
            said.append(pilot.app.screen.query_one("#status", PlainText).content.plain)
    at_once, soon, later = said
    assert at_once.startswith("Fitted at step 4,056; ")
    assert soon == f"Step 4,056: {at_once}"
    assert later.startswith("Fit reached at step 4,056; test accuracy is 50.0 %.")


@pytest.mark.usefixtures("speaking")
async def test_the_gallery_shows_verdicts_from_the_stored_runs(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "E")
        assert isinstance(pilot.app.screen, Gallery)
        listed, page = gallery(pilot)
        signs = str(pilot.app.screen.query_one(HeaderLine).render())
        assert all(state in signs for state in State) and "begun" in signs
        assert "no picture" in page and not pilot.app.screen.query_one(ChartPanel).display
        assert listed.startswith("· speaking") and "claims  not run" in page and "· It fits." in page
        await press(pilot, "escape")
        base = experiments.load("speaking").base()
        recorded.add("epsilon-1e-2", **{name: getattr(base, name) for name in ("weight_decay", "seed", "epochs")})
        await press(pilot, "E")
        listed, page = gallery(pilot)
        picture = pilot.app.screen.query_one(ChartPanel)
        assert picture.display and "your runs" in svg(pilot.app).replace("&#160;", " ")
        assert listed.startswith("✗ speaking") and "claims  1 holds, 1 fails" in page
        assert "✓ It fits." in page and "✗ It is perfect." in page and "claimed: at least 100 %" in page


@pytest.mark.usefixtures("speaking")
async def test_the_gallery_reads_the_runs_of_the_store_once(
    recorded: Recorded, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = experiments.load("speaking").base()
    recorded.add("epsilon-1e-2", **{name: getattr(base, name) for name in ("weight_decay", "seed", "epochs")})
    async with make_app().run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        read, runs = [], Store.runs
        monkeypatch.setattr(Store, "runs", lambda store: read.append(store) or runs(store))
        await press(pilot, "E")
        assert pilot.app.screen.query_one(ChartPanel).display
    assert len(read) == 1


@pytest.mark.usefixtures("speaking")
async def test_the_status_line_summarises_a_finished_run(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("epsilon-1e-2", experiment="speaking")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape")
        assert "Fit reached at step" in pilot.app.screen.query_one("#status", PlainText).content.plain


async def test_leaving_the_gallery_at_once_is_safe(recorded: Recorded, make_app: MakeApp) -> None:
    async with make_app().run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await pilot.press("E", "escape", "E", "escape")
        await pilot.app.workers.wait_for_complete()
        await settle(pilot)
        assert not isinstance(pilot.app.screen, Gallery)


def gallery(pilot: Any) -> tuple[str, str]:
    """The line of the first experiment, and the page."""
    names = pilot.app.screen.query_one(OptionList)
    return str(names.get_option("speaking").prompt), str(pilot.app.screen.query_one("#page", Static).content)
