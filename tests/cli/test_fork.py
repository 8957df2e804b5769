"""`wdtui fork`, `replay`, `--detach` and `resume`: what goes on from what was trained."""

from __future__ import annotations

import signal
from pathlib import Path

import psutil
import pytest
from command_line import TINY, assert_one_sentence, events, start, until, wdtui

from wdtui.problems.addition.config import RunConfig
from wdtui.schema.steering import Steering
from wdtui.store.checkpoints import Checkpoints
from wdtui.store.records import RunRecord, Status
from wdtui.store.store import Store

CONFIG = RunConfig(width=8, train_size=320, validation_size=50, test_size=50, epochs=6)


def points(store: Path, run_id: int) -> list[list[float]]:
    """All that was measured, in order, but for the speed."""
    with Store(store) as opened:
        curves = opened.curves(run_id)
    kept = [index for index, name in enumerate(curves.names) if name != "steps_per_second"]
    return [[step, *row] for step, row in zip(curves.steps, curves.values[:, kept].tolist(), strict=True)]


def run(store: Path, run_id: int) -> RunRecord:
    with Store(store) as opened:
        return opened.run(run_id)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose run 1 has six epochs of five steps, and a checkpoint every other epoch."""
    store = tmp_path_factory.mktemp("trained")
    result = wdtui("run", *TINY, "--epochs", "6", "--keep-every", "2", "--headless", store=store)
    assert result.returncode == 0, result.stderr
    return store


def test_a_fork_with_nothing_changed_equals_its_parent_bit_for_bit(trained: Path) -> None:
    result = wdtui("fork", "1", "--at", "17", "--headless", "--json", store=trained)
    assert result.returncode == 0, result.stderr
    fork_id = events(result.stdout)[-1]["run_id"]
    assert f"Run {fork_id} forks run 1 at step 15." in result.stderr
    assert points(trained, fork_id) == points(trained, 1)


def test_the_list_of_runs_shows_values_in_force_and_forks(trained: Path) -> None:
    arguments = ("--at", "15", "--set", "bn_epsilon=0.5", "--set", "learning_rate=0.01", "--headless", "--json")
    fork_id = events(wdtui("fork", "1", *arguments, store=trained).stdout)[-1]["run_id"]
    listed = wdtui("runs", "list", store=trained).stdout
    (line,) = [line for line in listed.splitlines() if line.split()[:1] == [str(fork_id)]]
    assert "fork of 1 at 15" in line and " →0.5 " in line
    assert "ε 0.01→0.5 · learning rate 0.001→0.01" in line
    (parent,) = [line for line in listed.splitlines() if line.split()[:1] == ["1"]]
    assert "→" not in parent and "fork" not in parent
    shown = wdtui("runs", "show", str(fork_id), store=trained).stdout
    assert "bn_epsilon 0.01→0.5" in shown and "learning_rate 0.001→0.01" in shown


def test_a_change_applies_from_the_fork_on(trained: Path) -> None:
    result = wdtui("fork", "1", "--at", "15", "--set", "bn_epsilon=0.5", "--headless", "--json", store=trained)
    assert result.returncode == 0, result.stderr
    fork_id = events(result.stdout)[-1]["run_id"]
    mine, parents = points(trained, fork_id), points(trained, 1)
    assert mine[:3] == parents[:3] and all(one != other for one, other in zip(mine[3:], parents[3:], strict=True))
    assert run(trained, fork_id).config.bn_epsilon == 0.5


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--at", "31"), "step 31: run 1 can be forked from step 0 to 30."),
        (("--set", "width=16"), "width determines the shape of the network, so a fork cannot change it"),
        (("--set", "seed=2"), "seed determines how a run starts"),
    ],
    ids=str,
)
def test_an_impossible_fork_gives_a_one_sentence_error(trained: Path, arguments: tuple[str, ...], said: str) -> None:
    with Store(trained) as store:
        before = len(store.runs())
    result = wdtui("fork", "1", *arguments, "--headless", store=trained)
    assert result.returncode == 2 and said in result.stderr
    assert_one_sentence(result.stderr)
    with Store(trained) as store:
        assert len(store.runs()) == before


def test_a_replay_of_a_steered_run_equals_it_bit_for_bit(tmp_path: Path) -> None:
    """One steering is planned for step 10, another is sent before the run begins."""
    with Store(tmp_path) as store:
        store.add_run(CONFIG, plan=(Steering(10, "weight_decay", 0.1, 50.0),))
        store.add_run(CONFIG)
        store.send(1, "steer", {"bn_epsilon": 0.5})
    for run_id in "12":
        assert wdtui("resume", run_id, "--threads", "1", store=tmp_path).returncode == 0
    result = wdtui("replay", "1", "--headless", "--json", store=tmp_path)
    assert result.returncode == 0 and "Run 3 repeats run 1." in result.stderr
    assert {steering.field for steering in run(tmp_path, 3).plan} == {"weight_decay", "bn_epsilon"}
    assert points(tmp_path, 3) == points(tmp_path, 1) != points(tmp_path, 2)


def test_a_detached_run_and_its_fork_finish(tmp_path: Path) -> None:
    for run_id, command in ((1, ("run", *TINY, "--epochs", "3")), (2, ("fork", "1", "--set", "epochs=5"))):
        result = wdtui(*command, "--detach", "--json", store=tmp_path)
        assert result.returncode == 0, result.stderr
        (told,) = events(result.stdout)
        assert (told["event"], told["run_id"]) == ("detached", run_id)
        until(lambda run_id=run_id: run(tmp_path, run_id).status == Status.DONE)  # type: ignore[misc]
    assert points(tmp_path, 2)[:3] == points(tmp_path, 1) and len(points(tmp_path, 2)) == 5


def test_a_detached_run_stopped_before_it_starts_does_not_start(tmp_path: Path) -> None:
    detached = wdtui("run", *TINY, "--epochs", "3000", "--detach", "--json", store=tmp_path)
    process = psutil.Process(events(detached.stdout)[0]["pid"])
    stopped = wdtui("stop", "1", store=tmp_path)  # its process may have claimed it by now
    assert stopped.returncode == 0, stopped.stderr
    until(lambda: run(tmp_path, 1).status == Status.STOPPED)
    process.wait(60)
    assert run(tmp_path, 1).status == Status.STOPPED


def test_resuming_with_a_damaged_checkpoint_uses_the_previous_one(tmp_path: Path) -> None:
    process = start("run", *TINY, "--epochs", "400", "--keep-every", "20", "--headless", store=tmp_path)
    with Store(tmp_path) as store:
        until(lambda: any(one.step >= 250 for one in store.runs()), process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=120)
        checkpoints = Checkpoints.of(tmp_path, store.run(1))
    *_, sound, newest = checkpoints.steps()
    (checkpoints.folder / f"step-{newest:012}.safetensors").write_bytes(b"rust")
    result = wdtui("resume", "1", "--json", store=tmp_path)
    assert result.returncode == 0, result.stderr
    expected = f"The checkpoint at step {newest:,} is damaged. Run 1 continues from its checkpoint at step {sound:,}."
    assert expected in result.stderr
    with Store(tmp_path) as store:
        assert "damaged" in [event.kind for event in store.events(1)]


def test_a_fork_shows_its_starting_checkpoint_and_its_step(
    tmp_path: Path,
) -> None:
    with Store(tmp_path) as store:
        parent = store.add_run(RunConfig())
        child = store.add_run(RunConfig(), parent=(parent, 4992))
        claim = store.claim(child, device="cpu", threads=1, versions={})
        store.add_event(claim, 3978, "forked", {"parent": parent})
    shown = wdtui("runs", "show", str(child), store=tmp_path).stdout
    assert f"Forked from run {parent} at step 4,992." in shown
    assert f"step 3,978: begun from a checkpoint of run {parent}\n" in shown
