"""How long training will take, by the runs of the store that say something about it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from wdtui.problems.addition.config import RunConfig
from wdtui.runs.estimates import expected_seconds, expected_speed
from wdtui.schema.curves import Point
from wdtui.store import migrations
from wdtui.store.records import Status
from wdtui.store.store import Store
from wdtui.support.machine import Gpu

CONFIG = RunConfig(width=64)
BATCHED = CONFIG.replace(engine="ensemble")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


def trained(
    store: Store,
    speed: float,
    config: RunConfig = CONFIG,
    *,
    batched: int = 1,
    device: str = "cpu",
    threads: int = 1,
    versions: dict[str, str] | None = None,
) -> None:
    run_id = store.add_run(config)
    store.claim(run_id, device=device, threads=threads, versions=versions or {})
    measured = Point(78, 1, (0.5,) * len(config.columns))
    store.append(store.run(run_id).claim, [measured], speed=speed, milestones={}, batched=batched)
    store.set_status(store.run(run_id).claim, Status.DONE)


def test_speeds_in_a_batch_are_not_used_for_a_run_alone(store: Store) -> None:
    trained(store, 800.0)
    for _ in range(12):
        trained(store, 50.0, batched=12)
        trained(store, 50.0, BATCHED, batched=12)
    assert expected_speed(CONFIG, store.runs()) == 800.0


def test_without_other_speeds_a_run_is_estimated_from_its_size(store: Store) -> None:
    trained(store, 50.0, batched=12)
    assert expected_speed(CONFIG, store.runs()) == expected_speed(CONFIG, [])


def test_a_batch_is_as_fast_as_all_its_runs_together(store: Store) -> None:
    trained(store, 800.0)
    for _ in range(8):
        trained(store, 500.0, BATCHED, batched=8)
    work = [(BATCHED.replace(seed=seed), 1000) for seed in range(8)]
    assert expected_seconds(work, store.runs(), workers=1, threads=1) == pytest.approx(8 * 1000 / (8 * 500))


def test_the_batch_of_the_nearest_size_gives_the_estimate(store: Store) -> None:
    trained(store, 300.0, BATCHED, batched=2)
    trained(store, 200.0, BATCHED, batched=8)
    trained(store, 100.0, BATCHED, batched=16)
    work = [(BATCHED.replace(seed=seed), 1000) for seed in range(10)]
    assert expected_seconds(work, store.runs(), workers=1, threads=1) == pytest.approx(10 * 1000 / (8 * 200))


def test_without_a_batch_single_runs_give_the_estimate_of_a_sweep(store: Store) -> None:
    trained(store, 800.0)
    work = [(BATCHED.replace(seed=seed), 1000) for seed in range(4)]
    assert expected_seconds(work, store.runs(), workers=1, threads=1) == pytest.approx(4 * 1000 / 800)


def test_one_run_is_no_faster_on_two_workers(store: Store) -> None:
    trained(store, 100.0)
    assert expected_seconds([(CONFIG, 1000)], store.runs(), workers=2, threads=1) == pytest.approx(10)


def test_speeds_of_other_devices_and_threads_are_not_used(store: Store) -> None:
    trained(store, 100.0, threads=4)
    trained(store, 400.0, threads=1)
    trained(store, 9000.0, device="cuda:0")
    runs = store.runs()
    assert expected_speed(CONFIG, runs, device="cpu") == 400.0
    assert expected_speed(CONFIG, runs, device="cpu", threads=4) == 100.0
    assert expected_speed(CONFIG, runs, device="cuda") == 9000.0
    assert expected_speed(CONFIG, runs) == 9000.0  # where it is not known, that of the newest


def test_another_gpu_and_another_precision_say_nothing(store: Store) -> None:
    fast, slow = {"gpu": "NVIDIA H200", "tf32": "off"}, {"gpu": "NVIDIA T4", "tf32": "off"}
    for speed, versions in ((9000.0, fast), (2000.0, slow), (15000.0, fast | {"tf32": "on"}), (9100.0, fast)):
        trained(store, speed, device="cuda:0", versions=versions)
    trained(store, 9200.0, device="cuda:1", versions=fast)
    trained(store, 400.0)
    assert expected_speed(CONFIG, store.runs(), device="cuda") == 9100.0  # the median of three
    assert expected_speed(CONFIG, store.runs(), device="cpu") == 400.0


@pytest.mark.parametrize(("device", "batches_at_once"), [("auto", 2), ("cuda", 2), ("cuda:1", 1)])
def test_as_many_batches_train_at_once_as_there_are_gpus(
    store: Store, monkeypatch: pytest.MonkeyPatch, device: str, batches_at_once: int
) -> None:
    monkeypatch.setattr("wdtui.support.machine.gpus", lambda: (Gpu("Fast"), Gpu("Fast")))
    trained(store, 100.0, BATCHED, batched=64, device="cuda:0", versions={"gpu": "Fast"})
    work = [(BATCHED.replace(seed=seed), 1000) for seed in range(128)]
    seconds = expected_seconds(work, store.runs(), workers=None, threads=None, device=device)
    assert seconds == pytest.approx(128 * 1000 / (64 * 100) / batches_at_once)


def test_the_store_records_the_batch_size_of_a_run(store: Store) -> None:
    from wdtui.runs.group import runner_of

    tiny = RunConfig(width=16, train_size=320, validation_size=16, test_size=16, epochs=2, engine="ensemble")
    run_ids = [store.add_run(tiny.replace(seed=seed)) for seed in range(3)]
    runner_of(store, run_ids, device="cpu", threads=1).run()
    alone = store.add_run(tiny.replace(seed=9))
    runner_of(store, [alone], device="cpu", threads=1).run()
    assert [run.batched for run in store.runs()] == [1, 3, 3, 3]


def test_older_runs_count_if_they_were_certainly_alone(tmp_path: Path) -> None:
    place = migrations.MIGRATIONS.index(migrations.m005_batches)
    connection = sqlite3.connect(tmp_path / "wdtui.sqlite3")
    for migration in migrations.MIGRATIONS[:place]:
        migration(connection)
    for config, device in ((CONFIG, "cpu"), (BATCHED, "cpu"), (CONFIG, "cuda:0")):
        connection.execute(
            "INSERT INTO runs (name, experiment, config, columns, status, created, device, speed)"
            " VALUES ('', '', ?, '[]', 'done', 0, ?, 800)",
            (json.dumps(config.to_mapping()), device),
        )
    connection.execute(f"PRAGMA user_version = {place}")
    connection.commit()
    connection.close()
    with Store(tmp_path) as store:
        assert [run.batched for run in store.runs()] == [None, None, 1]
