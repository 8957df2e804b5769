"""Runs of a problem's file through the command line: forked, swept, replayed and failing."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from command_line import events, start, until, wdtui

import wdtui as api
from wdtui.problems import files, registry
from wdtui.problems.describe import described
from wdtui.runs.worker import Worker
from wdtui.store.store import Store
from wdtui.support.store_files import log_path

PROBLEM = '''
import time, torch, wdtui

class Noisy(wdtui.Problem):
    """Descent on a bowl, with noise."""

    pause: float = wdtui.knob(0.0, ge=0, affects="start")
    learning_rate: float = wdtui.knob(0.1, gt=0, sweep="log", affects="live")
    weight_decay: float = wdtui.knob(0.1, ge=0, sweep="log", affects="live")
    steps = 200

    def setup(self):
        self.model = torch.nn.Linear(4, 4)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), self.learning_rate, weight_decay=self.weight_decay)

    def step(self):
        time.sleep(self.pause)
        loss = (self.model(torch.randn(8, 4)) - 1).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return {"train_loss": loss}

    def measure(self):
        return {"train_accuracy": min(1.0, self.step_count / 50), "weight_norm": self.model.weight.norm()}

    step_count = property(lambda self: self.optimizer.state_dict()["state"][0]["step"].item())
'''


@pytest.fixture
def problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WDTUI_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(files, "_described", described)
    path = tmp_path / "noisy.py"
    path.write_text(PROBLEM)
    return path


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch, in_threads: None) -> None:
    """Runs are trained by threads of this process, one after the other: they share its generators of random numbers."""
    monkeypatch.setattr(
        "wdtui.cli.headless.ChildWorker", lambda *arguments, bound, **options: Worker(*arguments, **options)
    )


def curves_of(store: Path, run: int) -> dict[str, np.ndarray]:
    curves = dict(api.load(run, store).curves)
    curves.pop("steps_per_second")
    return curves


def assert_equal(store: Path, *runs: int, up_to: int = 10**9) -> None:
    first, *others = (curves_of(store, run) for run in runs)
    assert first["train_loss"].size
    for other in others:
        for name, values in first.items():
            kept = first["step"] <= up_to
            assert np.array_equal(values[kept], other[name][: kept.sum()], equal_nan=True), name


def trained(problem: Path, store: Path, *more: str) -> None:
    result = wdtui("run", str(problem), *more, "--threads", "1", "--headless", "--json", store=store)
    assert result.returncode == 0, result.stderr
    assert events(result.stdout)[-1]["status"] == "done"


def test_a_file_is_trained_listed_charted_exported_and_replayed(
    in_threads: None, problem: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    trained(problem, store)
    assert wdtui("replay", "1", "--headless", "--json", store=store).returncode == 0
    assert_equal(store, 1, 2)
    listed = wdtui("runs", "list", store=store).stdout
    assert "train accuracy" in listed and "Noisy" in listed
    shown = wdtui("runs", "show", "1", store=store)
    assert "Train accuracy passed 99.9 %" in shown.stdout and "noisy.py" not in shown.stderr
    assert wdtui("runs", "export", "1", store=store, cwd=tmp_path).returncode == 0
    assert "weight_norm" in (tmp_path / "run-1.csv").read_text()
    problem.unlink()  # nothing of this needs the file
    for command in (["runs", "list", "--json"], ["runs", "show", "1"], ["runs", "compare", "1", "2"]):
        assert wdtui(*command, store=store).returncode == 0
    assert wdtui("replay", "1", "--headless", "--json", store=store).returncode == 0
    assert_equal(store, 1, 3)


def test_a_fork_equals_its_parent_up_to_the_step_where_it_leaves_it(
    in_threads: None, problem: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    trained(problem, store)
    result = wdtui("fork", "1", "--at", "100", "--set", "weight_decay=0", "--headless", store=store)
    assert result.returncode == 0 and "`wdtui check noisy.py` finds out" in result.stderr + result.stdout
    assert_equal(store, 1, 2, up_to=100)
    assert not np.array_equal(curves_of(store, 1)["weight_norm"], curves_of(store, 2)["weight_norm"])
    same = wdtui("fork", "1", "--at", "50", "--headless", "--set", "log_every=10", store=store)
    assert same.returncode == 0
    assert_equal(store, 1, 3)


def test_what_counts_in_steps_is_said_in_steps_and_its_files_have_no_epochs(
    in_threads: None, problem: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    trained(problem, store, "--steps", "20")
    for change, hint in (
        ("weight_decay=0:x", "weight_decay: 0:x is not allowed; give VALUE, or VALUE:STEPS to change a number over"),
        ("weight_decay", "weight_decay: give FIELD=VALUE, or FIELD=VALUE:STEPS for a change over STEPS steps."),
    ):
        assert hint in wdtui("fork", "1", "--at", "10", "--set", change, "--headless", store=store).stderr
    for file in ("csv", "json"):
        assert wdtui("runs", "export", "1", "--format", file, store=store, cwd=tmp_path).returncode == 0
    assert (tmp_path / "run-1.csv").read_text().startswith("step,train_loss,")
    assert [*json.loads((tmp_path / "run-1.json").read_text())["points"]][:2] == ["step", "train_loss"]
    forked = wdtui("fork", "1", "--at", "10", "--set", "lr=0.05:5", "--headless", "--json", store=store)
    assert forked.returncode == 0 and '"epoch"' not in forked.stdout
    assert "learning_rate 0.1 → 0.05 over 5 steps" in wdtui("runs", "show", "2", store=store).stdout


def test_the_list_of_runs_shows_the_fields_that_were_changed_by_name(
    in_threads: None, problem: Path, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    problem.write_text(
        PROBLEM.replace("    steps = 200", "    size: int = wdtui.knob(3)\n    kind: str = wdtui.knob('a')")
    )
    trained(problem, store, "--steps", "10")
    assert not {"size", "pause"} & {*wdtui("runs", "list", store=store).stdout.splitlines()[0].split()}
    trained(problem, store, "--steps", "20", "--size", "50")
    head, newest, oldest = wdtui("runs", "list", store=store).stdout.splitlines()
    assert "size" in head.split() and "kind" not in head.split()
    assert "50" in newest.split() and "3" in oldest.split()


def test_claims_and_sweeps_are_about_metrics_that_nobody_declared(
    in_threads: None, problem: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text(
        'question = "Does it shrink?"\nproblem = "noisy.py"\n[config]\nsteps = 60\n[axes]\nweight_decay = [0.0, 3.0]\n'
        '[[claims]]\nsays = "Decay keeps the loss high."\nmeasure = "train_loss"\nwhere = { weight_decay = 3.0 }\n'
        "divided_by = { weight_decay = 0.0 }\nat_least = 10\n"
        '[[notes]]\nwhen = "fit"\nsays = "The norm is {weight_norm} at the fit."\n'
    )
    verified = wdtui("experiments", "verify", str(tmp_path / "mine.toml"), "--workers", "1", store=tmp_path / "store")
    assert verified.returncode == 0 and "holds" in verified.stdout
    swept = wdtui(
        "sweep",
        str(problem),
        "--axis",
        "λ=0,1",
        "--seeds",
        "2",
        "--steps",
        "40",
        "--workers",
        "1",
        "--headless",
        store=tmp_path / "store",
    )
    assert swept.returncode == 0 and "train loss" in swept.stdout, swept.stdout


def test_a_changed_file_is_used_by_new_runs_alone(in_threads: None, problem: Path, tmp_path: Path) -> None:
    store = tmp_path / "store"
    trained(problem, store, "--steps", "20")
    problem.write_text(PROBLEM.replace("- 1)", "- 2)"))
    trained(problem, store, "--steps", "20")
    assert not np.array_equal(curves_of(store, 1)["train_loss"], curves_of(store, 2)["train_loss"])
    assert wdtui("replay", "1", "--headless", "--json", store=store).returncode == 0
    assert_equal(store, 1, 3)


def test_an_error_in_a_step_fails_the_run_with_the_files_own_traceback(
    in_threads: None, problem: Path, tmp_path: Path
) -> None:
    problem.write_text(PROBLEM.replace('        return {"train_loss": loss}', "        assert loss > 0.9, 'too low'"))
    result = wdtui("run", str(problem), "--headless", store=tmp_path / "store")
    assert result.returncode == 1
    assert "noisy.py, line 22: AssertionError in step: too low." in result.stderr
    shown = wdtui("runs", "show", "1", store=tmp_path / "store").stdout
    assert "assert loss > 0.9" in shown and "training/declared.py" not in shown


DYING = """
import os, pathlib, time, wdtui

