"""Nothing is lost: processes die at any moment, disks fill, files are damaged, and every run ends as if nothing had
happened. All of it: `pytest -m long tests/faults` (some minutes); the tests without the mark are a short version.
"""

from __future__ import annotations

import itertools
import os
import random
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest
from fault_tools import (
    TINY,
    assert_begins_as,
    assert_same,
    assert_sound,
    dying_in_a_commit,
    ended,
    forked,
    killed_at_random,
    reference,
    trained,
    training,
)
from killed_commands import Scene

from wdtui.cli.main import main
from wdtui.problems import registry
from wdtui.runs.checks import check_run
from wdtui.runs.inspection import findings
from wdtui.runs.scheduler import Scheduler
from wdtui.schema.curves import Point
from wdtui.schema.steering import Steering
from wdtui.store.checkpoints import Checkpoints
from wdtui.store.records import CLAIMABLE, FINISHED, LIVE, RunRecord, Status
from wdtui.store.store import Store

MOMENTS = "training", "checkpoint", "commit"
PER_SCENE = 6
SHORT = TINY.replace(epochs=40, keep_every=20)
Work = Callable[[Path], int]
"""What a process does on the store in a folder; its exit status."""


def kill_often(folder: Path, kills: int, per_run: int) -> None:
    """Kill runs `kills` times in all, each up to `per_run` times, and hold each in the end to the undisturbed one."""
    undisturbed, counts = reference(folder), dict.fromkeys(MOMENTS, 0)
    moments = itertools.cycle(MOMENTS)
    while sum(counts.values()) < kills:
        with Store(folder) as store:
            run_id = store.add_run(TINY)
        for moment in itertools.islice(moments, per_run):
            with Store(folder) as store:
                if store.run(run_id).status == Status.DONE:
                    break
            counts[moment] += killed_at_random(folder, run_id, moment)
            assert_sound(folder, run_id, undisturbed)
        with Store(folder) as store:
            done = store.run(run_id).status == Status.DONE
        if not done:
            trained(folder, run_id)
        assert_same(folder, run_id, undisturbed)
    print(f"killed {counts}")


def test_a_repeatedly_killed_run_ends_with_the_same_result(tmp_path: Path) -> None:
    random.seed(1)
    kill_often(tmp_path, kills=6, per_run=6)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(4))
def test_runs_killed_at_any_moment_end_with_the_same_result(tmp_path: Path, seed: int) -> None:
    random.seed(seed)
    kill_often(tmp_path, kills=24, per_run=8)


# Every command that trains


class Kind(NamedTuple):
    """Something that is trained: what there is before, the command that begins it, and the one that goes on with it."""

    before: Callable[[Store], object]
    begin: Work
    go_on: Work
    waits: bool = False
    """Whether it can be gone on with only once nobody trains it any more."""


def command(line: str) -> Work:
    """A command line of wdtui; FILE stands for the experiment beside the store, MINE for a file with a problem."""

    def work(store: Path) -> int:
        words = line.replace("FILE", str(store.parent / "tiny.toml")).replace("MINE", str(mine(store)))
        return main([*words.split(), "--store", str(store)])

    return work


def leave_the_app(store: Path) -> int:
    """What the app does when a person leaves it and its runs are to go on: one is live, the others wait."""
    with Store(store) as opened:
        scheduler = Scheduler(opened, device="cpu", slots=1, threads=1)
        scheduler.submit(*(run.id for run in reversed(opened.runs()) if run.status in CLAIMABLE))
        time.sleep(random.random() * 0.3)
        scheduler.detach()
    return 0


def nothing(store: Store) -> None:
    pass


def mine(store: Path) -> Path:
    """The file with a problem; all scenes have the same, as a run's config says where its file was."""
    path = store.parent.parent / "mine.py"
    if not path.exists():
        path.write_text(PROBLEM)
    return path


def known_file(store: Store) -> None:
    registry.find(str(mine(store.folder)))  # a command would import PyTorch anew for that


def finished_run_of_a_file(store: Store) -> None:
    trained(store.folder, store.add_run(registry.find(str(mine(store.folder))).config()))


def finished_run(store: Store) -> None:
    trained(store.folder, store.add_run(SHORT))


def steered_run(store: Store) -> None:
    plan = Steering(60, "weight_decay", 0.1, 0.4), Steering(100, "bn_epsilon", 1e-3, 1e-2, 15)
    trained(store.folder, store.add_run(SHORT, plan=plan))


def three_runs(store: Store) -> None:
    for seed in range(3):
        store.add_run(SHORT.replace(seed=seed))


