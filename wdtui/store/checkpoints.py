"""Checkpoints: the tensors of a run as safetensors and its position as JSON.

A checkpoint is the pair step-N.safetensors and step-N.json. The JSON is written last and contains checksums of the
tensors and of itself. A checkpoint without it, or with a wrong checksum, is not used, so a crash while writing leaves
the previous checkpoint valid. Nothing is unpickled.

The files may come from somebody else, with valid checksums. Only regular files of bounded size are read, and a
checkpoint that does not match its run counts as damaged: the previous one is used.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wdtui.schema.steering import from_json
from wdtui.store.records import RunRecord, StoreError
from wdtui.support import private
from wdtui.support.files import read_regular
from wdtui.support.store_files import CHECKPOINTS

if TYPE_CHECKING:
    from torch import Tensor

    from wdtui.schema.config import Config

_NEWEST = 2
"""The number of newest checkpoints that are always kept."""
_FIRST_DROPPED = "interval", "blow-up", "generalised", "fit", "fork", "request"
"""The reasons to keep an older checkpoint. When space runs out, the first in this list are dropped first."""
_NAME = re.compile(r"step-([0-9]{12,18})\.json")
_MOST_JSON_BYTES = 16_000_000
"""More than any plan that a person could type."""
_MOST_HEADER_BYTES = 1_000_000
_MOST_BYTES = 10**12
"""The limit for tensors when the config of the run is not known."""


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """The state of a run between two steps."""

    step: int
    position: dict[str, Any]
    tensors: dict[str, Tensor]


_Identity = tuple[int, int]


class Checkpoints:
    """The checkpoints of one run, in a folder of its own.

    The name of the folder contains the run's number and its creation time in unix seconds. Numbers start again from 1
    when a damaged store is moved aside, and the new run 1 must not continue from a checkpoint of the old one.
    """

    def __init__(
        self,
        store_folder: Path,
        run_id: int,
        created: float,
        config: Config | None = None,
        hold: Callable[[], None] = lambda: None,
    ) -> None:
        """`config` is the run's config. It limits the total size and defines what a valid checkpoint contains.

        `hold` is called before files are put in place or removed. An exception that it raises prevents that.
        """
        self._store_folder = store_folder
        self.folder = store_folder / CHECKPOINTS / f"{run_id}-{created:.6f}"
        self._config = config
        self._limit = config.keep_megabytes * 1e6 if config else math.inf
        """The maximum size of all checkpoints, in bytes. The newest ones are kept whatever their size."""
        self._hold = hold

    @classmethod
    def of(cls, store_folder: Path, run: RunRecord, hold: Callable[[], None] = lambda: None) -> Checkpoints:
        """The checkpoints of a stored run, with the size limit of its config."""
        return cls(store_folder, run.id, run.created, run.config, hold)

    def save(
        self, step: int, position: Mapping[str, Any], tensors: Mapping[str, Tensor], why: str = ""
    ) -> dict[int, str]:
        """Write a checkpoint durably, then delete those that need not be kept.

        Returns the steps, and reasons, of checkpoints that were deleted only for lack of space. With a `why`, one of
        _FIRST_DROPPED, the checkpoint is kept while there is space, and may be older than others. Without one it is the
        newest: any beyond it are damaged, or belong to a past that the run went back from, and are deleted. Raises
        StoreError when it cannot be written.
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
            return self._clear_out(max(self.steps()) if why else step)
        except OSError as error:
            raise StoreError(f"The checkpoint could not be written to {self.folder}: {error.strerror}.") from error

    def steps(self) -> list[int]:
        """The steps at which there are checkpoints, ascending."""
        return sorted(int(name[1]) for path in self.folder.glob("step-*.json") if (name := _NAME.fullmatch(path.name)))

    def kept(self) -> dict[int, str]:
        """The steps of all checkpoints, ascending, and the reason to keep each, "" for the newest."""
        return {step: self._why(step) for step in self.steps()}

    def size(self) -> int:
        """The total size in bytes."""
        return sum(_size(path) for path in self.folder.glob("step-*"))

    def newest(self, at_most: float = float("inf")) -> Checkpoint | None:
        """The newest undamaged checkpoint up to a step, or None."""
        return next(self._undamaged(at_most), None)

    def damaged(self) -> list[int]:
        """The steps of damaged checkpoints that are newer than the newest undamaged one."""
        newest = self.newest()
        return [step for step in self.steps() if newest is None or step > newest.step]

    def unsound(self) -> list[int]:
        """The steps of all damaged checkpoints. Reads all files."""
        sound = {checkpoint.step for checkpoint in self._undamaged(math.inf)}
        return [step for step in self.steps() if step not in sound]

    def drop_after(self, step: int) -> None:
        """Remove checkpoints after a step: damaged ones, or a past that the run goes back from."""
        present = self._present()
        beyond = [path for other in self.steps() if other > step for path in self._paths(other)]
        self._drop({path: present[path] for path in beyond if path in present})

    def delete(self) -> None:
        """Remove all checkpoints of the run."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _undamaged(self, at_most: float) -> Iterator[Checkpoint]:
        """The checkpoints that the run can continue from, newest first."""
        for step in reversed([step for step in self.steps() if step <= at_most]):
            about = self._about(step)
            if about and (tensors := self._tensors(step, about)) is not None:
                yield Checkpoint(step, about["position"], tensors)

    def _about(self, step: int) -> dict[str, Any] | None:
        """The content of the JSON file, or None when its checksum is wrong or it does not belong to this step."""
        try:
            data = read_regular(self._about_path(step), _MOST_JSON_BYTES, links=False)
            about = json.loads(data)
            as_written = json.dumps(about).encode() == data  # the checksum does not cover bytes between the values
            whole = as_written and isinstance(about, dict) and about.pop("seal", None) == _seal(about)
        except (OSError, ValueError, RecursionError):
            return None
        return about if whole and self._is_about(about, step) else None

    def _is_about(self, about: dict[str, Any], step: int) -> bool:
        position = about.get("position")
        if about.get("step") != step or about.get("why") not in ("", *_FIRST_DROPPED) or not isinstance(position, dict):
            return False
        epoch, batch = position.get("epoch", -1), position.get("batch", -1)
        if not all(type(count) is int and count >= 0 for count in (epoch, batch, position.get("diverged_at") or 0)):
            return False
        try:
            plan = from_json(self._config.schema(), position["plan"]) if self._config else ()
            if not all(type(steering.step) is int for steering in plan):
                return False
        except (AttributeError, KeyError, TypeError, ValueError):
            return False
        return self._config is None or step == epoch * self._config.steps_per_epoch + batch

    def _tensors(self, step: int, about: dict[str, Any]) -> dict[str, Tensor] | None:
        """The tensors, or None when the checksum is wrong or the run's training could not continue from them."""
        from safetensors.torch import load

        from wdtui.training import trainer

        shapes, most = {}, _MOST_BYTES
        if self._config and not self._config.schema().watched:
            shapes = trainer(self._config).state_shapes(self._config, about["position"]["batch"])
        if self._config and shapes:
            sharpness = self._config.parameters or 0
            numbers = sum(map(math.prod, shapes.values())) + sharpness
            most = 8 * numbers + _MOST_HEADER_BYTES
        try:
            data = read_regular(self._tensors_path(step), most, links=False)
            if about.get("sha256") != hashlib.sha256(data).hexdigest():
                return None
            tensors: dict[str, Tensor] = load(data)
        except Exception:  # safetensors raises many kinds of errors for invalid files
            return None
        floats = {name: tuple(tensor.shape) for name, tensor in tensors.items() if tensor.is_floating_point()}
        return tensors if shapes.items() <= floats.items() else None

    def _why(self, step: int) -> str:
        return str((self._about(step) or {}).get("why", ""))

    def _clear_out(self, newest: int) -> dict[int, str]:
        """Delete what need not be kept; returns what was deleted only for lack of space, by step."""
        present = self._present()
        kept = {step: why for step, why in self.kept().items() if step <= newest}
        newest_few = sorted(kept)[-_NEWEST:]
        kept = {step: why for step, why in kept.items() if why or step in newest_few}
        sizes = {step: sum(map(_size, self._paths(step))) for step in kept}
        dropped: dict[int, str] = {}
        expendable = [step for step in kept if step not in newest_few]
        for step in sorted(expendable, key=lambda step: (_FIRST_DROPPED.index(kept[step]), step)):
            if sum(sizes.values()) <= self._limit:
                break
            dropped[step] = kept[step]
            del sizes[step]
        whole = {path for step in sizes for path in self._paths(step)}
        self._drop({path: identity for path, identity in present.items() if path not in whole})
        return dropped

    def _present(self) -> dict[Path, _Identity]:
        """All files. Of each step the JSON comes first: without it the other file is not a checkpoint."""
        found = sorted(self.folder.glob("step-*"))
        return {path: identity for path in found if (identity := _identity(path))}

    def _drop(self, files: Mapping[Path, _Identity]) -> None:
        """Remove files, except those that were replaced since `_present` listed them.

        The claim is checked after the listing, so files that a later owner has written are never removed.
        """
        self._hold()
        for path, identity in files.items():
            if _identity(path) == identity:
                _remove(path)

    def _paths(self, step: int) -> tuple[Path, Path]:
        return self._about_path(step), self._tensors_path(step)

    def _tensors_path(self, step: int) -> Path:
        return self.folder / f"step-{step:012}.safetensors"

    def _about_path(self, step: int) -> Path:
        return self.folder / f"step-{step:012}.json"


