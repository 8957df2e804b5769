"""Training what an experiment lacks: runs and branches, of which finished ones need not be trained again."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from wdtui.branches import Branch, Case, in_words
from wdtui.runs import forks
from wdtui.runs.evidence import Evidence
from wdtui.runs.records import RunRecord, Status
from wdtui.runs.scheduler import Scheduler
from wdtui.runs.store import Store

_LOOK_SECONDS = 0.2
_RESUMABLE = frozenset({Status.INTERRUPTED, Status.STOPPED})


def trained(
    store: Store,
    cases: Sequence[Case],
    *,
    experiment: str,
    device: str = "auto",
    threads: int | None = None,
    tell: Callable[[str], None],
    stop: Callable[[], str] = lambda: "",
) -> dict[Case, RunRecord]:
    """The run of each case, after training those of which the store has no finished one; `tell` hears of each end.

    Branches are trained once the runs that they leave have ended, so that they can start from their checkpoints. A run
    that was interrupted before goes on from its own. Each is tried once; a failure is the status of its run. Once
    `stop` says a reason, runs are interrupted with a checkpoint, and branches may be left out. Raises StoreError,
    ConfigError for a branch that changes what a fork cannot change, and DeviceError where there is no such device.
    """
    evidence = Evidence(store)
    runs = {case: run for case in cases if (run := evidence.run(case))}
    missing = [case for case in cases if case not in runs]
    if not missing:
        return runs
    from wdtui.lab.devices import resolve_device  # here, because it imports torch

    resolve_device(device)  # before a run is made that nothing could train
    tell(f"{len(missing)} of {len(cases)} runs are to be trained.")
    scheduler = Scheduler(store, device=device)
    reason = "What was to be trained could not go on"
    try:
        for late in (False, True):
            stage = [case for case in missing if isinstance(case, Branch) == late]
            for case in stage:
                runs[case] = evidence.run(case, _RESUMABLE) or store.run(_added(store, case, runs, experiment))
            if stopped := _train(scheduler, [runs[case].id for case in stage], threads, tell, stop):
                reason = stopped
                break
    finally:
        for run_id in scheduler.queue:
            scheduler.cancel(run_id)
        scheduler.interrupt(reason)
        scheduler.wait()
    return {case: store.run(run.id) for case, run in runs.items()}


def _added(store: Store, case: Case, runs: Mapping[Case, RunRecord], experiment: str) -> int:
    """A new run; for a branch, that of the run which it leaves is known."""
    if not isinstance(case, Branch):
        return store.add_run(case, experiment=experiment)
    changes = dict(case.changes)
    name, parent = in_words(changes), runs[case.config]
    return forks.fork(store, parent, case.step, changes, name=name, experiment=experiment, ahead=True)


def _train(
    scheduler: Scheduler,
    run_ids: Sequence[int],
    threads: int | None,
    tell: Callable[[str], None],
    stop: Callable[[], str],
) -> str:
    """Train runs until all have ended or there is a reason to stop, which is returned."""
    scheduler.submit(*run_ids, threads=threads)
    ended, waiting = 0, True
    while waiting and not (reason := stop()):
        waiting = bool({*scheduler.queue, *scheduler.live} & {*run_ids})
        for notice in scheduler.notices():
            ended += 1
            outcome = "" if notice.kind == "ended" else f": {notice.text}"
            tell(f"{ended} of {len(run_ids)}: run {notice.run_id} is {notice.status or notice.kind}{outcome}")
        time.sleep(_LOOK_SECONDS if waiting else 0)
    return reason
