"""Memory: what a training takes is known before it begins, and what has no room fails alone, in a sentence."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from command_line import TINY, events, wdtui
from forked import run_module

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.sizes import training_bytes
from wdtui.runs.group import Group
from wdtui.runs.memory import TooLargeError, check_room, is_out_of_memory
from wdtui.runs.runner import Runner
from wdtui.store.store import Status, Store
from wdtui.support import machine
from wdtui.support.machine import available_memory

SMALL = RunConfig(width=16, train_size=320, validation_size=16, test_size=16, epochs=2)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


def with_available(monkeypatch: pytest.MonkeyPatch, count: float) -> None:
    monkeypatch.setattr(machine, "available_memory", lambda: int(count))


MEASURED = """
import json, pathlib, re, sys
from wdtui.problems.addition.config import RunConfig
from wdtui.runs.runner import Runner
from wdtui.store.store import Store

def main():
    with Store(pathlib.Path(sys.argv[1])) as store:
        for values in ({"epochs": 1, "width": 8, "train_size": 128}, json.loads(sys.argv[2])):
            Runner(store, store.add_run(RunConfig.from_mapping(values)), device="cpu", threads=1).run()
            status = pathlib.Path("/proc/self/status").read_text()
            print(int(re.search(r"VmHWM:\\s+(\\d+)", status)[1]) * 1024)

if __name__ == "__main__":
    main()
"""
"""A module that prints the most memory it has had after a small run, and after one with given values."""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc, as getrusage counts the parent too")
@pytest.mark.parametrize(
    "changes",
    [{"width": 2048}, {"width": 2048, "optimizer": "sgd"}, {"width": 64, "batch_size": 65_536, "train_size": 65_536}],
    ids=str,
)
def test_training_uses_about_the_estimated_memory(tmp_path: Path, changes: dict[str, object]) -> None:
    values = {"epochs": 1, "train_digits": [6], "test_digits": [6], "train_size": 128, "batch_size": 64} | changes
    estimate = training_bytes(RunConfig.from_mapping(values))
    (tmp_path / "measured.py").write_text(MEASURED, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    process = run_module("measured", [str(tmp_path), json.dumps(values)], env=environment)
    output, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    before, after = map(int, output.split())
    assert 0.5 * (after - before) < estimate < 1.3 * (after - before)


def test_a_run_without_enough_memory_fails_before_it_allocates(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = store.add_run(RunConfig(width=16_384, blocks=256))
    assert Runner(store, run_id, device="cpu", threads=1).run() == Status.FAILED
    reason = store.run(run_id).reason
    assert reason.startswith("Training it needs about ") and "GB of memory, and" in reason and "\n" not in reason
    with_available(monkeypatch, training_bytes(SMALL) - 1)
    small = store.add_run(SMALL)
    assert Runner(store, small, device="cpu", threads=1).run() == Status.FAILED
    with_available(monkeypatch, training_bytes(SMALL))
    store.transition(small, Status.QUEUED)
    assert Runner(store, small, device="cpu", threads=1).run() == Status.DONE


def test_a_batch_without_enough_memory_is_split(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    config = SMALL.replace(engine="ensemble")
    with_available(monkeypatch, 2.5 * training_bytes(config))
    run_ids = [store.add_run(config.replace(seed=seed)) for seed in range(5)]
    Group(store, run_ids, device="cpu", threads=1).run()
    assert [store.run(run_id).status for run_id in run_ids] == [Status.DONE] * 5


def test_a_run_on_a_gpu_is_not_checked_against_the_memory_of_the_host() -> None:
    check_room([RunConfig(width=16_384, blocks=256)], "cuda:0")
    with pytest.raises(TooLargeError):
        check_room([RunConfig(width=16_384, blocks=256)], "cpu")


@pytest.mark.parametrize(
    ("error", "ran_out"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."), True),
        (RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be reported later"), True),
        (RuntimeError("CUDA driver error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GB, max allowed: 9.07 GB)"), True),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes"),
            True,
        ),
        (MemoryError(), True),
        (TooLargeError("Training it needs about 9 GB"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED"), False),
        (ValueError("out of memory is not a loss"), False),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_says_that_memory_ran_out(error: Exception, ran_out: bool) -> None:
    assert is_out_of_memory(error) == ran_out


def test_a_cell_that_is_too_large_does_not_end_its_sweep(tmp_path: Path) -> None:
    small = [*TINY[2:], "--epochs", "2", "--blocks", "256", "--headless", "--json"]
    result = wdtui("sweep", "--axis", "width=4,8,16384", *small, store=tmp_path)
    assert result.returncode == 1
    assert [cell["status"] for cell in events(result.stdout)[:-1]].count("done") == 2
    with Store(tmp_path) as store:
        runs = {run.config.width: run for run in store.runs()}
    assert {width: run.status for width, run in runs.items()} == {
        4: Status.DONE, 8: Status.DONE, 16384: Status.FAILED
    }  # fmt: skip
    assert "GB of memory" in runs[16384].reason and "GB of memory" in result.stderr


@pytest.mark.parametrize("version", [1, 2])
def test_the_limit_of_a_container_counts_at_any_level(tmp_path: Path, version: int) -> None:
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    names = {
        1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
        2: ("memory.max", "memory.current", "inactive_file"),
    }[version]
    (proc / "self" / "cgroup").write_text({1: "4:memory:/outer/inner\n1:cpu:/\n", 2: "0::/outer/inner\n"}[version])
    inner = (cgroups / "memory" if version == 1 else cgroups) / "outer" / "inner"
    inner.mkdir(parents=True)
    for folder, limit in ((inner, "max" if version == 2 else str(2**63 - 4096)), (inner.parent, "5000000")):
        (folder / names[0]).write_text(limit + "\n")
        (folder / names[1]).write_text("3000000\n")
        (folder / "memory.stat").write_text(f"anon 1\n{names[2]} 1000000\n")
    assert available_memory(proc, cgroups) == 3_000_000
    assert available_memory(tmp_path / "nowhere", cgroups) > 3_000_000
