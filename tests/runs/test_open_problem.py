"""A problem that wdtui does not know goes everywhere: store, flags, form, sweep, claim, chart, filter, export."""

from __future__ import annotations

import contextlib
import csv
import os
import signal
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from fault_tools import ended, forked
from small_problem import SMALL, SmallConfig
from textual.widgets import Input
from tui_tools import FakeScheduler, hurry, settle

import wdtui
from wdtui.cli import completion
from wdtui.cli.main import main
from wdtui.exchange.export import export
from wdtui.exchange.exported import stream
from wdtui.plots.paper.curves import Subject, training_curves
from wdtui.plots.terminal.heatmap import heatmap
from wdtui.plots.terminal.sweeps import curve, title
from wdtui.problems import registry
from wdtui.runs import forks, runner, trained
from wdtui.runs.evidence import Evidence
from wdtui.runs.query import QueryError, parse
from wdtui.runs.runner import Runner
from wdtui.runs.scheduler import Scheduler
from wdtui.runs.sweeps import complete
from wdtui.schema.curves import Point
from wdtui.schema.hyperparameters import ConfigError
from wdtui.store.store import Status, Store, StoreError
from wdtui.studies.experiments import load
from wdtui.studies.grid import Grid
from wdtui.tui.app import WorkbenchApp
from wdtui.tui.feed import Feed
from wdtui.tui.figures import figure
from wdtui.tui.identity import Identities
from wdtui.tui.subjects import subjects
from wdtui.tui.view import View
from wdtui.tui.widgets.chart import ChartPanel
from wdtui.tui.widgets.choice import Choice
from wdtui.tui.widgets.field_row import FieldRow
from wdtui.tui.widgets.launch_form import LaunchForm
from wdtui.tui.widgets.plain_text import PlainText


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch, in_threads: None) -> None:  # no other process knows the problem
    monkeypatch.setitem(registry._registered, SMALL.name, SMALL)
    monkeypatch.setattr(runner, "_POLL_SECONDS", 0.0)
    hurry(monkeypatch)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path / "store") as store:
        yield store


def train(store: Store, run_id: int) -> Status:
    return Runner(store, run_id, device="cpu").run()


def weights(store: Store, run_id: int) -> list[float]:
    return store.curves(run_id)["weight"].tolist()


def test_a_custom_problem_is_trained_and_listed(store: Store) -> None:
    run_id = store.add_run(SmallConfig(pull=0.5, seed=3))
    assert train(store, run_id) == Status.DONE
    run = store.run(run_id)
    assert (run.step, run.steps, run.schema.problem) == (100, 100, "small")
    assert run.schema == SmallConfig.schema() and run.config == SmallConfig(pull=0.5, seed=3)
    assert run.title == "p0.5 s3" and run.values["rate"] == 0.05
    assert run.latest.keys() == {"train_loss", "weight", "steps_per_second"}
    assert weights(store, run_id)[-1] == pytest.approx(2 / 2.5, abs=1e-3)


def test_a_custom_problem_resumes_to_the_same_bits(store: Store) -> None:
    whole, stopped = store.add_run(SmallConfig()), store.add_run(SmallConfig())
    train(store, whole)
    first = Runner(store, stopped, device="cpu")
    poll_commands = first.poll_commands
    first.poll_commands = lambda: (
        poll_commands() and (first.training.step < 43 or (bool(store.send(stopped, "stop")) and poll_commands()))
    )
    assert first.run() == Status.STOPPED
    assert 0 < store.run(stopped).step < 100
    store.transition(stopped, Status.QUEUED)
    assert train(store, stopped) == Status.DONE
    assert weights(store, stopped) == weights(store, whole)


def test_any_field_that_is_declared_live_is_steered_and_no_other(store: Store) -> None:
    run_id = store.add_run(SmallConfig())
    store.send(run_id, "steer", {"rate": 0.2})
    store.send(run_id, "steer", {"target": 9.0})
    train(store, run_id)
    kinds = {event.kind: event.data for event in store.events(run_id)}
    assert kinds["steered"]["field"] == "rate"
    assert "target cannot be changed while a run is live; pull, rate can." in kinds["refused"]["reason"]
    assert store.run(run_id).in_force["rate"] == 0.2


def test_a_fork_changes_what_may_change_and_a_replay_has_the_same_bits(store: Store) -> None:
    parent = store.add_run(SmallConfig())
    train(store, parent)
    with pytest.raises(ConfigError, match="target determines the data, so a fork cannot change it"):
        forks.fork(store, store.run(parent), 50, {"target": 2.0})
    fork = forks.fork(store, store.run(parent), 50, {"pull": 4.0})
    again = forks.replay(store, store.run(fork))
    for run_id in (fork, again):
        assert train(store, run_id) == Status.DONE
    assert weights(store, fork)[:10] == weights(store, parent)[:10]
    assert weights(store, fork)[-1] < weights(store, parent)[-1]
    assert weights(store, again) == weights(store, fork)