VERIFY = command("experiments verify FILE --threads 1 --workers 2")
KINDS = {
    "run": Kind(nothing, command("run FILE --headless --threads 1"), command("resume last --headless")),
    "fork": Kind(
        finished_run,
        command("fork 1 --at 100 --set weight_decay=0.5 --set bn_epsilon=0.02:9 --headless"),
        command("resume last --headless"),
    ),
    "replay": Kind(steered_run, command("replay 1 --headless"), command("resume last --headless")),
    "sweep of runs alone": Kind(
        nothing,
        command("sweep FILE --engine alone --headless --threads 1 --workers 2"),
        command("resume S1 --headless --workers 2"),
    ),
    "sweep in one batch": Kind(
        nothing,
        command("sweep FILE --engine ensemble --headless --threads 1 --workers 1"),
        command("resume S1 --headless --workers 1"),
    ),
    "run of a file": Kind(known_file, command("run MINE --headless --threads 1"), command("resume last --headless")),
    "sweep of a file": Kind(
        known_file,
        command("sweep MINE --axis weight_decay=0,1 --seeds 2 --headless --threads 1 --workers 2"),
        command("resume S1 --headless --workers 2"),
    ),
    "fork of a file": Kind(
        finished_run_of_a_file,
        command("fork 1 --at 75 --set weight_decay=1 --set temperature=2:9 --headless"),
        command("resume last --headless"),
    ),
    "verify": Kind(nothing, VERIFY, VERIFY),
    "detach": Kind(nothing, command("run FILE --detach --threads 1"), command("resume last --detach"), waits=True),
    "leaving the app": Kind(three_runs, leave_the_app, leave_the_app, waits=True),
}
PROBLEM = '''
import time, torch, wdtui

class Noisy(wdtui.Problem):
    """Descent on a bowl: noise, dropout, a schedule and a mean over steps are part of its state."""

    learning_rate: float = wdtui.knob(0.1, gt=0, affects="live")
    weight_decay: float = wdtui.knob(0.1, ge=0, sweep="log", affects="live")
    temperature: float = wdtui.knob(1.0, gt=0, affects="live")
    steps = 150
    log_every = 7
    keep_every = 50

    def setup(self):
        self.model = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.Dropout(0.1), torch.nn.BatchNorm1d(8))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), self.learning_rate, weight_decay=self.weight_decay)
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, self.steps)

    def step(self):
        time.sleep(0.001)
        loss = (self.model(torch.randn(8, 4)) - 1).square().mean() / self.temperature
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        return {"train_loss": loss}

    def measure(self):
        return {"train_accuracy": min(1.0, self.scheduler.last_epoch / 50)}
'''
EXPERIMENT = """
question = "Do killed runs end as if nothing had happened?"
[config]
width = 16
train_size = 160
validation_size = 20
test_size = 20
batch_size = 32
epochs = 40
bn_epsilon = 1e-3
keep_every = 20
[axes]
weight_decay = [0.1, 0.3]
seed = [0, 1]
[fork]
at_epoch = 20
branches = [{bn_epsilon = 0.02}]
[[claims]]
says = "There are weights after the fork."
measure = "weight_norm"
where = {weight_decay = 0.1, branch = "bn_epsilon=0.02"}
at_least = 0
"""


def scene_of(folder: Path, kind: Kind) -> Scene:
    scene = Scene(folder)
    (folder / "tiny.toml").write_text(EXPERIMENT)
    with Store(scene.store) as store:
        kind.before(store)
    return scene


def kill_commands(folder: Path, kind: Kind, kills: int) -> None:
    """Kill processes of commands so many times in all, and hold all runs in the end to undisturbed ones."""
    undisturbed = scene_of(folder / "undisturbed", kind)
    finish(undisturbed, kind.begin)
    moments, deaths, commands = itertools.cycle(MOMENTS), 0, 0
    with Store(undisturbed.store) as reference:
        for number in itertools.count():
            if deaths >= kills:
                break
            scene = scene_of(folder / str(number), kind)
            fresh = standing(scene)
            for moment in itertools.islice(moments, PER_SCENE):
                if deaths + scene.deaths >= kills or is_over(scene, reference):
                    break
                scene.perform(partial(kind.begin if standing(scene) == fresh else kind.go_on, scene.store), moment)
                if kind.waits:
                    scene.settle()
                assert_begun(scene, reference)
            scene.settle()
            if not is_over(scene, reference):
                finish(scene, kind.begin if standing(scene) == fresh else kind.go_on)
            assert_as_undisturbed(scene, reference)
            deaths, commands = deaths + scene.deaths, commands + scene.commands_killed
    print(f"killed {commands} commands and {deaths - commands} processes that they had started, in {number} stores")


def finish(scene: Scene, work: Work) -> None:
    assert scene.perform(partial(work, scene.store)) == 0, scene.said()
    scene.settle()


def standing(scene: Scene) -> tuple[int, int]:
    """How many runs and sweeps there are."""
    with Store(scene.store) as store:
        return store.count(), len(store.sweeps.all())


