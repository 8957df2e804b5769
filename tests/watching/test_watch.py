"""`wdtui.watch`: what a watched loop leaves in the store, and how it applies commands."""

from __future__ import annotations

import gc
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import wdtui as command
from loops import Loop, events, network, sgd, update
from safetensors.torch import load_file
from torch import nn

import wdtui
from wdtui.runs.checks import check_run
from wdtui.runs.service import RefusedError, Service
from wdtui.schema.hyperparameters import ConfigError
from wdtui.schema.recorded import metric_name
from wdtui.store.records import RunRecord, Status
from wdtui.store.store import Store, StoreError
from wdtui.support import environment
from wdtui.training import probing
from wdtui.watching import recorder, watch


@pytest.fixture(autouse=True)
def prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_POLL_SECONDS", 0.02)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setenv("WDTUI_HOME", str(tmp_path / "store"))
    with Store() as store:
        yield store


def the_run(store: Store) -> RunRecord:
    (run,) = store.runs()
    return run


# What is recorded


def test_points_have_what_their_step_passed_and_what_is_measured_of_the_model(store: Store) -> None:
    model = network()
    optimizer = sgd(model)
    losses, norms = {}, {}
    with wdtui.watch(model, optimizer, steps=23, every=5) as run:
        for step in range(1, 24):
            loss = update(model, optimizer)
            losses[step] = loss.item()
            norms[step] = torch.cat([one.detach().flatten() for one in model.parameters()]).norm().item()
            run.step(train_loss=loss, constant=3)
    curves = store.curves(the_run(store).id)
    assert curves.steps.tolist() == [5, 10, 15, 20, 23]  # the last step too
    assert curves["train_loss"].tolist() == [losses[step] for step in (5, 10, 15, 20, 23)]
    assert curves["constant"].tolist() == [3.0] * 5
    np.testing.assert_allclose(curves["weight_norm"], [norms[step] for step in (5, 10, 15, 20, 23)], rtol=1e-6)
    layers = [name for name in curves.names if "/" in name]
    gauges = "scale_invariance", "rotation", "effective_learning_rate", "decay_share", "rotation_of_equilibrium"
    variances = "running_variance_min/1", "running_variance_median/1", "running_variance_below_epsilon/1"
    assert layers == [
        "weight_norm/0", "weight_norm/3", *variances,
        *(f"{gauge}/{layer}" for gauge in gauges for layer in (0, 3)),
    ]  # fmt: skip
    assert curves["weight_norm/3"][-1] == pytest.approx(model[3].weight.norm().item())
    assert curves["running_variance_min/1"][-1] == pytest.approx(model[1].running_var.min().item())
    assert curves["running_variance_median"][-1] == pytest.approx(model[1].running_var.median().item())
    rates = [float(0.01 / model[layer].weight.detach().norm() ** 2) for layer in (0, 3)]
    assert curves["effective_learning_rate"][-1] == pytest.approx(max(rates))
    assert (curves["steps_per_second"] > 0).all()
    assert (the_run(store).status, the_run(store).step, the_run(store).steps) == (Status.DONE, 23, 23)


def test_what_is_logged_belongs_to_the_current_step_and_stays_the_newest_of_its_kind(store: Store) -> None:
    loop = Loop(steps=40)
    loop.run.log(test_accuracy=0.25)
    loop.until(lambda: loop.steps == 10)
    loop.run.log(test_accuracy=torch.tensor(0.5))
    loop.until(lambda: loop.steps == 15)
    loop.run.log(test_accuracy=0.75)
    loop.until(lambda: loop.steps == 40)
    loop.run.close()
    run = the_run(store)
    curves = store.curves(run.id)
    assert curves.steps.tolist() == [0, 10, 15, 20, 30, 40]
    assert curves.measured("test_accuracy")[0].tolist() == [0, 10, 15]
    assert np.isfinite(curves["loss"][1:]).all()  # a point between two others has all values, too
    assert run.latest["test_accuracy"] == 0.75 and np.isfinite(run.latest["loss"])
    assert all(finding.agrees is not False for finding in check_run(store, run.id))


