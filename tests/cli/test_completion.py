"""Tab offers what there is, asked as the shells ask."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from wdtui.cli.main import main
from wdtui.problems.addition.config import RunConfig
from wdtui.store.names import fields_of_run
from wdtui.store.store import Store
from wdtui.studies.grid import Grid

Tab = Callable[..., list[str]]


def environment(line: str, store: Path) -> dict[str, str]:
    """What bash sets when Tab is pressed at the end of a line."""
    cursor = str(len(line.split(" ")) - 1)
    words = {"COMP_WORDS": line, "COMP_CWORD": cursor, "_WDTUI_COMPLETE": "complete_bash"}
    return words | {"WDTUI_HOME": str(store)}


@pytest.fixture
def tab(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Tab:
    """What bash offers at the end of a command line."""

    def press(line: str, store: Path) -> list[str]:
        for name, value in environment(line, store).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit):
            main([])
        printed = capsys.readouterr()
        assert printed.err == ""
        return printed.out.split()

    return press


@pytest.fixture
def filled(tmp_path: Path) -> Path:
    with Store(tmp_path) as store:
        store.add_run(RunConfig(), name="first")
        store.add_run(RunConfig(), name="my run; $(ls)")
        store.add_run(RunConfig(), experiment="demo")
        store.sweeps.add(Grid.of(RunConfig(), {"width": (8, 16)}), name="widths")
    return tmp_path


def test_runs_are_offered_by_number_and_name(tab: Tab, filled: Path) -> None:
    assert tab("wdtui runs show ", filled) == ["last", "3", "2", "1", "first"]
    assert tab("wdtui stop fi", filled) == ["first"]
    assert tab("wdtui stop my", filled) == []  # unquoted, a shell would take it apart


def test_the_fields_of_a_run_are_known_by_number_and_name_only(filled: Path) -> None:
    assert fields_of_run(filled, "1") == fields_of_run(filled, "first") == RunConfig.schema()
    assert fields_of_run(filled, "firs") is fields_of_run(filled, "\udcff") is None


def test_sweeps_are_offered_and_resume_takes_both(tab: Tab, filled: Path) -> None:
    assert tab("wdtui sweeps show ", filled) == ["last", "S1", "widths"]
    assert {"last", "1", "first", "S1"} <= set(tab("wdtui resume ", filled))


def test_the_store_of_the_command_line_is_the_one_that_is_read(tab: Tab, filled: Path, tmp_path: Path) -> None:
    assert tab(f"wdtui runs show --store {filled} f", tmp_path / "other") == ["first"]


def test_experiments_fields_and_choices_are_offered(tab: Tab, tmp_path: Path) -> None:
    assert tab("wdtui run dem", tmp_path) == ["demo"]
    assert tab("wdtui experiments verify lam", tmp_path) == ["lambda"]
    flags = tab("wdtui run --", tmp_path)
    assert all(field.flag in flags for field in RunConfig.fields().values())
    assert tab("wdtui run --optimizer ", tmp_path) == ["adamw", "adam", "sgd"]
    assert tab("wdtui sweep --axis wid", tmp_path) == ["width="]
    assert tab("wdtui sweep --axis optimizer=a", tmp_path) == ["optimizer=adamw", "optimizer=adam"]
    assert tab("wdtui fork 1 --set bn", tmp_path) == ["bn_epsilon="]


@pytest.mark.parametrize("content", [None, b"no database at all"])
def test_completion_without_a_store_creates_and_prints_nothing(tab: Tab, content: bytes | None, tmp_path: Path) -> None:
    if content:
        (tmp_path / "wdtui.sqlite3").write_bytes(content)
    before = list(tmp_path.iterdir())
    assert tab("wdtui runs show ", tmp_path) == ["last"]
    assert list(tmp_path.iterdir()) == before


def test_completion_of_a_real_process_imports_nothing_heavy(filled: Path) -> None:
    program = (
        "import atexit, sys; atexit.register(lambda: print(*{'torch', 'textual', 'rich'} & sys.modules.keys()));"
        "from wdtui.__main__ import main; main()"
    )
    variables = os.environ | environment("wdtui stop fi", filled)
    result = subprocess.run([sys.executable, "-c", program], env=variables, capture_output=True, text=True, timeout=60)
    assert (result.stdout.split(), result.stderr) == (["first"], "")
