"""A store that is moved, deleted or replaced under a training: said at once, and what was measured is kept."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import assert_one_sentence, start, until, wdtui
from fault_tools import TINY
from store_tools import CONFIG, append, claim, point

from wdtui.runs import runner
from wdtui.runs.group import Group
from wdtui.runs.runner import Runner, report
from wdtui.schema.curves import Point
from wdtui.store.records import StoreGoneError
from wdtui.store.rescue import Measured, add_rescued, read_rescue, write_rescue
from wdtui.store.store import Status, Store, StoreError

FILES = "wdtui.sqlite3", "wdtui.sqlite3-wal", "wdtui.sqlite3-shm"


def moved(folder: Path) -> None:
    for name in FILES:
        if (folder / name).exists():
            (folder / name).rename(folder / f"{name}.aside")


def deleted(folder: Path) -> None:
    shutil.rmtree(folder)


def replaced(folder: Path) -> None:
    moved(folder)
    with Store(folder) as other:
        other.add_run(CONFIG, name="of another store")


SHORT = TINY.replace(epochs=60)
LOSSES = [moved, deleted, replaced]


@pytest.mark.parametrize("lose", LOSSES)
def test_writing_to_a_store_that_is_gone_is_refused(tmp_path: Path, lose: Callable[[Path], None]) -> None:
    folder = tmp_path / "store"
    with Store(folder) as store:
        run_id = store.add_run(CONFIG)
        owned = claim(store, run_id)
        append(store, run_id, point(10))
        lose(folder)
        for write in (
            lambda: store.append(owned, [point(20)], speed=100.0, milestones={}),
            lambda: store.heartbeat(owned),
            lambda: store.add_run(CONFIG),
        ):
            with pytest.raises(StoreGoneError, match=r"store .* was moved, deleted or replaced"):
                write()


@pytest.mark.parametrize("change", ["store = 'another'", "revision = 0"])
def test_a_file_replaced_by_another_store_is_refused(tmp_path: Path, change: str) -> None:
    """As where a backup, or another store, was copied over it."""
    with Store(tmp_path) as store:
        run_id = store.add_run(CONFIG)
        store.rename(run_id, "renamed")
        with sqlite3.connect(tmp_path / "wdtui.sqlite3") as connection:
            connection.execute(f"UPDATE counter SET {change}")
        connection.close()
        with pytest.raises(StoreGoneError, match="was moved, deleted or replaced"):
            store.heartbeat(store.run(run_id).claim)


def test_a_new_thread_does_not_open_a_replaced_store(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with Store(folder) as store:
        store.add_run(CONFIG)
        replaced(folder)
        caught: list[Exception] = []

        def read() -> None:
            try:
                store.runs()
            except StoreError as error:
                caught.append(error)

        thread = threading.Thread(target=read)
        thread.start()
        thread.join()
        assert isinstance(caught[0], StoreGoneError)


@pytest.mark.parametrize("lose", LOSSES)
def test_a_run_whose_store_is_lost_leaves_its_points_in_a_rescue_file(
    tmp_path: Path, lose: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "_POLL_SECONDS", 0.01)
    folder = tmp_path / "store"
    store = Store(folder)
    run_id = store.add_run(SHORT, name="rescued")
    training = Runner(store, run_id, device="cpu", threads=1)
    at_step = 20 * SHORT.steps_per_epoch
    take = training.take

    def losing(measured: runner.Point) -> None:
        take(measured)
        if measured.step == at_step:
            report([training])
            lose(folder)

    training.take = losing  # type: ignore
    with pytest.raises(StoreError) as told:
        training.run()
    text = str(told.value)
    [path] = [*tmp_path.rglob("run-*-rescued*.jsonl")]
    assert str(path) in text and "wdtui runs import" in text and "\n" not in text
    rescued = read_rescue(path)
    assert rescued.config == SHORT and rescued.name == "rescued"
    assert len(rescued.points) >= 20 and rescued.points[0].step == SHORT.steps_per_epoch
    assert path.stat().st_mode & 0o777 == 0o600
    store.close()
    undisturbed = Store(tmp_path / "undisturbed")
    other = undisturbed.add_run(SHORT)
    Runner(undisturbed, other, device="cpu", threads=1).run()
    expected = undisturbed.curves(other)
    for place, rescued_point in enumerate(rescued.points):
        same = np.array(rescued_point.values[:-1]) == expected.values[place, :-1]
        assert same.all() and rescued_point.step == expected.steps[place]
    undisturbed.close()
    imported = wdtui("runs", "import", str(path), store=tmp_path / "new")
    assert imported.returncode == 0, imported.stderr
    assert "`wdtui resume 1` trains it from its beginning." in imported.stdout
    with Store(tmp_path / "new") as again:
        run = again.run(1)
        assert (run.status, run.name, run.config) == (Status.INTERRUPTED, "rescued", SHORT)
        assert len(again.curves(1)) == len(rescued.points)
        Runner(again, 1, device="cpu", threads=1).run()
        assert again.curves(1)["train_loss"].tolist() == expected["train_loss"].tolist()


def test_runs_trained_together_leave_a_rescue_file_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_POLL_SECONDS", 0.01)
    folder = tmp_path / "store"
    with Store(folder) as store:
        config = TINY.replace(engine="ensemble", width=16, epochs=5000)
        run_ids = [store.add_run(config.replace(seed=seed)) for seed in range(2)]
        group = Group(store, run_ids, device="cpu", threads=1)
        timer = threading.Timer(0.5, moved, [folder])  # renamed: deleting a folder in use may fail half-way
        timer.start()
        with pytest.raises(StoreGoneError) as told:
            group.run()
        files = sorted(tmp_path.rglob("run-*-rescued*.jsonl"))
        assert [file.name[:6] for file in files] == ["run-1-", "run-2-"]
        assert all(str(file) in str(told.value) for file in files)


def test_a_headless_run_whose_store_vanishes_ends_with_status_1(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    process = start("run", "demo", "--epochs", "20000", "--threads", "1", "--headless", store=folder)

    def measured() -> bool:
        if not (folder / "wdtui.sqlite3").exists():
            return False
        with Store(folder) as store:
            return bool(store.count()) and len(store.curves(1)) > 2

    until(measured, process)
    moved(folder)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1, error
    last = error.strip().splitlines()[-1]
    assert "was moved, deleted or replaced" in last and "run-1-rescued" in last and "Traceback" not in error
    [path] = [*folder.glob("run-1-rescued*.jsonl")]
    header = json.loads(path.read_text().splitlines()[0])
    assert header["run"] == 1 and header["config"]["epochs"] == 20000


def test_a_truncated_or_changed_rescue_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run-1-rescued.jsonl"
    path.write_text("not a rescue file\n")
    told = wdtui("runs", "import", str(path), store=tmp_path / "store")
    assert told.returncode == 2 and "is not a rescue file" in told.stderr
    assert os.listdir(tmp_path) == ["run-1-rescued.jsonl"]


def rescued(folder: Path) -> Path:
    """A rescue file of a run with a few points."""
    with Store(folder) as store:
        run = store.run(store.add_run(TINY))
    measured = Measured(TINY.columns)
    for epoch in (1, 2, 3):
        measured.add(Point(epoch * TINY.steps_per_epoch, epoch, (0.5,) * len(TINY.columns)))
    return write_rescue(folder, run, measured)


def test_a_rescue_file_does_not_follow_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "strftime", lambda form: "20260101-000000")
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "store").mkdir()
    stem = tmp_path / "store" / "run-1-rescued-20260101-000000"
    stem.with_suffix(".partial").symlink_to(tmp_path / "precious")
    stem.with_suffix(".jsonl").symlink_to(tmp_path / "nowhere")
    path = rescued(tmp_path / "store")
    assert (tmp_path / "precious").read_text() == "mine" and not (tmp_path / "nowhere").exists()
    assert path.name == f"{stem.name}-1.jsonl" and len(read_rescue(path).points) == 3


@pytest.mark.parametrize(
    "line",
    [
        "[" * 100_000,
        '{"step": Infinity, "epoch": 4, "values": %s}',
        '{"step": 1e30, "epoch": 4, "values": %s}',
        '{"step": 499999999999999999995, "epoch": 99999999999999999999, "values": %s}',
        '{"step": 21, "epoch": 4, "values": %s}',
        '{"step": 20, "epoch": 4, "values": 3}',
    ],
    ids=lambda line: line[:30],
)
def test_an_invalid_rescue_file_is_refused_and_leaves_nothing(tmp_path: Path, line: str) -> None:
    path = rescued(tmp_path / "old")
    with path.open("a") as file:
        file.write(line.replace("%s", str([0.5] * len(TINY.columns))) + "\n")
    told = wdtui("runs", "import", str(path), store=tmp_path / "store")
    assert told.returncode == 2 and "is not a rescue file" in told.stderr, told
    assert_one_sentence(told.stderr)


def test_a_failed_import_of_a_rescue_file_leaves_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = rescued(tmp_path / "old")
    with Store(tmp_path / "store") as store:

        def full(*arguments: object, **options: object) -> None:
            raise StoreError("The disk is full.")

        monkeypatch.setattr(store, "append", full)
        with pytest.raises(StoreError, match="is full"):
            add_rescued(store, read_rescue(path))
        assert store.count() == 0


def test_no_checkpoint_is_written_after_the_store_was_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with Store(folder) as store:
        run_id = store.add_run(TINY)
        kept = store.checkpoints(store.run(run_id), claim(store, run_id))
        replaced(folder)
        with pytest.raises(StoreGoneError):
            kept.save(0, {"epoch": 0, "batch": 0, "plan": []}, {})
        assert kept.steps() == []
