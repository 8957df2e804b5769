"""Every command of the README and of the docs is tried, in a store of its own; `documented.py` says what is shortened.

The app runs in a terminal, what ends by itself in this process: `tests/cli` runs such commands in their own.
"""

from __future__ import annotations

import dataclasses
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from functools import partial
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import until
from documented import (
    CHECKED,
    EXCEPTIONS,
    OTHERS,
    PAGES,
    ROOT,
    SHELLS,
    TINY,
    VERDICTS,
    Command,
    commands_of,
    fenced,
    fences,
    inline,
)
from exchange_tools import stored_run, write_original
from forked import run_module

from wdtui.cli.main import all_commands, main
from wdtui.problems import files
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.describe import described
from wdtui.schema.curves import Point
from wdtui.store.records import Status
from wdtui.store.store import Store
from wdtui.studies import experiments
from wdtui.studies.claims import Claim
from wdtui.studies.grid import Grid

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
COMMANDS = fenced()
SMALL = {name: value for name, value in TINY.items() if name.endswith("_size")}
"""The data of a benchmark, whose networks and lengths are its options."""
LENGTHS = {"steps", "epochs"}
"""Fields that make a run longer."""
CHOOSING = "where", "minus", "divided_by"
"""The parts of a claim that choose runs by the values of fields."""


def of(commands: list[Command]) -> list[Any]:
    return [pytest.param(command, id=command.text) for command in commands]


