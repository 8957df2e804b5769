"""A training of several processes, started as torchrun does: all ranks apply commands in the same step."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from loops import Loop

from wdtui.runs.service import Service
from wdtui.store.records import Command, Status
from wdtui.store.store import Store
from wdtui.support import environment
from wdtui.watching import recorder, watch

SCRIPT = Path(__file__).with_name("ranks_script.py")


def lines(folder: Path) -> list[list[str]]:
    return [(folder / f"rank-{rank}.log").read_text().splitlines() for rank in (0, 1)]


def forked(folder: Path) -> Any:
    """The launcher of torchrun in a forked process, which forks the ranks."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return environment.start_module("ranks_script", [str(folder)], **pipes, text=True, start_new_session=True)


def torchrun(folder: Path) -> Any:
    """The command, which takes ten seconds to import PyTorch three times."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", SCRIPT, folder]
    variables = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=variables, **pipes, text=True, start_new_session=True)


@pytest.mark.parametrize("start", [forked, pytest.param(torchrun, marks=pytest.mark.long)])
def test_all_ranks_are_steered_paused_and_stopped_in_the_same_step(
    start: Callable[[Path], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WDTUI_HOME", str(tmp_path / "store"))
    process = start(tmp_path)
    try:
        with Store(tmp_path / "store") as store:
            service = Service(store)

            def until(seen: object) -> None:
                deadline = time.monotonic() + 120
                while not seen():  # type: ignore[operator]
                    assert process.poll() is None, process.communicate()
                    assert time.monotonic() < deadline
                    time.sleep(0.05)

            until(lambda: store.runs() and store.runs()[0].step)
            service.steer(1, {"lr": 0.0125, "bn_epsilon": 0.5})
            until(lambda: "0.0125" in lines(tmp_path)[0][-1])
            service.pause(1)
            until(lambda: store.run(1).status == Status.PAUSED)
            time.sleep(0.3)
            paused = lines(tmp_path)
            service.steer(1, {"lr": 0.025})
            until(lambda: not store.commands(1))
            assert lines(tmp_path) == paused and len(paused[0]) == len(paused[1])
            service.resume(1)
            until(lambda: "0.025 " in lines(tmp_path)[0][-1])
            service.stop(1)
            said, error = process.communicate(timeout=60)
            run = store.run(1)
            steered = {(event.data["field"], event.data["new"]): event.step for event in store.events(1)}
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, error
    first, second = lines(tmp_path)
    assert first == second  # every step of both, with what was in force in it
    for new, text in ((0.0125, " 0.0125 0.5"), (0.025, " 0.025 0.5")):
        changed = next(at for at, line in enumerate(first) if line.endswith(text))
        assert changed == steered["lr", new]
    assert run.status == Status.STOPPED and run.reason == f"Stopped at step {len(first):,}."
    assert "its run is 1" in said and "its run is None" in said and said.count(f"ended after step {len(first)};") == 2
    weights = [torch.load(tmp_path / f"rank-{rank}.pt") for rank in (0, 1)]
    assert weights[0].isfinite().all() and torch.equal(*weights)


def test_all_ranks_go_on_where_the_store_is_lost_during_a_pause(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared: list[str] = []

    class Ranks:
        """Rank 0; what it shares is what the others get."""

        first, next_step = True, 1

        def share(self, commands: list[Command], step: int) -> list[Command]:
            self.next_step = step + 1
            shared.extend(command.kind for command in commands)
            if commands and commands[0].kind == "pause":
                (tmp_path / "wdtui.sqlite3").rename(tmp_path / "elsewhere")
            return commands

    monkeypatch.setattr(watch, "ranks", Ranks)
    monkeypatch.setattr(watch, "_PAUSED_RANKS_SECONDS", 0.01)
    monkeypatch.setattr(recorder, "_POLL_SECONDS", 0.02)
    loop = Loop(store=tmp_path)
    with Store(tmp_path) as store:
        Service(store).pause(1)
    loop.until(lambda: shared == ["pause", "resume"])
    loop.run.close()