def test_the_config_and_the_settings_of_the_optimizer_are_the_fields_of_the_run(store: Store) -> None:
    given: dict[str, Any] = {
        "batch_size": 64, "seed": 3, "learning_rate": 0.5, "weight_decay": "odd", "epochs": 7, "lambda": True,
        "schema": "a", "rate\x1b[31m of 1": np.float32(0.5), "data": [1, 2], "infinite": float("inf"), "": None,
    }  # fmt: skip
    with Loop(config=given, steps=100, name="mine\x1b[31m").run:
        pass
    run = the_run(store)
    assert run.values == {
        "batch_size": 64, "seed": 3, "epochs_": 7, "lambda_": True, "schema_": "a", "rate_of_1": 0.5, "data": "[1, 2]",
        "infinite": "inf", "_": "None", "learning_rate": 0.5, "momentum": 0.9, "dampening": 0.0, "weight_decay": 0.001,
        "bn_epsilon": 1e-5, "steps": 100, "log_every": 10, "keep_megabytes": 2000,
    }  # fmt: skip
    assert [field.name for field in run.schema.live_fields] == [
        "learning_rate", "momentum", "dampening", "weight_decay", "bn_epsilon"
    ]  # fmt: skip
    assert run.title == "mine" and run.config.steps == 100 and run.schema.find("epochs").name == "epochs_"


def test_without_a_config_a_run_has_no_seed_and_a_title_all_the_same(store: Store) -> None:
    with wdtui.watch(network(), steps=10):
        pass
    assert "seed" not in the_run(store).values
    assert the_run(store).title == "ε1e-5"


def test_only_falls_of_what_is_logged_are_blow_ups(store: Store) -> None:
    for logged in (False, True):
        with wdtui.watch(network(), steps=60, every=1) as run:
            for step in range(60):
                accuracy = 0.5 if step % 20 == 19 else 1.0
                run.step(**({} if logged else {"train_accuracy": accuracy}))
                if logged:
                    run.log(train_accuracy=accuracy)
    steps = [found.milestones["blowups"]["steps"] for found in reversed(store.runs())]
    assert steps == [[], [20, 40, 60]]


@pytest.mark.parametrize("every", [1, 5])
def test_each_point_has_the_rotation_of_its_own_step(store: Store, every: int) -> None:
    model = network()
    optimizer = sgd(model)
    weight, rotations = model[3].weight, {}
    with wdtui.watch(model, optimizer, steps=13, every=every) as run:
        for step in range(1, 13 + 1):
            before = weight.detach().clone().double().flatten()
            update(model, optimizer)
            after = weight.detach().double().flatten()
            rotations[step] = torch.acos(torch.dot(before, after) / before.norm() / after.norm()).item()
            run.step()
            if step == 9:
                run.log(evaluated=1.0)  # the step before a point, and no step that leads to one
    curves = store.curves(the_run(store).id)
    due = [step for step in curves.steps.tolist() if step % every == 0 or step == 13]
    recorded = dict(zip(curves.steps.tolist(), curves["rotation/3"].tolist(), strict=True))
    assert [recorded[step] for step in due] == pytest.approx([rotations[step] for step in due], rel=1e-4)
    assert every == 1 or np.isnan(recorded[9])
    assert curves["time_constant"][-1] == pytest.approx((1 - 0.9) / (0.01 * 0.001))
    assert run._probing._gauges is None  # no copy of the weights is left


def test_names_that_the_loop_records_are_its_own(store: Store) -> None:
    model = network()
    optimizer = sgd(model)
    with wdtui.watch(model, optimizer, steps=4, every=2) as run:
        for step in range(1, 5):
            update(model, optimizer)
            run.step(rotation=torch.tensor(float(step)), weight_norm=-1.0)
            if step == 4:
                run.log(decay_share=7.0)
    curves = store.curves(the_run(store).id)
    assert curves["rotation"].tolist() == [2.0, 4.0] and curves["weight_norm"].tolist() == [-1.0, -1.0]
    assert curves["decay_share"][0] < 1 and curves["decay_share"][1] == 7.0
    assert curves["rotation/3"][0] < 1