def is_over(scene: Scene, reference: Store) -> bool:
    with Store(scene.store) as store:
        return store.count() == reference.count() and all(run.status in FINISHED for run in store.runs())


def assert_begun(scene: Scene, reference: Store) -> None:
    """The store is sound, what it calls live is, and all that was measured is as in the undisturbed runs."""
    at_work = scene.at_work()
    with Store(scene.store) as store:
        assert store.check() is None and store.count() <= reference.count()
        for run, undisturbed in pairs(store, reference):
            assert run.status not in LIVE or run.pid in at_work
            assert_begins_as(store, run.id, undisturbed.id, reference)


def pairs(store: Store, reference: Store) -> Iterator[tuple[RunRecord, RunRecord]]:
    """Each run with the undisturbed one.

    Their numbers may differ: one whose process dies before it begins is undone, and its number is not given again.
    """
    runs, undisturbed = (sorted(of.runs(), key=lambda run: run.id) for of in (store, reference))
    return zip(runs, undisturbed, strict=False)


def assert_as_undisturbed(scene: Scene, reference: Store) -> None:
    with Store(scene.store) as store:
        assert findings(store) == []
        assert store.count() == reference.count()
        for run, undisturbed in pairs(store, reference):
            assert run.status == Status.DONE, run.reason
            assert run.config == undisturbed.config and run.plan == undisturbed.plan
            assert len(store.curves(run.id)) == len(reference.curves(undisturbed.id))
            assert_begins_as(store, run.id, undisturbed.id, reference)
            assert [finding for finding in check_run(store, run.id) if finding.agrees is False] == []


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is known of the file, which imports PyTorch, so that it is read once."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def own_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WDTUI_CACHE", str(cache))


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_gives_the_same_result_after_kills(tmp_path: Path, kind: str) -> None:
    random.seed(1)
    kill_commands(tmp_path, KINDS[kind], kills=2)


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_command_gives_the_same_result_after_kills_at_any_moment(tmp_path: Path, kind: str) -> None:
    random.seed(2)
    kill_commands(tmp_path, KINDS[kind], kills=27)


@pytest.mark.parametrize("kills", [2, pytest.param(16, marks=pytest.mark.long)])
def test_a_steering_sent_to_a_run_that_is_killed_is_not_lost(tmp_path: Path, kills: int) -> None:
    random.seed(kills)
    with Store(tmp_path) as store:
        run_id = store.add_run(TINY.replace(epochs=40 * kills))
    for kill in range(kills):
        with Store(tmp_path) as store:
            store.send(run_id, "steer", {"weight_decay": 0.2 + kill / 100, "bn_epsilon": [1e-2 * (kill + 1), 5]})
        killed_at_random(tmp_path, run_id, MOMENTS[kill % 3])
    with Store(tmp_path) as store:
        waits = store.run(run_id).status != Status.DONE
    if waits:
        trained(tmp_path, run_id)
    with Store(tmp_path) as store:
        run = store.run(run_id)
        assert len([one for one in run.plan if one.field == "weight_decay"]) + len(store.commands(run_id)) >= 1
        assert {0.2 + kill / 100 for kill in range(kills)} >= {
            one.new for one in run.plan if one.field == "weight_decay"
        }
        assert run.plan[-1].step <= run.config.steps
        again = store.add_run(run.config, plan=run.plan)
    trained(tmp_path, again)
    assert_same(tmp_path, again, run_id)


def damaged_newest(folder: Path, run_id: int) -> int:
    with Store(folder) as store:
        kept = Checkpoints.of(folder, store.run(run_id))
    newest = max(kept.steps())
    path = kept._tensors_path(newest)
    data = bytearray(path.read_bytes())
    data[random.randrange(len(data))] ^= 1 + random.randrange(255)
    path.write_bytes(data)
    return newest


def test_a_damaged_checkpoint_is_passed_over_and_told(tmp_path: Path) -> None:
    random.seed(3)
    undisturbed = reference(tmp_path)
    with Store(tmp_path) as store:
        run_id = store.add_run(TINY)
    while not interrupted_with_checkpoints(tmp_path, run_id):
        pass
    newest = damaged_newest(tmp_path, run_id)
    trained(tmp_path, run_id)
    assert_same(tmp_path, run_id, undisturbed)
    with Store(tmp_path) as store:
        [told] = [event for event in store.events(run_id) if event.kind == "damaged"]
    assert told.step < newest and f"at step {newest} was damaged. Training continued from step" in told.data["reason"]


def interrupted_with_checkpoints(folder: Path, run_id: int) -> bool:
    """Kill a run where it has two checkpoints already; where it has come to its end unharmed, begin anew."""
    killed_at_random(folder, run_id, "commit")
    with Store(folder) as store:
        run = store.run(run_id)
        if run.status == Status.DONE:
            store.set_status(store.run(run_id).claim, Status.INTERRUPTED)  # what was stopped would not be trained
            store.truncate(store.run(run_id).claim, -1)
            Checkpoints.of(folder, run).delete()
            return False
        return len(Checkpoints.of(folder, run).steps()) >= 2


