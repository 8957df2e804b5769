"""What is decided beside the store about runs that a cluster trains; the cluster itself is tried in test_ray.py."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from store_tools import claim

from wdtui.config import RunConfig
from wdtui.runs.records import Status
from wdtui.runs.store import Store, StoreError

pytest.importorskip("ray")

from wdtui.runs.cluster import _StoreHost


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(tmp_path) as store:
        yield store


def test_a_run_that_was_stopped_or_deleted_while_it_waited_does_not_begin(store: Store) -> None:
    waiting, stopped, deleted = (store.add_run(RunConfig()) for _ in range(3))
    store.set_status(stopped, Status.STOPPED)
    store.delete([deleted])
    assert _StoreHost(store.folder).begin("first", [waiting, stopped, deleted]) == [waiting]


def test_a_run_whose_node_is_lost_goes_on_for_the_next_attempt_alone(store: Store) -> None:
    lost, stopped = (store.add_run(RunConfig()) for _ in range(2))
    host = _StoreHost(store.folder)
    assert host.begin("first", [lost, stopped]) == [lost, stopped]
    claim(store, lost)
    store.set_status(stopped, Status.STOPPED)
    assert host.begin("second", [lost, stopped]) == [lost]
    assert [event.kind for event in store.events(lost)] == ["lost"]
    host.call("second", "beat", lost)
    with pytest.raises(StoreError, match="another node"):
        host.call("first", "beat", lost)


def test_nothing_begins_once_all_are_to_end(store: Store) -> None:
    begun, waiting = (store.add_run(RunConfig()) for _ in range(2))
    host = _StoreHost(store.folder)
    host.begin("first", [begun])
    assert host.interrupt("Enough") == {begun}
    assert host.begin("second", [waiting]) == [] and host.commands("first", begun) == ([], "Enough")
