"""Does a declared problem resume to the same bits? Two processes find out: `python -m wdtui.training.exactness`.

The first takes some steps, saves, and takes some more. The second builds the problem anew, restores what was saved and
takes the same steps. What each of them holds is compared by checksums, attribute by attribute.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wdtui.problems.declared import DeclaredConfig, config_of
from wdtui.problems.files import remember_exact
from wdtui.schema.schema import Schema
from wdtui.support import environment
from wdtui.support.errors import TrainingError, WdtuiError

STEPS = 3
"""How many steps are taken before and after the save."""
_SECONDS = 600


@dataclasses.dataclass(frozen=True)
class Exactness:
    """What a check has found."""

    rebuilt: tuple[str, ...]
    """The attributes that are not as they were saved right after they were restored."""
    trained: tuple[str, ...]
    """Those that differ after further steps, with `metrics` for what was measured."""
    not_kept: tuple[str, ...]
    """What may hold state outside all attributes that are kept."""

    @property
    def exact(self) -> bool:
        return not (self.rebuilt or self.trained)

    @property
    def sentence(self) -> str:
        if self.exact:
            return f"Exact: {STEPS} steps after a restore in another process gave the same bits."
        if self.rebuilt:
            names = _listed(self.rebuilt)
            advice = "Draw from the seeded generators of torch, numpy or random."
            return f"Not exact: setup builds {names} differently each time. {advice}"
        hidden = f" Not kept in checkpoints: {_listed(self.not_kept)}." if self.not_kept else ""
        return (
            f"Not exact: {STEPS} steps after a restore {_listed(self.trained)} differed, "
            f"so a step depends on something that no checkpoint holds.{hidden}"
        )


def check(config: DeclaredConfig, device: str) -> Exactness:
    """Train a few steps in two processes and compare them. Raises TrainingError where one of them fails."""
    with tempfile.TemporaryDirectory(prefix="wdtui-check-") as folder:
        first, second = (_process(config, device, Path(folder), part) for part in ("first", "second"))
    rebuilt = _differing(first["saved"], second["restored"])
    found = Exactness(rebuilt, () if rebuilt else _differing(first["end"], second["end"]), tuple(first["not_kept"]))
    assert config.declared.source
    remember_exact(config.declared.source, found.exact)
    return found


def _process(config: DeclaredConfig, device: str, folder: Path, part: str) -> dict[str, Any]:
    given = json.dumps({"schema": config.declared.to_json(), "config": config.to_mapping()})
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = environment.start_module("wdtui.training.exactness", [part, str(folder), device], text=True, **pipes)
    try:
        output, _ = process.communicate(given, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise TrainingError(
            f"{2 * STEPS} steps took longer than {_SECONDS // 60} minutes. Give smaller values to check it."
        ) from None
    finally:
        process.kill()
        process.wait()
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        raise TrainingError(f"The process that checks it ended with status {process.returncode}.") from None
    if "error" in answer:
        raise TrainingError(str(answer["error"]))
    return answer


def _differing(first: Mapping[str, str], second: Mapping[str, str]) -> tuple[str, ...]:
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    return tuple(dict.fromkeys(name.strip("/").partition("/")[0] for name in names))


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")


# In the processes


def main() -> None:
    parser = argparse.ArgumentParser("python -m wdtui.training.exactness", description=__doc__)
    parser.add_argument("part", choices=["first", "second"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("device")
    options = parser.parse_args()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what the file prints
    given = json.load(sys.stdin)
    config = config_of(Schema.from_json(given["schema"])).from_mapping(given["config"])
    try:
        answer: dict[str, Any] = _checksums(config, options.device, options.part == "first", options.folder)
    except WdtuiError as error:
        answer = {"error": str(error)}
    answers.write(json.dumps(answer))
    answers.close()
    os._exit(0)


def _checksums(config: DeclaredConfig, device: str, first: bool, folder: Path) -> dict[str, Any]:
    import torch
    from safetensors.torch import load_file, save_file

    from wdtui.training.declared import DeclaredSession

    torch.set_num_threads(1)
    session = DeclaredSession(config, device)
    if first:
        _step(session)
        saved = _digests(session)
        save_file({name: tensor.cpu().clone() for name, tensor in session.state().items()}, folder / "state")
        (folder / "position").write_text(json.dumps(session.position()), encoding="utf-8")
    else:
        session.restore(load_file(folder / "state"), json.loads((folder / "position").read_text(encoding="utf-8")))
        saved = _digests(session)
    _step(session)
    point = session.measured()
    end = _digests(session) | {"metrics": _hash([repr(value) for value in point.values[:-1]])}
    return {"saved" if first else "restored": saved, "end": end, "not_kept": _not_kept(session) if first else []}


def _step(session: Any) -> None:
    for _ in range(STEPS):
        session.begin_epoch()
        session.take_step()


def _digests(session: Any) -> dict[str, str]:
    """A checksum of each part of each attribute, of what setup built too."""
    from wdtui.training.state import StateError, Tensors, packed

    digests = {}
    for name, value in session.attributes().items():
        tensors = Tensors()
        try:
            skeleton = packed(value, name, tensors)
        except StateError:  # built by setup, as a DataLoader is
            continue
        digests[name] = _hash(skeleton)
        digests |= {path: _hash([str(one.dtype), one.detach().cpu().contiguous()]) for path, one in tensors.items()}
    return digests


def _hash(value: Any) -> str:
    digest = hashlib.sha256()
    for part in value if isinstance(value, list) else [value]:
        digest.update(part.view(-1).numpy().tobytes() if hasattr(part, "numpy") else json.dumps(part).encode())
    return digest.hexdigest()


def _not_kept(session: Any) -> list[str]:
    """Attributes that begin with an underscore, and variables of the file that can change."""
    own = [name for name in vars(session.problem) if name.startswith("_")]
    module = sys.modules[type(session.problem).__module__]
    constants = (types.ModuleType, types.FunctionType, type, int, float, str, bool, tuple, type(None))
    variables = {name: value for name, value in vars(module).items() if not name.startswith("__")}
    return [
        *own,
        *(name for name, value in variables.items() if not isinstance(value, constants) and not callable(value)),
    ]


if __name__ == "__main__":
    main()