def test_gauges_that_fail_are_named_once_and_change_no_training(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def trained() -> list[torch.Tensor]:
        model = network()
        optimizer = sgd(model)
        with wdtui.watch(model, optimizer, steps=12, every=3) as run:
            for _ in range(12):
                run.step(loss=update(model, optimizer))
        return [*model.state_dict().values()]

    def broken(*_: object) -> None:
        raise RuntimeError("no gauges")

    measured = trained()
    monkeypatch.setattr(probing, "Gauges", broken)
    plain = trained()
    assert all(map(torch.equal, measured, plain))
    assert capsys.readouterr().err.count("the decay gauges cannot be measured: no gauges") == 1


def test_what_cannot_be_recorded_is_left_out_and_said_once(store: Store, capsys: pytest.CaptureFixture[str]) -> None:
    with Loop(steps=30).run as run:
        for _ in range(30):
            run.step(**{
                "good": float("nan"), "matrix": torch.ones(2, 2), "text": "0.5", "step": 3, "huge": 10**400,
                "odd\x1b[31m\nname": 1, "train/loss": 2, "grad/layers/0": 3,
            })  # fmt: skip
    curves, said = store.curves(the_run(store).id), capsys.readouterr().err
    own = "weight_norm", "running", "rotation", "effective", "decay_share", "time_constant"
    names = [name for name in curves.names if not name.startswith(own)]
    assert names == ["good", "odd name", "train_loss", "grad/layers.0", "steps_per_second"]
    assert np.isnan(curves["good"]).all() and curves["odd name"].tolist() == [1.0] * 3
    assert said.count("matrix cannot be recorded: it is a tensor of shape (2, 2) and no number.") == 1
    assert said.count("cannot be recorded") == 4 and "text cannot be recorded: it is a str" in said


@pytest.mark.parametrize(
    ("given", "known"),
    [
        ("val/acc", "val_acc"),
        ("a/b", "a/b"),
        ("0/x", "_0_x"),
        ("", "_"),
        ("/x", "__x"),
        ("λ max", "λ max"),
        ("a/", "_a_"),
    ],
)
def test_names_of_metrics_are_made_such_as_the_store_can_have(given: str, known: str) -> None:
    assert metric_name(given) == known


def test_two_thousand_layers_are_recorded(store: Store) -> None:
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(2000)))
    with wdtui.watch(model, steps=2, every=1) as run:
        run.step(loss=1.0)
        run.step(loss=1.0)
    curves = store.curves(the_run(store).id)
    assert len([name for name in curves.names if name.startswith("weight_norm/")]) == 2000
    assert np.isfinite(curves.values[1]).all()


def test_a_step_holds_no_graph(store: Store) -> None:
    loop = Loop()
    loop.until(lambda: loop.steps == 3)
    assert loop.run._passed["loss"].grad_fn is None
    loop.run.close()


# How it ends


def test_an_exception_ends_it_as_failed_and_goes_on(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), Loop().run as run:
        run.step(loss=1 / 0)
    assert (the_run(store).status, the_run(store).reason) == (Status.FAILED, "ZeroDivisionError: division by zero")
    assert "1 / 0" in events(store.folder, 1)["error"].data["traceback"]


def test_control_c_ends_it_as_interrupted(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), Loop().run as run:
        run.step(loss=1.0)
        raise KeyboardInterrupt
    assert the_run(store).reason == "Interrupted by Ctrl-C at step 1."
    assert the_run(store).status == Status.INTERRUPTED and the_run(store).latest["loss"] == 1.0


def test_a_run_that_nobody_refers_to_any_more_is_interrupted(store: Store) -> None:
    loop = Loop()
    loop.run.step(loss=1.0)
    loop.run.log(accuracy=0.5)
    del loop
    gc.collect()
    assert the_run(store).status == Status.INTERRUPTED and the_run(store).latest["accuracy"] == 0.5


