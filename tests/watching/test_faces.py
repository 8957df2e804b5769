"""The command line and the app show a watched run as any other."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from command_line import wdtui as command
from loops import network, sgd, update
from tui_tools import FakeScheduler, hurry, settle

import wdtui
from wdtui.runs.query import parse
from wdtui.store.store import Store
from wdtui.tui.app import WorkbenchApp
from wdtui.tui.feed import Feed
from wdtui.tui.figures import figure
from wdtui.tui.identity import Identities
from wdtui.tui.subjects import subjects
from wdtui.tui.view import View
from wdtui.tui.widgets.chart import ChartPanel


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store with two runs of the same script, of 60 steps each."""
    for momentum in (0.5, 0.9):
        model = network()
        optimizer = sgd(model)
        optimizer.param_groups[0]["momentum"] = momentum
        with wdtui.watch(
            model, optimizer, config={"batch_size": 16}, steps=60, every=5, name="mine", store=tmp_path
        ) as run:
            for step in range(60):
                run.step(train_loss=update(model, optimizer))
                if step % 20 == 19:
                    run.log(test_accuracy=step / 60)
    return tmp_path


def test_commands_list_show_compare_export_and_delete_it(folder: Path, tmp_path: Path) -> None:
    listed = command("runs", "list", store=folder).stdout
    assert "batch_size" not in listed  # it is the same in both
    assert "mine" in listed and "98.3 %" in listed and "0.9" in listed
    shown = command("runs", "show", "2", store=folder).stdout
    assert "test accuracy" in shown.lower() and "momentum 0.9" in shown and "Run 2 is done" in shown
    compared = command("runs", "compare", "1", "2", store=folder)
    assert compared.returncode == 0 and "μ 0.5" in compared.stdout and "μ 0.9" in compared.stdout
    exported = command("runs", "export", "2", "--format", "json", "--output", str(tmp_path / "run.json"), store=folder)
    assert exported.returncode == 0, exported.stderr
    assert "train_loss" in (tmp_path / "run.json").read_text()
    drawn = command("plot", "1", "2", "--metric", "train_loss", "--output", str(tmp_path / "a.svg"), store=folder)
    assert drawn.returncode == 0, drawn.stderr
    for arguments in (("resume", "1"), ("replay", "1"), ("fork", "1", "--at", "20", "--set", "lr=0.5")):
        refused = command(*arguments, "--headless", store=folder)
        assert refused.returncode == 2 and "Start that script again." in refused.stderr, refused.stderr
    for arguments in (
        ("replay", "1"),
        ("fork", "1", "--at", "20", "--set", "lr=0.5"),
    ):  # before a terminal is asked for
        assert "Start that script again." in command(*arguments, store=folder).stderr
    assert command("runs", "delete", "1", "--yes", store=folder).returncode == 0
    (left,) = command("runs", "list", "--json", store=folder).stdout.splitlines()
    assert json.loads(left)["final"]["test_accuracy"] == pytest.approx(59 / 60)


def test_the_filter_finds_it_by_what_its_config_says(folder: Path) -> None:
    with Store(folder) as store:
        runs = store.runs()
    assert [run.id for run in runs if parse("momentum>0.6", [run.schema])(run)] == [2]


def test_the_app_shows_its_charts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hurry(monkeypatch)

    async def looked() -> list[str]:
        with Store(folder) as store:
            app = WorkbenchApp(store, FakeScheduler(), device="cpu")  # type: ignore[arg-type]
            async with app.run_test(size=(120, 40)) as pilot:
                await settle(pilot)
                await pilot.press("escape")
                await settle(pilot)
                panels = [panel for panel in app.screen.query(ChartPanel) if panel.region and panel.id != "map"]
                titles = [panel.render_line(0).text.split("─")[1].strip() for panel in panels]
                await pilot.press("enter")
                await settle(pilot)
                await pilot.press("escape", "m", "down", "m")
                await settle(pilot)
                return titles

    assert asyncio.run(looked())[:3] == ["test accuracy", "train loss", "weight norm"]


def test_every_chart_of_it_can_be_drawn(folder: Path) -> None:
    with Store(folder) as store:
        feed = Feed(store)
        feed.show([1, 2])
        snapshot = feed.poll()
    assert snapshot
    shown = subjects(snapshot.shown, Identities().of)
    charts = shown[0].shown.run.schema.charts_of(shown[0].shown.curves.names)
    for chart in charts:
        for some in (shown, shown[:1]):
            assert figure(chart, some, View()).series, chart.name
