"""Evidence: which runs of a store speak for or against a claim."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from store_tools import CONFIG, append, claim, point

from wdtui.analysis.milestones import Milestones
from wdtui.problems.addition.config import RunConfig
from wdtui.runs.evidence import Evidence
from wdtui.runs.executor import Executor
from wdtui.runs.forks import forked
from wdtui.runs.scheduler import Scheduler
from wdtui.schema.steering import Steering, planned
from wdtui.store.store import Status, Store
from wdtui.studies.branches import Branching, Case
from wdtui.studies.claims import read_claims
from wdtui.studies.experiments import Experiment
from wdtui.studies.verdicts import State

SCHEMA = RunConfig.schema()
Add = Callable[..., int]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.fixture
def add(store: Store) -> Add:
    def add(config: RunConfig = CONFIG, status: Status = Status.DONE, value: float = 0.5, **options: Any) -> int:
        run_id = store.add_run(config, **options)
        claim(store, run_id)
        append(store, run_id, point(10, value))
        store.set_status(store.run(run_id).claim, status)
        return run_id

    return add


def here(store: Store) -> Callable[[], Executor]:
    return lambda: Scheduler(store, device="cpu")


def experiment(*, epochs: int = CONFIG.epochs, quick: Experiment | None = None) -> Experiment:
    config = CONFIG.to_mapping() | {"epochs": epochs}
    table = {"says": "So.", "measure": "train_loss", "between": [0, 1]}
    claims = read_claims(SCHEMA, [table], [RunConfig.from_mapping(config)], quick=False)
    return Experiment(name="e", question="?", config=config, claims=claims, quick=quick)


def test_the_newest_finished_run_of_an_equal_config_counts(store: Store, add: Add) -> None:
    add(), add(CONFIG.replace(seed=1))
    newest = add(experiment="another")
    add(status=Status.INTERRUPTED), add(status=Status.FAILED), store.add_run(CONFIG)
    run = Evidence(store).run(CONFIG)
    assert run is not None and run.id == newest
    assert Evidence(store).run(CONFIG.replace(seed=2)) is None


def lose_a_point(store: Store, run_id: int) -> None:
    with store._database.writing() as connection:
        connection.execute("UPDATE points SET data = zeroblob(length(data)) WHERE run_id = ?", (run_id,))


def test_a_run_with_lost_points_does_not_count_and_the_claim_says_so(store: Store, add: Add) -> None:
    whole, spoilt = add(value=0.5), add(value=0.6)
    lose_a_point(store, spoilt)
    run = Evidence(store).run(CONFIG)
    assert run is not None and run.id == whole
    assert Evidence(store).standing(experiment()).words == "1 holds"
    lose_a_point(store, whole)
    assert Evidence(store).run(CONFIG) is None
    (verdict,) = Evidence(store).verdicts(experiment())
    assert verdict.state == State.NOT_RUN
    assert verdict.measured == "Run 2 has damaged points: `wdtui resume 2` trains them again."


def test_damaged_runs_of_a_claim_are_trained_again(store: Store) -> None:
    from wdtui.runs.trained import trained

    short = CONFIG.replace(epochs=3, width=128, keep_every=1)
    cases: list[Case] = [short, *FORK.of(short)]

    def train() -> list[int]:
        runs = trained(store, cases, experiment="e", executor=here(store), threads=1, tell=lambda line: None)
        assert {run.status for run in runs.values()} == {Status.DONE}
        return [runs[case].id for case in cases]

    ids = train()
    losses = [store.curves(run_id)["train_loss"].tolist() for run_id in ids]
    for run_id in ids[0], ids[2]:
        lose_a_point(store, run_id)
    assert train() == ids and len(store.runs()) == 3
    assert [store.curves(run_id)["train_loss"].tolist() for run_id in ids] == losses


def test_a_steered_run_and_a_fork_do_not_count(store: Store, add: Add) -> None:
    steered = add(plan=(Steering(5, "weight_decay", 0.3, 1.0),))
    add(parent=(steered, 5))
    assert Evidence(store).run(CONFIG) is None
    resumed = add()
    store.add_event(store.run(resumed).claim, 5, "resumed")
    assert Evidence(store).run(CONFIG) is not None


def test_a_config_stored_before_a_field_was_added_still_counts(
    store: Store, add: Add, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = CONFIG.to_mapping()
    del values["shuffle"]
    with monkeypatch.context() as patch:
        patch.setattr(
            json,
            "dumps",
            lambda value, dumps=json.dumps, **options: dumps(values if "width" in value else value, **options),
        )
        run_id = add()
    run = Evidence(store).run(CONFIG)
    assert run is not None and run.id == run_id and "shuffle" not in json.loads(run.config_text)


def test_a_rule_and_the_decay_that_it_makes_are_different_configs(store: Store, add: Add) -> None:
    ruled = CONFIG.replace(normalized_weight_decay=0.05)
    add(ruled)
    assert Evidence(store).run(ruled) and not Evidence(store).run(CONFIG.replace(weight_decay=ruled.weight_decay))


def test_the_runs_decide_the_standing_of_claims(store: Store, add: Add) -> None:
    one = experiment()
    assert Evidence(store).standing(one).words == "not run"
    add(value=0.5)
    assert Evidence(store).standing(one).words == "1 holds"
    add(value=1.5)
    assert Evidence(store).standing(one).words == "1 fails"
    add(status=Status.DIVERGED)
    (verdict,) = Evidence(store).verdicts(one)
    assert verdict.state == State.FAILS and "diverged" in verdict.measured


def test_the_quick_variant_is_used_if_the_full_one_was_not_run(store: Store, add: Add) -> None:
    one = experiment(epochs=400, quick=experiment())
    add(value=0.5)
    assert Evidence(store).standing(one).words == "1 holds (quick)"
    add(CONFIG.replace(epochs=400), value=1.5)
    assert Evidence(store).standing(one).words == "1 fails"


def test_an_experiment_without_claims_stands_by_its_runs(store: Store, add: Add) -> None:
    one = dataclasses.replace(experiment(), claims=(), axes={"seed": [0, 1]})
    found = [Evidence(store).standing(one)]
    for seed in (0, 1):
        add(CONFIG.replace(seed=seed))
        found.append(Evidence(store).standing(one))
    assert [standing.words for standing in found] == ["not run", "1 of 2 runs", "trained"]
    assert [standing.state for standing in found] == [State.NOT_RUN, State.NOT_RUN, State.HOLDS]


def test_claims_that_lack_runs_stand_by_the_number_of_their_runs(store: Store, add: Add) -> None:
    config = CONFIG.to_mapping()
    cells = [CONFIG.replace(seed=seed) for seed in (0, 1)]
    tables = [
        {"says": "Both.", "measure": "train_loss", "seeds": "all", "at_most": 1},
        {"says": "One.", "measure": "train_loss", "where": {"seed": 0}, "at_most": 1},
    ]
    claims = read_claims(SCHEMA, tables, cells, quick=False)
    one = Experiment(name="e", question="?", config=config, axes={"seed": [0, 1]}, claims=claims[:1])
    add(cells[0])
    assert Evidence(store).standing(one).words == "1 of 2 runs"
    both = Evidence(store).standing(dataclasses.replace(one, claims=claims))
    assert (both.words, both.state) == ("1 holds, 1 not run", State.NOT_RUN)


FORK = Branching.read(SCHEMA, {"at_epoch": 1, "branches": [{}, {"betas": [0.5, 0.6], "bn_epsilon": "0.5:2"}]})


def test_a_fork_counts_for_its_branch(store: Store, add: Add) -> None:
    unchanged, changed = FORK.of(CONFIG)
    config, plan = forked(CONFIG, (), unchanged.step, dict(changed.changes))
    parent = add()
    add(parent=(parent, unchanged.step + 1))
    assert Evidence(store).run(unchanged) is None
    one = add(parent=(parent, unchanged.step))
    other = add(config, plan=plan, parent=(parent, unchanged.step))
    steered = Steering(unchanged.step * 2, "weight_decay", 0.3, 1.0)
    add(config, plan=planned(plan, steered), parent=(parent, unchanged.step))
    add(config, plan=plan)
    found = [Evidence(store).run(case) for case in (CONFIG, unchanged, changed)]
    assert [run and run.id for run in found] == [parent, one, other]
    assert Evidence(store).run(FORK.of(CONFIG.replace(seed=1))[0]) is None
    assert Evidence(store).run(unchanged, {Status.INTERRUPTED}) is None


def test_runs_and_their_branches_are_trained_once(store: Store) -> None:
    from wdtui.runs.trained import trained

    short = CONFIG.replace(epochs=3, width=128, keep_every=1)
    cases: list[Case] = [short, *FORK.of(short)]
    told: list[str] = []
    runs = trained(store, cases, experiment="e", executor=here(store), threads=1, tell=told.append)
    assert {run.status for run in runs.values()} == {Status.DONE} and told[0] == "3 of 3 runs are to be trained."
    whole, unchanged, changed = (runs[case] for case in cases)
    assert [run.name for run in (unchanged, changed)] == ["unchanged", "betas → 0.5,0.6, ε → 0.5 over 2 epochs"]
    assert {run.parent for run in (unchanged, changed)} == {whole.id}
    assert "forked" in [event.kind for event in store.events(changed.id)]
    assert unchanged.latest["train_loss"] == whole.latest["train_loss"] != changed.latest["train_loss"]
    trained(store, cases, experiment="e", executor=here(store), threads=1, tell=told.append)
    assert len(store.runs()) == 3 and len(told) == 4


def test_branches_before_a_blow_up_are_trained_once_it_is_known(store: Store) -> None:
    from wdtui.runs.trained import trained

    short = CONFIG.replace(epochs=6)
    configs = [short, short.replace(seed=1)]
    for config, blow_ups in zip(configs, [(4 * short.steps_per_epoch,), ()], strict=True):
        run_id = store.add_run(config)
        seen = Milestones(1, None, blow_ups).to_json()
        store.append(claim(store, run_id), [point(config.steps)], speed=1.0, milestones=seen)
        store.set_status(store.run(run_id).claim, Status.DONE)
    fork = Branching.read(SCHEMA, {"before_blow_up": 2, "branches": [{}, {"weight_decay": 0.0}]})
    cases: list[Case] = [*configs, *(branch for config in configs for branch in fork.of(config))]
    told: list[str] = []
    for times in (1, 2):
        runs = trained(store, cases, experiment="e", executor=here(store), threads=1, tell=told.append)
        assert told.count("Run 2 has no blow-up, and its forks begin before its first blow-up.") == times
        assert [run.id for run in runs.values()] == [1, 2, 3, 4] and len(store.runs()) == 4
        assert [runs[case].parent_step for case in cases[2:4]] == [2 * short.steps_per_epoch] * 2
    table = {"says": "So.", "measure": "blowups", "where": {"branch": "weight_decay=0"}, "at_most": 0}
    for seed, state in [(short.seed, State.HOLDS), (1, State.NOT_RUN)]:
        where = {"where": table["where"] | {"seed": seed}}
        claims = read_claims(SCHEMA, [table | where], cases, quick=False)
        axes = {"seed": [config.seed for config in configs]}
        one = Experiment(name="e", question="?", config=short.to_mapping(), axes=axes, fork=fork, claims=claims)
        assert [verdict.state for verdict in Evidence(store).verdicts(one)] == [state]


def test_nothing_starts_once_there_is_a_reason_to_stop(store: Store) -> None:
    from wdtui.runs.trained import trained

    cases: list[Case] = [CONFIG, *FORK.of(CONFIG)]
    runs = trained(store, cases, experiment="e", executor=here(store), tell=lambda line: None, stop=lambda: "Enough")
    assert runs == {} and store.runs() == []


def test_runs_of_other_processes_are_waited_for(store: Store) -> None:
    from wdtui.runs.trained import trained

    live = store.add_run(CONFIG)
    store.add_run(CONFIG, plan=(Steering(5, "weight_decay", 0.3, 1.0),))
    claim(store, live)
    told: list[str] = []
    began = time.monotonic()

    def stop() -> str:
        if time.monotonic() - began > 0.2:
            store.set_status(store.run(live).claim, Status.DONE)
        return ""

    runs = trained(store, [CONFIG], experiment="e", executor=here(store), tell=told.append, stop=stop)
    assert runs[CONFIG].id == live and told[1:] == [f"1 of 1: run {live} is done"]
    assert len(store.runs()) == 2 and time.monotonic() - began > 0.2


def test_missing_runs_are_trained_and_interrupted_ones_resumed(store: Store, add: Add) -> None:
    from wdtui.runs.trained import trained

    short = CONFIG.replace(epochs=2, width=128)
    known, interrupted = add(short), add(short.replace(seed=1), Status.INTERRUPTED, experiment="another")
    told: list[str] = []
    configs = [short.replace(seed=seed) for seed in (0, 1, 2)]
    runs = trained(store, configs, experiment="e", executor=here(store), threads=1, tell=told.append)
    assert [runs[config].id for config in configs] == [known, interrupted, interrupted + 1]
    assert {run.status for run in runs.values()} == {Status.DONE}
    assert told[0] == "2 of 3 runs are to be trained." and len(told) == 3
    store.close()
