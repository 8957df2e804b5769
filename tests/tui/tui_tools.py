"""Recorded runs, a scheduler that trains nothing, and how tests press keys and take pictures."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from textual._compositor import Compositor
from textual._context import active_app
from textual.command import CommandPalette
from textual.css.model import RuleSet
from textual.css.stylesheet import Stylesheet

from wdtui.analysis.milestones import milestones
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Curves, Point
from wdtui.store.records import Status
from wdtui.store.store import Store
from wdtui.tui.app import WorkbenchApp
from wdtui.tui.picture import aligned
from wdtui.tui.screens.experiments import Gallery
from wdtui.tui.widgets.chart_grid import ChartGrid

DATA = Path(__file__).parent / "data"
_SOON_SECONDS = 0.1
"""Longer than the app waits before it draws what can wait."""
_GLANCE_SECONDS, _CALM_SECONDS = 0.005, 0.1
"""How long to look whether threads use CPU; one that has not used any for so long waits for something else."""
_REPEATED = "set_interval#", "auto refresh ", "screen_update"
"""How Textual names the timers that repeat: clocks, pictures that move, and the one that paints what has changed."""


class FakeScheduler:
    """Remembers what it was asked for; a run that it is given stays queued."""

    def __init__(self) -> None:
        self.device = "auto"
        self.slots: int | None = None
        self.submitted: list[int] = []
        self.queue: tuple[int, ...] = ()
        self.live: tuple[int, ...] = ()
        self.asked: list[str] = []

    def submit(self, *run_ids: int, device: str | None = None, threads: int | None = None) -> None:
        self.submitted += run_ids
        self.queue = (*self.queue, *run_ids)

    @property
    def at_work(self) -> set[int]:
        return {*self.queue, *self.live}

    def forget(self, run_ids: Any) -> None:
        self.queue = tuple(other for other in self.queue if other not in run_ids)

    def cancel(self, run_id: int) -> bool:
        found = run_id in self.queue
        self.queue = tuple(other for other in self.queue if other != run_id)
        return found

    def notices(self) -> list[Any]:
        return []

    def warm_up(self) -> None:
        self.asked.append("warm_up")

    def interrupt(self, reason: str) -> None:
        self.asked.append("interrupt")

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append("wait")
        return True

    def detach(self) -> tuple[int, ...]:
        self.asked.append("detach")
        return ()


_NEWER = "rotation", "rotation_of_equilibrium", "decay_share", "scale_invariance", "time_constant"
"""Metrics that the recordings lack."""


def with_gauges(config: RunConfig, values: NDArray[np.float32]) -> NDArray[np.float32]:
    """The values of a recording under all columns of its config, NaN for metrics that are newer."""
    known = [name.partition("/")[0] not in _NEWER for name in config.columns]
    filled = np.full((len(values), len(known)), np.nan, values.dtype)
    filled[:, known] = values
    return filled


class Recorded:
    """A store filled with runs that were recorded once and for all."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(folder)

    def add(
        self,
        recording: str,
        *,
        points: int | None = None,
        status: Status = Status.DONE,
        name: str = "",
        experiment: str = "",
        known: tuple[str, ...] = (),
        noise: float = 0.0,
        **changes: Any,
    ) -> int:
        """Add a run with its first `points` points, under the config it was recorded with or one that differs.

        With `known` it has these metrics only, like one that was taken in from another program. With `noise` the
        shares and losses are smaller by up to this part of themselves, for runs that differ a little.
        """
        data = np.load(DATA / f"{recording}.npz")
        config = RunConfig.from_mapping(json.loads(str(data["config"])))
        steps, epochs = data["steps"][:points], data["epochs"][:points]
        values = with_gauges(config, data["values"][:points])
        if noise:
            values = values * (1 - noise * np.random.default_rng(0).random(len(values))[:, None])
        if known:
            values = np.where([name in known for name in config.columns], values, np.nan)
        run_id = self.store.add_run(config.replace(**changes), name=name, experiment=experiment)
        self.store.claim(run_id, device="cpu", threads=2, versions={"wdtui": "1", "torch": "2", "python": "3"})
        rows = [
            Point(int(step), int(epoch), tuple(map(float, row)))
            for step, epoch, row in zip(steps, epochs, values, strict=True)
        ]
        curves = Curves(config.columns, steps.astype(np.int64), epochs.astype(np.int64), values.astype(np.float64))
        self.store.append(
            self.store.run(run_id).claim,
            rows,
            speed=795.0,
            milestones=milestones(curves, RunConfig.schema().judged).to_json(),
        )
        self.store.set_checkpoint(self.store.run(run_id).claim, int(steps[-1]))
        if status != Status.RUNNING:
            self.store.set_status(self.store.run(run_id).claim, status)
        return run_id


