"""What a newer wdtui stored is shown as far as it can be read, and the rest is said in a sentence."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.widgets import OptionList
from tui_tools import Recorded, drawn, press, settle

from wdtui.problems.addition.config import RunConfig
from wdtui.store.records import Status
from wdtui.studies.grid import Grid
from wdtui.tui.screens.run import RunView
from wdtui.tui.screens.workbench import Workbench
from wdtui.tui.widgets.chart import ChartPanel

MakeApp = Callable[..., Any]
_NEWER = "was made by another version of wdtui"


def with_a_new_field(recorded: Recorded, column: str, path: str) -> None:
    """Rewrite the JSON in a column as a version would that has a hyperparameter more."""
    table, column = column.split(".")
    with recorded.store._database.writing() as connection:
        connection.execute(f"UPDATE {table} SET {column} = json_set({column}, ?, 9)", (path,))


@pytest.mark.parametrize("decay", [{}, {"normalized_weight_decay": 0.05}])
@pytest.mark.parametrize("status", [Status.DONE, Status.RUNNING])
async def test_a_run_of_a_newer_version_has_curves_and_an_error_as_config(
    decay: dict[str, float], status: Status, recorded: Recorded, make_app: MakeApp
) -> None:
    run_id = recorded.add("epsilon-1e-5", points=60, status=status, **decay)
    recorded.store.add_event(
        recorded.store.run(run_id).claim, 780, "steered", {"field": "bn_epsilon", "old": 1e-5, "new": 1e-4, "epochs": 5}
    )
    with_a_new_field(recorded, "runs.config", "$.warp")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await press(pilot, "escape")
        await drawn(pilot)
        panels = pilot.app.screen.query("#grid ChartPanel").results(ChartPanel)
        assert all(any(len(series.x) == 60 for series in panel._figure.series) for panel in panels)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, RunView)
        assert _NEWER in str(pilot.app.screen.query_one("#facts").render())


async def test_a_sweep_of_a_newer_version_is_listed_and_opening_it_shows_an_error(
    recorded: Recorded, make_app: MakeApp
) -> None:
    recorded.store.sweeps.add(Grid.of(RunConfig(), {"weight_decay": (0.1, 0.3)}), name="mine")
    with_a_new_field(recorded, "sweeps.spec", "$.config.warp")
    with_a_new_field(recorded, "sweep_cells.config", "$.warp")
    async with make_app().run_test(size=(120, 40)) as pilot:
        await settle(pilot)
        await press(pilot, "escape", "S")
        assert _NEWER in str(pilot.app.screen.query_one(OptionList).get_option_at_index(0).prompt)
        await press(pilot, "enter")
        assert isinstance(pilot.app.screen, Workbench)
        assert any(_NEWER in note.message for note in pilot.app._notifications)
