"""Damaged points are named by every face, and trained again to the same bits."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from command_line import wdtui
from fault_tools import TINY

from wdtui.problems.addition.config import RunConfig
from wdtui.runs import forks
from wdtui.runs.runner import Runner
from wdtui.schema.curves import Curves
from wdtui.store.store import Status, Store, StoreError

SHORT = TINY.replace(epochs=40, keep_every=10)


def trained(store: Store, config: RunConfig = SHORT) -> int:
    run_id = store.add_run(config)
    assert Runner(store, run_id, device="cpu", threads=1).run() == Status.DONE
    return run_id


def damage(folder: Path, run_id: int, *steps: int) -> None:
    connection = sqlite3.connect(folder / "wdtui.sqlite3", isolation_level=None)
    for step in steps:
        where = "WHERE run_id = ? AND step = ?"
        (data,) = connection.execute(f"SELECT data FROM points {where}", (run_id, step)).fetchone()
        changed = bytearray(data)
        changed[22] ^= 0x40
        connection.execute(f"UPDATE points SET data = ? {where}", (bytes(changed), run_id, step))
    connection.close()


def assert_same(curves: Curves, expected: Curves) -> None:
    assert curves.lost == () and curves.steps.tolist() == expected.steps.tolist()
    for name in expected.names:
        if name != "steps_per_second":
            np.testing.assert_array_equal(curves[name], expected[name], err_msg=name)


def test_app_and_command_line_report_damaged_points_and_the_remedy(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run_id = trained(store)
        step = int(store.curves(run_id).steps[25])
    damage(tmp_path, run_id, step)
    said = f"Run {run_id} lacks the damaged point at step {step}: `wdtui resume {run_id}` trains it again."
    assert said in wdtui("runs", "show", "1", store=tmp_path).stdout
    assert json.loads(wdtui("runs", "show", "1", "--json", store=tmp_path).stdout)["lost"] == [step]
    exported = wdtui("runs", "export", "1", "--output", str(tmp_path / "run.json"), "--format", "json", store=tmp_path)
    assert said in exported.stderr
    assert json.loads((tmp_path / "run.json").read_text())["lost"] == [step]


def test_resuming_a_finished_run_trains_its_damaged_points_again(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run_id, undisturbed = trained(store), trained(store)
        expected = store.curves(undisturbed)
        with pytest.raises(StoreError, match="has no missing points"):
            store.reopen(run_id)
    damage(tmp_path, run_id, *expected.steps[[25, 33]].tolist())
    resumed = wdtui("resume", str(run_id), store=tmp_path)
    assert resumed.returncode == 0, resumed.stderr
    assert f"continues from its checkpoint at step {20 * SHORT.steps_per_epoch}" in resumed.stderr
    with Store(tmp_path) as store:
        assert store.run(run_id).status == Status.DONE
        assert_same(store.curves(run_id), expected)


@pytest.mark.parametrize("options", [("--device", "nonsense"), ("--device", "nonsense", "--headless")])
def test_a_finished_run_that_cannot_be_trained_again_stays_finished(tmp_path: Path, options: tuple[str, ...]) -> None:
    with Store(tmp_path) as store:
        run_id = trained(store)
        before = store.run(run_id)
        damage(tmp_path, run_id, int(store.curves(run_id).steps[25]))
        refused = wdtui("resume", str(run_id), *options, store=tmp_path)
        assert refused.returncode == 2 and "nonsense" in refused.stderr
        run = store.run(run_id)
        assert (run.status, run.reason, run.ended) == (Status.DONE, before.reason, before.ended)


def test_a_fork_of_a_run_with_a_damaged_point_has_all_its_points(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        parent, other = trained(store), trained(store)
        steps = store.curves(parent).steps
        damage(tmp_path, parent, int(steps[14]))
        at = int(steps[29])
        fork, expected = (forks.fork(store, store.run(run), at, {"weight_decay": 0.5}) for run in (parent, other))
        for run_id in (fork, expected):
            Runner(store, run_id, device="cpu", threads=1).run()
        assert_same(store.curves(fork), store.curves(expected))


def test_an_unreadable_row_is_listed_and_reported_and_can_be_deleted(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for name in ("first", "second", "third"):
            store.add_run(SHORT, name=name)
    connection = sqlite3.connect(tmp_path / "wdtui.sqlite3", isolation_level=None)
    connection.execute("UPDATE runs SET milestones = '{' WHERE id = 2")
    connection.close()
    listed = wdtui("runs", "list", store=tmp_path)
    assert listed.returncode == 0 and [line.split()[:3:2] for line in listed.stdout.splitlines()[1:]] == [
        ["3", "queued"], ["2", "damaged"], ["1", "queued"]
    ]  # fmt: skip
    lines = map(json.loads, wdtui("runs", "list", "--json", store=tmp_path).stdout.splitlines())
    assert [(run["id"], run["status"]) for run in lines] == [(3, "queued"), (2, "damaged"), (1, "queued")]
    said = "The row of run 2 in the store is damaged: `wdtui runs delete 2` removes it."
    assert said in wdtui("doctor", store=tmp_path).stdout
    assert said in wdtui("runs", "show", "2", store=tmp_path).stderr
    assert wdtui("runs", "delete", "2", "--yes", store=tmp_path).returncode == 0
    assert len(wdtui("runs", "list", store=tmp_path).stdout.splitlines()) == 3