def of_kind(kind: str) -> list[Any]:
    return of([command for command in COMMANDS if command.kind == kind])


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a reader might stand: runs 1 to 3, the last one live, sweep S1, and what another program recorded."""
    path = tmp_path_factory.mktemp("template")
    (path / "docs" / "figures").mkdir(parents=True)
    shutil.copy(ROOT / "docs" / "examples" / "modular_addition.py", path / "mine.py")
    shutil.copytree(ROOT / "docs" / "examples", path / "docs" / "examples")
    write_original(path / "lightning_logs" / "version_0")
    stored_run(path / "store", "first")
    stored_run(path / "store", "second")
    with Store(path / "store") as store:
        config = RunConfig(bn_epsilon=1e-5, **(TINY | {"epochs": 4}))
        run_id = store.add_run(config, name="crashing")
        store.claim(run_id, device="cpu", threads=1, versions={})
        points = [Point(5 * epoch, epoch, (0.5,) * len(config.columns)) for epoch in (1, 2, 3)]
        store.append(store.run(run_id).claim, points, speed=None, milestones={})
        store.set_status(store.run(run_id).claim, Status.PAUSED)
        store.sweeps.add(Grid.of(RunConfig(**TINY), {"weight_decay": (0.1, 0.3)}))
    return path


@pytest.fixture
def folder(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_threads: None) -> Path:
    """A copy of the template, where the commands are run."""
    shutil.copytree(template, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WDTUI_HOME", str(tmp_path / "store"))
    monkeypatch.setattr(experiments, "load", _shortened(experiments.load))
    monkeypatch.setattr("wdtui.bench.engine.RunConfig", partial(RunConfig, **SMALL))
    monkeypatch.setenv("WDTUI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "_described", described)
    return tmp_path


def _shortened(load: Any) -> Any:
    """Experiments with networks and lengths of TINY, one seed, and of each axis what it takes to judge the claims.

    Where an axis makes runs longer, its values become 1, 2 …, also in the claims.
    """

    def shorter(experiment: Any) -> Any:
        if experiment.problem.endswith(".py"):
            return experiment
        fields = experiment.schema.fields.keys() - experiment.axes.keys()
        config = {name: value for name, value in (TINY | OTHERS | {"log_every": 32}).items() if name in fields}
        fork = experiment.fork and dataclasses.replace(experiment.fork, epochs=1, before_blow_up=False)
        quick = experiment.quick and shorter(experiment.quick)
        axes = {name: _judged(name, [*values], experiment.claims) for name, values in experiment.axes.items()}
        shorts = {name: dict(zip(axes[name], range(1, 99), strict=False)) for name in LENGTHS & axes.keys()}
        claims = tuple(
            dataclasses.replace(claim, **{part: _renamed(getattr(claim, part), shorts) for part in CHOOSING})
            for claim in experiment.claims
        )
        return dataclasses.replace(
            experiment,
            config=experiment.config | config,
            axes=axes | {name: [*values.values()] for name, values in shorts.items()},
            fork=fork,
            claims=claims,
            quick=quick,
        )

    return lambda name: shorter(load(name))


def _judged(name: str, values: list[Any], claims: Sequence[Claim]) -> list[Any]:
    """The first and the last value of an axis, and those that claims name; one seed."""
    if name == "seed":
        return values[:1]
    named = {value for claim in claims for part in CHOOSING for value in getattr(claim, part).get(name, ())}
    return [value for value in values if value in {values[0], values[-1], *named}]


def _renamed(where: dict[str, Any], shorts: dict[str, dict[Any, int]]) -> dict[str, Any]:
    """What chooses runs by the values of a field, with the short values in the place of the long ones."""
    return where | {
        name: tuple(short[value] for value in where[name]) for name, short in shorts.items() if name in where
    }


# What there is to try


def test_every_fenced_command_is_tried_or_excepted() -> None:
    unknown = [f"{command.page}: {command.text}" for command in COMMANDS if command.kind == "unknown"]
    assert not unknown, "documented.py does not know how to try these"
    kinds = {command.kind for command in COMMANDS}
    assert len(COMMANDS) > 50 and kinds == {"app", "wdtui", "module", "checked", "exception", "elsewhere"}
    assert EXCEPTIONS.keys() <= {command.text for command in COMMANDS}


def test_an_unlisted_command_is_detected() -> None:
    assert Command("new.md", ("make", "tea")).kind == "unknown"


def test_a_line_is_split_into_its_commands() -> None:
    line = "$ .venv/bin/wdtui pause 3 · wdtui plot 'a b' --output x.svg && python -m wdtui.reference > y.md  # so"
    assert [Command("", words).text for words in commands_of(line)] == [
        "wdtui pause 3",
        "wdtui plot 'a b' --output x.svg",
        "python -m wdtui.reference",
    ]


def test_no_command_is_in_a_block_of_another_language() -> None:
    for page in PAGES:
        for language, block in fences(page):
            assert language in (*SHELLS, "toml", "python", "")
            assert language in SHELLS or not re.search(r"^\$? ?(wdtui|pip|python3?|pytest) ", block, re.MULTILINE)


# Trying it


@pytest.mark.parametrize("command", of_kind("wdtui"))
def test_every_documented_command_works(command: Command, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if command.words[1:2] == ("plot",) or "report" in command.words:
        pytest.importorskip("matplotlib")
    if "import" in command.words:
        pytest.importorskip("tensorboard")
    if "pause" in command.words:  # what is paused cannot be paused again
        with Store(folder / "store") as store:
            store.set_status(store.run(3).claim, Status.RUNNING)
    if command.words[1] == "new":
        (folder / "mine.py").unlink()
    status = main(command.shortened)
    said = capsys.readouterr()
    assert status in (VERDICTS if "verify" in command.words else (0,)), said.err + tracebacks(folder)
    assert "Traceback" not in said.err and "internal error" not in said.err
    if "--output" in command.words:
        assert (folder / command.words[command.words.index("--output") + 1]).exists()
    if "--detach" in command.words:
        with Store(folder / "store") as store:
            until(lambda: store.find("last").status == Status.DONE)


def tracebacks(folder: Path) -> str:
    """Those of all runs that have failed."""
    with Store(folder / "store") as store:
        events = [event for run in store.runs() for event in store.events(run.id)]
    return "\n".join(event.data["traceback"] for event in events if event.kind == "error")


@pytest.mark.parametrize("command", of_kind("module"))
def test_a_module_runs(command: Command, folder: Path) -> None:
    result = subprocess.run([sys.executable, *command.words[1:]], capture_output=True, text=True)
    assert result.returncode == 0 and result.stdout, result.stderr


@pytest.mark.parametrize("command", of_kind("app"))
def test_the_app_comes_up(command: Command, folder: Path) -> None:
    screen, terminal = pty.openpty()
    environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "120", "LINES": "40"}
    process = run_module("wdtui.__main__", command.shortened, env=environment, terminal=terminal)
    os.close(terminal)
    trains = command.words[1:2] not in ((), ("--fps",), ("--problem",))
    try:
        shown = _read(screen, lambda shown: b"quit" in shown)  # the end of the line of keys, which is drawn last
        assert b"Traceback" not in shown
        with Store(folder / "store") as store:
            until(lambda: len(store.runs()) >= 3 + trains)
        process.send_signal(signal.SIGTERM)
        _read(screen, lambda _: process.poll() is not None)
        assert process.wait(30) in (0, 143)
    finally:
        process.kill()
        process.wait()
        os.close(screen)


def _read(screen: int, enough: Any) -> bytes:
    shown, deadline = b"", time.monotonic() + 60
    while not enough(shown):
        assert time.monotonic() < deadline, shown.decode(errors="replace")
        if select.select([screen], [], [], 0.2)[0]:
            try:
                shown += os.read(screen, 1 << 16)
            except OSError:  # the other side is closed
                return shown
    return shown


@pytest.mark.parametrize(
    "page", [page for page in PAGES if "```python" in page.read_text("utf-8")], ids=lambda p: p.name
)
def test_the_python_of_a_page_runs(page: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.set_num_threads(1)
    blocks = [
        block.replace("epochs=20", "epochs=2, width=8") for language, block in fences(page) if language == "python"
    ]
    for block in blocks:
        exec(compile(block, page.name, "exec"), {})
    assert bool(capsys.readouterr().out) == any("print(" in block for block in blocks)


@pytest.mark.parametrize("page", [page for page in PAGES if "```toml" in page.read_text("utf-8")], ids=lambda p: p.name)
def test_the_toml_of_a_page_can_be_read_as_an_experiment(page: Path, folder: Path) -> None:
    for language, block in fences(page):
        if language == "toml":
            question = "" if "question" in block else 'question = "Why?"\n'
            (folder / "mine.toml").write_text(question + block, encoding="utf-8")
            assert experiments.load("mine.toml").notes


# Only looking at it


@pytest.mark.parametrize("command", of_kind("checked"))
def test_documented_setup_commands_match_the_project(command: Command, request: pytest.FixtureRequest) -> None:
    arguments = list(command.words[1:])
    if command.program == "pip":
        assert arguments.pop(0) == "install"
        assert all(option in ("--quiet", "--editable") for option in arguments if option.startswith("-"))
        for wanted in (word for word in arguments if not word.startswith("-")):
            named = re.fullmatch(r"\.(?:\[([\w,-]+)\])?", wanted)
            assert named and all(extra in EXTRAS for extra in (named[1] or "test").split(","))
    elif command.program == "python3":
        assert arguments == ["-m", "venv", ".venv"]
    else:
        scripts = {script.name: script.dist.name for script in entry_points(group="console_scripts") if script.dist}
        package = {"ruff": "ruff"}.get(command.program) or scripts[command.program]
        assert any(re.match(rf"{package}\b", needed) for needed in EXTRAS["test"])
    if command.program == "pytest":
        parsed, unknown = request.config._parser.parse_known_and_unknown_args(arguments)
        assert not unknown and all((ROOT / path).exists() for path in parsed.file_or_dir)
        known = [marker.split(":")[0] for marker in PROJECT["tool"]["pytest"]["ini_options"]["markers"]]
        assert not parsed.markexpr or parsed.markexpr in known


@pytest.mark.parametrize("command", [*of(inline()), *of_kind("exception")])
def test_commands_in_the_text_exist(command: Command) -> None:
    level, words = all_commands(), list(command.words[1:])
    while hasattr(level, "commands") and words and not words[0].startswith("-") and words[0] != "…":
        level = level.commands[words.pop(0)]
    known = {name for parameter in level.params for name in (*parameter.opts, *parameter.secondary_opts)}
    given = {word.split("=")[0] for word in words if word.startswith("--")}
    assert given <= known | {"--help"}


def test_commands_that_are_only_checked_are_listed() -> None:
    assert {command.program for command in COMMANDS if command.kind == "checked"} == set(CHECKED)