class Dying(wdtui.Problem):
    how: str = wdtui.knob("", affects="start")
    steps = 40
    log_every = 5

    def setup(self):
        self.n = 0

    def step(self):
        time.sleep(0.001)
        print("\\x1b[2J loud")
        self.n += 1
        died = pathlib.Path(__file__).with_name(f"died-{self.how}")
        if self.n == 33 and not died.exists():
            died.touch()
            os.kill(os.getpid(), 11) if self.how == "signal" else os._exit(int(self.how))

    def measure(self):
        return {"n": self.n}
"""


@pytest.mark.parametrize(
    ("how", "said"), [("signal", "Segmentation fault"), ("0", "exit status 0"), ("3", "exit status 3")]
)
def test_a_process_that_a_step_ends_is_a_sentence_and_the_run_can_be_resumed(
    problem: Path, tmp_path: Path, how: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem.write_text(DYING)
    store = tmp_path / "store"
    result = wdtui("run", str(problem), "--how", how, "--headless", store=store)
    assert result.returncode == 1
    kept = curves_of(store, 1)["n"].tolist()
    assert kept == [*range(5, 31, 5)][: len(kept)]
    after = f"after its point at step {kept[-1]:.0f}" if kept else "before its first point"
    assert f"({said}) {after}. `wdtui resume 1` continues" in result.stderr
    assert wdtui("resume", "1", "--headless", store=store).returncode == 0
    assert curves_of(store, 1)["n"].tolist() == [*range(5, 41, 5)]


def test_a_run_that_goes_on_says_whether_its_file_has_changed(problem: Path, tmp_path: Path) -> None:
    problem.write_text(DYING)
    store = tmp_path / "store"
    assert wdtui("run", str(problem), "--how", "3", "--headless", store=store).returncode == 1
    Path(problem).write_text(DYING.replace("self.n += 1", "self.n += 2"))
    resumed = wdtui("resume", "1", "--headless", "--json", store=store)
    assert resumed.returncode == 0
    assert events(resumed.stdout)[-1]["status"] == "done" and "loud" in log_path(store, 1).read_text()
    assert "noisy.py has changed since. The run keeps to its own copy." in resumed.stderr
    assert curves_of(store, 1)["n"].tolist() == [*range(5, 41, 5)]
    problem.unlink()
    assert "has changed" not in wdtui("replay", "1", "--headless", store=store).stderr


REFUSING = """
import time, wdtui

