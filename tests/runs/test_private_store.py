"""Who may read and write a store, and where it lies: modes, read-only viewers, network file systems."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from command_line import wdtui
from store_tools import CONFIG, append, claim, in_python, point

from wdtui.runs.trainer import _opened_log
from wdtui.store import database
from wdtui.store.checkpoints import Checkpoints
from wdtui.store.store import Status, Store
from wdtui.support.store_files import log_path
from wdtui.tui.form_memory import FormMemory, Kept

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def furnished(folder: Path) -> dict[str, int]:
    """The modes of all that a store has while it is in use, by what it is."""
    import torch

    with Store(folder) as store:
        run_id = store.add_run(CONFIG)
        claim(store, run_id)
        append(store, run_id, point(10))
        Checkpoints.of(folder, store.run(run_id)).save(10, {"epoch": 1}, {"w": torch.ones(3)})
        _opened_log(log_path(folder, run_id)).close()
        FormMemory(folder).write(Kept("demo", {"seed": "1"}))
        store.set_status(store.run(run_id).claim, Status.DONE)
        paths = [folder, *folder.rglob("*")]
        return {str(path.relative_to(folder)): path.stat().st_mode & 0o7777 for path in paths}


def test_only_its_owner_can_access_a_store(tmp_path: Path, umask: int) -> None:
    modes = furnished(tmp_path / "store")
    assert {"wdtui.sqlite3", "wdtui.sqlite3-wal", "wdtui.sqlite3-shm", "logs/run-1.log", "form.json"} < set(modes)
    for name, mode in modes.items():
        assert mode == (0o700 if (tmp_path / "store" / name).is_dir() else 0o600), (name, oct(mode))


def test_the_group_can_access_a_shared_store(tmp_path: Path, umask: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WDTUI_SHARED", "true")
    for name, mode in furnished(tmp_path / "store").items():
        assert mode == (0o2770 if (tmp_path / "store" / name).is_dir() else 0o660), (name, oct(mode))


def test_a_store_becomes_shared_once_the_setting_says_so(tmp_path: Path) -> None:
    furnished(tmp_path / "store")
    assert wdtui("config", "set", "shared", "true").returncode == 0
    assert wdtui("runs", "list", store=tmp_path / "store").returncode == 0
    paths = [tmp_path / "store", *(tmp_path / "store").rglob("*")]
    assert {path.stat().st_mode & 0o7777 for path in paths} == {0o2770, 0o660}


def test_a_folder_that_was_there_keeps_its_mode_and_its_files_follow_it(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain").chmod(0o755)
    modes = furnished(tmp_path / "plain")
    assert modes["."] == 0o755 and modes["wdtui.sqlite3"] == 0o600
    (tmp_path / "group").mkdir()
    (tmp_path / "group").chmod(0o2770)
    modes = furnished(tmp_path / "group")
    assert modes["wdtui.sqlite3"] == modes["wdtui.sqlite3-wal"] == 0o660 and modes["checkpoints"] == 0o2770
    (tmp_path / "group" / "wdtui.sqlite3").chmod(0o644)
    assert furnished(tmp_path / "group")["wdtui.sqlite3"] == 0o644


def test_only_their_owner_can_access_the_settings(umask: int) -> None:
    path = Path(os.environ["WDTUI_CONFIG"])
    wdtui("config", "set", "theme", "light")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    wdtui("config", "set", "theme", "dark")
    assert path.stat().st_mode & 0o777 == 0o640


# Viewers who may not write


def test_a_read_only_viewer_sees_what_is_written_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Store(tmp_path) as writer:
        writer.add_run(CONFIG, name="first")
    monkeypatch.setattr(database.os, "access", lambda *_: False)
    with Store(tmp_path) as viewer:
        seen = viewer.data_version()
        assert [run.name for run in viewer.runs()] == ["first"] and viewer.data_version() == seen
        for name in ("second", "third"):
            code = f"store.add_run(RunConfig(), name={name!r}); print('added', flush=True); sys.stdin.readline()"
            process = in_python(code, tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
            assert process.stdout and process.stdout.readline() == "added\n"
            assert viewer.data_version() != seen
            assert viewer.runs()[0].name == name
            process.communicate("\n", timeout=30)
            seen = viewer.data_version()
            assert viewer.runs()[0].name == name
        code = "store.add_run(RunConfig(), name='fourth')"
        in_python(code, tmp_path).wait(30)
        assert viewer.data_version() != seen and viewer.runs()[0].name == "fourth"


VIEW = """
import os, sys, pathlib, psutil
from wdtui.store.store import Store
os.setgroups([]), os.setgid(65534), os.setuid(65534)
with Store(pathlib.Path(sys.argv[1])) as store:
    for line in sys.stdin:
        print(*(run.name for run in store.runs()), flush=True)
