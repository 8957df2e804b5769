"""The state of a training as its attributes hold it: tensors by name, and a skeleton of plain JSON around them.

Checkpoints hold no pickle. So an attribute is kept if it is made of tensors, numbers, texts, lists, tuples and dicts,
is a generator of random numbers, or has `state_dict`. Anything else is refused by name before the first step.
"""

from __future__ import annotations

import random
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from wdtui.support.errors import TrainingError
from wdtui.training.values import kind

_DEEPEST = 50


class StateError(TrainingError):
    """An attribute that no checkpoint can hold, with what to do about it."""


class Built:
    """The tensors that setup built, by their paths. Others may refer to them, so they are restored in place."""

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self._tensors = {path: weakref.ref(tensor) for path, tensor in _tensors_in(attributes, "/attributes")}

    def __getitem__(self, path: str) -> Tensor | None:
        """The tensor, unless nothing refers to it any more."""
        return self._tensors[path]() if path in self._tensors else None

    def paths(self) -> dict[int, str]:
        """The path of each tensor that exists, by its id."""
        return {id(tensor): path for path, reference in self._tensors.items() if (tensor := reference()) is not None}


class Tensors(dict[str, Tensor]):
    """Tensors by the path under which the skeleton refers to them; one that has several names is there once."""

    def __init__(self, built: Built | None = None) -> None:
        super().__init__()
        self._built = built.paths() if built else {}
        self._seen: dict[int, tuple[Tensor, dict[str, Any]]] = {}
        """How the skeleton refers to each tensor, by its id, with the tensor, so that no other gets that id."""

    def put(self, tensor: Tensor, path: str) -> dict[str, Any]:
        """Add a tensor; returns how the skeleton refers to it."""
        if id(tensor) not in self._seen:
            path = self._built.get(id(tensor), path)
            new = {"path": path, "cpu": tensor.device.type == "cpu", "grad": tensor.requires_grad and tensor.is_leaf}
            self[path] = tensor.detach()
            self._seen[id(tensor)] = tensor, {"tensor": path} if id(tensor) in self._built else {"new": new}
        return self._seen[id(tensor)][1]


class Stored:
    """Tensors of a checkpoint by their paths, each of which is restored once."""

    def __init__(self, tensors: Mapping[str, Tensor], built: Built, device: str) -> None:
        self._tensors, self._built, self._device = tensors, built, device
        self._restored: dict[str, Tensor] = {}

    def __getitem__(self, path: str) -> Tensor:
        return self._tensors[path]

    def in_place(self, path: str) -> Tensor:
        """The stored values in the tensor that setup built, where there is one of the same shape."""
        stored, live = self._tensors[path], self._built[path]
        if path not in self._restored:
            if live is not None and live.shape == stored.shape and live.dtype == stored.dtype:
                with torch.no_grad():
                    live.copy_(stored)
                self._restored[path] = live
            else:
                self._restored[path] = stored.clone()
        return self._restored[path]

    def new(self, path: str, cpu: bool, grad: bool) -> Tensor:
        """The stored values in a new tensor."""
        if path not in self._restored:
            tensor = self._tensors[path].to("cpu" if cpu else self._device, copy=True)
            self._restored[path] = tensor.requires_grad_(grad) if grad else tensor
        return self._restored[path]


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
        return tensors.put(value, path)
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


def unpacked(data: Any, tensors: Stored, live: Any = None) -> Any:
    """What `packed` gave, as a value. Generators and what has `state_dict` are changed in place, in `live`."""
    if not isinstance(data, dict):
        return data
    [(form, content)] = data.items()
    match form:
        case "float":
            return float(content)
        case "constant":
            return live
        case "tensor":
            return tensors.in_place(content)
        case "new":
            return tensors.new(**content)
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


def _tensors_in(value: Any, path: str) -> Iterator[tuple[str, Tensor]]:
    """Tensors and their paths, as in `packed`."""
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, (list, tuple, Mapping)) and path.count("/") <= _DEEPEST:
        for key, one in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _tensors_in(one, f"{path}/{key}")


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