@pytest.mark.parametrize("lost", [30, 5_000, 40_000])
def test_a_store_that_lost_its_last_moments_is_made_up_for(tmp_path: Path, lost: int) -> None:
    """As a power failure may: the log ends in garbage, while newer checkpoints are on the disk."""
    undisturbed = reference(tmp_path / "undisturbed")
    log = tmp_path / "runs" / "wdtui.sqlite3-wal"
    while not log.exists():  # a run that comes to its end unharmed leaves none
        shutil.rmtree(tmp_path / "runs", ignore_errors=True)
        with Store(tmp_path / "runs") as store:
            run_id = store.add_run(TINY)
        ended(training(tmp_path / "runs", run_id, dying_in_a_commit(random.randint(15, 40))))
    data = bytearray(log.read_bytes())
    at = max(len(data) - lost, len(data) // 3)
    data[at:] = random.Random(lost).randbytes(len(data) - at)
    log.write_bytes(data)
    trained(tmp_path / "runs", run_id)
    with Store(tmp_path / "runs") as store, Store(tmp_path / "undisturbed") as other:
        assert store.check() is None
        mine, theirs = store.curves(run_id), other.curves(undisturbed)
    assert mine.steps.tolist() == theirs.steps.tolist()
    assert mine["train_loss"].tolist() == theirs["train_loss"].tolist()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB, where this machine lets us have one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


def test_a_full_disk_ends_a_run_that_goes_on_once_there_is_room(small_disk: Path, tmp_path: Path) -> None:
    undisturbed = reference(tmp_path / "undisturbed")
    with Store(small_disk) as store:
        run_id = store.add_run(TINY)
    (small_disk / "ballast").write_bytes(bytes(700_000))
    assert ended(training(small_disk, run_id)) != 0
    remount(small_disk, "size=64m")
    with Store(small_disk) as store:
        assert store.check() is None and store.run(run_id).status == Status.INTERRUPTED
    trained(small_disk, run_id)
    with Store(small_disk) as store, Store(tmp_path / "undisturbed") as other:
        assert store.curves(run_id)["train_loss"].tolist() == other.curves(undisturbed)["train_loss"].tolist()


def test_a_read_only_store_can_be_read_and_its_run_resumes_later(small_disk: Path, tmp_path: Path) -> None:
    remount(small_disk, "size=64m")
    undisturbed = reference(small_disk)
    with Store(small_disk) as store:
        run_id = store.add_run(TINY)
    while not interrupted_with_checkpoints(small_disk, run_id):
        pass
    remount(small_disk, "ro")
    with Store(small_disk) as store:
        points = len(store.curves(run_id))
        assert points and store.run(run_id).status == Status.INTERRUPTED
    assert ended(training(small_disk, run_id)) != 0
    remount(small_disk, "rw")
    assert_sound(small_disk, run_id, undisturbed)
    trained(small_disk, run_id)
    assert_same(small_disk, run_id, undisturbed)


@pytest.mark.parametrize(("writers", "points"), [(8, 100), pytest.param(32, 1000, marks=pytest.mark.long)])
def test_many_processes_start_runs_on_one_store_at_once(tmp_path: Path, writers: int, points: int) -> None:
    names = TINY.columns

    def work() -> None:
        with Store(tmp_path) as store:
            run_id = store.add_run(TINY, name=str(os.getpid()))
            claim = store.claim(run_id, device="cpu", threads=1, versions={})
            for first in range(0, points, 10):
                rows = [Point(step, step, (float(step),) * len(names)) for step in range(first + 1, first + 11)]
                store.append(claim, rows, speed=1.0, milestones={})
            store.set_status(claim, Status.DONE)

    pids = [forked(work) for _ in range(writers)]
    assert [ended(pid) for pid in pids] == [0] * writers
    with Store(tmp_path) as store:
        runs = store.runs()
        assert store.check() is None
        assert sorted(run.name for run in runs) == sorted(map(str, pids))
        for run in runs:
            assert run.status == Status.DONE
            assert store.curves(run.id)["train_loss"].tolist() == list(map(float, range(1, points + 1)))


def test_only_one_of_several_processes_trains_a_run(tmp_path: Path) -> None:
    undisturbed = reference(tmp_path)
    with Store(tmp_path) as store:
        run_id = store.add_run(TINY)
    pids = [training(tmp_path, run_id) for _ in range(4)]
    codes = sorted(ended(pid) for pid in pids)
    assert codes[0] == 0 and set(codes) <= {0, 3, 4}  # 3: another one trains it; 4: another one has
    assert_same(tmp_path, run_id, undisturbed)
