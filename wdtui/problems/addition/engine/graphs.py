"""CUDA graphs: a stretch of steps recorded once and replayed as a whole, with no Python between its many kernels.

These are the only lines of wdtui that call torch.cuda to train. They have run against a stand-in on the CPU alone.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Hashable, Iterator

import torch

_recording = threading.Lock()
"""PyTorch records one graph at a time in a process."""


class Graphs:
    """The recorded stretches of steps of one training, which all use the same tensors at the same addresses.

    A graph keeps every number that is not in a tensor as it was when the graph was recorded, so all that changes must
    be in tensors. All graphs share one pool of memory. They are replayed one after the other, and what one leaves for
    later is in tensors that existed before it was recorded.
    """

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        with torch.cuda.device(self._device):
            self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._pool = torch.cuda.graph_pool_handle()
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph | None] = {}

    @contextlib.contextmanager
    def stream(self) -> Iterator[None]:
        """Make this thread work on the device and the stream of the training, after what was asked for before.

        The stream on which the thread works outside in turn waits for what was asked for inside.
        """
        with torch.cuda.device(self._device):
            outside = torch.cuda.current_stream()
            self._stream.wait_stream(outside)
            try:
                with torch.cuda.stream(self._stream):
                    yield
            finally:
                outside.wait_stream(self._stream)

    def run(self, key: Hashable, steps: Callable[[], object]) -> None:
        """Do what `steps` does, inside `stream`. `key` says which steps these are.

        The first time this calls `steps`, as libraries set themselves up then, which no graph may record. The second
        time it records a graph and replays it, and from then on it only replays.
        """
        if key not in self._graphs:
            self._graphs[key] = None
            steps()
            return
        graph = self._graphs[key] = self._graphs[key] or self._recorded(steps)
        graph.replay()

    def _recorded(self, steps: Callable[[], object]) -> torch.cuda.CUDAGraph:
        """A graph of what `steps` asks for, none of which is done yet. Raises RuntimeError if that is nothing."""
        graph = torch.cuda.CUDAGraph()
        failure: Exception | None = None
        with _recording, warnings.catch_warnings():
            warnings.filterwarnings("error", "The CUDA Graph is empty")
            try:
                # An error mode of its own thread: others may train on the GPU meanwhile
                with torch.cuda.graph(graph, self._pool, self._stream, capture_error_mode="thread_local"):
                    try:
                        steps()
                    except Exception as error:  # the end of a recording that failed raises another one, of less use
                        failure = error
            except Exception as error:
                raise failure or RuntimeError(f"No steps could be recorded on {self._device}: {error}") from error
        if failure:
            raise failure
        return graph


def graphs_on(device: torch.device | str) -> Graphs | None:
    """What records the steps on a device; None where each step is called instead."""
    return Graphs(device) if torch.device(device).type == "cuda" else None
