"""Files are written whole or not at all, over nothing that is there unless asked to, and through no link."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

import pytest

from wdtui.problems.addition.config import RunConfig
from wdtui.store.store import Store
from wdtui.support.outputs import FileError, check_file, filling, write_text, writing
from wdtui.support.store_files import FORM_NAME, LAYOUT_NAME


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_are_replaced_only_with_force(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "one")
    with pytest.raises(FileError, match=r"a.txt already exists. Give --force to replace it, or another name\."):
        write_text(path, "two")
    assert path.read_text() == "one"
    write_text(path, "two", force=True)
    assert path.read_text() == "two" and names(tmp_path) == ["a.txt"]


def test_a_file_created_meanwhile_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    with pytest.raises(FileError, match="already exists"), writing(path) as partial:
        partial.write_text("mine")
        path.write_text("another's")
    assert path.read_text() == "another's" and names(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
@pytest.mark.parametrize("force", [False, True])
def test_an_error_while_writing_changes_nothing(error: type[BaseException], force: bool, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    if force:
        path.write_text("before")
    with contextlib.suppress(error), writing(path, force=force) as partial:
        partial.write_text("half of it")
        assert not path.exists() or path.read_text() == "before"
        raise error
    assert names(tmp_path) == (["a.txt"] if force else []) and (not force or path.read_text() == "before")


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("target", ["elsewhere/kept.txt", "nowhere"])
def test_a_link_is_neither_followed_nor_replaced(force: bool, target: str, tmp_path: Path) -> None:
    kept = tmp_path / "elsewhere" / "kept.txt"
    kept.parent.mkdir()
    kept.write_text("kept")
    (tmp_path / "a.txt").symlink_to(tmp_path / target)
    with pytest.raises(FileError, match=r"a.txt is a link to .*: give the name of the target file"):
        write_text(tmp_path / "a.txt", "new", force=force)
    (tmp_path / "folder").symlink_to(kept.parent)
    with pytest.raises(FileError, match="folder is a link"), filling(tmp_path / "folder", "*.txt", force=force):
        raise AssertionError("it was entered")
    assert kept.read_text() == "kept" and names(kept.parent) == ["kept.txt"]


@pytest.mark.parametrize("force", [False, True])
def test_every_file_of_a_store_is_refused_also_by_another_way_to_it(force: bool, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    with Store(folder) as store:
        store.add_run(RunConfig())
        for inner in ("checkpoints/1-2.0/step-1.json", "logs/run-1.log", FORM_NAME, LAYOUT_NAME):
            (folder / inner).parent.mkdir(parents=True, exist_ok=True)
            (folder / inner).write_text("{}")
        (tmp_path / "way").symlink_to(folder)
        own = [path for path in folder.rglob("*") if path.is_file()]
        assert {path.name for path in own} >= {"wdtui.sqlite3", "wdtui.sqlite3-wal", "wdtui.sqlite3-shm"}
        for path in [*own, folder / "wdtui.sqlite3-journal", folder / "checkpoints" / "new"]:
            for way in (path, tmp_path / "way" / path.relative_to(folder)):
                with pytest.raises(FileError, match=r"belongs to the run store in .*\. Give another name"):
                    write_text(way, "gone", force=force)
        assert len(store.runs()) == 1
    write_text(folder / "run-1.csv", "step\n")  # a store may be the working directory


@pytest.mark.parametrize("force", [False, True])
def test_folders_and_special_files_are_refused(force: bool, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, what in (("folder", "a folder"), ("pipe", "not a regular file")):
        with pytest.raises(FileError, match=f"{name} is {what}: give another name"):
            write_text(tmp_path / name, "new", force=force)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_a_new_file_has_default_permissions_and_a_replaced_one_keeps_its_own(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "new", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o640
    (tmp_path / "new").chmod(0o600)
    write_text(tmp_path / "new", "y", force=True)
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o600


def test_filling_a_folder_keeps_other_files(tmp_path: Path) -> None:
    folder = tmp_path / "board"
    with contextlib.suppress(ValueError), filling(folder, "*.mine") as partial:
        (partial / "half.mine").write_text("half")
        raise ValueError
    assert names(tmp_path) == []
    for text in ("first", "second"):
        with filling(folder, "*.mine", force=text == "second") as partial:
            (partial / f"{text}.mine").write_text(text)
        (folder / "other.txt").write_text("another's")
    assert names(folder) == ["other.txt", "second.mine"] and names(tmp_path) == ["board"]
    with pytest.raises(FileError, match=r"already has second.mine. Give --force"), filling(folder, "*.mine"):
        raise AssertionError("it was entered")


def test_filling_a_folder_again_replaces_a_file_of_the_same_name(tmp_path: Path) -> None:
    for text in ("first", "second"):
        with filling(tmp_path / "board", "*.mine", force=text == "second") as partial:
            (partial / "a.mine").write_text(text)
    assert (tmp_path / "board" / "a.mine").read_text() == "second"


def test_errors_of_the_system_become_sentences(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"no/a.txt cannot be written: No such file or directory\."):
        write_text(tmp_path / "no" / "a.txt", "x")
    with pytest.raises(FileError, match="cannot be written: File name too long"):
        check_file(tmp_path / ("x" * 300))
