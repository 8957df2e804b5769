"""Which store a command opens: --store after the command, or else before it, or else $WDTUI_HOME."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from command_line import TINY, until

from wdtui.cli.main import all_commands, main
from wdtui.problems.addition.config import RunConfig
from wdtui.store.store import Store


@pytest.fixture
def stores(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Folders of three stores, with a run each that is called after how the store is named."""
    for name in ("after", "before", "environment"):
        with Store(tmp_path / name) as store:
            store.add_run(RunConfig(), name=f"of-{name}")
    monkeypatch.setenv("WDTUI_HOME", str(tmp_path / "environment"))
    return {name: str(tmp_path / name) for name in ("after", "before", "environment")}


def listed(capsys: pytest.CaptureFixture[str], *arguments: str) -> set[str]:
    assert main([*arguments]) == 0
    said = capsys.readouterr().out
    return {name for name in ("after", "before", "environment") if f"of-{name}" in said}


def test_the_store_option_after_the_command_wins(stores: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    before, after = ("--store", stores["before"]), ("--store", stores["after"])
    assert listed(capsys, *before, "runs", "list", *after) == {"after"}
    assert listed(capsys, *before, "runs", "list") == {"before"}
    assert listed(capsys, "runs", "list") == {"environment"}


def test_the_store_option_does_not_change_the_environment(
    stores: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    environment = dict(os.environ)
    listed(capsys, "--store", stores["before"], "runs", "list")
    assert dict(os.environ) == environment


def test_a_detached_run_uses_the_store_option(stores: dict[str, str]) -> None:
    assert main(["--store", stores["before"], "run", *TINY, "--epochs", "1", "--device", "cpu", "--detach"]) == 0
    with Store(Path(stores["before"])) as store:
        until(lambda: store.run(2).status == "done")
    with Store(Path(stores["environment"])) as store:
        assert store.count() == 1


def test_every_command_with_a_store_accepts_the_global_option() -> None:
    def leaves(command: object, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], object]]:
        inner = getattr(command, "commands", None)
        if inner is None:
            return [(path, command)]
        return [leaf for name, one in inner.items() for leaf in leaves(one, (*path, name))]

    root = all_commands()
    asked = 0
    for path, command in leaves(root):
        option = next((one for one in command.params if one.name == "store"), None)  # type: ignore[attr-defined]
        if option:
            context = root.make_context("wdtui", ["--store", "there", *path])
            inner = type(context)(command, parent=context)  # type: ignore[arg-type]
            assert option.process_value(inner, None) == Path("there"), path
            asked += 1
    assert asked > 20
