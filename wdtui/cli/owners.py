"""Waits for a heartbeat before a command takes over a run whose owner this machine cannot look up."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from wdtui.store.records import RunRecord
    from wdtui.store.store import Store

_LOOK_SECONDS = 0.2


def confirmed(store: Store, run: RunRecord) -> RunRecord:
    """Wait until it is known whether the owner of a run is alive; returns the run as it is then.

    Only heartbeats can show that for a process on another host, in another container or of an earlier boot. A heartbeat
    takes at most 5 seconds. Without an owner the wait takes a minute, which is printed.
    """
    if not run.unconfirmed:
        return run
    from wdtui.store import observer

    typer.echo(f"{run.reason} Waiting for one, for up to {observer.SILENCE_SECONDS:g} seconds.", err=True)
    while (run := store.run(run.id)).unconfirmed:
        time.sleep(_LOOK_SECONDS)
    if not run.live:
        typer.echo(f"There was none, so run {run.id} counts as {run.status}.", err=True)
    return run
