"""`wdtui watch`: a run of another process is followed to its end."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import TINY, events, wdtui

from wdtui.cli import watch
from wdtui.problems.addition.config import RunConfig
from wdtui.store.records import Status
from wdtui.store.store import Store


def test_a_run_of_another_process_is_followed_to_its_end(tmp_path: Path) -> None:
    assert wdtui("run", *TINY, "--epochs", "20", "--detach", store=tmp_path).returncode == 0
    result = wdtui("watch", "last", "--json", store=tmp_path)
    assert result.returncode == 0, result.stderr
    *points, summary = events(result.stdout)
    assert [point["step"] for point in points] == list(range(5, 101, 5))
    assert summary["event"] == "summary" and summary["status"] == "done"


def test_a_run_that_has_failed_is_shown_with_its_exit_status(tmp_path: Path) -> None:
    with Store(tmp_path) as store:
        run_id = store.add_run(RunConfig())
        store.claim(run_id, device="cpu", threads=1, versions={})
        store.set_status(store.run(run_id).claim, Status.FAILED, "RuntimeError: no memory left")
    result = wdtui("watch", "1", store=tmp_path)
    assert result.returncode == 1 and "Run 1 is failed" in result.stdout
    unknown = wdtui("watch", "7", store=tmp_path)
    assert unknown.returncode == 2 and "There is no run 7" in unknown.stderr


@pytest.mark.parametrize("json", [False, True])
def test_a_queued_run_whose_process_is_gone_ends_it_with_what_to_do(
    json: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Store(tmp_path) as store:
        run_id = store.add_run(RunConfig())
        with store._database.writing() as connection:  # which seals the row
            connection.execute("UPDATE runs SET process_start = 0")
        assert store.run(run_id).orphaned
    monkeypatch.setattr(watch, "_SECONDS", None)  # waiting for it is an error
    result = wdtui("watch", "1", *(["--json"] if json else []), store=tmp_path)
    assert result.returncode == 1
    assert result.stderr.endswith(
        "wdtui: The process that queued it has ended. "
        "`wdtui resume 1` trains it, `wdtui stop 1` removes it from the queue.\n"
    )
    assert not json or [line["status"] for line in events(result.stdout)] == ["queued"]
