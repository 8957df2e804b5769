"""The script that measures on a GPU: its cheap parts on the CPU, and what becomes of parts that fail."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import forked
import pytest

from wdtui.bench import gpu
from wdtui.bench.gpu import LeftOutError, Setting
from wdtui.problems.addition.config import RunConfig

REHEARSAL = Setting("cpu", small=True)


def test_the_ceilings_are_speeds_and_those_of_graphs_need_cuda() -> None:
    found = gpu.ceilings(REHEARSAL)
    assert found.pop("node_us") == "It needs CUDA."
    assert all(speed > 0 for speed in (found["copy_GB_per_s"], found["matmul_TFLOP_per_s"]))
    assert len(found["bmm_TFLOP_per_s"]) == 2 and all(speed > 0 for speed in found["bmm_TFLOP_per_s"].values())


def test_on_the_cpu_all_trainings_that_should_be_equal_are() -> None:
    found = gpu.correctness(REHEARSAL)["equal"]
    assert found.pop("replayed graphs and called steps") == "It needs CUDA."
    assert len(found) == 3 and all(equal is True for equal in found.values())


def test_trainings_that_differ_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = gpu.same_bits.__globals__["_trained"]
    seeds = iter(range(100, 200))

    def other(ensemble: Any) -> Any:
        configs = [config.replace(seed=next(seeds)) for config in ensemble.configs]
        return trained(type(ensemble)(configs))

    monkeypatch.setitem(gpu.same_bits.__globals__, "_trained", other)
    small = RunConfig(width=8, train_size=320, validation_size=20, test_size=20)
    found = gpu.same_bits(small, 2, "cpu")["equal"]
    assert found["trained twice"] is found["one run, beside as many other runs"] is False


def test_the_profile_lists_the_longest_operations_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "where_time_goes", lambda *_: {})
    epoch = gpu.profile(REHEARSAL)["epoch"]
    times = [operation["us"] for operation in epoch]
    assert times == sorted(times, reverse=True) and times[0] > 0
    assert any("bmm" in operation["name"] and operation["calls"] > 1 for operation in epoch)


@pytest.mark.parametrize("part", [gpu.out_of_memory, gpu.verify])
def test_parts_that_cannot_be_rehearsed_say_why(part: gpu.Measure) -> None:
    with pytest.raises(LeftOutError, match=r"needs CUDA|takes too long"):
        part(REHEARSAL)


def fails(setting: Setting) -> dict[str, Any]:
    raise LeftOutError("There is no such thing.")


def dies(setting: Setting) -> dict[str, Any]:
    os._exit(7)


def hangs(setting: Setting) -> dict[str, Any]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    Path(setting.device).write_text(str(child.pid))
    signal.pause()
    raise AssertionError


def works(setting: Setting) -> dict[str, Any]:
    return {"device": setting.device}


@pytest.fixture
def forking(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts run in processes that are forked where that is possible, as to import PyTorch anew takes seconds."""
    if forked.POSSIBLE:
        context = multiprocessing.get_context("fork")
        monkeypatch.setattr(multiprocessing, "get_context", lambda method: context)


def test_a_part_is_measured_in_a_fresh_process() -> None:
    assert gpu.measured(works, REHEARSAL, 60)["result"] == {"device": "cpu"}


def test_parts_that_fail_are_recorded_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, forking: None
) -> None:
    output = tmp_path / "gpu.json"
    parts = {"fails": (fails, 60), "dies": (dies, 60), "works": (works, 60), "late": (works, 0)}
    monkeypatch.setattr(gpu, "PARTS", parts)
    gpu.main(["--output", str(output), "--device", "cpu", "--small"])
    written = json.loads(output.read_text())
    found = {name: part.get("failure", part.get("result")) for name, part in written["parts"].items()}
    assert found == {
        "fails": "There is no such thing.",
        "dies": "Its process ended with status 7 and without a result.",
        "works": {"device": "cpu"},
        "late": "No time was left.",
    }


def test_a_part_that_hangs_ends_with_all_its_processes(tmp_path: Path, forking: None) -> None:
    file, seconds = tmp_path / "pid", 1 if forked.POSSIBLE else 15
    found = gpu.measured(hangs, Setting(str(file), small=True), seconds)
    assert found["failure"] == f"It did not end within {seconds} s."
    status = Path(f"/proc/{file.read_text()}/status")
    until = time.monotonic() + 10
    while status.exists() and "zombie" not in status.read_text() and time.monotonic() < until:
        time.sleep(0.1)
    assert not status.exists() or "zombie" in status.read_text()


def test_the_file_is_written_after_each_part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    output = tmp_path / "gpu.json"

    def interrupted(part: gpu.Measure, setting: Setting, seconds: float) -> dict[str, Any]:
        if part is dies:
            raise KeyboardInterrupt
        return {"result": part(setting)}

    monkeypatch.setattr(gpu, "PARTS", {"works": (works, 60), "dies": (dies, 60)})
    monkeypatch.setattr(gpu, "measured", interrupted)
    with pytest.raises(KeyboardInterrupt):
        gpu.main(["--output", str(output), "--device", "cpu"])
    assert json.loads(output.read_text())["parts"] == {"works": {"result": {"device": "cpu"}}}


@pytest.mark.parametrize(
    ("words", "message"), [(["--device", "cuda:99"], "cuda:99"), (["--device", "cpu"], "already exists")]
)
def test_what_cannot_begin_says_why(
    words: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "gpu.json"
    output.write_text("{}")
    with pytest.raises(SystemExit):
        gpu.main(["--output", str(output), *words])
    assert message in capsys.readouterr().err and output.read_text() == "{}"
