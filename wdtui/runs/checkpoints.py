"""Checkpoints: a run's tensors as safetensors and its position as JSON, written so that a crash leaves the one before.

A checkpoint is the pair step-N.safetensors and step-N.json. The JSON comes last and carries checksums of the
tensors and of itself: without it, or where they differ, there is no checkpoint. Nothing is ever unpickled.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wdtui.runs.records import StoreError

if TYPE_CHECKING:
    from torch import Tensor

_KEPT = 2


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A run between two steps."""

    step: int
    position: dict[str, Any]
    tensors: dict[str, Tensor]


class Checkpoints:
    """The checkpoints of one run, in a folder of its own.

    The folder's name holds when the run was created, in unix seconds, besides its number: where somebody moves a
    damaged store aside, the numbers begin anew, and the new run 1 must not go on from the old one's checkpoint.
    """

    def __init__(self, store_folder: Path, run_id: int, created: float) -> None:
        self.folder = store_folder / "checkpoints" / f"{run_id}-{created:.6f}"

    def save(self, step: int, position: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
        """Write a checkpoint durably, then drop all but the newest few. Raises StoreError when it cannot be written."""
        from safetensors.torch import save

        data = save({name: tensor.contiguous().cpu() for name, tensor in tensors.items()})
        about = {"step": step, "position": dict(position), "sha256": hashlib.sha256(data).hexdigest()}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            _write(self._tensors_path(step), data)
            _write(self._about_path(step), json.dumps(about | {"seal": _seal(about)}).encode())
            self._drop_all_but(self._kept(step))
        except OSError as error:
            raise StoreError(f"The checkpoint could not be written to {self.folder}: {error.strerror}.") from error

    def steps(self) -> list[int]:
        """The steps at which there are checkpoints, ascending."""
        return sorted(_step(path) for path in self.folder.glob("step-*.json") if path.stem[5:].isdigit())

    def newest(self) -> Checkpoint | None:
        """The newest undamaged checkpoint, or None when there is none."""
        return next(self._undamaged(), None)

    def delete(self) -> None:
        """Remove all checkpoints of the run."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _undamaged(self) -> Iterator[Checkpoint]:
        from safetensors.torch import load

        for step in reversed(self.steps()):
            try:
                about: dict[str, Any] = json.loads(self._about_path(step).read_bytes())
                data = self._tensors_path(step).read_bytes()
            except (OSError, ValueError):
                continue
            sealed = isinstance(about, dict) and about.pop("seal", None) == _seal(about)
            if sealed and about["sha256"] == hashlib.sha256(data).hexdigest():
                yield Checkpoint(step, about["position"], load(data))

    def _kept(self, newest: int) -> list[int]:
        """The steps to keep. What lies beyond the newest is of a past that the run went back from, or damaged."""
        return [step for step in self.steps() if step <= newest][-_KEPT:]

    def _drop_all_but(self, steps: list[int]) -> None:
        kept = {path for step in steps for path in (self._about_path(step), self._tensors_path(step))}
        for path in self.folder.glob("step-*"):
            if path not in kept:
                path.unlink(missing_ok=True)

    def _tensors_path(self, step: int) -> Path:
        return self.folder / f"step-{step:012}.safetensors"

    def _about_path(self, step: int) -> Path:
        return self.folder / f"step-{step:012}.json"


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _seal(about: Mapping[str, Any]) -> str:
    """A checksum of what the JSON says."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _write(path: Path, data: bytes) -> None:
    """Write a file that is there whole or not at all, also after a power failure."""
    partial = path.with_suffix(path.suffix + ".partial")
    with open(partial, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
