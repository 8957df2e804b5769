"""The line about the machine: what the header's samples leave behind, shown and hidden by a key."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tui_tools import Recorded, press, resize, settle, svg

from wdtui.store.records import RunRecord, Status
from wdtui.support import machine
from wdtui.support.machine import Gpu, Load
from wdtui.tui.load import LoadHistory, load_line
from wdtui.tui.widgets.chart_grid import ChartGrid
from wdtui.tui.widgets.load_strip import LoadStrip

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Can not relate snapshot")


def load(place: int, gpus: int, cores: int = 2, pids: tuple[int, ...] = ()) -> Load:
    """The machine at a sample: work moves from the CPU to the GPUs."""
    wave, moved = math.sin(place / 9), min(place / 40, 1)
    cpu = 70 - 40 * moved + 12 * wave
    memory = int(12e9 + 40e9 * moved), int(80e9)
    seen = [Gpu("Fast", 55 + 30 * moved + 9 * wave, memory, 41 + 24 * moved, 90 + 310 * moved) for _ in range(gpus)]
    used = {pid: (cpu, 412_000_000) for pid in pids}
    return Load(cpu, (int(3.1e9 + 0.9e9 * moved), int(8.3e9)), tuple(seen), (cpu, 5.0) * (cores // 2), used)


def history(count: int, seconds: float = 2.0, **how: Any) -> LoadHistory:
    kept = LoadHistory()
    for place in range(count):
        kept.add(load(place, **how), 1000 + seconds * place)
    return kept


def text(kept: LoadHistory, runs: list[RunRecord] | None = None, width: int = 200) -> str:
    return "".join(part for part, _ in load_line(kept, runs or [], width))


def test_the_line_has_a_curve_of_two_minutes_for_each_quantity() -> None:
    shown = text(history(200, gpus=1))
    for part in ("CPU ▂", " 29 %", "cores ▂▁", "memory ▄", "4.0 of 8.3 GB", "GPU ▆", "GPU memory ▅", "GPU 65 °C 400 W"):
        assert part in shown, part
    assert len(shown.split("CPU ")[1].split()[0]) == 8, "cells of fifteen seconds"


def test_missing_hardware_and_sensors_are_left_out() -> None:
    assert "GPU" not in text(history(10, gpus=0)) and text(LoadHistory()) == ""
    kept = history(10, gpus=0)
    kept.add(Load(50, (1, 2), (Gpu("Virtual", percent=20), Gpu("Other"))), 1020)
    shown = text(kept)
    assert "GPU 0 ▂ 20 %" in shown and "GPU 1  –" in shown and "°C" not in shown and "GPU 0 memory" not in shown


def test_the_first_sample_has_no_use_of_the_cpu_yet() -> None:
    kept = LoadHistory()
    kept.add(Load(None, (1_000_000_000, 2_000_000_000)), 0)
    assert text(kept) == "CPU  –   memory ▄ 1.0 of 2.0 GB"


def test_many_cores_share_cells() -> None:
    assert len(text(history(1, gpus=0, cores=96)).split("cores ")[1].split()[0]) == 16


@given(st.lists(st.tuples(st.floats(0.01, 30), st.floats(0, 100)), min_size=1, max_size=60), st.integers(0, 150))
def test_the_line_never_exceeds_its_width_and_old_samples_go(samples: list[tuple[float, float]], width: int) -> None:
    kept, times = LoadHistory(), [*itertools.accumulate(wait for wait, _ in samples)]
    for at, (_, percent) in zip(times, samples, strict=True):
        kept.add(Load(percent, (1, 2)), at)
    assert len(text(kept, width=width)) <= width
    curve = kept.curve(lambda load: load.cpu_percent)
    assert len(curve) == 8 and not math.isnan(curve[-1])
    assert len(kept._samples) == len([at for at in times if at >= (times[-1] // 15 - 7) * 15])


def test_the_runs_of_a_process_share_its_use(recorded: Recorded) -> None:
    for _ in range(3):
        recorded.add("demo", points=30, status=Status.RUNNING)
    runs = recorded.store.runs()
    assert runs[0].pid == os.getpid()
    shown = text(history(5, gpus=0, pids=(os.getpid(), 7)), runs)
    assert shown.count("#") == 1 and "#1…3 ▅" in shown and shown.endswith("% 412 MB")
    assert "#" not in text(history(5, gpus=0), runs), "processes of other machines have no use"


def test_a_process_is_sampled_while_it_exists(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_followed", {})  # another test may have sampled this process
    first, second = machine.sample([os.getpid(), 2**22 + 1]), machine.sample([os.getpid()])
    assert {*first.processes} == {*second.processes} == {os.getpid()}
    percent, memory = second.processes[os.getpid()]
    assert first.processes[os.getpid()][0] is None and percent is not None and percent >= 0 and memory > 1e6
    assert len(second.cores) == len(machine.sample().cores) > 0
    assert machine.sample().processes == {}


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Load]:
    """A machine with a GPU, whose samples are two seconds apart."""
    asked: list[Load] = []
    seconds = itertools.count(0, 2)

    def sample(pids: Any = ()) -> Load:
        asked.append(load(len(asked), 1, pids=tuple(pids)))
        return asked[-1]

    monkeypatch.setattr("wdtui.support.machine.sample", sample)
    monkeypatch.setattr("wdtui.tui.screens.workbench._seconds", lambda: next(seconds))
    return asked


async def test_a_key_shows_the_line_and_hides_it(
    recorded: Recorded, make_app: Callable[..., Any], asked: list[Load]
) -> None:
    recorded.add("demo", points=50, status=Status.RUNNING)
    app = make_app()
    async with app.run_test(size=(160, 40)) as pilot:
        await settle(pilot)
        strip = app.screen.query_one(LoadStrip)
        app.screen.look_at_machine()
        assert len(asked) == 1 and not strip.region
        await press(pilot, "escape", "u")
        assert len(asked) == 2 and strip.region.height == 1 and app.screen.query_one(ChartGrid).region
        shown = str(strip.content)
        assert "cores" in shown and "GPU" in shown and "#1 " in shown
        assert "CPU" not in str(app.screen.query_one("HeaderLine").render()), "once is enough"
        app.screen.look_at_machine()
        assert f"{asked[-1].gpus[0].watts:.0f} W" in str(strip.content)
        await resize(pilot, 80, 24)
        assert 0 < len(str(strip.content)) <= 76
        await press(pilot, "u")
        assert (not strip.region and "CPU" not in str(strip.render())) or not strip.display


async def test_the_line_is_sampled_also_when_nothing_trains(
    recorded: Recorded, make_app: Callable[..., Any], asked: list[Load]
) -> None:
    app = make_app()
    async with app.run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "escape", "ctrl+p", "type:machine", "enter")
        assert len(asked) == 1 and "memory" in str(app.screen.query_one(LoadStrip).content)


@pytest.mark.parametrize("name, size", [("machine", (120, 40)), ("machine-80x24", (80, 24))])
async def test_snapshot_of_the_load(
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
