"""Every screen and notable state as a picture in snapshots/screens/, made from recorded runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tui_tools import DATA, FakeScheduler, Recorded, press, resize, settle, svg

from wdtui.analysis.milestones import milestones
from wdtui.bench.layered import Layered
from wdtui.problems import files, registry
from wdtui.problems.describe import described
from wdtui.runs.forks import fork
from wdtui.schema.curves import Curves, Point
from wdtui.schema.steering import to_json
from wdtui.store.records import Status
from wdtui.tui import Opening

pytestmark = pytest.mark.filterwarnings(r"ignore:\s*Can not relate snapshot")

SIZE = (120, 40)


def empty(recorded: Recorded) -> None:
    """No runs."""


def one_running(recorded: Recorded) -> None:
    recorded.add("decay-1", experiment="training-curves")
    recorded.add("epsilon-1e-5", name="crashing")
    recorded.add("epsilon-1e-2", points=120, status=Status.RUNNING)


def blow_ups(recorded: Recorded) -> None:
    recorded.add("epsilon-1e-2", experiment="batchnorm-epsilon")
    recorded.add("epsilon-1e-5", experiment="batchnorm-epsilon")


def four(recorded: Recorded) -> None:
    recorded.add("epsilon-1e-2")
    recorded.add("epsilon-1e-5")
    recorded.add("demo", experiment="demo")
    recorded.add("decay-1")


def transformer(recorded: Recorded) -> None:
    recorded.add("transformer", experiment="transformer")


def steered(recorded: Recorded) -> None:
    run_id = recorded.add("epsilon-1e-5", points=250, status=Status.RUNNING)
    data = {"field": "bn_epsilon", "old": 1e-5, "new": 1e-2}
    recorded.store.add_event(recorded.store.run(run_id).claim, 15_600, "steered", data)


def foretold(recorded: Recorded) -> None:
    """A run between its second blow-up and its third, of which the sharpness tells."""
    recorded.add("crash-forecast", points=228, status=Status.RUNNING)


def layers(recorded: Recorded) -> None:
    """A finished run of a transformer with 100 layers."""
    run = Layered(recorded.store, 100)
    run.append(100)
    recorded.store.set_status(run.claim, Status.DONE)


def forked(recorded: Recorded) -> None:
    parent = recorded.add("epsilon-1e-5", name="parent")
    data = np.load(DATA / "epsilon-1e-5.npz")
    at = int(data["steps"][107])
    run_id = fork(recorded.store, recorded.store.run(parent), at, {"bn_epsilon": (1e-2, 50)})
    recorded.store.inherit(recorded.store.run(run_id).claim, parent, at)
    recorded.store.add_event(
        recorded.store.run(run_id).claim, at, "steered", to_json(recorded.store.run(run_id).plan)[0]
    )


def imported(recorded: Recorded) -> None:
    """A run beside one that the original code trained, of which it recorded less."""
    known = "train_loss", "train_accuracy", "validation_accuracy", "test_accuracy", "weight_norm"
    run_id = recorded.add("epsilon-1e-2", name="version_0, imported", known=known)
    recorded.store.add_event(recorded.store.run(run_id).claim, 0, "imported", {"from": "lightning_logs/version_0"})
    recorded.add("epsilon-1e-5")


def all_states(recorded: Recorded) -> None:
    """One run in each state, with names that other people gave them."""
    reasons = {Status.FAILED: "RuntimeError: no memory left", Status.DIVERGED: "The loss is not finite at step 780."}
    for status in Status:
        run_id = recorded.add("decay-1", points=40, status=status, name=f"[b]{status}[/b] \x1b[31mred")
        if status in reasons:
            recorded.store.set_status(recorded.store.run(run_id).claim, status, reasons[status])


def seeds(recorded: Recorded) -> None:
    """A run beside three that differ only in their seeds, here by where their recordings end and by their noise."""
    recorded.add("epsilon-1e-2")
    for seed in range(3):
        recorded.add("demo", seed=seed, noise=0.04 * seed)


def grouped(recorded: Recorded) -> None:
    """A sweep and three runs."""
    from test_sweep_screens import two_axes

    two_axes(recorded)
    recorded.add("epsilon-1e-2")
    recorded.add("epsilon-1e-5", name="crashing")
    recorded.add("demo", points=60, status=Status.RUNNING)


MARK_ALL = ("escape", "m", "down", "m", "down", "m", "down", "m")

STATES: dict[str, tuple[Callable[[Recorded], None], tuple[int, int], tuple[str, ...]]] = {
    "empty": (empty, SIZE, ()),
    "empty-80x24": (empty, (80, 24), ()),
    "running": (one_running, SIZE, ("escape",)),
    "form-80x24": (one_running, (80, 24), ("c",)),
    "form-with-an-error": (empty, SIZE, ("up",) * 7 + ("type:-", "down", "down", "down", "enter")),
    "form-with-a-clash": (empty, SIZE, (*("up",) * 4, "enter", "down", "down", "down", "type:18")),
    "blow-ups": (blow_ups, SIZE, ("escape",)),
    "blow-ups-per-layer": (blow_ups, SIZE, ("escape", "b", "v", "v", "z")),
    "cursor-on-log-time": (blow_ups, SIZE, ("escape", "l", "left", "left", "left")),
    "zoomed-in": (blow_ups, SIZE, ("escape", "plus", "plus", "less_than_sign")),
    "steered": (steered, SIZE, ("escape",)),
    "transformer": (transformer, SIZE, ("escape",)),
    "transformer-run": (transformer, SIZE, ("escape", "enter")),
    "imported": (imported, SIZE, ("escape", "m", "down", "m")),
    "imported-run": (imported, SIZE, ("escape", "down", "enter")),
    "four-overlaid": (four, SIZE, MARK_ALL),
    "four-overlaid-cursor": (four, SIZE, (*MARK_ALL, "left", "left")),
    "seeds": (seeds, SIZE, MARK_ALL),
    "grouped": (grouped, SIZE, ("escape",)),
    "picking": (blow_ups, SIZE, ("escape", "p", "type:gradnorm")),
    "picked": (blow_ups, SIZE, ("escape", "p", "type:gradient norm", "enter")),
    "one-metric-over-another": (
        four,
        SIZE,
        (*MARK_ALL, "p", "type:weight_norm", "ctrl+x", "type:test_accuracy", "enter"),
    ),
    "columns": (blow_ups, SIZE, ("escape", "T")),
    "sorting": (blow_ups, SIZE, ("escape", "o")),
    "smoothed": (blow_ups, SIZE, ("escape", "a", "a", "right_square_bracket", "X")),
    "filtered": (four, SIZE, ("escape", "slash", "type:ε<1e-3 test>0.9 done")),
    "filter-with-an-error": (four, SIZE, ("escape", "slash", "type:tset>0.9")),
    "all-states": (all_states, SIZE, ("escape",)),
    "run": (blow_ups, SIZE, ("escape", "enter")),
    "foretold": (foretold, SIZE, ("escape",)),
    "foretold-run": (foretold, SIZE, ("escape", "enter")),
    "foretold-run-80x24": (foretold, (80, 24), ("escape", "enter", "v")),
    "layers": (layers, SIZE, ("escape", "enter")),
    "layers-80x24": (layers, (80, 24), ("escape", "enter")),
    "layers-80x24-open": (layers, (80, 24), ("escape", "enter", "y")),
    "layers-200x60": (layers, (200, 60), ("escape", "enter", "o")),
    "layers-found": (layers, SIZE, ("escape", "enter", "slash", "type:3.attn")),
    "experiments": (empty, SIZE, ("E",)),
    "experiments-80x24": (empty, (80, 24), ("E", *("down",) * 3)),
    "experiments-200x60": (four, (200, 60), ("E", *("down",) * 14)),
    "help": (empty, SIZE, ("question_mark",)),
    "palette": (one_running, SIZE, ("escape", "ctrl+p", "type:log")),
    "steering": (one_running, SIZE, ("escape", "s")),
    "forking": (blow_ups, SIZE, ("escape", *("left",) * 9, "f", "down", "down", "type:1e-2:50")),
    "forked": (forked, SIZE, ("escape", "m", "down", "m")),
    "deleting": (blow_ups, SIZE, ("escape", "d")),
}


@pytest.mark.parametrize("state", STATES)
async def test_dark(state: str, recorded: Recorded, make_app: Callable[..., Any], picture: Any) -> None:
    fill, size, keys = STATES[state]
    fill(recorded)
    assert await drawn(make_app(), size, *keys) == picture(name=state)


@pytest.mark.parametrize("theme", ["wdtui-light", "wdtui-plain"])
@pytest.mark.parametrize("state", ["four-overlaid", "layers", "experiments"])
async def test_theme(theme: str, state: str, recorded: Recorded, make_app: Callable[..., Any], picture: Any) -> None:
    fill, size, keys = STATES[state]
    fill(recorded)
    assert await drawn(make_app(), size, *keys, theme=theme) == picture(name=f"{state}-{theme}")


@pytest.mark.parametrize("state", ["empty", "four-overlaid", "layers", "experiments"])
async def test_no_color(
    state: str, recorded: Recorded, make_app: Callable[..., Any], picture: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    fill, size, keys = STATES[state]
    fill(recorded)
    assert await drawn(make_app(), size, *keys) == picture(name=f"{state}-no-color")


async def test_quit_question(recorded: Recorded, make_app: Callable[..., Any], picture: Any) -> None:
    one_running(recorded)
    scheduler = FakeScheduler()
    scheduler.live, scheduler.queue = (3,), (4, 5)
    assert await drawn(make_app(scheduler), SIZE, "escape", "q") == picture(name="quit")


async def test_a_part_that_is_dragged_over(recorded: Recorded, make_app: Callable[..., Any], picture: Any) -> None:
    blow_ups(recorded)
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await press(pilot, "escape")
        await pilot.mouse_down("#chart-1", offset=(15, 4))
        await pilot.hover("#chart-1", offset=(28, 4))
        await settle(pilot)
        assert svg(app) == picture(name="dragging")


OWN = '''
import wdtui

class ModularAddition(wdtui.Problem):
    """Grokking: a + b mod p, learned from a fraction of all pairs."""

    p: int = wdtui.knob(53, ge=2, affects="data", help="The modulus.")
    fraction: float = wdtui.knob(0.5, gt=0, lt=1, affects="data", help="How many of the pairs are trained on.")
    activation: str = wdtui.knob("relu", choices=("relu", "gelu"), affects="shape")
    width: int = wdtui.knob(128, ge=1, sweep="log", affects="shape")
    learning_rate: float = wdtui.knob(0.01, gt=0, sweep="log", affects="live")
    weight_decay: float = wdtui.knob(1.0, ge=0, sweep="log", affects="live")
    steps = 1500
'''


def runs_of_a_file(recorded: Recorded, path: Path) -> None:
    """A finished run, and a running one of which fields with and without a symbol were changed."""
    names = "train_loss", "train_accuracy", "test_accuracy", "weight_norm"
    config = registry.find(str(path)).config()
    for changes, count in (({}, 150), ({"fraction": 0.3, "activation": "gelu", "weight_decay": 0.1}, 40)):
        claim = recorded.store.claim(
            recorded.store.add_run(config.replace(**changes)), device="cpu", threads=1, versions={"wdtui": "1"}
        )
        columns = recorded.store.add_columns(claim, names)
        steps = np.arange(1, count + 1) * 10
        values = 4 * np.exp(-steps / 90), 1 - np.exp(-steps / 40), 1 / (1 + np.exp(7 - steps / 80)), 20 - steps / 200
        points = [Point(int(step), int(step), (*row, 60.0)) for step, *row in zip(steps, *values, strict=True)]
        seen = milestones(Curves.of(columns, points), recorded.store.run(claim.run_id).schema.judged).to_json()
        recorded.store.append(claim, points, speed=60.0, milestones=seen)
        if count == 150:
            recorded.store.set_status(claim, Status.DONE)


@pytest.mark.parametrize(
    ("name", "size", "keys", "runs"),
    [
        ("form-of-a-file", SIZE, (), False),
        ("form-of-a-file-80x24", (80, 24), (), False),
        ("runs-of-a-file", SIZE, ("escape",), True),
        ("runs-of-a-file-80x24", (80, 24), ("escape",), True),
        ("steering-of-a-file", SIZE, ("escape", "s"), True),
    ],
)
async def test_a_problem_in_a_file(
    name: str,
    size: tuple[int, int],
    keys: tuple[str, ...],
    runs: bool,
    recorded: Recorded,
    make_app: Callable[..., Any],
    picture: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WDTUI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "_described", described)
    path = tmp_path / "modular.py"
    path.write_text(OWN)
    if runs:
        runs_of_a_file(recorded, path)
    app = make_app(opening=Opening(problem=str(path)))
    assert await drawn(app, size, *keys) == picture(name=name)


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (20, 5), (40, 10), (60, 15), (99, 29)])
async def test_tiny_sizes_do_not_crash(size: tuple[int, int], recorded: Recorded, make_app: Callable[..., Any]) -> None:
    blow_ups(recorded)
    app = make_app()
    async with app.run_test(size=SIZE) as pilot:
        await settle(pilot)
        await resize(pilot, *size)
        await press(pilot, "escape", "c", "escape", "v", "u")
        await resize(pilot, *SIZE)
        await settle(pilot)


async def drawn(app: Any, size: tuple[int, int], *keys: str, theme: str = "") -> str:
    """The screen after some keys."""
    async with app.run_test(size=size) as pilot:
        if theme:
            app.theme = theme
        await settle(pilot)
        await press(pilot, *keys)
        return svg(app)
