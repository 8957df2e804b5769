"""`wdtui watch`: follow a run that another shell or process trains."""

from __future__ import annotations

import time

import typer

from wdtui.cli.errors import FAILED
from wdtui.cli.fields import JsonOption, StoreOption
from wdtui.cli.runs import RunArgument

_SECONDS = 0.5
"""How often new points are read."""


def watch(run: RunArgument, json: JsonOption = False, store: StoreOption = None) -> int:
    """Follow a run on one line until it ends, then show its chart and summary. Ctrl-C leaves the run alone.

    A run that has ended is shown at once. The exit status is 1 if it failed or diverged, or if it is queued and the
    process that queued it has ended.
    """
    from wdtui.cli.views import choose_view
    from wdtui.store.records import LIVE, Status
    from wdtui.store.store import Store

    with Store(store) as opened:
        record = opened.find(run)
        last = -1
        with choose_view(json) as view:
            view.start(record)
            while True:
                record = opened.run(record.id)
                newer = opened.curves(record.id, after_step=last)
                if len(newer):
                    last = int(newer.steps[-1])
                    view.points(newer)
                if record.orphaned or record.status_text not in (*LIVE, Status.QUEUED):
                    break
                time.sleep(_SECONDS)
        view.finish(record, opened.curves(record.id))
    if record.orphaned:
        typer.echo(f"wdtui: {record.reason}", err=True)
    return FAILED if record.orphaned or record.status in (Status.FAILED, Status.DIVERGED) else 0
