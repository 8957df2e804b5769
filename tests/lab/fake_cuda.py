"""A stand-in for torch.cuda on a machine without a GPU: its graphs record calls on CPU tensors and repeat them.

As with real graphs, recording does nothing to any tensor, numbers that are not in tensors are kept as they were, and
nothing may be read on the host meanwhile. The stand-in notes each call with its device, stream and thread.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
import torch
from calls import READING
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten


class Call(NamedTuple):
    """One call of torch.cuda, and from where it came."""

    name: str
    device: int
    stream: Stream
    thread: int
    details: dict[str, Any]


class Stream:
    """A stream of a device."""

    def __init__(self, cuda: FakeCuda, device: int) -> None:
        self._cuda, self.device = cuda, device

    def wait_stream(self, other: Stream) -> None:
        self._cuda.note("wait_stream", waits=self, awaited=other)


class FakeCuda:
    """What `installed` puts in the place of the parts of torch.cuda that the engine uses."""

    def __init__(self, tensors_on: int = 0) -> None:
        """`tensors_on` is the device on which all tensors count as being."""
        self.calls: list[Call] = []
        self.tensors_on = tensors_on
        self.recording = threading.Lock()
        self._here = threading.local()
        self.default_streams = [Stream(self, device) for device in range(4)]

    def installed(self, patch: pytest.MonkeyPatch) -> FakeCuda:
        for name in ("device", "Stream", "stream", "current_stream", "CUDAGraph", "graph", "graph_pool_handle"):
            patch.setattr(torch.cuda, name, getattr(self, name))
        return self

    def named(self, name: str) -> list[Call]:
        return [call for call in self.calls if call.name == name]

    def note(self, name: str, **details: Any) -> None:
        stream = self.current_stream()
        self.calls.append(Call(name, stream.device, stream, threading.get_ident(), details))

    # The parts of torch.cuda

    @contextlib.contextmanager
    def device(self, device: torch.device) -> Iterator[None]:
        with self.stream(self.default_streams[device.index or 0]):
            yield

    @contextlib.contextmanager
    def stream(self, stream: Stream) -> Iterator[None]:
        before, self._here.stream = self.current_stream(), stream
        try:
            yield
        finally:
            self._here.stream = before

    def current_stream(self) -> Stream:
        stream: Stream = getattr(self._here, "stream", self.default_streams[0])
        return stream

    def Stream(self) -> Stream:
        return Stream(self, self.current_stream().device)

    def graph_pool_handle(self) -> object:
        return object()

    def CUDAGraph(self) -> Graph:
        return Graph(self)

    @contextlib.contextmanager
    def graph(self, graph: Graph, pool: object, stream: Stream, *, capture_error_mode: str) -> Iterator[None]:
        if not self.recording.acquire(blocking=False):
            raise RuntimeError("another graph is being recorded")
        with self.stream(stream):
            self.note("graph", pool=pool, mode=capture_error_mode)
            try:
                with graph:
                    yield
            finally:
                self.recording.release()
        if not graph.calls:
            warnings.warn("The CUDA Graph is empty. This usually means that …", stacklevel=2)


class Graph(TorchDispatchMode):
    """Calls on CPU tensors, undone after they were recorded and repeated at each replay."""

    def __init__(self, cuda: FakeCuda) -> None:
        super().__init__()
        self._cuda = cuda
        self.calls: list[tuple[Any, Any, Any, Any]] = []
        self._before: dict[int, tuple[torch.UntypedStorage, torch.UntypedStorage]] = {}
        self._own: set[int] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket.__name__ in READING:
            raise RuntimeError("operation not permitted when stream is capturing")
        kwargs = kwargs or {}
        for tensor in tensors_in((args, kwargs)):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in self._before and storage.data_ptr() not in self._own:
                self._before[storage.data_ptr()] = storage, storage.clone()
        result = func(*args, **kwargs)
        self._own |= {tensor.untyped_storage().data_ptr() for tensor in tensors_in(result)} - self._before.keys()
        if self._cuda.current_stream().device == self._cuda.tensors_on:
            self.calls.append((func, args, kwargs, result))
        return result

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for storage, content in self._before.values():
            storage.copy_(content)

    @torch.no_grad()  # a graph knows nothing of autograd
    def replay(self) -> None:
        self._cuda.note("replay", graph=self)
        for func, args, kwargs, result in self.calls:
            given = {tensor.untyped_storage().data_ptr() for tensor in tensors_in((args, kwargs))}
            again = func(*args, **kwargs)
            for old, new in zip(tensors_in(result), tensors_in(again), strict=True):
                if old.untyped_storage().data_ptr() not in given:  # else it was written in place, or is a view
                    old.copy_(new)


def tensors_in(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_flatten(tree)[0] if isinstance(leaf, Tensor)]
