"""What an experiment lacks is trained, and how far that is can be told at every look."""

from __future__ import annotations

from pathlib import Path

import pytest
from store_tools import CONFIG, append, claim, point

from wdtui.cli.verify_views import PlainView, progress_line
from wdtui.runs import completion
from wdtui.runs.trained import Progress, trained
from wdtui.store.records import Status
from wdtui.store.store import Store
from wdtui.studies.branches import Branch, Case


class Epochwise:
    """An executor that trains an epoch of one run whenever somebody looks."""

    def __init__(self, store: Store) -> None:
        self._store, self._queue = store, list[int]()

    @property
    def at_work(self) -> set[int]:
        if self._queue:
            run = self._store.run(self._queue[0])
            if not run.live:
                claim(self._store, run.id)
            append(self._store, run.id, point(run.step + run.config.steps_per_epoch))
            if self._store.run(run.id).step >= run.config.steps:
                self._store.set_status(self._store.run(self._queue.pop(0)).claim, Status.DONE)
        return {*self._queue}

    def submit(self, *run_ids: int, threads: int | None = None) -> None:
        self._queue += run_ids

    def interrupt(self, reason: str) -> None: ...

    def wait(self, timeout: float | None = None) -> bool:
        return True


def test_progress_has_runs_steps_and_the_time_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(completion, "_LOOK_SECONDS", 0.0)
    monkeypatch.setattr("wdtui.runs.trained._FIRST_SECONDS", 0.0)
    first, second = CONFIG.replace(epochs=4), CONFIG.replace(epochs=4, seed=1)
    cases: list[Case] = [first, second, Branch(first, 2, ())]
    seen: list[Progress] = []
    with Store(tmp_path) as store:
        executor = Epochwise(store)
        trained(store, cases, experiment="x", executor=lambda: executor, tell=lambda line: None, on_look=seen.append)
    assert {progress.runs for progress in seen} == {3} and {progress.all_steps for progress in seen} == {10}
    assert [progress.steps for progress in seen] == sorted(progress.steps for progress in seen)
    assert seen[0].seconds_left is None and any(progress.seconds_left for progress in seen)
    assert (seen[-1].finished, seen[-1].steps) == (3, 10)


def test_progress_is_a_line_at_once_and_then_every_few_seconds(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [100.0]
    monkeypatch.setattr("wdtui.cli.verify_views.time.monotonic", lambda: now[0])
    view = PlainView()
    for second in range(11):
        now[0] = 100.0 + second
        view.advance(Progress(7, 2, 1000 * second, 40_000, float(second), 0))
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.splitlines() == [
        "2/7 runs done  0/40,000 steps",
        "2/7 runs done  5,000/40,000 steps  1,000 steps/s  0:35 left",
        "2/7 runs done  10,000/40,000 steps  1,000 steps/s  0:30 left",
    ]
    assert progress_line(Progress(1, 0, 5, 10, 9.0, 5)) == "0/1 runs done  5/10 steps"
