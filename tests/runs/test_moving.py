"""The store as a whole: checked, backed up, moved."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest
from command_line import assert_one_sentence, wdtui
from store_tools import CONFIG, append, claim, point

from wdtui.problems.addition.engine.state import state_shapes
from wdtui.store.checkpoints import Checkpoints
from wdtui.store.moving import backup, move
from wdtui.store.store import Status, Store, StoreError, StoreGoneError
from wdtui.support.outputs import FileError


def furnished(folder: Path) -> Path:
    import torch

    with Store(folder) as store:
        run_id = store.add_run(CONFIG, name="kept")
        claim(store, run_id)
        append(store, run_id, point(10), point(20))
        epoch, batch = divmod(10, CONFIG.steps_per_epoch)
        tensors = {name: torch.ones(shape) for name, shape in state_shapes(CONFIG, batch).items()}
        position = {"epoch": epoch, "batch": batch, "plan": []}
        Checkpoints.of(folder, store.run(run_id)).save(10, position, tensors)
        store.set_checkpoint(store.run(run_id).claim, 10)
        store.set_status(store.run(run_id).claim, Status.STOPPED)
    return folder


def test_a_backup_has_all_commits_while_runs_train(tmp_path: Path) -> None:
    folder = furnished(tmp_path / "store")
    with Store(folder) as store:
        live = store.add_run(CONFIG)
        claim(store, live)
        append(store, live, point(10))
        backup(store, tmp_path / "copy.sqlite3")
        append(store, live, point(20))
        with pytest.raises(FileError, match=r"copy.sqlite3 already exists"):
            backup(store, tmp_path / "copy.sqlite3")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.sqlite3", "store"]
    assert (tmp_path / "copy.sqlite3").stat().st_mode & 0o777 == 0o600
    (tmp_path / "restored").mkdir()
    (tmp_path / "copy.sqlite3").rename(tmp_path / "restored" / "wdtui.sqlite3")
    with Store(tmp_path / "restored") as store:
        assert store.run(1).name == "kept" and store.curves(live).steps.tolist() == [10]
        assert store.missing() == ""


@pytest.mark.parametrize("target", ["there", "link", "partial", "own"])
def test_a_backup_replaces_no_file_and_follows_no_link(tmp_path: Path, target: str) -> None:
    folder, other = furnished(tmp_path / "store"), tmp_path / "precious"
    other.write_text("mine")
    file = {"there": other, "own": folder / "wdtui.sqlite3-journal"}.get(target, tmp_path / "copy.db")
    if target == "link":
        file.symlink_to(other)
    if target == "partial":
        (tmp_path / "copy.db.partial").symlink_to(other)
    told = wdtui("store", "backup", str(file), store=folder)
    assert told.returncode == (0 if target == "partial" else 2), told
    if told.returncode:
        assert_one_sentence(told.stderr)
    assert other.read_text() == "mine"


def test_a_backup_is_replaced_with_force(tmp_path: Path) -> None:
    folder, file = furnished(tmp_path / "store"), tmp_path / "copy.db"
    assert wdtui("store", "backup", str(file), store=folder).returncode == 0
    with Store(folder) as store:
        store.add_run(CONFIG, name="newer")
    assert "--force" in wdtui("store", "backup", str(file), store=folder).stderr
    told = wdtui("store", "backup", str(file), "--force", store=folder)
    assert told.returncode == 0 and "2 runs" in told.stdout
    assert sqlite3.connect(file).execute("SELECT COUNT(*) FROM runs").fetchone() == (2,)
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_failed_move_leaves_the_store_in_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, new = furnished(tmp_path / "store"), tmp_path / "new"
    (folder / "logs").mkdir()
    (folder / "logs" / "run-1.log").write_text("said")
    rename = os.rename

    def across_devices(source: Path, target: Path) -> None:
        if source.name == "logs":
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        rename(source, target)

    def full(*arguments: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "rename", across_devices)
    monkeypatch.setattr(shutil, "copytree", full)
    with Store(folder) as store:
        with pytest.raises(StoreError, match="No space left"):
            move(store, new)
        assert store.checkpoints(store.run(1)).steps() == [10]
        monkeypatch.undo()
        monkeypatch.setattr(os, "rename", across_devices)
        move(store, new)
    with Store(new) as store:
        assert store.checkpoints(store.run(1)).steps() == [10] and (new / "logs" / "run-1.log").exists()


def test_a_store_is_moved_with_all_its_files(tmp_path: Path) -> None:
    folder = furnished(tmp_path / "store")
    (folder / "notes.txt").write_text("not the store's")
    (folder / "form.json").write_text("{}")
    told = wdtui("store", "move", str(tmp_path / "deep" / "new"), store=folder)
    assert told.returncode == 0, told.stderr
    assert f"wdtui config set store {tmp_path / 'deep' / 'new'}" in told.stdout
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]
    assert (tmp_path / "deep" / "new" / "form.json").read_text() == "{}"
    with Store(tmp_path / "deep" / "new") as store:
        run = store.run(1)
        assert run.name == "kept" and store.curves(1).steps.tolist() == [10, 20]
        assert store.checkpoints(run).steps() == [10]
    assert (tmp_path / "deep" / "new" / "form.json").read_text() == "{}"


def test_a_store_with_a_live_run_is_not_moved(tmp_path: Path) -> None:
    folder = furnished(tmp_path / "store")
    with Store(folder) as store:
        store.transition(1, Status.QUEUED)
        claim(store, 1)
        with pytest.raises(StoreError, match="Run 1 is being trained"):
            move(store, tmp_path / "new")
        assert not (tmp_path / "new").exists()
        store.set_status(store.run(1).claim, Status.STOPPED)
        with Store(folder) as other:
            move(store, tmp_path / "new")
            with pytest.raises(StoreGoneError):
                other.add_run(CONFIG)
    assert not folder.exists()


@pytest.mark.parametrize("where", ["store", "store/within", "taken", "file"])
def test_a_store_is_moved_only_to_an_empty_folder_elsewhere(tmp_path: Path, where: str) -> None:
    folder = furnished(tmp_path / "store")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "something").write_text("")
    (tmp_path / "file").write_text("")
    told = wdtui("store", "move", str(tmp_path / where), store=folder)
    assert told.returncode == 2
    assert_one_sentence(told.stderr)
    with Store(folder) as store:
        assert store.run(1).name == "kept"


def test_check_prints_a_line_for_each_damaged_part(tmp_path: Path) -> None:
    folder = furnished(tmp_path / "store")
    sound = wdtui("store", "check", store=folder)
    assert sound.returncode == 0 and "Nothing is damaged" in sound.stdout and "1 run" in sound.stdout
    with Store(folder) as store:
        other = store.add_run(CONFIG)
        kept = store.checkpoints(store.run(1))
    connection = sqlite3.connect(folder / "wdtui.sqlite3", isolation_level=None)
    connection.execute("UPDATE points SET data = zeroblob(length(data)) WHERE step = 20")
    connection.execute("UPDATE runs SET config = '{' WHERE id = ?", (other,))
    connection.close()
    [path] = kept.folder.glob("*.safetensors")
    path.write_bytes(b"x" + path.read_bytes()[1:])
    told = wdtui("store", "check", "--json", store=folder)
    assert told.returncode == 3, told
    lines = [json.loads(line) for line in told.stdout.splitlines()]
    assert [(line["what"], line["run"]) for line in lines] == [("run", other), ("points", 1), ("checkpoint", 1)]
    assert "`wdtui resume 1` trains it again" in lines[1]["text"]
    assert len(wdtui("store", "check", store=folder).stdout.splitlines()) == 3


def test_check_reports_a_file_that_cannot_be_opened_as_damaged(tmp_path: Path) -> None:
    folder = furnished(tmp_path / "store")
    path = folder / "wdtui.sqlite3"
    path.write_bytes(b"\xff" * 100 + path.read_bytes()[100:])
    told = wdtui("store", "check", store=folder)
    assert told.returncode == 3 and "Restore a backup" in told.stdout
