"""The run store: what goes in comes out, and is found again."""

from __future__ import annotations

import dataclasses
import math
import os
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from store_tools import COLUMNS, CONFIG, append, claim, point

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.declared import Problem, config_of, declared
from wdtui.schema.curves import Curves, Point
from wdtui.schema.schema import Schema
from wdtui.schema.steering import Steering
from wdtui.store.store import Claim, Command, Status, Store, StoreError


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


# Writing and reading


def test_a_config_round_trips(store: Store) -> None:
    ruled = RunConfig(normalized_weight_decay=0.025, betas=(0.8, 0.9))
    run = store.run(store.add_run(ruled, name="ruled", experiment="fig4", parent=(7, 100)))
    assert run.config == ruled
    assert run.values["weight_decay"] == ruled.weight_decay
    assert (run.name, run.experiment, run.parent, run.parent_step) == ("ruled", "fig4", 7, 100)
    assert (run.status, run.reason, run.latest, run.milestones, run.versions) == (Status.QUEUED, "", {}, {}, {})


def test_points_round_trip_bit_for_bit(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    strange = (math.nan, math.inf, -math.inf, -0.0, 5e-324, 1 / 3)
    points = [Point(10 * i, i, (*strange[i:], *strange[:i], *range(len(COLUMNS) - 6))) for i in range(5)]
    append(store, run_id, *points[:2])
    append(store, run_id, *points[2:])
    curves, expected = store.curves(run_id), Curves.of(CONFIG.columns, points)
    assert curves.names == expected.names == COLUMNS
    assert curves.values.tobytes() == expected.values.tobytes()
    assert curves.steps.tolist() == [0, 10, 20, 30, 40] and curves.epochs.tolist() == [0, 1, 2, 3, 4]


def test_curves_after_a_step_have_only_newer_points(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    assert len(store.curves(run_id)) == 0 and store.curves(run_id).last() == {}
    append(store, run_id, point(10), point(20))
    seen = store.curves(run_id)
    append(store, run_id, point(30))
    newer = store.curves(run_id, after_step=20)
    assert newer.steps.tolist() == [30]
    assert seen.steps.tolist() == [10, 20]


def test_the_row_follows_the_newest_point(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    append(store, run_id, point(10), Point(20, 2, (math.nan, *range(1, len(COLUMNS)))))
    run = store.run(run_id)
    assert (run.step, run.epoch, run.speed, run.milestones) == (20, 2, 100.0, {"fit_step": 10})
    assert list(run.latest) == [name for name in COLUMNS if "/" not in name]
    assert math.isnan(run.latest[COLUMNS[0]]) and run.latest[COLUMNS[1]] == 1
    append(store, run_id)
    assert store.run(run_id).step == 20


def test_a_step_has_at_most_one_point(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    append(store, run_id, point(10, 1.0))
    with pytest.raises(StoreError, match="already has a point at this step"):
        append(store, run_id, point(20), point(10, 2.0))
    curves = store.curves(run_id)
    assert curves.steps.tolist() == [10] and curves.values[0, 0] == 1.0
    assert store.run(run_id).step == 10


def test_a_point_of_other_metrics_is_refused(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    with pytest.raises(ValueError, match="values"):
        append(store, run_id, Point(10, 1, (1.0, 2.0)))
    assert len(store.curves(run_id)) == 0


def test_truncating_removes_later_points_and_events(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    append(store, run_id, point(10, 1.0), point(20, 2.0), point(30, 3.0))
    for step in (10, 20, 30):
        store.add_event(store.run(run_id).claim, step, "blow-up", {"accuracy": 0.5})
    store.truncate(store.run(run_id).claim, 20)
    run = store.run(run_id)
    assert (run.step, run.epoch, run.latest[COLUMNS[0]]) == (20, 2, 2.0)
    assert [event.step for event in store.events(run_id)] == [10, 20]
    append(store, run_id, point(30, 4.0))
    assert store.curves(run_id).values[:, 0].tolist() == [1.0, 2.0, 4.0]
    store.truncate(store.run(run_id).claim, 0)
    run = store.run(run_id)
    assert (run.step, run.epoch, run.latest) == (0, 0, {})


def test_events_keep_their_order_and_data(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    store.add_event(store.run(run_id).claim, 20, "steered", {"weight_decay": 0.1})
    store.add_event(store.run(run_id).claim, 10, "paused")
    events = [(event.step, event.kind, event.data) for event in store.events(run_id)]
    assert events == [(10, "paused", {}), (20, "steered", {"weight_decay": 0.1})]


def test_names_and_notes_survive_invalid_bytes(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    assert store.run(run_id).title == "λ0.3 ε0.01 H8 s0"
    store.rename(run_id, "grökk \udcff")
    store.set_note(run_id, "two\nlines")
    assert (store.run(run_id).title, store.run(run_id).note) == ("grökk ?", "two\nlines")


def test_listing_parses_no_json(store: Store) -> None:
    ids = [store.add_run(CONFIG) for _ in range(3)]
    runs = store.runs()
    assert [run.id for run in runs] == ids[::-1]
    assert all(not vars(run) for run in runs)
    assert runs[0].config == CONFIG and set(vars(runs[0])) == {"config"}


def test_the_error_says_that_a_config_is_of_another_version(store: Store) -> None:
    run = store.run(store.add_run(CONFIG))._replace(config_text='{"temperature": 1}')
    with pytest.raises(StoreError, match=f"Run {run.id} was made by another version of wdtui: temperature"):
        _ = run.config


@pytest.fixture
def many_schemas(store: Store) -> list[int]:
    """Runs of more problems than are usual."""
    schema = declared(Problem, None)
    return [store.add_run(config_of(dataclasses.replace(schema, title=str(at)))()) for at in range(70)]


def test_equal_schemas_are_one_object_however_many_there_are(store: Store, many_schemas: list[int]) -> None:
    found = {run.id: run.schema for run in store.runs()}
    assert len({*map(id, found.values())}) == len(many_schemas)
    assert all(store.run(run_id).schema is found[run_id] for run_id in many_schemas)


def test_a_run_is_read_without_the_schemas_of_the_others(
    store: Store, many_schemas: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    from_json = Schema.from_json
    monkeypatch.setattr(Schema, "from_json", lambda text: read.append(text) or from_json(text))
    assert store.run(many_schemas[3]).schema.title == "3"
    assert [from_json(text).title for text in read] == ["3"]


# Finding and deleting


def test_runs_are_found_by_number_name_and_last(store: Store) -> None:
    first, second = store.add_run(CONFIG, name="grokking"), store.add_run(CONFIG, name="2")
    third = store.add_run(CONFIG, name="1")
    assert store.find("1").id == first  # a number comes before a name
    assert store.find("grokking").id == first
    assert store.find("2").id == second
    assert store.find("last").id == third


def test_the_error_for_a_missing_run_suggests_a_command(store: Store) -> None:
    with pytest.raises(StoreError, match="There are no runs yet"):
        store.find("last")
    store.add_run(CONFIG, name="grokking")
    store.add_run(CONFIG, name="twin")
    store.add_run(CONFIG, name="twin")
    with pytest.raises(StoreError, match=r"There is no run groking; did you mean grokking\?"):
        store.find("groking")
    with pytest.raises(StoreError, match="2 runs are named twin; give the number of one: 2, 3"):
        store.find("twin")
    for missing in ("7", "9" * 30, "", "[bold]", "\udcff"):
        with pytest.raises(StoreError, match="`wdtui runs list` shows all runs"):
            store.find(missing)


def test_every_method_reports_a_missing_run(store: Store) -> None:
    for call in (
        lambda: store.run(7),
        lambda: store.curves(7),
        lambda: claim(store, 7),
        lambda: store.append(Claim(7, 1), [point(10)], speed=1.0, milestones={}),
        lambda: store.truncate(Claim(7, 1), 0),
        lambda: store.set_status(Claim(7, 1), Status.DONE),
        lambda: store.add_event(Claim(7, 1), 0, "paused"),
        lambda: store.rename(7, "x"),
        lambda: store.delete([7]),
    ):
        with pytest.raises(StoreError, match=r"There is no run 7\. `wdtui runs list`"):
            call()
    with pytest.raises(StoreError, match="may have been deleted"):
        store.send(7, "stop")


def test_deleting_removes_everything_and_numbers_are_not_reused(store: Store) -> None:
    kept, gone = store.add_run(CONFIG), store.add_run(CONFIG)
    for run_id in (kept, gone):
        append(store, run_id, point(10))
        store.add_event(store.run(run_id).claim, 10, "paused")
        store.send(run_id, "stop")
    before = store.revision()
    store.delete([gone])
    assert store.revision() > before
    assert [run.id for run in store.runs()] == [kept]
    with sqlite3.connect(store.folder / "wdtui.sqlite3") as connection:
        for table in ("points", "events", "commands"):
            assert connection.execute(f"SELECT run_id FROM {table}").fetchall() == [(kept,)]
    assert store.add_run(CONFIG) > gone


def test_if_one_run_is_live_none_is_deleted(store: Store) -> None:
    idle, live = store.add_run(CONFIG), store.add_run(CONFIG)
    claim(store, live)
    with pytest.raises(StoreError, match=f"Run {live} is being trained by process {os.getpid()}.*stop it"):
        store.delete([idle, live])
    assert len(store.runs()) == 2


# Commands


def take_all(store: Store, run_id: int) -> list[Command]:
    return [command for command in store.commands(run_id) if store.take(store.run(run_id).claim, command)]


def test_commands_are_done_once_and_in_order(store: Store) -> None:
    run_id, other = store.add_run(CONFIG), store.add_run(CONFIG)
    assert store.commands(run_id) == []
    store.send(run_id, "steer", {"weight_decay": 0.2})
    store.send(other, "stop")
    store.send(run_id, "pause")
    first, second = store.commands(run_id)
    assert store.commands(run_id) == [first, second]
    assert (first.kind, first.data, second.kind) == ("steer", {"weight_decay": 0.2}, "pause")
    claim = store.run(run_id).claim
    assert store.take(claim, first) and not store.take(claim, first)
    assert store.commands(run_id) == [second] and len(take_all(store, other)) == 1


def test_each_command_is_taken_by_one_thread(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    sent = {store.send(run_id, "checkpoint") for _ in range(50)}
    with ThreadPoolExecutor(4) as pool:
        taken = [command.id for part in pool.map(lambda _: take_all(store, run_id), range(8)) for command in part]
    assert sorted(taken) == sorted(sent)


def test_a_claim_drops_pending_commands_except_steering(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    store.send(run_id, "stop")
    claim(store, run_id)
    assert [command.kind for command in take_all(store, run_id)] == ["stop"]
    store.send(run_id, "pause")
    store.send(run_id, "steer", {"weight_decay": 0.2})
    store.set_status(store.run(run_id).claim, Status.INTERRUPTED)
    claim(store, run_id)
    assert [command.kind for command in store.commands(run_id)] == ["steer"]


def test_a_steering_and_its_plan_are_stored_together(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = (Steering(20, "bn_epsilon", 1e-5, 1e-2, 4), Steering(30, "betas", (0.9, 0.98), (0.8, 0.9)))
    run_id = store.add_run(CONFIG, plan=plan[:1])
    store.send(run_id, "steer", {"weight_decay": 0.2})
    [command] = store.commands(run_id)
    with monkeypatch.context() as broken:
        broken.setattr("wdtui.store.store.change", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            store.take(store.run(run_id).claim, command, plan)
    assert store.commands(run_id) == [command] and store.run(run_id).plan == plan[:1]
    assert store.take(store.run(run_id).claim, command, plan)
    assert store.commands(run_id) == [] and store.run(run_id).plan == plan


# Watching


def test_each_change_takes_a_revision_and_a_heartbeat_does_not(store: Store) -> None:
    first, second = store.add_run(CONFIG), store.add_run(CONFIG)
    seen = store.revision()
    assert store.runs_since(seen) == []
    store.rename(first, "x")
    assert [run.id for run in store.runs_since(seen)] == [first]
    append(store, second, point(10))
    assert [run.id for run in store.runs_since(seen)] == [second, first]
    assert store.runs_since(seen)[0].revision == store.revision() == seen + 2
    store.heartbeat(store.run(first).claim)
    assert store.revision() == seen + 2


def test_the_data_version_changes_exactly_with_writes(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    before = store.data_version()
    store.runs()
    assert store.data_version() == before
    store.rename(run_id, "mine")
    mine = store.data_version()
    assert mine > before
    with ThreadPoolExecutor(1) as pool:
        pool.submit(store.rename, run_id, "another thread's").result()
    assert store.data_version() > mine


def test_overlong_names_and_notes_are_refused(store: Store) -> None:
    run_id = store.add_run(CONFIG)
    long = "x" * 20_001
    for act in (
        lambda: store.add_run(CONFIG, name=long),
        lambda: store.rename(run_id, long),
        lambda: store.set_note(run_id, long),
    ):
        with pytest.raises(StoreError, match="The name or note has 20,001 characters, and at most 20,000 are allowed"):
            act()
    assert len(store.runs()) == 1