"""


@pytest.mark.skipif(not ROOT, reason="only root can become another user")
def test_another_user_who_may_read_sees_what_is_written_later(tmp_path: Path) -> None:
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    with Store(tmp_path / "store") as writer:
        writer.add_run(CONFIG, name="first")
    (tmp_path / "store").chmod(0o755)
    (tmp_path / "store" / "wdtui.sqlite3").chmod(0o644)
    environment = os.environ | {"WDTUI_CONFIG": "/nonexistent/config.toml"}
    viewer = subprocess.Popen(
        [sys.executable, "-c", VIEW, str(tmp_path / "store")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    )  # fmt: skip
    assert viewer.stdin and viewer.stdout

    def seen() -> str:
        print(file=viewer.stdin, flush=True)
        return viewer.stdout.readline().strip()

    assert seen() == "first"
    with Store(tmp_path / "store") as writer:
        writer.add_run(CONFIG, name="second")
        assert seen() == "second first"
        writer.add_run(CONFIG, name="third")
        assert seen() == "third second first"
    assert seen() == "third second first"
    with Store(tmp_path / "store") as writer:
        writer.add_run(CONFIG, name="fourth")
    assert seen() == "fourth third second first"
    viewer.stdin.close()
    assert viewer.wait(30) == 0


# Network file systems


@pytest.fixture
def on_nfs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "network_file_system", lambda folder: "nfs4")
    monkeypatch.setattr(database, "notices", [])


def test_a_store_on_a_network_file_system_has_a_rollback_journal_and_says_so_once(tmp_path: Path, on_nfs: None) -> None:
    for _ in range(2):
        with Store(tmp_path) as store:
            store.add_run(CONFIG)
            with store._database.reading() as connection:
                assert connection.execute("PRAGMA journal_mode").fetchone() == ("truncate",)
                assert connection.execute("PRAGMA synchronous").fetchone() == (2,)
        assert not (tmp_path / "wdtui.sqlite3-wal").exists()
    [notice] = database.notices
    assert "nfs4" in notice and "rollback journal" in notice


def test_a_store_with_a_log_that_was_moved_to_a_network_file_system_is_converted(
    tmp_path: Path, on_nfs: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as local:
        local.setattr(database, "network_file_system", lambda folder: "")
        with Store(tmp_path) as store:
            store.add_run(CONFIG)
    with Store(tmp_path) as store, Store(tmp_path) as other:
        store.add_run(CONFIG)
        other.add_run(CONFIG)
        assert len(store.runs()) == 3 and store.check() is None
    assert sqlite3.connect(tmp_path / "wdtui.sqlite3").execute("PRAGMA journal_mode").fetchone() != ("wal",)


@pytest.mark.parametrize("system", ["Linux", "another"])
@pytest.mark.parametrize(
    ("kind", "found"), [("nfs4", "nfs4"), ("fuse.sshfs", "fuse.sshfs"), ("ext4", ""), ("tmpfs", ""), ("CIFS", "cifs")]
)
def test_a_network_file_system_is_known_by_its_mount(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, found: str, system: str
) -> None:
    import psutil

    here, listed = tmp_path / "a mount", tmp_path / "mounts"
    if system == "Linux":
        escaped = str(here).replace(" ", "\\040")
        listed.write_text(f"/dev/sda1 / ext4 rw 0 0\nserver:/data {escaped} {kind} rw 0 0\n")
    mounts = [SimpleNamespace(mountpoint=str(here), fstype=kind), SimpleNamespace(mountpoint="/", fstype="ext4")]
    monkeypatch.setattr(database, "_MOUNTS", listed)
    monkeypatch.setattr(psutil, "disk_partitions", lambda all=False: mounts)
    assert database.network_file_system(here / "lab" / "wdtui") == found
    assert database.network_file_system(tmp_path / "elsewhere") == ""