def test_a_script_that_ends_without_closing_its_run_leaves_it_interrupted(store: Store) -> None:
    process = environment.start_module("leaving_script", stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    said, error = process.communicate(timeout=120)
    assert said == b"1\n", error
    run = the_run(store)
    assert (run.status, run.reason, run.step) == (Status.INTERRUPTED, watch._NOT_CLOSED, 20)


def test_a_closed_run_takes_no_more_steps_and_does_not_mind(store: Store) -> None:
    loop = Loop()
    loop.until(lambda: loop.steps == 10)
    loop.run.close()
    loop.run.close()
    assert loop.run.step(loss=1.0)
    loop.run.log(loss=1.0)
    loop.run.checkpoint()
    assert the_run(store).step == 10


# What people ask


def test_it_is_steered_from_the_step_that_the_plan_says(store: Store) -> None:
    temperature = [1.0]
    loop = Loop(knobs={"temperature": (lambda: temperature[0], lambda value: temperature.__setitem__(0, value))})
    service = Service(store)
    loop.until(lambda: the_run(store).step)
    service.steer(1, {"lr": 0.5})
    service.steer(1, {"temperature": 2.0, "bn_epsilon": 0.25})
    loop.until(lambda: loop.optimizer.param_groups[0]["lr"] == 0.5 and temperature[0] == 2.0)
    loop.until(lambda: "steered" in events(store.folder, 1) and not store.commands(1))
    loop.run.close()
    run = the_run(store)
    assert loop.model[1].eps == 0.25
    assert [(one.field, one.old, one.new) for one in run.plan] == [
        ("lr", 0.01, 0.5), ("temperature", 1.0, 2.0), ("bn_epsilon", 1e-5, 0.25)
    ]  # fmt: skip
    assert 0 < run.plan[0].step < run.step and run.written("lr") == "0.01→0.5"
    assert [finding.check for finding in check_run(store, 1) if finding.agrees is False] == []


def test_a_setting_is_taken_to_another_value_gradually(store: Store) -> None:
    loop = Loop()
    loop.until(lambda: the_run(store).step)
    Service(store).steer(1, {"weight_decay": (0.1, 10)})
    seen = []
    loop.until(lambda: seen.append(loop.optimizer.param_groups[0]["weight_decay"]) or seen[-1] == 0.1)
    loop.run.close()
    ramp = [value for value in seen if value != 0.001]
    np.testing.assert_allclose(ramp, 0.001 * 100 ** (np.arange(1, 11) / 10), rtol=1e-6)


def test_what_cannot_be_steered_is_refused_in_an_event(store: Store) -> None:
    def refusing(value: float) -> None:
        raise ValueError("too hot")

    loop = Loop(knobs={"temperature": (lambda: 1.0, refusing)})
    loop.until(lambda: the_run(store).step)
    for data, why in (
        ({"lr": -1}, "lr: -1 is not allowed; give a number ≥ 0."),
        ({"steps": 5}, "steps cannot be changed while a run is live"),
        ({"temperature": 2.0}, "ValueError: too hot"),
    ):
        store.send(1, "steer", data)
        loop.until(lambda why=why: any(why in str(event.data) for event in store.events(1)))  # type: ignore[misc]
    loop.until(lambda: not store.commands(1))
    loop.run.close()
    assert the_run(store).plan == () and loop.optimizer.param_groups[0]["lr"] == 0.01


def test_a_paused_training_waits_is_steered_and_goes_on_or_stops(store: Store) -> None:
    loop, service = Loop(), Service(store)
    asked: list[str] = []

    def person() -> None:
        with Store(store.folder) as mine:
            wait_for(lambda: mine.run(1).step)
            service.pause(1)
            wait_for(lambda: mine.run(1).status == Status.PAUSED)
            before = loop.steps
            service.steer(1, {"lr": 0.25})
            service.steer(1, {"lr": 0.125})
            wait_for(lambda: not mine.commands(1))
            asked.append("paused" if loop.steps == before else "went on")
            service.resume(1)
            wait_for(lambda: mine.run(1).status == Status.RUNNING)
            wait_for(lambda: loop.steps > before + 20)
            service.pause(1)
            wait_for(lambda: mine.run(1).status == Status.PAUSED)
            service.stop(1)

    thread = threading.Thread(target=person)
    thread.start()
    assert not loop.until(lambda: False)
    assert not loop.run.step(loss=1.0)  # from then on
    loop.run.close()
    thread.join()
    run = the_run(store)
    assert asked == ["paused"]
    assert run.status == Status.STOPPED and run.reason == f"Stopped at step {loop.steps + 1}."
    assert [(one.old, one.new) for one in run.plan] == [(0.01, 0.125)]
    assert [finding.check for finding in check_run(store, 1) if finding.agrees is False] == []


def test_a_checkpoint_holds_the_models_and_the_optimizers(store: Store) -> None:
    loop = Loop()
    loop.until(lambda: loop.steps == 5)
    loop.run.checkpoint()
    kept = {name: tensor.clone() for name, tensor in loop.model.state_dict().items()}
    loop.until(lambda: the_run(store).step)
    Service(store).checkpoint(1)
    loop.until(lambda: (the_run(store).checkpoint_step or 0) > 5)
    loop.run.close()
    checkpoints = store.checkpoints(the_run(store))
    assert checkpoints.kept() == {5: "request", the_run(store).checkpoint_step: "request"}
    assert all(finding.agrees is not False for finding in check_run(store, 1))
    tensors = load_file(checkpoints.folder / "step-000000000005.safetensors")
    assert "optimizer/state/0/momentum_buffer" in tensors
    other = network(seed=1)
    other.load_state_dict({name[6:]: tensor for name, tensor in tensors.items() if name.startswith("model/")})
    assert all(torch.equal(tensor, kept[name]) for name, tensor in other.state_dict().items())


def test_only_its_script_can_train_it(store: Store) -> None:
    loop, service = Loop(), Service(store)
    loop.until(lambda: the_run(store).step)
    with pytest.raises(RefusedError, match="Run 1 is running: there is nothing to resume"):
        service.resume(1)
    assert service.stop(1) == "Stopping run 1 …"  # without a checkpoint
    loop.until(lambda: False)
    loop.run.close()
    for request in (service.resume, service.replay, lambda run_id: service.fork(run_id, None, {"lr": 0.1})):
        with pytest.raises(RefusedError, match=r"^Run 1 was trained by a script .* Start that script again\.$"):
            request(1)
    service.rename(1, "mine")
    service.annotate(1, "a note")
    service.delete([1])
    assert not store.runs()


# The store


def test_a_store_that_cannot_be_opened_is_said_once_and_the_training_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    loop = Loop(store=tmp_path / "file")
    loop.until(lambda: loop.steps == 30)
    loop.run.checkpoint()
    loop.run.close()
    said = capsys.readouterr().err
    assert loop.run.id is None and said.count("wdtui: ") == 1
    assert "The training goes on, and nothing of it is recorded." in said


def test_a_store_that_fails_for_a_while_gets_all_points_later(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(recorder, "_RETRY_SECONDS", 0.02)
    append, failures = Store.append, []

    def failing(*arguments: Any, **options: Any) -> None:
        if len(failures) < 5:
            failures.append(1)
            raise StoreError("The disk is full.")
        append(*arguments, **options)

    monkeypatch.setattr(Store, "append", failing)
    loop = Loop()
    loop.until(lambda: len(failures) == 5 and loop.steps >= 100)
    loop.run.close()
    assert store.curves(1).steps.tolist()[:10] == [*range(10, 101, 10)] and the_run(store).status == Status.DONE
    assert capsys.readouterr().err.count("The disk is full. The training goes on") == 1


def test_a_store_that_fails_to_the_end_delays_no_step(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def slow(*arguments: Any, **options: Any) -> None:
        time.sleep(0.2)
        raise StoreError("The disk is full.")

    monkeypatch.setattr(Store, "append", slow)
    monkeypatch.setattr(recorder, "_LAST_SECONDS", 2.0)
    loop = Loop()
    began = time.monotonic()
    loop.until(lambda: loop.steps == 50)
    loop.run.close()
    assert time.monotonic() - began < 10
    assert "so the end of run 1 is missing in it" in capsys.readouterr().err


def test_a_run_whose_store_is_deleted_leaves_a_rescue_file(
    store: Store, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loop = Loop()
    loop.until(lambda: the_run(store).step)
    (store.folder / "wdtui.sqlite3").rename(tmp_path / "elsewhere")
    loop.until(lambda: loop.run._recorder and loop.run._recorder.lost)
    loop.run.close()
    said = capsys.readouterr().err
    assert "nothing more of it is recorded" in said
    rescued = said.partition("wdtui runs import ")[2].partition("`")[0]
    other = command("runs", "import", rescued, store=tmp_path / "other")
    assert other.returncode == 0, other.stderr
    assert other.stdout.endswith(" Imported from a rescue file.\n")  # only its script can train it


def test_arguments_that_cannot_be_used_are_refused_before_the_training(store: Store) -> None:
    with pytest.raises(ConfigError, match="steps: 0 is not allowed"):
        wdtui.watch(network(), steps=0)
    with pytest.raises(ConfigError, match="log_every: 0 is not allowed"):
        wdtui.watch(network(), steps=10, every=0)
    assert not store.runs()


def wait_for(seen: Any) -> None:
    deadline = time.monotonic() + 20
    while not seen():
        assert time.monotonic() < deadline, "it was never seen"
        time.sleep(0.01)
