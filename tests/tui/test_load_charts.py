"""The charts of the machine: what the header's looks at it leave behind, shown and hidden by a key."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tui_tools import Recorded, press, resize, settle, svg

from wdtui.store.records import Status
from wdtui.support.machine import Gpu, Load
from wdtui.tui.figures import Figure
from wdtui.tui.load import MINUTES, LoadHistory, load_figures, load_legend
from wdtui.tui.widgets.chart import ChartPanel
from wdtui.tui.widgets.chart_grid import ChartGrid
from wdtui.tui.widgets.load_strip import LoadStrip

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Can not relate snapshot")


def load(place: int, gpus: int) -> Load:
    """The machine at the so-manieth look: work moves from the CPU to the GPUs."""
    wave, moved = math.sin(place / 9), min(place / 40, 1)
    cpu = 70 - 40 * moved + 12 * wave
    memory = int(12e9 + 40e9 * moved), int(80e9)
    told = [Gpu("Fast", 55 + 30 * moved + 9 * wave, memory, 41 + 24 * moved, 90 + 310 * moved) for _ in range(gpus)]
    return Load(cpu, (int(3.1e9 + 0.9e9 * moved), int(8.3e9)), tuple(told))


def history(looks: int, gpus: int = 1, seconds: float = 2.0) -> LoadHistory:
    kept = LoadHistory()
    for place in range(looks):
        kept.add(load(place, gpus), 1000 + seconds * place)
    return kept


def titles(figures: list[Figure]) -> list[str]:
    return [figure.title for figure in figures]


def test_only_the_last_minutes_are_kept() -> None:
    kept = history(5000)
    times = [at for at, _ in kept]
    assert len(kept) == MINUTES * 30 + 1 and times[-1] - times[0] == MINUTES * 60 and times[-1] == 1000 + 2 * 4999


def test_each_quantity_has_a_chart_with_a_line_for_each_device() -> None:
    use, memory, temperature, power = load_figures(history(100, gpus=2))
    assert [len(figure.series) for figure in (use, memory, temperature, power)] == [3, 3, 2, 2]
    assert np.asarray(use.series[0].y)[-1] == load(99, 2).cpu_percent
    assert np.asarray(memory.series[1].y)[-1] == 65 and np.asarray(power.series[0].y)[-1] == 400
    assert temperature.series[0].color == use.series[1].color != use.series[0].color
    assert use.y_range == (0, 100) and power.y_range == (0, 500)
    assert load_legend(history(1, gpus=2)).plain == "this machine   ─── CPU   ─•─ GPU 0   ─×─ GPU 1"


def test_missing_sensors_have_no_chart() -> None:
    kept = history(10, gpus=0)
    assert titles(load_figures(kept)) == ["use", "memory"] and load_legend(kept).plain == "this machine   ─── CPU"
    kept.add(Load(50, (1, 2), (Gpu("Virtual", percent=20),)), 1020)
    use, memory = load_figures(kept)
    assert len(use.series) == 2 and len(memory.series) == 1
    assert np.isnan(np.asarray(use.series[1].y)[:-1]).all() and use.values[0].plain == "CPU 50 %  GPU 20 %"
    assert load_figures(LoadHistory()) == []


def test_the_first_sample_without_cpu_use_already_has_a_chart() -> None:
    kept = LoadHistory()
    kept.add(Load(None, (1, 2)), 0)
    use, memory = load_figures(kept)
    assert np.isnan(np.asarray(use.series[0].y)).all() and use.values[0].plain == "–"
    assert list(np.asarray(memory.series[0].y)) == [50]


def test_the_time_axis_covers_all_samples_up_to_now() -> None:
    spans = [load_figures(history(looks))[0].x_range for looks in (1, 61, 62, 200, 5000)]
    assert spans == [(-2, 0), (-2, 0), (-4, 0), (-10, 0), (-10, 0)]


def test_a_time_without_samples_is_a_gap() -> None:
    kept = history(3)
    kept.add(load(3, 0), 1100)
    line = load_figures(kept)[0].series[0]
    minutes, values = np.asarray(line.x), np.asarray(line.y)
    assert list(np.isnan(values)) == [False, False, False, True, False] and (np.diff(minutes) >= 0).all()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Load]:
    """A machine with a GPU of which every look lies two seconds after the one before."""
    asked: list[Load] = []
    seconds = itertools.count(0, 2)
    monkeypatch.setattr("wdtui.support.machine.sample", lambda: asked.append(load(len(asked), 1)) or asked[-1])
    monkeypatch.setattr("wdtui.tui.screens.workbench._seconds", lambda: next(seconds))
    return asked


def shown(app: Any) -> list[str]:
    """The titles of the machine's charts that are on the screen."""
    return [panel._figure.title for panel in app.screen.query_one(LoadStrip).query(ChartPanel) if panel.region]


async def test_a_key_shows_the_machine_and_hides_it(
    recorded: Recorded, make_app: Callable[..., Any], asked: list[Load], monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded.add("demo", points=50, status=Status.RUNNING)
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        app.screen.look_at_machine()
        app.screen.look_at_machine()
        drawn: list[object] = []
        monkeypatch.setattr(
            "wdtui.tui.widgets.load_strip.load_figures", lambda kept: drawn.append(kept) or load_figures(kept)
        )
        app.screen.look_at_machine()
        assert len(asked) == 3 and not drawn and not shown(app)
        await press(pilot, "escape", "u")
        assert len(asked) == 3 and shown(app) == ["use", "memory", "temp.", "power"]
        assert app.screen.query_one(ChartGrid).region
        app.screen.look_at_machine()
        assert len(asked) == 4 and "400 W" not in svg(app) and f"{asked[-1].gpus[0].watts:.0f}&#160;W" in svg(app)
        assert drawn
        await press(pilot, "u")
        drawn.clear()
        app.screen.look_at_machine()
        assert not shown(app) and not drawn


async def test_on_a_small_screen_the_load_replaces_the_charts(
    recorded: Recorded, make_app: Callable[..., Any], asked: list[Load]
) -> None:
    recorded.add("demo")
    app = make_app()
    async with app.run_test(size=(80, 24)) as pilot:
        await settle(pilot)
        await press(pilot, "escape", "tab", "u")
        assert len(asked) == 1 and len(shown(app)) == 4 and not app.screen.query_one(ChartGrid).region
        await resize(pilot, 120, 40)
        for _ in range(100):  # a busy machine lays the screen out later
            if app.screen.query_one(ChartGrid).region:
                break
            await pilot.pause(0.05)
        assert app.screen.query_one(ChartGrid).region
        await press(pilot, "u")
        assert not shown(app) and app.screen.query_one(ChartGrid).region


async def test_a_machine_without_a_gpu_has_two_charts(
    recorded: Recorded, make_app: Callable[..., Any], asked: list[Load], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wdtui.support.machine.sample", lambda: load(0, 0))
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "escape", "ctrl+p", "type:machine", "enter")
        assert shown(app) == ["use", "memory"]


@pytest.mark.parametrize("name, size", [("machine", (120, 40)), ("machine-80x24", (80, 24))])
async def test_snapshot_of_the_load_charts(
    name: str,
    size: tuple[int, int],
    recorded: Recorded,
    make_app: Callable[..., Any],
    asked: list[Load],
    picture: Any,
) -> None:
    recorded.add("epsilon-1e-2", points=120, status=Status.RUNNING)
    app = make_app()
    async with app.run_test(size=size) as pilot:
        await settle(pilot)
        for _ in range(100):
            app.screen.look_at_machine()
        await press(pilot, "escape", "u")
        assert svg(app) == picture(name=name)
