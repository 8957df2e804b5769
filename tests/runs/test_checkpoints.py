"""Checkpoints: what is saved comes back bit for bit, and damage costs only the newest."""

from __future__ import annotations

import functools
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.training import Training
from wdtui.store.checkpoints import Checkpoint, Checkpoints
from wdtui.store.records import StoreError

POSITION = {"epoch": 3, "batch": 7, "plan": [{"step": 5, "field": "bn_epsilon", "new": 0.1 + 0.2, "old": 1e-5}]}


def tensors(value: float) -> dict[str, torch.Tensor]:
    odd = torch.tensor([value, -0.0, torch.nan, torch.inf, 1e-45], dtype=torch.float32)
    return {"parameters": odd, "running": torch.full((2, 3), value), "window": torch.zeros(0, 2, 3)}


def saved(folder: Path, *steps: int) -> Checkpoints:
    checkpoints = Checkpoints(folder, 1, 0.0)
    for step in steps:
        checkpoints.save(step, POSITION | {"epoch": step}, tensors(step))
    return checkpoints


def bits_of(tensor: torch.Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def files(checkpoints: Checkpoints, step: int) -> dict[str, Path]:
    return {path.suffix[1:]: path for path in checkpoints.folder.glob(f"step-*{step}.*")}


def assert_newest(checkpoints: Checkpoints, step: int) -> None:
    newest = checkpoints.newest()
    assert newest is not None and newest.step == step
    assert newest.position == POSITION | {"epoch": step}
    expected = tensors(step)
    assert newest.tensors.keys() == expected.keys()
    for name, tensor in expected.items():
        assert newest.tensors[name].shape == tensor.shape and newest.tensors[name].dtype == tensor.dtype
        assert bits_of(newest.tensors[name]) == bits_of(tensor)


def test_a_checkpoint_round_trips_bit_for_bit(tmp_path: Path) -> None:
    assert_newest(saved(tmp_path, 5), 5)
    assert_newest(Checkpoints(tmp_path, 1, 0.0), 5)


@pytest.mark.parametrize("changes", [{}, {"batch_norm": False}, {"blocks": 0}, {"optimizer": "sgd"}], ids=str)
@pytest.mark.parametrize("stop", [0, 7, 10])
def test_training_resumes_completely_from_a_checkpoint(tmp_path: Path, changes: dict[str, Any], stop: int) -> None:
    config = RunConfig(**{"width": 4, "train_size": 40, "batch_size": 8, "epochs": 3, **changes})
    training = Training(config)
    list(training.points(lambda: training.step < stop))
    Checkpoints(tmp_path, 1, 0.0).save(training.step, training.position(), training.state())
    newest = Checkpoints(tmp_path, 1, 0.0).newest()
    assert newest is not None and newest.step == stop and newest.position == training.position()
    assert newest.tensors.keys() == training.state().keys()
    for name, tensor in training.state().items():
        assert newest.tensors[name].shape == tensor.shape and bits_of(newest.tensors[name]) == bits_of(tensor)


def test_parts_of_larger_tensors_are_saved_without_the_rest(tmp_path: Path) -> None:
    whole = torch.arange(12.0).view(3, 4)
    Checkpoints(tmp_path, 1, 0.0).save(1, POSITION, {"row": whole[1:2], "column": whole[:, 2]})
    newest = Checkpoints(tmp_path, 1, 0.0).newest()
    assert newest is not None
    assert newest.tensors["row"].tolist() == [[4, 5, 6, 7]] and newest.tensors["column"].tolist() == [2, 6, 10]


def test_only_the_last_two_are_kept(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 20, 300, 4000)
    assert checkpoints.steps() == [300, 4000]
    assert len(list(checkpoints.folder.iterdir())) == 4
    assert_newest(checkpoints, 4000)


def test_a_step_may_be_saved_twice(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 1, 2, 2)
    assert checkpoints.steps() == [1, 2]
    assert_newest(checkpoints, 2)


def test_runs_have_checkpoints_of_their_own(tmp_path: Path) -> None:
    saved(tmp_path, 5)
    other = Checkpoints(tmp_path, 11, 0.0)
    assert other.newest() is None and other.steps() == []
    other.delete()
    assert_newest(Checkpoints(tmp_path, 1, 0.0), 5)
    Checkpoints(tmp_path, 1, 0.0).delete()
    assert Checkpoints(tmp_path, 1, 0.0).newest() is None


@functools.cache
def two_saved() -> dict[str, bytes]:
    """The files of checkpoints at steps 100 and 200; writing them again needs no waiting for the disk."""
    with tempfile.TemporaryDirectory() as folder:
        return {path.name: path.read_bytes() for path in saved(Path(folder), 100, 200).folder.iterdir()}


def assert_damage_sends_back(kind: str, damaged: Callable[[bytes], bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoints = Checkpoints(Path(folder), 1, 0.0)
        checkpoints.folder.mkdir(parents=True)
        for name, data in two_saved().items():
            (checkpoints.folder / name).write_bytes(data)
        path = files(checkpoints, 200)[kind]
        path.write_bytes(damaged(path.read_bytes()))
        assert_newest(checkpoints, 100)


@settings(deadline=None)
@given(kind=st.sampled_from(("json", "safetensors")), where=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
@example(kind="json", where=0.04296875, mask=41)  # a blank becomes a tab, which JSON reads as the same
def test_one_damaged_byte_anywhere_falls_back_to_the_previous_checkpoint(kind: str, where: float, mask: int) -> None:
    def flip(data: bytes) -> bytes:
        at = int(where * len(data))
        return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]

    assert_damage_sends_back(kind, flip)


@settings(deadline=None)
@given(kind=st.sampled_from(("json", "safetensors")), where=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_falls_back_to_the_previous_checkpoint(kind: str, where: float) -> None:
    assert_damage_sends_back(kind, lambda data: data[: int(where * len(data))])


@pytest.mark.parametrize("content", ["null", "[]", "{}", '{"sha256": 3}', "5", '"step"'])
def test_other_json_falls_back_to_the_previous_checkpoint(tmp_path: Path, content: str) -> None:
    checkpoints = saved(tmp_path, 100, 200)
    files(checkpoints, 200)["json"].write_text(content)
    assert_newest(checkpoints, 100)


@pytest.mark.parametrize("kind", ["json", "safetensors"])
def test_a_missing_file_falls_back_to_the_previous_checkpoint(tmp_path: Path, kind: str) -> None:
    checkpoints = saved(tmp_path, 100, 200)
    files(checkpoints, 200)[kind].unlink()
    assert_newest(checkpoints, 100)
    for step in (300, 400, 500):
        checkpoints.save(step, POSITION | {"epoch": step}, tensors(step))
        assert_newest(checkpoints, step)


def test_when_all_are_damaged_there_is_none(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 100, 200)
    for step in (100, 200):
        files(checkpoints, step)["safetensors"].write_bytes(b"")
    assert checkpoints.newest() is None


def test_a_run_restarted_after_damage_keeps_its_new_checkpoints(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 100, 200)
    for step in (100, 200):
        files(checkpoints, step)["safetensors"].write_bytes(b"")
    for step in (30, 60, 90):
        checkpoints.save(step, POSITION | {"epoch": step}, tensors(step))
        assert_newest(checkpoints, step)


def test_partially_written_files_are_not_checkpoints(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 100)
    shutil.copy(files(checkpoints, 100)["safetensors"], checkpoints.folder / "step-000000000200.safetensors")
    (checkpoints.folder / "step-000000000200.json.partial").write_text('{"step": 200')
    (checkpoints.folder / "step-000000000300.safetensors.partial").write_bytes(b"\0" * 9)
    assert checkpoints.steps() == [100]
    assert_newest(checkpoints, 100)
    checkpoints.save(200, POSITION | {"epoch": 200}, tensors(200))
    assert_newest(checkpoints, 200)


@pytest.mark.parametrize("broken", ["safetensors", "json"])
def test_a_failed_save_keeps_the_previous_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    checkpoints = saved(tmp_path, 100)
    replace = os.replace

    def failing(source: Path, target: Path) -> None:
        if str(target).endswith(broken):
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr("os.replace", failing)
    with pytest.raises(StoreError, match="No space left on device"):
        checkpoints.save(200, POSITION, tensors(200))
    assert_newest(checkpoints, 100)


def test_nothing_is_pickled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was pickled")

    for module, name in ((pickle, "dumps"), (pickle, "dump"), (pickle, "loads"), (pickle, "load"), (torch, "load")):
        monkeypatch.setattr(module, name, refuse)
    monkeypatch.setattr(torch, "save", refuse)
    checkpoints = saved(tmp_path, 5)
    assert_newest(checkpoints, 5)
    data = files(checkpoints, 5)["safetensors"].read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["running"]["shape"] == [2, 3]
    assert json.loads(files(checkpoints, 5)["json"].read_bytes())["step"] == 5


def test_a_checkpoint_is_immutable() -> None:
    with pytest.raises(AttributeError):
        Checkpoint(1, {}, {}).step = 2  # type: ignore[misc]
