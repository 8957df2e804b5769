"""The options that select where runs train, and the executor for them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from wdtui.cli.errors import CommandError
from wdtui.support.text import clean

if TYPE_CHECKING:
    from wdtui.runs.executor import Executor
    from wdtui.store.store import Store

WorkersOption = Annotated[
    int | None,
    typer.Option("--workers", min=1, help="Number of runs that train at once; by default chosen for this machine."),
]
ExecutorOption = Annotated[
    Literal["local", "ray"], typer.Option("--executor", help="Train on this machine or on the nodes of a Ray cluster.")
]
AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        metavar="HOST:PORT",
        help="The Ray cluster's; without it a cluster of this machine alone is started for the sweep.",
    ),
]

_EVERYWHERE = "auto", "cpu"
"""Devices of all machines. Checking any other imports PyTorch."""


@dataclasses.dataclass(frozen=True)
class Machines:
    """The options for where to train. Raises CommandError and DeviceError if they are not possible."""

    device: str
    threads: int | None
    workers: int | None
    executor: Literal["local", "ray"]
    address: str | None

    def __post_init__(self) -> None:
        if self.executor == "local" and self.address:
            raise CommandError("--address needs --executor ray.")
        if self.executor == "ray" and self.workers:
            raise CommandError(
                "--workers is for this machine only. Ray trains as many runs at once as fit on the cluster."
            )
        if self.executor == "ray" and self.device.partition(":")[0] not in ("auto", "cpu", "cuda"):
            raise CommandError(f"--device {self.device}: on a Ray cluster give auto, cpu or cuda.")
        if self.executor == "local" and self.device not in _EVERYWHERE:
            from wdtui.training.devices import resolve_device

            resolve_device(self.device)

    def check_forks(self, experiment: str) -> None:
        """Raise CommandError if the forks of an experiment could not be trained."""
        if self.executor != "local":
            raise CommandError(f"The forks of {experiment} start from files on this machine. Leave out --executor.")

    def prepared(self, store: Store) -> Callable[[], Executor]:
        """A function that makes the executor for a store. Raises ClusterError if there is no cluster to join."""
        if self.executor == "ray":
            cluster = _cluster(store, self.device, self.address)
            return lambda: cluster
        return lambda: _scheduler(store, self.device, self.workers)


def _scheduler(store: Store, device: str, workers: int | None) -> Executor:
    from wdtui.runs.scheduler import Scheduler

    return Scheduler(store, device=device, slots=workers)


def _cluster(store: Store, device: str, address: str | None) -> Executor:
    from wdtui.runs.ray_access import join

    if not address and (found := os.environ.get("RAY_ADDRESS")):
        hint = f"give --address {clean(found)} to train on that cluster"
        typer.echo(f"wdtui: $RAY_ADDRESS is ignored, {hint}.", err=True)
    try:
        join(address)
        from wdtui.runs.cluster import RayCluster
    except ImportError as error:
        raise CommandError("Ray is not installed: pip install 'wdtui[ray]', on every node of the cluster.") from error
    return RayCluster(store, device=device)
