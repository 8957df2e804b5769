"""Help that helps: every command says what it does and shows examples, and every example can be typed."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
import typer

from wdtui.cli.examples import EXAMPLES
from wdtui.cli.main import all_commands, main

ROOT = all_commands()


def commands(group: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, f"{above}{name} ")
        else:
            yield f"{above}{name}", command


@pytest.mark.parametrize(
    ("name", "command"), list(commands(ROOT)), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_has_help_and_examples(name: str, command: Any) -> None:
    assert command.help and EXAMPLES[name]
    shown = command.get_help(typer.Context(command, info_name=f"wdtui {name}"))
    assert all(f"  {example}\n" in f"{shown}\n" for example in EXAMPLES[name])
    unsaid = [option.name for option in command.params if option.param_type_name == "option" and not option.help]
    assert not unsaid


def test_examples_are_of_commands_that_exist() -> None:
    assert EXAMPLES.keys() - {""} == dict(commands(ROOT)).keys()


@pytest.mark.parametrize("example", [line for name, lines in EXAMPLES.items() if name for line in lines])
def test_every_example_parses(example: str) -> None:
    assert subprocess.run(["bash", "-n", "-c", example], capture_output=True).returncode == 0
    words, known, command = shlex.split(example.partition("wdtui ")[2]), "", ROOT
    while hasattr(command, "commands"):
        known, command = words[0], command.commands[words[0]]
        words = words[1:]
    command.make_context(known, words)


def test_the_version_is_the_installed_one(capsys: pytest.CaptureFixture[str]) -> None:
    from importlib.metadata import version

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"wdtui {version('wdtui')}\n"


@pytest.mark.parametrize(("columns", "widest"), [(80, 80), (110, 110), (200, 120)])
@pytest.mark.parametrize("command", ["run", "runs export", "experiments verify"])
def test_help_uses_the_width_of_the_terminal(
    command: str, columns: int, widest: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert main([*command.split(), "--help"]) == 0
    options = capsys.readouterr().out.split("Examples:")[0].splitlines()
    assert widest - 15 < max(map(len, options)) <= widest
