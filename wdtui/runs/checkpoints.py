"""Checkpoints: a run's tensors as safetensors and its position as JSON, written so that a crash leaves the one before.

A checkpoint is the pair step-N.safetensors and step-N.json. The JSON comes last and carries checksums of the
tensors and of itself: without it, or where they differ, there is no checkpoint. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wdtui import private
from wdtui.runs.records import RunRecord, StoreError

if TYPE_CHECKING:
    from torch import Tensor

_NEWEST = 2
"""So many are kept because they are the newest."""
_FIRST_DROPPED = "interval", "blow-up", "generalised", "fit", "fork"
"""Why a checkpoint is kept beyond that, in the order in which the reasons give way where there is no room."""


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

    def __init__(
        self,
        store_folder: Path,
        run_id: int,
        created: float,
        limit: float = float("inf"),
        hold: Callable[[], None] = lambda: None,
    ) -> None:
        """`limit` is how many bytes all of them may take; the newest few are kept whatever they take.

        `hold` is called before files take their names and before any are removed; what it raises prevents that.
        """
        self._store_folder = store_folder
        self.folder = store_folder / "checkpoints" / f"{run_id}-{created:.6f}"
        self._limit = limit
        self._hold = hold

    @classmethod
    def of(cls, store_folder: Path, run: RunRecord, hold: Callable[[], None] = lambda: None) -> Checkpoints:
        """Those of a run, within the room that its config gives them."""
        return cls(store_folder, run.id, run.created, run.config.keep_megabytes * 1e6, hold)

    def save(
        self, step: int, position: Mapping[str, Any], tensors: Mapping[str, Tensor], why: str = ""
    ) -> dict[int, str]:
        """Write a checkpoint durably, then drop what is not to be kept; returns what was for want of room.

        One with a reason, "interval", "blow-up", "generalised", "fit" or "fork", is kept for it while there is room,
        and may be older than others. One without is the newest: those beyond it are of a past that the run went back
        from, or damaged. Raises StoreError when it cannot be written.
        """
        from safetensors.torch import save

        data = save({name: tensor.contiguous().cpu() for name, tensor in tensors.items()})
        reason = why or self._why(step)
        about = {"step": step, "position": dict(position), "why": reason, "sha256": hashlib.sha256(data).hexdigest()}
        self._hold()
        try:
            for folder in (self.folder.parent, self.folder):
                private.make_folder(folder, private.is_shared(self._store_folder))
            _write(self._tensors_path(step), data, self._hold)
            _write(self._about_path(step), json.dumps(about | {"seal": _seal(about)}).encode(), self._hold)
            self._hold()
            return self._clear_out(max(self.steps()) if why else step)
        except OSError as error:
            raise StoreError(f"The checkpoint could not be written to {self.folder}: {error.strerror}.") from error

    def steps(self) -> list[int]:
        """The steps at which there are checkpoints, ascending."""
        return sorted(_step(path) for path in self.folder.glob("step-*.json") if path.stem[5:].isdigit())

    def kept(self) -> dict[int, str]:
        """All checkpoints, ascending, each with why it is kept: empty for the newest, which have no other reason."""
        return {step: self._why(step) for step in self.steps()}

    def size(self) -> int:
        """How many bytes they all take."""
        return sum(_size(path) for path in self.folder.glob("step-*"))

    def newest(self, at_most: float = float("inf")) -> Checkpoint | None:
        """The newest undamaged checkpoint, of those up to a step, or None when there is none."""
        from safetensors.torch import load

        for step, about, data in self._undamaged(at_most):
            return Checkpoint(step, about["position"], load(data))
        return None

    def damaged(self) -> list[int]:
        """The steps of checkpoints that are newer than the newest undamaged one, and cannot be used."""
        newest = next((step for step, _, _ in self._undamaged()), -1)
        return [step for step in self.steps() if step > newest]

    def unsound(self) -> list[int]:
        """The steps of all checkpoints that cannot be used; reads them all."""
        sound = {step for step, _, _ in self._undamaged()}
        return [step for step in self.steps() if step not in sound]

    def drop_after(self, step: int) -> None:
        """Remove checkpoints beyond a step: damaged ones, or a past that the run goes back from."""
        self._hold()
        self._drop([other for other in self.steps() if other > step])

    def delete(self) -> None:
        """Remove all checkpoints of the run."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _undamaged(self, at_most: float = float("inf")) -> Iterator[tuple[int, dict[str, Any], bytes]]:
        for step in reversed([step for step in self.steps() if step <= at_most]):
            about = self._about(step)
            if about is None:
                continue
            with contextlib.suppress(OSError):
                data = self._tensors_path(step).read_bytes()
                if about["sha256"] == hashlib.sha256(data).hexdigest():
                    yield step, about, data

    def _about(self, step: int) -> dict[str, Any] | None:
        """What the JSON says, where its seal is whole."""
        try:
            about = json.loads(self._about_path(step).read_bytes())
        except (OSError, ValueError):
            return None
        return about if isinstance(about, dict) and about.pop("seal", None) == _seal(about) else None

    def _why(self, step: int) -> str:
        return str((self._about(step) or {}).get("why", ""))

    def _clear_out(self, newest: int) -> dict[int, str]:
        """Drop all but what is to be kept; returns what had a reason to be and no room."""
        kept = {step: why for step, why in self.kept().items() if step <= newest}
        newest_few = sorted(kept)[-_NEWEST:]
        kept = {step: why for step, why in kept.items() if why or step in newest_few}
        sizes = {step: _size(self._about_path(step)) + _size(self._tensors_path(step)) for step in kept}
        dropped: dict[int, str] = {}
        expendable = [step for step in kept if step not in newest_few]
        for step in sorted(expendable, key=lambda step: (_FIRST_DROPPED.index(kept[step]), step)):
            if sum(sizes.values()) <= self._limit:
                break
            dropped[step] = kept[step]
            del sizes[step]
        self._drop([step for step in self.steps() if step not in sizes])
        whole = {path for step in sizes for path in (self._about_path(step), self._tensors_path(step))}
        for path in self.folder.glob("step-*"):
            if path not in whole:
                path.unlink(missing_ok=True)
        return dropped

    def _drop(self, steps: list[int]) -> None:
        """The JSON goes first: without it what is left is no checkpoint."""
        for step in steps:
            self._about_path(step).unlink(missing_ok=True)
            self._tensors_path(step).unlink(missing_ok=True)

    def _tensors_path(self, step: int) -> Path:
        return self.folder / f"step-{step:012}.safetensors"

    def _about_path(self, step: int) -> Path:
        return self.folder / f"step-{step:012}.json"


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _seal(about: Mapping[str, Any]) -> str:
    """A checksum of what the JSON says."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _write(path: Path, data: bytes, hold: Callable[[], None]) -> None:
    """Write a file that is there whole or not at all, also after a power failure; `hold` may prevent it at the last."""
    partial = path.with_suffix(f"{path.suffix}.{secrets.token_hex(4)}.partial")  # an earlier owner may write it too
    with private.opened(partial, "wb", private.is_shared(path.parent)) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    try:
        hold()
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