class Refusing(wdtui.Problem):
    heat: float = wdtui.knob(1.0, affects="live")
    steps = 1000000

    def setup(self):
        self.n = 0

    def step(self):
        time.sleep(0.002)
        self.n += 1

    def measure(self):
        return {"n": self.n, "heat": self.heat}

    def steered(self, name, value):
        if value > 2:
            raise ValueError("too hot")
"""


def test_a_steering_that_the_code_refuses_is_an_event_and_the_run_goes_on(
    in_threads: None, problem: Path, tmp_path: Path
) -> None:
    problem.write_text(REFUSING)
    with Store(tmp_path / "store") as store:
        config = registry.find(str(problem)).config()
        worker = Worker(store, store.add_run(config), device="cpu", threads=1)
        worker.start()
        until(lambda: bool(store.run(1).step))
        for value in (3.0, 1.5):
            store.send(1, "steer", {"heat": value})
        until(lambda: any(event.kind == "steered" for event in store.events(1)))
        store.send(1, "stop")
        worker.join(60)
        run, [refused] = store.run(1), [event for event in store.events(1) if event.kind == "refused"]
        assert run.status_text == "stopped" and [one.new for one in run.plan] == [1.5]
        assert refused.data["reason"] == "noisy.py, line 20: ValueError when heat was steered: too hot."
        assert {*store.curves(1)["heat"]} <= {1.0, 1.5}


LARGE = """
import torch, time, wdtui

class Large(wdtui.Problem):
    steps = 150
    keep_every = 20
    keep_megabytes = 120

    def setup(self):
        self.big = torch.zeros(50_000_000 // 4)
        self.n = 0

    def step(self):
        time.sleep(0.01)
        self.n += 1
        self.big[self.n] = self.n

    def measure(self):
        return {"sum": self.big.sum()}
"""


def test_fifty_megabytes_of_state_are_killed_and_resumed_and_the_disk_does_not_fill(
    problem: Path, tmp_path: Path
) -> None:
    problem.write_text(LARGE)
    process = start("run", str(problem), "--headless", store=tmp_path)
    with Store(tmp_path) as store:
        until(lambda: any(run.checkpoint_step for run in store.runs()), process)
        os.kill(store.run(1).pid or 0, signal.SIGKILL)
        process.communicate()
        kept = store.run(1).checkpoint_step or 0
        assert wdtui("resume", "1", "--headless", store=tmp_path).returncode == 0
        assert "resumed" in [event.kind for event in store.events(1)] and kept
        assert store.curves(1)["sum"].tolist() == [n * (n + 1) / 2 for n in range(10, 151, 10)]
        checkpoints = store.checkpoints(store.run(1))
        assert 50e6 < checkpoints.size() < 120e6 + 2 * 51e6  # those that stay, and the newest two


def test_a_command_that_is_killed_takes_its_training_along_with_a_checkpoint(problem: Path, tmp_path: Path) -> None:
    process = start("run", str(problem), "--steps", "1000000", "--headless", store=tmp_path)
    with Store(tmp_path) as store:
        until(lambda: any(run.step for run in store.runs()), process)
        process.kill()
        process.communicate()
        until(lambda: not store.run(1).live)
        run = store.run(1)
    assert run.reason.startswith("The process that had started it ended at step")
    assert run.checkpoint_step and run.checkpoint_step >= run.step
