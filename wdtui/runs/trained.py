"""Training what is missing: the runs of some configs, of which finished ones need not be trained again."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from wdtui.config import RunConfig
from wdtui.runs.evidence import Evidence
from wdtui.runs.records import RunRecord, Status
from wdtui.runs.scheduler import Scheduler
from wdtui.runs.store import Store

_LOOK_SECONDS = 0.2
_RESUMABLE = frozenset({Status.INTERRUPTED, Status.STOPPED})


def trained(
    store: Store,
    configs: Sequence[RunConfig],
    *,
    experiment: str,
    device: str = "auto",
    threads: int | None = None,
    tell: Callable[[str], None],
) -> dict[RunConfig, RunRecord]:
    """The run of each config, after training those of which the store has no finished one; `tell` hears of each end.

    A run that was interrupted before goes on from its checkpoint. Ctrl-C stops all with a checkpoint and is raised
    again as KeyboardInterrupt.
    """
    evidence = Evidence(store)
    runs = {config: run for config in configs if (run := evidence.run(config))}
    missing = [config for config in configs if config not in runs]
    if not missing:
        return runs
    tell(f"{len(missing)} of {len(configs)} runs are to be trained.")
    scheduler = Scheduler(store, device=_resolved(device))
    run_ids = {
        config: run.id if (run := evidence.run(config, _RESUMABLE)) else store.add_run(config, experiment=experiment)
        for config in missing
    }
    _train(scheduler, list(run_ids.values()), threads, tell)
    return runs | {config: store.run(run_id) for config, run_id in run_ids.items()}


def _resolved(device: str) -> str:
    """Raises DeviceError before a run is made that nothing could train."""
    from wdtui.lab.devices import resolve_device

    resolve_device(device)
    return device


def _train(scheduler: Scheduler, run_ids: list[int], threads: int | None, tell: Callable[[str], None]) -> None:
    scheduler.submit(*run_ids, threads=threads)
    ended = 0
    try:
        waiting = True
        while waiting:
            waiting = bool({*scheduler.queue, *scheduler.live} & {*run_ids})
            for notice in scheduler.notices():
                ended += 1
                outcome = "" if notice.kind == "ended" else f": {notice.text}"
                tell(f"{ended} of {len(run_ids)}: run {notice.run_id} is {notice.status or notice.kind}{outcome}")
            time.sleep(_LOOK_SECONDS if waiting else 0)
    except KeyboardInterrupt:
        for run_id in run_ids:
            scheduler.cancel(run_id)
        scheduler.interrupt("Interrupted by Ctrl-C")
        scheduler.wait()
        raise