def test_a_run_of_a_custom_problem_is_exported(store: Store, tmp_path: Path) -> None:
    run_id = store.add_run(SmallConfig())
    train(store, run_id)
    (path,) = export([stream(store, run_id)], "csv", tmp_path / "small.csv")
    rows = list(csv.DictReader(path.open()))
    np.testing.assert_array_equal([float(row["weight"]) for row in rows], weights(store, run_id))


def test_runs_of_a_removed_problem_are_still_shown(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = store.add_run(SmallConfig(pull=0.5))
    train(store, run_id)
    monkeypatch.delitem(registry._registered, SMALL.name)
    run = store.run(run_id)
    assert run.title == "p0.5 s0" and run.values["pull"] == 0.5 and run.steps == 100
    assert len(store.curves(run_id)) == 20
    with pytest.raises(StoreError, match="There is no problem small"):
        _ = run.config


# Every face

EXPERIMENT = """
question = "Does a pull keep the weight away from its target?"
problem = "small"
[axes]
pull = [0.0, 0.5, 4.0]
[[claims]]
says = "The harder the pull, the larger the loss."
measure = "train_loss"
along = "pull"
find = "largest_fall"
at_most = 1e-6
[[claims]]
says = "It gets there without a pull."
measure = "weight"
where = {pull = 0}
about = 1
tolerance = 0.01
[[notes]]
when = "end"
says = "w is {weight}."
"""


@pytest.fixture
def experiment(tmp_path: Path) -> str:
    path = tmp_path / "pulled.toml"
    path.write_text(EXPERIMENT, encoding="utf-8")
    return str(path)


def command(*arguments: str) -> int:
    """A command line in this process, which ends with 0 where it says nothing else."""
    try:
        return main(list(arguments))
    except SystemExit as left:
        return int(left.code or 0)


@pytest.mark.parametrize("what", ["run", "sweep"])
def test_help_shows_the_flags_of_the_given_problem(
    what: str, experiment: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for named in ("small", experiment):
        assert command(what, named, "--help") == 0
        shown = capsys.readouterr().out
        assert "--pull" in shown and "--rate" in shown and "λ:" not in shown
    assert command(what, "demo", "--help") == 0
    shown = capsys.readouterr().out
    assert "λ:" in shown and "--pull" not in shown


def test_flags_of_another_problem_are_refused(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    given = ("--headless", "--device", "cpu", "--store", str(store.folder))
    assert command("run", "small", "--pull", "0.5", "--epochs", "4", *given) == 0
    assert "speed" not in (shown := capsys.readouterr().out) and "Run 1 is done" in shown
    run = store.run(1)
    assert run.config == SmallConfig(pull=0.5, epochs=4) and run.step == 20
    assert command("run", "small", "--weight-decay", "0.1", *given) == 2
    assert "there is no option --weight-decay" in capsys.readouterr().err
    assert command("run", "small", "--pull", "-1", *given) == 2
    assert "pull: -1 is not allowed; give a number ≥ 0." in capsys.readouterr().err
    for arguments in (["runs", "list"], ["runs", "show", "1"], ["runs", "compare", "1", "1"]):
        assert command(*arguments, "--store", str(store.folder)) == 0
    shown = capsys.readouterr().out
    assert "p" in shown.split() and "0.5" in shown and "pull 0.5, epochs 4" in shown


class _Context:
    """As much of a command line under way as completion asks for."""

    def __init__(self, **params: object) -> None:
        self.params = params

    def find_root(self) -> _Context:
        return self


def test_completion_offers_the_fields_of_a_custom_problem(store: Store, experiment: str) -> None:
    store.add_run(SmallConfig())
    offered = [text for text, _ in completion.axes(_Context(experiment=experiment), "")]  # type: ignore[arg-type]
    assert offered == ["pull=", "rate=", "seed="]
    changes = completion.changes(_Context(run="1", store=store.folder), "")  # type: ignore[arg-type]
    assert [text for text, _ in changes] == ["pull=", "rate="]
    assert ("small", "") in completion.experiments("sm")


def test_the_form_has_the_fields_of_a_custom_problem_and_starts_a_run(store: Store) -> None:
    async def used() -> None:
        app = WorkbenchApp(store, FakeScheduler(), device="cpu")  # type: ignore[arg-type]
        async with app.run_test(size=(120, 40)) as pilot:
            await settle(pilot)
            form = app.screen.query_one(LaunchForm)
            form.use_experiment("small")
            await settle(pilot)
            assert form.query_one("#experiment", Choice).value == "small"
            assert not form.query("#field-weight_decay") and form.schema.problem == "small"
            form.query_one("#field-pull Input", Input).value = "-1"
            await settle(pilot)
            assert form.config is None
            form.query_one("#field-pull Input", Input).value = "0.5"
            await settle(pilot)
            form.submit()
            await settle(pilot)
            form.use_experiment("demo")
            await settle(pilot)
            assert form.query("#field-weight_decay") and not form.query("#field-pull")

    import asyncio

    asyncio.run(used())
    (run,) = store.runs()
    assert run.config == SmallConfig(pull=0.5) and run.schema.problem == "small"


def test_the_screen_shows_charts_and_columns_of_a_custom_problem(store: Store) -> None:
    run_id = store.add_run(SmallConfig(pull=0.5))
    train(store, run_id)

    async def looked() -> list[str]:
        app = WorkbenchApp(store, FakeScheduler(), device="cpu")  # type: ignore[arg-type]
        async with app.run_test(size=(120, 40)) as pilot:
            await settle(pilot)
            await pilot.press("escape")
            await settle(pilot)
            panels = [panel for panel in app.screen.query(ChartPanel) if panel.region and panel.id != "map"]
            titles = [panel.render_line(0).text.split("─")[1].strip() for panel in panels]
            await pilot.press("enter")
            await settle(pilot)
            return titles

    import asyncio

    assert asyncio.run(looked()) == ["loss", "w", "speed"]


@pytest.mark.parametrize("first", ["small", "addition"])
def test_runs_of_two_problems_share_the_charts(store: Store, first: str) -> None:
    kinds = [SmallConfig, registry.find("addition").config]
    live = []
    for kind in kinds if first == "small" else reversed(kinds):
        claim = store.claim(run_id := store.add_run(kind()), device="cpu", threads=1, versions={})
        points = [Point(kind().steps_per_epoch * at, at, (0.5,) * len(kind().columns)) for at in (1, 2, 3)]
        store.append(claim, points, speed=1.0, milestones={})
        live.append(run_id)
    feed = Feed(store)
    feed.show(live)
    snapshot = feed.poll()
    assert snapshot
    shown = subjects(snapshot.shown, Identities().of)
    for chart in shown[0].shown.run.schema.charts_of(shown[0].shown.curves.names):
        assert figure(chart, shown, View()).title

    async def looked() -> None:
        app = WorkbenchApp(store, FakeScheduler(), device="cpu")  # type: ignore[arg-type]
        async with app.run_test(size=(160, 40)) as pilot:
            await settle(pilot)
            for key in ("escape", "m", "down", "m", "left", "left", "enter", "escape"):
                await pilot.press(key)
                await settle(pilot)

    import asyncio

    asyncio.run(looked())
    assert main(["runs", "compare", "1", "2", "--store", str(store.folder)]) == 0


def test_dialogs_and_sweep_screen_use_the_fields_of_a_custom_problem(store: Store) -> None:
    sweep = store.sweeps.get(
        store.sweeps.add(Grid.of(SmallConfig(epochs=4), {"pull": [0.0, 1.0], "rate": [0.01, 0.1]}))
    )
    complete(store, sweep.id, executor=lambda: Scheduler(store, device="cpu"))

    async def looked() -> None:
        app = WorkbenchApp(store, FakeScheduler(), device="cpu")  # type: ignore[arg-type]
        async with app.run_test(size=(120, 40)) as pilot:
            await settle(pilot)
            await pilot.press("escape", "h", "down", "f")
            await settle(pilot)
            assert [row.field.name for row in app.screen.query(FieldRow)] == ["step", "pull", "rate", "epochs"]
            await pilot.press("escape")
            await settle(pilot)
            form = app.screen.query_one(LaunchForm)
            form.use_experiment("small")
            await settle(pilot)
            app.screen.action_sweep()  # type: ignore[attr-defined]
            await settle(pilot)
            assert app.screen.query("#axis-0 Input")
            app.screen.query_one("#axis-0 Input", Input).value = "p=0,1"
            await pilot.pause(0.3)
            await settle(pilot)
            assert "2 runs" in str(app.screen.query_one("#amount", PlainText).render())
            await pilot.press("escape")
            app.open_sweep(sweep)
            await settle(pilot)
            for key in ("right", "down", "M", "m", "enter", "escape", "escape"):
                await pilot.press(key)
                await settle(pilot)

    import asyncio

    asyncio.run(looked())


def test_pictures_and_report_of_a_custom_problem_are_written(store: Store, experiment: str, tmp_path: Path) -> None:
    at = ("--store", str(store.folder))
    assert command("experiments", "run", experiment, "--json", "--device", "cpu", *at) == 0
    assert command("plot", "1", "--output", str(tmp_path / "run.svg"), *at) == 0
    assert command("plot", "1", "2", "--metric", "weight", "--output", str(tmp_path / "runs.svg"), *at) == 0
    assert command("plot", "S1", "--output", str(tmp_path / "sweep.svg"), *at) == 0
    assert command("experiments", "show", experiment) == 0
    assert command("experiments", "report", experiment, "--output", str(tmp_path / "page.html"), *at) == 0
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert "2 claims: 2 hold." in page and "Does a pull keep the weight away" in page
    assert command("sweeps", "show", "S1", *at) == 0


def test_a_filter_accepts_fields_and_metrics_of_a_custom_problem(store: Store) -> None:
    for pull in (0.0, 4.0):
        train(store, store.add_run(SmallConfig(pull=pull)))
    other = store.add_run(registry.find("addition").config())
    schemas = [run.schema for run in store.runs()]

    def found(query: str) -> list[int]:
        return [run.id for run in store.runs() if parse(query, schemas)(run)]

    assert found("p>1") == found("pull>=4") == [2] and found("weight>0.9") == [1]
    assert found("λ>=0") == [other] and found("seed=0") == [other, 2, 1]
    with pytest.raises(QueryError, match="wieght is neither a hyperparameter nor a metric; did you mean weight"):
        parse("wieght>1", schemas)


def test_a_sweep_of_a_custom_problem_is_trained_and_drawn(store: Store) -> None:
    grid = Grid.of(SmallConfig(epochs=4), {"pull": [0.0, 1.0], "rate": [0.01, 0.1]}, 2)
    sweep = store.sweeps.get(store.sweeps.add(grid))
    progress = complete(store, sweep.id, executor=lambda: Scheduler(store, device="cpu"))
    assert progress.complete and progress.table.schema == SmallConfig.schema()
    assert len(store.runs()) == 8 and store.sweeps.get(sweep.id).grid == grid
    drawn = heatmap(progress.table, "weight", width=60, height=6).plain
    assert "p ╲ rate" in drawn and "w  " in drawn
    over_pull = progress.table.at({"rate": 0.1})
    assert title(over_pull.schema, over_pull.axes, ["train_loss"]) == "loss (log) over p (log)"
    assert "┤" in curve(over_pull, width=60, height=10, metrics=["train_loss"]).plain


def test_claims_about_a_custom_problem_are_checked(store: Store, experiment: str) -> None:
    loaded = load(experiment)
    runs = trained.trained(
        store, loaded.cases(), experiment=loaded.name, executor=lambda: Scheduler(store, device="cpu"),
        tell=lambda line: None, threads=None, stop=lambda: "",
    )  # fmt: skip
    assert {run.status for run in runs.values()} == {Status.DONE}
    verdicts = Evidence(store).verdicts(loaded)
    assert [verdict.state for verdict in verdicts] == ["holds", "holds"], [one.measured for one in verdicts]


def test_curves_of_a_custom_problem_are_drawn_on_screen_and_paper(store: Store) -> None:
    run_id = store.add_run(SmallConfig())
    train(store, run_id)
    run, curves = store.run(run_id), store.curves(run_id)
    panels = training_curves([Subject("small", run.schema, curves)]).axes
    assert [" ".join(axes.get_ylabel().split()) for axes in panels] == ["loss (log)", "w", "speed"]


def test_points_come_from_the_python_api() -> None:
    points = list(wdtui.train(problem="small", pull=0.5, epochs=3))
    assert [point["step"] for point in points] == [5, 10, 15] and points[0].keys() >= {"weight", "train_loss"}
    assert [p["weight"] for p in wdtui.train(SmallConfig(pull=0.5, epochs=3))] == [p["weight"] for p in points]


def test_a_custom_problem_killed_at_any_moment_resumes_to_the_same_bits(store: Store) -> None:
    whole = store.add_run(SmallConfig(epochs=400))
    train(store, whole)
    for after in (0.01, 0.05, 0.1, 0.2):
        killed = store.add_run(SmallConfig(epochs=400))

        def training(run_id: int) -> None:
            runner._CHECKPOINT_SECONDS, runner._CHECKPOINT_SHARE = 0.0, 1.0
            with Store(store.folder) as own:
                Runner(own, run_id, device="cpu").run()

        pid = forked(partial(training, killed))
        time.sleep(after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        ended(pid)
        if store.run(killed).status != Status.DONE:
            train(store, killed)
        assert weights(store, killed) == weights(store, whole)
