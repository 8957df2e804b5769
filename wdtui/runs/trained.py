"""Training what an experiment lacks: runs and branches, of which finished ones need not be trained again."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial

from wdtui.runs import forks
from wdtui.runs.completion import leaving_none_live, train
from wdtui.runs.evidence import Evidence
from wdtui.runs.executor import Executor
from wdtui.schema.hyperparameters import ConfigError
from wdtui.store.records import CLAIMABLE, FINISHED, LIVE, RunRecord, Status
from wdtui.store.store import Store
from wdtui.studies.branches import Branch, Case, config_of, forked_at

_FIRST_SECONDS = 1.0
"""How long it takes until an average says anything."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """How the training of what an experiment lacks stands at one moment."""

    runs: int
    """How many are to be trained."""
    finished: int
    steps: int
    """Trained in all of them; those that a branch has from the run it leaves do not count."""
    all_steps: int
    seconds: float
    """Since the first of them began, so that importing PyTorch does not count."""
    steps_before: int
    """What had been trained by then."""

    @property
    def speed(self) -> float | None:
        """Steps per second of all runs together; None while nobody can tell."""
        trained = self.steps - self.steps_before
        return trained / self.seconds if trained > 0 and self.seconds >= _FIRST_SECONDS else None

    @property
    def seconds_left(self) -> float | None:
        """None while nobody can tell."""
        return (self.all_steps - self.steps) / self.speed if self.speed else None


class _Clock:
    """Makes a Progress of the missing cases and of the runs that they have by now."""

    def __init__(self, missing: Sequence[Case]) -> None:
        self._missing = missing
        self._began = 0.0
        self._steps_before = 0

    def now(self, runs: Mapping[Case, RunRecord]) -> Progress:
        known = {case: runs[case] for case in self._missing if case in runs}
        begun = {case: known[case].parent_step or 0 if case in known else _begins(case) for case in self._missing}
        steps = sum(max(0, run.step - begun[case]) for case, run in known.items())
        all_steps = sum(config_of(case).steps - begun[case] for case in self._missing)
        if not self._began:
            self._steps_before = steps
            self._began = time.monotonic() if any(run.live for run in known.values()) else 0.0
        seconds = time.monotonic() - self._began if self._began else 0.0
        finished = sum(run.status in FINISHED for run in known.values())
        return Progress(len(self._missing), finished, steps, all_steps, seconds, self._steps_before)


def _begins(case: Case) -> int:
    """The step at which a case begins. A branch before a blow-up counts no steps as long as it is not known."""
    return case.config.steps if isinstance(case, Branch) and case.before_blow_up else forked_at(case)


def trained(
    store: Store,
    cases: Sequence[Case],
    *,
    experiment: str,
    executor: Callable[[], Executor],
    threads: int | None = None,
    tell: Callable[[str], None],
    on_look: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], str] = lambda: "",
) -> dict[Case, RunRecord]:
    """The run of each case, after training those without a finished run in the store; `tell` is called at each end.

    `on_look` is given how all stands, several times a second, in this thread. `executor` makes what trains them, with
    `threads` each, where anything is to be trained. Branches are trained once the runs that they leave have ended, so
    that they can start from their checkpoints. A run that was begun before is gone on with, as is one that lacks
    damaged points, and one that another process trains is waited for. Each is tried once; a failure is the status of
    its run. Once `stop` says a reason, runs are interrupted with a checkpoint, and branches may be left out. Raises
    StoreError, ConfigError for a branch that changes what a fork cannot change, and what `executor` raises.
    """
    evidence = Evidence(store)
    runs = {case: run for case in cases if (run := evidence.run(case))}
    missing = [case for case in cases if case not in runs]
    if not missing:
        return runs
    trainer = executor()
    clock = _Clock(missing)
    tell(f"{len(missing)} of {len(cases)} runs are to be trained.")
    with leaving_none_live(trainer, stop):
        for late in (False, True):
            stage = [case for case in missing if isinstance(case, Branch) == late and not stop()]
            if late:
                evidence = Evidence(store)  # where a branch begins may depend on what has been trained by now
                stage = list(_startable(stage, runs, tell))
            for case in stage:
                begun = evidence.run(case, CLAIMABLE | LIVE) or _reopened(store, evidence.lacking(case))
                runs[case] = begun or store.run(_added(store, case, runs, experiment))
            told: set[int] = set()
            read = partial(store.these, [runs[case].id for case in stage])
            for now, left in train(trainer, read, threads=threads, stop=stop):
                runs.update(zip(stage, now, strict=True))
                on_look(clock.now(runs))
                for run in now:
                    if run.id not in told | left:
                        told.add(run.id)
                        tell(f"{len(told)} of {len(stage)}: run {run.id} is {run.status}{_why(run)}")
    return {case: store.run(run.id) for case, run in runs.items()}


def _startable(
    branches: Sequence[Case], runs: Mapping[Case, RunRecord], tell: Callable[[str], None]
) -> Iterator[Branch]:
    """The branches whose step is known. Of each run without the blow-up that says it, `tell` is called."""
    without: set[str] = set()
    for branch in branches:
        assert isinstance(branch, Branch)
        try:
            forks.placed(branch, runs[branch.config])
            yield branch
        except ConfigError as error:
            without.add(str(error))
    for why in sorted(without):
        tell(why)


def _reopened(store: Store, lacking: RunRecord | None) -> RunRecord | None:
    """A finished run whose damaged points are to be trained again."""
    if lacking is None:
        return None
    store.reopen(lacking.id)
    return store.run(lacking.id)


def _added(store: Store, case: Case, runs: Mapping[Case, RunRecord], experiment: str) -> int:
    """A new run; for a branch, that of the run which it leaves is known."""
    if not isinstance(case, Branch):
        return store.add_run(case, experiment=experiment)
    parent = runs[case.config]
    return forks.queue(store, [(parent, forks.placed(case, parent))], experiment=experiment)[0]


def _why(run: RunRecord) -> str:
    return f": {run.reason}" if run.reason and run.status != Status.DONE else ""
