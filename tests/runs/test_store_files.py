"""The file of the store: versions, damage, locks, full disks, read-only folders."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from store_tools import CONFIG, append, point

from wdtui.store import database, migrations
from wdtui.store.store import Store, StoreError, default_folder


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


def test_the_folder_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WDTUI_HOME", str(tmp_path / "home"))
    with Store() as store:
        assert store.folder == tmp_path / "home"
        assert (tmp_path / "home" / "wdtui.sqlite3").is_file()
    monkeypatch.setenv("WDTUI_HOME", "")
    assert default_folder().name == "wdtui"


def test_a_store_opens_again_as_it_was_left(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run_id = store.add_run(CONFIG)
    with pytest.raises(StoreError, match="was closed"):
        store.runs()
    with Store(tmp_path) as store:
        assert store.run(run_id).config == CONFIG
        assert store.check() is None


def test_a_store_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a #1?").mkdir()
    monkeypatch.chdir(tmp_path / "a #1?")
    with Store(Path(".")) as store, ThreadPoolExecutor(1) as pool:
        run_id = store.add_run(CONFIG)
        monkeypatch.chdir(tmp_path)
        assert pool.submit(store.run, run_id).result().config == CONFIG


def test_migrations_build_the_tables_once(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "blank", isolation_level=None)
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    for _ in range(2):
        migrations.migrate(connection)
        assert connection.execute("PRAGMA user_version").fetchone() == (len(migrations.MIGRATIONS),)
    connection.close()


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        connection.execute("no SQL")

    Store(tmp_path).close()
    monkeypatch.setattr(migrations, "MIGRATIONS", [*migrations.MIGRATIONS, half])
    with pytest.raises(StoreError, match="failed"):
        Store(tmp_path)
    monkeypatch.undo()
    with Store(tmp_path) as store, store._database.reading() as connection:
        assert connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'half'").fetchall() == []


def test_a_newer_store_is_refused(tmp_path: Path) -> None:
    Store(tmp_path).close()
    with sqlite3.connect(tmp_path / "wdtui.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match=r"newer wdtui.*Upgrade wdtui"):
        Store(tmp_path)


def test_a_file_that_is_not_a_store_is_reported_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "wdtui.sqlite3"
    path.write_text("Dear diary, " * 200)
    with pytest.raises(
        StoreError, match=f"{path} is damaged or not a run store. .*move it away with its -wal and -shm"
    ):
        Store(tmp_path)
    assert path.read_text().startswith("Dear diary")


def test_damage_within_the_file_is_reported(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        for _ in range(50):
            store.add_run(CONFIG)
    path = tmp_path / "wdtui.sqlite3"
    content = bytearray(path.read_bytes())
    half = len(content) // 2  # the first pages hold the tables' definitions, without which nothing can be opened
    content[half:-4096] = b"\xff" * (len(content) - 4096 - half)
    path.write_bytes(content)
    with Store(tmp_path) as store:
        assert f"{path} is damaged" in (store.check() or "")
        with pytest.raises(StoreError, match=r"is damaged, and `wdtui store check` shows where\. .*move it away"):
            store.runs()


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_file_in_place_of_the_folder_is_reported(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="is a file"):
        Store(tmp_path / "file" / below)


def test_a_folder_in_place_of_the_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "wdtui.sqlite3").mkdir()
    with pytest.raises(StoreError, match=r"cannot be opened\. Check that it is a file"):
        Store(tmp_path)


def test_a_full_disk_is_reported_and_nothing_is_written_partially(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    with store._database.reading() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(StoreError, match=r"disk that holds .* is full"):
        append(store, run_id, *map(point, range(1000)))
    assert len(store.curves(run_id)) == 0 and store.run(run_id).step == 0


def test_a_store_that_stays_locked_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    with Store(tmp_path) as store, Store(tmp_path) as other, other._database.writing():
        with pytest.raises(StoreError, match=r"locked by another process for 0\.05 seconds"):
            store.add_run(CONFIG)
        assert store.runs() == []  # readers do not wait


@pytest.mark.parametrize("in_use", [False, True])
def test_a_read_only_store_can_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_use: bool) -> None:
    writer = Store(tmp_path)
    writer.add_run(CONFIG, name="kept")
    if not in_use:
        writer.close()
    monkeypatch.setattr(database.os, "access", lambda *_: False)  # root may write wherever it likes
    with Store(tmp_path) as store:
        assert store.find("kept").config == CONFIG
        assert store.commands(1) == []
        with pytest.raises(StoreError, match=r"is read-only\. Set WDTUI_HOME"):
            store.add_run(CONFIG)
    writer.close()


def test_a_read_only_folder_without_a_store_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database.os, "access", lambda *_: False)
    with pytest.raises(StoreError, match=r"is read-only\. Set WDTUI_HOME"):
        Store(tmp_path)
