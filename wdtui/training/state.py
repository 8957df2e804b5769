"""The state of a training as its attributes hold it: tensors by name, and a skeleton of plain JSON around them.

Checkpoints hold no pickle. So an attribute is kept if it is made of tensors, numbers, texts, lists, tuples and dicts,
is a generator of random numbers, or has `state_dict`. Anything else is refused by name before the first step.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wdtui.support.errors import TrainingError
from wdtui.training.values import kind

_DEEPEST = 50


class StateError(TrainingError):
    """An attribute that no checkpoint can hold, with what to do about it."""


class Tensors(dict[str, Tensor]):
    """Tensors by the path under which the skeleton refers to them."""


def packed(value: Any, path: str, tensors: Tensors) -> Any:
    """A value as JSON, its tensors put under `path` into `tensors`. Raises StateError."""
    if path.count("/") > _DEEPEST:
        raise StateError(f"{_attribute(path)}: it is nested too deeply to be kept in a checkpoint.")
    if value is None or isinstance(value, (bool, int, float, str)):
        return (
            value
            if not isinstance(value, float) or (value == value and abs(value) != float("inf"))
            else {"float": repr(value)}
        )
    if isinstance(value, Tensor):
        tensors[path] = value.detach()
        return {"tensor": path}
    if isinstance(value, np.ndarray) and value.dtype != object:
        tensors[path] = torch.from_numpy(np.ascontiguousarray(value))
        return {"array": path}
    if isinstance(value, np.generic):
        return packed(value.item(), path, tensors)
    if isinstance(value, torch.Generator):
        tensors[path] = value.get_state()
        return {"generator": path}
    if isinstance(value, np.random.Generator):
        return {"numpy": packed(value.bit_generator.state, path, tensors)}
    if isinstance(value, random.Random):
        return {"random": packed(value.getstate(), path, tensors)}
    if callable(getattr(value, "state_dict", None)):
        return {"state_dict": packed(dict(value.state_dict()), path, tensors)}
    if isinstance(value, Mapping):
        return {
            "dict": [
                [packed(key, f"{path}/{i}.key", tensors), packed(one, f"{path}/{key}", tensors)]
                for i, (key, one) in enumerate(value.items())
            ]
        }
    if isinstance(value, (list, tuple)):
        sequence = "list" if isinstance(value, list) else "tuple"
        return {sequence: [packed(one, f"{path}/{i}", tensors) for i, one in enumerate(value)]}
    if isinstance(value, (torch.device, torch.dtype, torch.Size)):
        return {"constant": str(value)}
    name = _attribute(path)
    raise StateError(
        f"{name}: a checkpoint cannot hold {kind(value)}. Build it in setup under the name _{name} to leave it out, "
        "or give it state_dict and load_state_dict."
    )


def unpacked(data: Any, tensors: Mapping[str, Tensor], live: Any = None) -> Any:
    """What `packed` gave, as a value. Where `live` is of the same kind, it is changed in place and returned."""
    if not isinstance(data, dict):
        return data
    [(form, content)] = data.items()
    match form:
        case "float":
            return float(content)
        case "constant":
            return live
        case "tensor":
            return _tensor(tensors[content], live)
        case "array":
            return tensors[content].numpy().copy()
        case "generator":
            live.set_state(tensors[content].cpu())
            return live
        case "numpy":
            live.bit_generator.state = unpacked(content, tensors)
            return live
        case "random":
            live.setstate(unpacked(content, tensors))
            return live
        case "state_dict":
            live.load_state_dict(unpacked(content, tensors))
            return live
        case "list" | "tuple":
            before = live if isinstance(live, (list, tuple)) and len(live) == len(content) else [None] * len(content)
            values = [unpacked(one, tensors, old) for one, old in zip(content, before, strict=True)]
            return values if form == "list" else tuple(values)
        case _:
            known = live if isinstance(live, Mapping) else {}
            pairs = [(unpacked(key, tensors), one) for key, one in content]
            return {key: unpacked(one, tensors, known.get(key)) for key, one in pairs}


def _tensor(stored: Tensor, live: Any) -> Tensor:
    """The stored values, in the tensor that others may refer to where there is one of the same shape."""
    if isinstance(live, Tensor) and live.shape == stored.shape and live.dtype == stored.dtype:
        with torch.no_grad():
            live.copy_(stored)
        return live
    return stored.clone()


def random_states() -> dict[str, Any]:
    """The generators that belong to the process: of torch, numpy and random, and of each CUDA device in use."""
    numpy_state = np.random.get_state(legacy=False)
    states: dict[str, Any] = {"torch": torch.get_rng_state(), "numpy": numpy_state, "random": random.getstate()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        states["cuda"] = torch.cuda.get_rng_state_all()
    return states


def restore_random_states(states: Mapping[str, Any]) -> None:
    torch.set_rng_state(states["torch"].cpu())
    np.random.set_state(states["numpy"])
    random.setstate(states["random"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state_all([state.cpu() for state in states["cuda"]])


def _attribute(path: str) -> str:
    """The attribute in whose value a path leads."""
    return path.removeprefix("/attributes").strip("/").partition("/")[0]
