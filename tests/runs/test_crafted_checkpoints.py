"""Checkpoints that somebody has put there: none is followed, waited for or taken over; the one before it is."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from odd_files import ODD, at_once, make_odd
from safetensors.torch import load, save
from test_checkpoints import assert_newest, files, saved, tensors

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.problem import open_session
from wdtui.problems.addition.engine.state import state_shapes
from wdtui.runs.runner import Runner
from wdtui.store.checkpoints import Checkpoints, _seal
from wdtui.store.store import Status, Store

CONFIG = RunConfig(
    width=4, train_digits=(2,), test_digits=(2,), train_size=40, validation_size=8, test_size=8, batch_size=8, epochs=6
)
MIDDLE, LATE = 12, 17
"""Steps within an epoch of five."""


def sealed(path: Path, about: dict[str, Any]) -> None:
    path.write_text(json.dumps(about | {"seal": _seal(about)}))


def about(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_bytes())
    del content["seal"]
    return content


def with_tensors(folder: Path, step: int, data: bytes, **changes: Any) -> None:
    """Put other tensors there, under a checksum that is theirs."""
    path = folder / f"step-{step:012}.json"
    path.with_suffix(".safetensors").write_bytes(data)
    sealed(path, about(path) | {"sha256": hashlib.sha256(data).hexdigest()} | changes)


@pytest.mark.parametrize("part", ["json", "safetensors"])
@pytest.mark.parametrize("kind", ODD)
def test_a_special_file_falls_back_to_the_previous_checkpoint(tmp_path: Path, kind: str, part: str) -> None:
    checkpoints = saved(tmp_path, 100, 200)
    path = files(checkpoints, 200)[part]
    path.unlink()
    make_odd(kind, path)
    at_once(lambda: assert_newest(checkpoints, 100))
    assert at_once(checkpoints.damaged) == [200]
    at_once(checkpoints.kept)
    at_once(checkpoints.size)
    checkpoints.drop_after(100)
    assert checkpoints.steps() == [100]
    for step in (300, 400):
        at_once(lambda step=step: checkpoints.save(step, {"epoch": step, "batch": 7, "plan": []}, tensors(step)))
    assert len(list(checkpoints.folder.iterdir())) == 4


@pytest.mark.parametrize("part", ["json", "safetensors"])
def test_a_link_falls_back_even_with_the_same_content(tmp_path: Path, part: str) -> None:
    checkpoints = saved(tmp_path, 100, 200)
    path = files(checkpoints, 200)[part]
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert_newest(checkpoints, 100)
    checkpoints.drop_after(100)
    assert (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    "content",
    ["[" * 200_000, '{"a":' * 200_000, "9" * 10_000, " " * 20_000_000 + "{}"],
    ids=["deep list", "deep table", "long number", "megabytes"],
)
def test_unbounded_json_falls_back_to_the_previous_checkpoint(tmp_path: Path, content: str) -> None:
    checkpoints = saved(tmp_path, 100, 200)
    files(checkpoints, 200)["json"].write_text(content)
    at_once(lambda: assert_newest(checkpoints, 100))
    assert checkpoints.kept() == {100: "", 200: ""}


@pytest.mark.parametrize(
    "changes",
    [
        {"position": None}, {"position": []}, {"position": {}}, {"position": {"epoch": 3}}, {"step": 100},
        {"step": "x"}, {"sha256": None}, {"sha256": 5}, {"why": 7}, {"why": "because"},
    ],
    ids=str,
)  # fmt: skip
def test_nonsense_with_a_valid_checksum_falls_back(tmp_path: Path, changes: dict[str, Any]) -> None:
    checkpoints = saved(tmp_path, 100, 200)
    path = files(checkpoints, 200)["json"]
    sealed(path, about(path) | changes)
    assert_newest(checkpoints, 100)
    assert checkpoints.damaged() == [200]
    checkpoints.save(300, {"epoch": 300, "batch": 7, "plan": []}, tensors(300))
    assert checkpoints.steps() == [200, 300]


@pytest.mark.parametrize(
    "data", [b"", b"\xff" * 100, (2**40).to_bytes(8, "little") + b"{}"], ids=["none", "ff", "long"]
)
def test_invalid_tensors_with_a_valid_checksum_fall_back(tmp_path: Path, data: bytes) -> None:
    checkpoints = saved(tmp_path, 100, 200)
    with_tensors(checkpoints.folder, 200, data)
    assert_newest(checkpoints, 100)
    assert checkpoints.damaged() == [200]


@pytest.mark.parametrize(
    "name", ["step-²².json", "step-5.json", f"step-{'9' * 5000}.json"[:250], "step-000000000007x.json"]
)
def test_a_file_with_another_name_is_not_a_checkpoint(tmp_path: Path, name: str) -> None:
    checkpoints = saved(tmp_path, 100)
    (checkpoints.folder / name).write_text("{}")
    assert checkpoints.steps() == [100] and checkpoints.damaged() == []


@pytest.mark.parametrize("part", ["json", "safetensors"])
@pytest.mark.parametrize("kind", ["fifo", "folder", "link"])
def test_a_checkpoint_replaces_anything_at_its_path(tmp_path: Path, kind: str, part: str) -> None:
    checkpoints = saved(tmp_path, 100)
    partial = checkpoints.folder / f"step-000000000200.{part}.partial"
    (tmp_path / "precious").write_text("mine")
    if kind == "link":
        partial.symlink_to(tmp_path / "precious")
    else:
        make_odd(kind, partial)
    at_once(lambda: checkpoints.save(200, {"epoch": 200, "batch": 7, "plan": []}, tensors(200)))
    assert checkpoints.steps() == [100, 200] and checkpoints.damaged() == []
    assert (tmp_path / "precious").read_text() == "mine"


# With the run that they are of


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


def interrupted(store: Store) -> tuple[int, Path]:
    """A run with checkpoints at two steps, as if it had been interrupted there; and their folder."""
    run_id = store.add_run(CONFIG)
    runner = Runner(store, run_id, device="cpu", threads=1)

    poll_commands = runner.poll_commands

    def saving() -> bool:
        if runner._step in (MIDDLE, LATE):
            runner._save_checkpoint()
        if runner._step == LATE:
            runner.interruption = "Interrupted"
        return poll_commands()

    runner.poll_commands = saving
    assert runner.run() == Status.INTERRUPTED
    checkpoints = store.checkpoints(store.run(run_id))
    assert checkpoints.steps() == [MIDDLE, LATE]
    return run_id, checkpoints.folder


def reshaped(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> None:
    content = load((folder / f"step-{LATE:012}.safetensors").read_bytes())
    change(content)
    with_tensors(folder, LATE, save(content))


def moved(folder: Path, **changes: Any) -> None:
    path = folder / f"step-{LATE:012}.json"
    position = about(path)["position"] | changes
    sealed(path, about(path) | {"position": position})


CRAFTED: dict[str, Callable[[Path], None]] = {
    "no tensors": lambda folder: with_tensors(folder, LATE, save({})),
    "one missing": lambda folder: reshaped(folder, lambda content: content.pop("optimizer.mean")),
    "another shape": lambda folder: reshaped(
        folder, lambda content: content.update({"network.running": torch.zeros(3)})
    ),
    "a number for all": lambda folder: reshaped(
        folder, lambda content: content.update({"network.parameters": torch.zeros(1)})
    ),
    "whole numbers": lambda folder: reshaped(
        folder, lambda content: content.update({"network.parameters": content["network.parameters"].to(torch.int64)})
    ),
    "an epoch in words": lambda folder: moved(folder, epoch="three"),
    "no batch": lambda folder: moved(folder, batch=None),
    "a batch below zero": lambda folder: moved(folder, epoch=4, batch=-3),
    "another step": lambda folder: moved(folder, epoch=2, batch=2),
    "a blow-up to come": lambda folder: moved(folder, diverged_at="never"),
    "no plan": lambda folder: moved(folder, plan=None),
    "a plan of nonsense": lambda folder: moved(folder, plan=[{"field": "unheard of"}]),
    "a plan of words": lambda folder: moved(folder, plan=["first", "then"]),
    "without end": lambda folder: os.truncate(folder / f"step-{LATE:012}.safetensors", 10**12),
}


@pytest.mark.parametrize("crafted", CRAFTED)
def test_a_run_continues_from_the_checkpoint_before_a_crafted_one(store: Store, crafted: str) -> None:
    undisturbed = store.add_run(CONFIG)
    assert Runner(store, undisturbed, device="cpu", threads=1).run() == Status.DONE
    run_id, folder = interrupted(store)
    CRAFTED[crafted](folder)
    assert at_once(lambda: Runner(store, run_id, device="cpu", threads=1).run()) == Status.DONE
    [said] = [event for event in store.events(run_id) if event.kind == "damaged"]
    assert said.data["reason"] == (f"The checkpoint at step {LATE} was damaged. Training continued from step {MIDDLE}.")
    one, other = store.curves(run_id), store.curves(undisturbed)
    assert one.steps.tolist() == other.steps.tolist()
    kept = [place for place, name in enumerate(one.names) if name != "steps_per_second"]
    np.testing.assert_array_equal(one.values[:, kept], other.values[:, kept])


@pytest.mark.parametrize(
    "changes",
    [
        {}, {"batch_norm": False}, {"blocks": 0}, {"optimizer": "sgd"}, {"optimizer": "adam"}, {"sharpness_every": 1},
        {"architecture": "transformer"}, {"engine": "ensemble", "width": 16}, {"batch_size": 7},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("stop", [0, 3, 5, 8])
def test_the_expected_shapes_are_those_of_training(changes: dict[str, Any], stop: int) -> None:
    config = RunConfig.from_mapping(CONFIG.to_mapping(), changes)
    training = open_session(config)
    list(training.points(lambda: training.step < stop))
    shapes = {name: tuple(tensor.shape) for name, tensor in training.state().items() if "sharpness" not in name}
    assert shapes == state_shapes(config, training.batch)


def test_checkpoints_of_an_interrupted_run_are_valid(store: Store) -> None:
    run_id, _ = interrupted(store)
    checkpoints = store.checkpoints(store.run(run_id))
    assert isinstance(checkpoints, Checkpoints) and checkpoints.damaged() == []
