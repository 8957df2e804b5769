"""Training what an experiment lacks: runs and branches, of which finished ones need not be trained again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from wdtui.branches import Branch, Case, in_words
from wdtui.runs import forks
from wdtui.runs.completion import leaving_none_live, train
from wdtui.runs.evidence import Evidence
from wdtui.runs.executor import Executor
from wdtui.runs.records import CLAIMABLE, LIVE, RunRecord, Status
from wdtui.runs.store import Store


def trained(
    store: Store,
    cases: Sequence[Case],
    *,
    experiment: str,
    executor: Callable[[], Executor],
    threads: int | None = None,
    tell: Callable[[str], None],
    stop: Callable[[], str] = lambda: "",
) -> dict[Case, RunRecord]:
    """The run of each case, after training those of which the store has no finished one; `tell` hears of each end.

    `executor` makes what trains them, with `threads` each, where anything is to be trained. Branches are trained once
    the runs that they leave have ended, so that they can start from their checkpoints. A run that was begun before is
    gone on with, and one that another process trains is waited for. Each is tried once; a failure is the status of its
    run. Once `stop` says a reason, runs are interrupted with a checkpoint, and branches may be left out. Raises
    StoreError, ConfigError for a branch that changes what a fork cannot change, and what `executor` raises.
    """
    evidence = Evidence(store)
    runs = {case: run for case in cases if (run := evidence.run(case))}
    missing = [case for case in cases if case not in runs]
    if not missing:
        return runs
    trainer = executor()
    tell(f"{len(missing)} of {len(cases)} runs are to be trained.")
    with leaving_none_live(trainer, stop):
        for late in (False, True):
            stage = [case for case in missing if isinstance(case, Branch) == late and not stop()]
            for case in stage:
                runs[case] = evidence.run(case, CLAIMABLE | LIVE) or store.run(_added(store, case, runs, experiment))
            told: set[int] = set()
            read = partial(_read, store, [runs[case].id for case in stage])
            for now, left in train(trainer, read, threads=threads, stop=stop):
                for run in now:
                    if run.id not in told | left:
                        told.add(run.id)
                        tell(f"{len(told)} of {len(stage)}: run {run.id} is {run.status}{_why(run)}")
    return {case: store.run(run.id) for case, run in runs.items()}


def _added(store: Store, case: Case, runs: Mapping[Case, RunRecord], experiment: str) -> int:
    """A new run; for a branch, that of the run which it leaves is known."""
    if not isinstance(case, Branch):
        return store.add_run(case, experiment=experiment)
    changes = dict(case.changes)
    name, parent = in_words(changes), runs[case.config]
    return forks.fork(store, parent, case.step, changes, name=name, experiment=experiment, ahead=True)


def _read(store: Store, run_ids: Sequence[int]) -> list[RunRecord]:
    return [store.run(run_id) for run_id in run_ids]


def _why(run: RunRecord) -> str:
    return f": {run.reason}" if run.reason and run.status != Status.DONE else ""