def delete_checkpoints(store_folder: Path, run: RunRecord) -> None:
    """Remove all checkpoints of a run.

    The creation time of a damaged row is not known. Its folder is then found by the run's number alone, unless there
    are several: folders of a store that was moved aside have the same numbers.
    """
    if not run.damaged:
        Checkpoints(store_folder, run.id, run.created).delete()
        return
    folders = list((store_folder / CHECKPOINTS).glob(f"{run.id}-*"))
    if len(folders) == 1:
        shutil.rmtree(folders[0], ignore_errors=True)


def _identity(path: Path) -> _Identity | None:
    """What distinguishes a file from a later one of the same name, or None if there is no file."""
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def _size(path: Path) -> int:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def _remove(path: Path) -> None:
    """Remove a file or a folder. Of a link, remove the link itself."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _seal(about: Mapping[str, Any]) -> str:
    """The checksum of the JSON's content."""
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _write(path: Path, data: bytes, hold: Callable[[], None]) -> None:
    """Write a file completely or not at all, even if the power fails. `hold` can still prevent it just before."""
    partial = path.with_suffix(f"{path.suffix}.{secrets.token_hex(4)}.partial")  # an earlier owner may write it too
    with private.opened(partial, "xb", private.is_shared(path.parent)) as file:
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
