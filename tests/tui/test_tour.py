"""The keys in the README and the tour do what the text describes, also after the README's first command."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tui_tools import FakeScheduler, Recorded, press, settle, svg

from wdtui.store.records import RunRecord
from wdtui.studies.experiments import load
from wdtui.tui.widgets.field_row import FieldRow

MakeApp = Callable[..., Any]
ROOT = Path(__file__).parents[2]
_NAMES = {"⏎": "enter", "esc": "escape", "↓": "down", "↑": "up"}


def told(page: str, heading: str) -> list[str]:
    """The keys that a section of a page says to press, in order, as Textual names them."""
    section = (ROOT / page).read_text(encoding="utf-8").split(f"\n## {heading}")[1].split("\n## ")[0]
    return [_NAMES.get(key, key) for key in re.findall(r"`(\w|⏎|esc|↓|↑)`", section)]


def knobs(run: RunRecord) -> tuple[float, float, int]:
    return run.config.weight_decay, run.config.bn_epsilon, run.config.epochs


@pytest.mark.parametrize(("page", "heading"), [("README.md", "The workbench"), ("docs/tour.md", "1. Open the app")])
@pytest.mark.parametrize("trained_before", [False, True])
async def test_the_first_key_trains_the_demo(
    page: str, heading: str, trained_before: bool, recorded: Recorded, make_app: MakeApp
) -> None:
    if trained_before:
        recorded.add("demo", experiment="demo")
    scheduler = FakeScheduler()
    async with make_app(scheduler).run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, told(page, heading)[0])
    (started,) = scheduler.submitted
    assert recorded.store.run(started).experiment == "demo"


async def test_the_tour_from_the_second_run_to_the_blow_ups(recorded: Recorded, make_app: MakeApp) -> None:
    demo = recorded.add("demo", experiment="demo")
    scheduler = FakeScheduler()
    async with make_app(scheduler).run_test(size=(120, 40)) as pilot:
        await settle(pilot)  # the store is read after the first frame
        await press(pilot, "enter")  # somebody is on the run's own page

        back, form, go, form_again, go_again, mark, next_run = told("docs/tour.md", "3. Too little decay")
        await press(pilot, back, form, "type:0", go, form_again, "type:1", go_again)
        assert [knobs(run) for run in recorded.store.runs()[:2]] == [(1, 0.01, 130), (0, 0.01, 130)]
        await press(pilot, mark, next_run, mark, next_run, mark)
        assert {one.run.id for one in pilot.app.snapshot.shown} == {demo, *scheduler.submitted}

        form, unfold, fold = told("docs/tour.md", "4. What")
        await press(pilot, form, *["down"] * 6)
        assert "suggests&#160;λ&#160;=&#160;0.5<" in svg(pilot.app)
        await press(pilot, unfold, "down", "down", "type:520", *["up"] * 2, fold)
        assert "suggests&#160;λ&#160;=&#160;0.25<" in svg(pilot.app)

        back, unmark, form, go, *_ = told("docs/tour.md", "5. Periodic crashes")
        await press(pilot, back, unmark, form, "type:0.1", "down", "type:1e-5", *["down"] * 5, "enter", *["down"] * 2)
        assert any(isinstance(one, FieldRow) and one.id == "field-epochs" for one in pilot.app.focused.ancestors)
        await press(pilot, "type:200", go)
        started = recorded.store.runs()[0]
        assert knobs(started) == (0.1, 1e-5, 200)
        assert [one.run.id for one in pilot.app.snapshot.shown] == [started.id]


async def test_part_two_trains_all_runs_of_the_experiment_that_it_names(recorded: Recorded, make_app: MakeApp) -> None:
    recorded.add("demo")
    scheduler = FakeScheduler()
    async with make_app(scheduler).run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "enter", *told("docs/tour.md", "8. Open the gallery"))
    assert {recorded.store.run(run_id).config for run_id in scheduler.submitted} == set(
        load("grokking-modular").variant(quick=True).cells()
    )