async def at_rest(min_sleep: float = 0.0, max_sleep: float = 1.0) -> None:
    """Wait until the app has nothing to do: no callback, no thread that uses CPU, and no timer that is due soon."""
    loop: Any = asyncio.get_running_loop()
    end = loop.time() + max_sleep
    calm = 0.0
    while (now := loop.time()) < end and calm < _CALM_SECONDS:
        await asyncio.sleep(0)
        threads = loop._default_executor
        if loop._ready:
            continue
        if threads and len(threads._threads) > threads._idle_semaphore._value:
            used = time.process_time()
            await asyncio.sleep(_GLANCE_SECONDS)
            calm = calm + _GLANCE_SECONDS if time.process_time() - used < _GLANCE_SECONDS / 4 else 0.0
            continue
        soon = [timer for timer in loop._scheduled if timer.when() <= now + _SOON_SECONDS and not timer.cancelled()]
        due = min((timer.when() for timer in soon if not _name(timer).startswith(_REPEATED)), default=None)
        if due is not None:
            await asyncio.sleep(max(due - now, 0.0))
        elif (stack := active_app.get().screen_stack) and stack[-1]._update_timer._active.is_set():
            stack[-1]._on_timer_update()
        else:
            return


def _name(timer: Any) -> str:
    """The name that Textual has given to the task that a timer of the loop wakes; empty for others."""
    for future in timer._args or ():
        for call, _ in getattr(future, "_callbacks", None) or ():
            if isinstance(task := getattr(call, "__self__", None), asyncio.Task):
                return task.get_name()
    return ""


_render = Compositor.render_update


def painted_when_looked_at(compositor: Compositor, full: bool = False, **options: Any) -> Any:
    """What Textual would paint is kept until a test looks: by a picture, or with `settle`."""
    return _render(compositor, full=True, **options) if full else None


def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have apps lose no time in a test.

    After each key Textual waits twice until the app has used next to no CPU for a while: its loop knows at once. What
    waits until typing pauses is done after each key. Keys that are typed one after the other are not painted each on
    its own. The apps of all tests share what Textual makes of a stylesheet.
    """
    for name in ("app", "pilot"):
        monkeypatch.setattr(f"textual.{name}.wait_for_idle", at_rest)
    for name in ("key_order.TYPING_SECONDS", "screens.sweep_form._SETTLE_SECONDS", "screens.run._SETTLE_SECONDS"):
        monkeypatch.setattr(f"wdtui.tui.{name}", 0.004)
    monkeypatch.setattr(Compositor, "render_update", painted_when_looked_at)
    monkeypatch.setattr(Stylesheet, "_parse_rules", parsed_once)


async def settle(pilot: Any) -> None:
    """Let the app take in the store, the table its cursor and the palette its search, and paint all charts."""
    for _ in range(2):
        await pilot.pause()
        await pilot.app.workers.wait_for_complete([one for one in pilot.app.workers if one.group == "aside"])
        pilot.app.look()
        await pilot.pause()
        while any(getattr(screen, "_settling", None) for screen in pilot.app.screen_stack):
            await pilot.pause(0.02)
        while any(grid._waiting for grid in pilot.app.screen.query(ChartGrid)):
            await pilot.pause(0.02)
    if isinstance(pilot.app.screen, Gallery):
        await pilot.app.workers.wait_for_complete()
    if isinstance(pilot.app.screen, CommandPalette):
        await until_still(pilot)
    await pilot.pause()
    if stack := pilot.app.screen_stack:
        _render(stack[-1]._compositor, screen_stack=pilot.app._background_screens)


async def until(pilot: Any, condition: Callable[[], bool]) -> None:
    """Wait until a condition holds, for ten seconds at most."""
    for _ in range(500):
        if condition():
            return
        await pilot.pause(0.02)
    raise AssertionError("it did not become true")


async def until_still(pilot: Any) -> None:
    """Wait until the screen stays as it is for half a second: the palette searches in the background."""
    before, still = "", 0
    for _ in range(100):
        await pilot.pause(0.1)
        now = svg(pilot.app)
        before, still = now, still + 1 if now == before else 0
        if still == 5:
            return
    raise AssertionError("the screen never came to rest")


async def drawn(pilot: Any) -> None:
    """Wait until the selected run's curves are on the charts: before that they have no span and no cursor."""
    while not pilot.app.snapshot.shown:
        await settle(pilot)


async def resize(pilot: Any, width: int, height: int) -> None:
    """Give the terminal another size, and wait until the screen has it: Textual waits for more of them first."""
    await pilot.resize_terminal(width, height)
    while pilot.app.screen.size != (width, height):
        await pilot.pause(0.01)
    await settle(pilot)


async def press(pilot: Any, *keys: str) -> None:
    """Press keys; what begins with `type:` is typed letter by letter."""
    for key in keys:
        if key.startswith("type:"):
            await pilot.press(*(_NAMES.get(letter, letter) for letter in key.removeprefix("type:")))
        else:
            await pilot.press(key)
    await settle(pilot)


_NAMES = {" ": "space", ">": "greater_than_sign", "<": "less_than_sign", "=": "equals_sign", ".": "full_stop"} | {
    "-": "minus",
    "/": "slash",
    ",": "comma",
}


def svg(app: WorkbenchApp) -> str:
    """The screen as an SVG without what differs from one drawing to the next."""
    drawn = app.export_screenshot(title="wdtui")
    return aligned(re.sub(r"terminal-\d+", "terminal", drawn))


_parse, _parsed = Stylesheet._parse_rules, dict[Any, list[RuleSet]]()


def parsed_once(sheet: Stylesheet, *text: Any, **where: Any) -> list[RuleSet]:
    """The rules of a text in a stylesheet, from memory where they are known."""
    key = text, frozenset(where.items()), frozenset(sheet._variables.items())
    if key not in _parsed:
        _parsed[key] = _parse(sheet, *text, **where)
    return _parsed[key]
