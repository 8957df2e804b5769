"""What the store holds for and against an experiment's claims. No torch.

Points are read only of runs that may count.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from functools import partial

from wdtui.problems import registry
from wdtui.runs.forks import forked, placed
from wdtui.schema.config import Config
from wdtui.schema.hyperparameters import ConfigError
from wdtui.store.records import FINISHED, RunRecord, Status, StoreError
from wdtui.store.store import Store
from wdtui.store.sweeps import fingerprint, fingerprint_of
from wdtui.studies.branches import Branch, Case
from wdtui.studies.experiments import Experiment
from wdtui.studies.verdicts import Outcome, State, Verdict, check

_WORDS = {State.HOLDS: ("holds", "hold"), State.FAILS: ("fails", "fail"), State.NOT_RUN: ("not run", "not run")}


@dataclasses.dataclass(frozen=True)
class Standing:
    """The runs of an experiment that have finished, and its verdicts, in its full or its quick variant."""

    verdicts: tuple[Verdict, ...] = ()
    quick: bool = False
    trained: int = 0
    runs: int = 0
    """How many runs it has, its forks included, `trained` of which have finished."""

    @property
    def state(self) -> State:
        """FAILS if a claim fails, HOLDS if all hold; without claims, HOLDS if all runs are trained."""
        states = {verdict.state for verdict in self.verdicts}
        if not states:
            return State.HOLDS if 0 < self.runs == self.trained else State.NOT_RUN
        return next(state for state in (State.FAILS, State.NOT_RUN, State.HOLDS) if state in states)

    @property
    def words(self) -> str:
        """The state in a few words."""
        counts = Counter(verdict.state for verdict in self.verdicts)
        parts = [f"{counts[state]} {words[counts[state] > 1]}" for state, words in _WORDS.items() if counts[state]]
        if counts.keys() <= {State.NOT_RUN}:
            if not self.trained:
                return State.NOT_RUN.value
            parts = ["trained" if self.trained == self.runs else f"{self.trained} of {self.runs} runs"]
        return f"{', '.join(parts)}{' (quick)' if self.quick else ''}"


class Evidence:
    """The runs of a store as they stand now, by their configs, and forks by their plans and where they begin too."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._unmodified = {run.id for run in store.sweeps.unmodified_runs()}
        self._runs: dict[str, list[RunRecord]] = {}
        for run in [run for run in store.runs() if not run.damaged and registry.trains(run.schema)]:
            self._runs.setdefault(fingerprint(run.schema, run.config_text), []).append(run)

    def run(self, case: Case, statuses: Collection[Status] = FINISHED) -> RunRecord | None:
        """The newest run that is what a case says, finished unless asked for others. Raises ConfigError for a branch
        that changes what a fork cannot change.

        One that was steered, forked or imported had other values for a while, or another program's, and shows nothing
        about its config. A fork shows what a branch comes to where it leaves a run of the same config at the same step
        and nothing else was steered. A finished one that lacks damaged points shows less than its training did.
        """
        runs = self._of_case(case, statuses)
        return next((run for run in runs if run.status not in FINISHED or self._lost(run) == ()), None)

    def lacking(self, case: Case) -> RunRecord | None:
        """The newest run that would count, finished, were its damaged points trained again."""
        return next((run for run in self._of_case(case, FINISHED) if self._lost(run)), None)

    def placed(self, case: Case) -> Case | None:
        """The case, for a branch with its step; None as long as that depends on a blow-up which is not there."""
        if not isinstance(case, Branch) or not case.before_blow_up:
            return case
        parent = self.run(case.config)
        with contextlib.suppress(ConfigError):
            return placed(case, parent) if parent else None
        return None

    def _of_case(self, case: Case, statuses: Collection[Status]) -> Iterator[RunRecord]:
        found = self.placed(case)
        if isinstance(found, Branch):
            config, plan = forked(found.config, (), found.step, dict(found.changes))
            for run in self._alike(config):
                if run.parent_step == found.step and run.status in statuses and run.plan == plan:
                    yield run
        elif found:
            for run in self._alike(found):
                if run.id in self._unmodified and run.status in statuses:
                    yield run

    def _lost(self, run: RunRecord) -> tuple[int, ...] | None:
        """The steps of the damaged points that a run lacks; None where it cannot be read what its points are."""
        try:
            return self._store.curves(run.id).lost
        except StoreError:
            return None

    def _alike(self, config: Config) -> Sequence[RunRecord]:
        if not self._runs:  # a list of all experiments asks for thousands of configs
            return ()
        return self._runs.get(fingerprint_of(config), ())

    def standing(self, experiment: Experiment) -> Standing:
        """The state of an experiment: that of its quick variant, if this has runs and the full one lacks some."""
        full = self._standing(experiment)
        if experiment.quick is None or all(verdict.state != State.NOT_RUN for verdict in full.verdicts):
            return full
        quick = dataclasses.replace(self._standing(experiment.quick), quick=True)
        return quick if quick.trained else full

    def verdicts(self, experiment: Experiment) -> tuple[Verdict, ...]:
        """What becomes of the claims of this variant of an experiment."""
        return self._standing(experiment).verdicts

    def _standing(self, experiment: Experiment) -> Standing:
        cases = experiment.cases()
        runs = {case: run for case in cases if (run := self.run(case))}
        lacking = {case: run for case in cases if case not in runs and (run := self.lacking(case))}
        outcomes = {case: self._outcome(case, run) for case, run in (runs | lacking).items()}
        verdicts = tuple(check(claim, cases, outcomes) for claim in experiment.claims)
        return Standing(verdicts, trained=len(runs), runs=len(cases))

    def _outcome(self, case: Case, run: RunRecord) -> Outcome:
        return Outcome(
            final=run.latest,
            milestones=run.milestones,
            curves=partial(self._store.curves, run.id),
            diverged=run.status == Status.DIVERGED,
            forked_at=(run.parent_step or 0) if isinstance(case, Branch) else 0,
            lacking=run.id if self._lost(run) else None,
        )
