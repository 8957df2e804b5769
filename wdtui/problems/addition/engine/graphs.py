"""CUDA graphs: a stretch of steps recorded once and replayed as a whole, with no Python between its many kernels.

The only lines of wdtui that run on an NVIDIA GPU alone. No number in the docs comes from one: they say so.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import torch


class Graphs:
    """Stretches of steps by a key that tells all that is fixed when one is recorded: tensors at their addresses, and
    numbers that are not in tensors.
    """

    def __init__(self) -> None:
        self._graphs: dict[Hashable, torch.cuda.CUDAGraph | None] = {}

    def run(self, key: Hashable, steps: Callable[[], None]) -> None:
        """Do what `steps` does: the first time by calling it, which warms up, later by replaying it."""
        if key not in self._graphs:
            self._graphs[key] = None
            steps()
            return
        graph = self._graphs[key]
        if graph is None:
            graph = self._graphs[key] = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):  # records, does nothing
                steps()
        graph.replay()
