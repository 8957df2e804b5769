"""Recorded steps: where and how a graph is recorded, and that replaying it trains as calling its steps does."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Hashable

import pytest
import torch
from calls import Calls, comparable
from fake_cuda import FakeCuda

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine import ensemble as ensemble_module
from wdtui.problems.addition.engine import epoch as epoch_module
from wdtui.problems.addition.engine.ensemble import Ensemble
from wdtui.problems.addition.engine.graphs import Graphs, graphs_on
from wdtui.schema.steering import Plan, Steering


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    """All tensors count as being on cuda:1."""
    return FakeCuda(tensors_on=1).installed(monkeypatch)


def counting() -> Callable[[], object]:
    """Steps that count how often they are done."""
    count = torch.zeros(3)
    return lambda: count.add_(1)


def run_often(graphs: Graphs, steps: Callable[[], object], times: int) -> None:
    for _ in range(times):
        with torch.inference_mode(), graphs.stream():
            graphs.run("steps", steps)


def test_steps_are_called_then_recorded_then_replayed(cuda: FakeCuda) -> None:
    count, called = torch.zeros(3), []
    graphs = Graphs("cuda:1")
    for expected in range(1, 5):
        run_often(graphs, lambda: (called.append(1), count.add_(1)), 1)
        assert count.tolist() == [expected] * 3
    assert len(called) == 2 and len(cuda.named("graph")) == 1 and len(cuda.named("replay")) == 3


def test_a_graph_is_recorded_and_replayed_on_its_device_and_on_a_stream_of_its_own(cuda: FakeCuda) -> None:
    one, other = Graphs("cuda:1"), Graphs("cuda:1")
    for graphs in (one, other):
        run_often(graphs, counting(), 3)
    graph, of_other = cuda.named("graph")
    replays = cuda.named("replay")
    assert {call.device for call in (graph, of_other, *replays)} == {1}
    assert graph.details["mode"] == "thread_local"
    assert graph.stream not in cuda.default_streams and graph.stream is not of_other.stream
    assert [call.stream for call in replays] == [graph.stream] * 2 + [of_other.stream] * 2


def test_all_graphs_of_a_training_share_one_pool_of_memory(cuda: FakeCuda) -> None:
    graphs, count = Graphs("cuda:1"), torch.zeros(3)
    for key in ("a", "b") * 2:
        with graphs.stream():
            graphs.run(key, lambda: count.add_(1))
    assert len({call.details["pool"] for call in cuda.named("graph")}) == 1 and len(cuda.named("graph")) == 2


def test_the_stream_of_a_training_and_that_outside_wait_for_each_other(cuda: FakeCuda) -> None:
    graphs = Graphs("cuda:1")
    with pytest.raises(KeyError), graphs.stream():
        inside = torch.cuda.current_stream()
        raise KeyError
    into, out_of = (call.details for call in cuda.named("wait_stream"))
    assert into == {"waits": inside, "awaited": cuda.default_streams[1]}
    assert out_of == {"waits": cuda.default_streams[1], "awaited": inside}


def test_graphs_are_recorded_one_at_a_time_by_the_thread_that_trains(cuda: FakeCuda) -> None:
    together = threading.Barrier(4, timeout=10)
    errors: list[Exception] = []

    def train() -> None:
        count, graphs = torch.zeros(1000), Graphs("cuda:1")
        try:
            for turn in range(20):
                together.wait()
                with graphs.stream():
                    for _ in range(2):
                        graphs.run(turn, lambda: [count.add_(1) for _ in range(20)])
            assert count[0] == 20 * 40
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=train) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    for thread in threads:
        assert sum(call.thread == thread.ident for call in cuda.named("graph")) == 20


def test_a_graph_without_steps_in_it_is_an_error(cuda: FakeCuda) -> None:
    cuda.tensors_on = 0  # as if the work had gone to another device than the one that records
    with pytest.raises(RuntimeError, match="No steps could be recorded on cuda:1: The CUDA Graph is empty"):
        run_often(Graphs("cuda:1"), counting(), 2)


def test_other_warnings_stay_warnings(cuda: FakeCuda) -> None:
    count = counting()

    def steps() -> None:
        warnings.warn("so so", stacklevel=1)
        count()

    with pytest.warns(UserWarning, match="so so"):
        run_often(Graphs("cuda:1"), steps, 2)


@pytest.mark.usefixtures("cuda")
def test_what_fails_while_steps_are_recorded_is_raised_itself() -> None:
    called: list[int] = []

    def steps() -> None:
        called.append(1)
        if len(called) == 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")

    with pytest.raises(torch.OutOfMemoryError):
        run_often(Graphs("cuda:1"), steps, 2)


@pytest.mark.parametrize(("device", "records"), [("cpu", False), ("mps", False), ("cuda", True), ("cuda:1", True)])
@pytest.mark.usefixtures("cuda")
def test_only_cuda_records_its_steps(device: str, records: bool) -> None:
    assert (graphs_on(device) is not None) == records


# Trainings: an ensemble whose steps are recorded, against one whose steps are called.

SMALL = RunConfig(width=16, train_size=205, validation_size=30, test_size=20, batch_size=20, epochs=4, bn_epsilon=1e-3)
"""Ten steps an epoch."""
RUNS = [
    SMALL.replace(seed=1),
    SMALL.replace(seed=2, learning_rate=1e-2, weight_decay=2.0),
    SMALL.replace(bn_epsilon=0.1, learning_rate=3e-3, data_seed=5),
    SMALL.replace(learning_rate=1e-2),
]
PLANS: list[Plan] = [
    (),
    (Steering(10, "learning_rate", 1e-2, 1e-3, 3), Steering(20, "weight_decay", 2.0, 0.1)),
    (Steering(20, "bn_epsilon", 0.1, 1e-4),),
    (Steering(10, "weight_decay", 0.1, 1.0, 2),),
]
"""A learning rate that changes from epoch to epoch, and changes of the other values on the way."""


class CalledSteps(Graphs):
    """Calls all steps instead of recording them."""

    def __init__(self) -> None: ...

    def stream(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def run(self, key: Hashable, steps: Callable[[], None]) -> None:
        steps()


@pytest.fixture
def recording(device: str, monkeypatch: pytest.MonkeyPatch) -> Graphs:
    """What records steps on the device under test. Without CUDA the stand-in does, as a second GPU."""
    if device.startswith("cuda"):
        return Graphs(device)
    FakeCuda(tensors_on=1).installed(monkeypatch)
    return Graphs("cuda:1")


def recorded(graphs: Graphs) -> int:
    """How many graphs there are."""
    return sum(graph is not None for graph in graphs._graphs.values())


def opened(
    graphs: Graphs, patch: pytest.MonkeyPatch, configs: list[RunConfig], plans: list[Plan] | None = None
) -> Ensemble:
    patch.setattr(ensemble_module, "graphs_on", lambda _: graphs)
    return Ensemble(configs, plans=plans)


def measured(ensemble: Ensemble) -> list[tuple[int, int, tuple[float | None, ...]]]:
    """All points but their speeds, with whose they are."""
    return [(member.row, point.step, comparable(point.values[:-1])) for member, point in ensemble.points()]


def assert_equal_states(one: Ensemble, other: Ensemble) -> None:
    for member, twin in zip(one.sessions, other.sessions, strict=True):
        for name, tensor in member.state().items():
            assert torch.equal(tensor, twin.state()[name]), name


@pytest.mark.parametrize("window", [2, 3, 128])
@pytest.mark.parametrize("changes", [{}, {"shuffle": True}, {"optimizer": "sgd"}, {"decay": "l2"}], ids=str)
def test_recorded_steps_train_as_called_ones_do_bit_for_bit(
    recording: Graphs, monkeypatch: pytest.MonkeyPatch, changes: dict[str, object], window: int
) -> None:
    monkeypatch.setattr(epoch_module, "_WINDOW_STEPS", window)
    configs = [config.replace(**changes) for config in RUNS]
    replayed = opened(recording, monkeypatch, configs, PLANS)
    called = opened(CalledSteps(), monkeypatch, configs, PLANS)
    assert measured(replayed) == measured(called)
    assert_equal_states(replayed, called)
    assert recorded(recording)


def test_recorded_steps_train_the_same_again_bit_for_bit(recording: Graphs, monkeypatch: pytest.MonkeyPatch) -> None:
    one = opened(recording, monkeypatch, RUNS, PLANS)
    points = measured(one)
    again = opened(type(recording)(recording._device), monkeypatch, RUNS, PLANS)
    assert measured(again) == points
    assert_equal_states(one, again)


@pytest.mark.parametrize("stop", [5, 10, 23])
def test_recorded_steps_go_on_from_a_checkpoint_of_any_step_bit_for_bit(
    recording: Graphs, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    monkeypatch.setattr(epoch_module, "_WINDOW_STEPS", 4)
    whole, first = (opened(CalledSteps(), monkeypatch, RUNS, PLANS) for _ in range(2))
    expected = measured(whole)
    first.steps.pace = 1
    points = [
        (member.row, point.step, point.values[:-1])
        for member, point in first.points(lambda: first.sessions[0].step < stop)
    ]
    rest = opened(recording, monkeypatch, RUNS, PLANS)
    for member, before in zip(rest.sessions, first.sessions, strict=True):
        member.restore({name: tensor.clone() for name, tensor in before.state().items()}, before.position())
    assert points + measured(rest) == expected
    assert_equal_states(rest, whole)
    assert recorded(recording)


def test_a_long_epoch_with_changing_learning_rates_takes_two_graphs(
    recording: Graphs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch_module, "_WINDOW_STEPS", 3)
    measured(opened(recording, monkeypatch, RUNS, PLANS))
    assert recorded(recording) == 2


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_one_update_moves_all_models_however_their_learning_rates_differ(
    monkeypatch: pytest.MonkeyPatch, optimizer: str
) -> None:
    counts = []
    for rates in ([1e-3] * 4, [1e-3, 1e-2, 1e-3, 3e-3]):
        configs = [SMALL.replace(optimizer=optimizer, learning_rate=rate) for rate in rates]
        ensemble = opened(CalledSteps(), monkeypatch, configs)
        with torch.inference_mode(), Calls() as calls:
            ensemble.optimizer.step()
        counts.append(calls.counts)
    assert counts[0] == counts[1]


@pytest.mark.cpu_only
@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_recorded_steps_train_as_those_of_a_cpu_do(monkeypatch: pytest.MonkeyPatch, optimizer: str) -> None:
    configs = [config.replace(optimizer=optimizer) for config in RUNS]
    torch.set_default_dtype(torch.float64)
    try:
        ours = measured(opened(CalledSteps(), monkeypatch, configs, PLANS))
        monkeypatch.undo()
        expected = measured(Ensemble(configs, plans=PLANS))
    finally:
        torch.set_default_dtype(torch.float32)
    for (row, step, values), (other_row, other_step, others) in zip(ours, expected, strict=True):
        assert (row, step) == (other_row, other_step)
        close = [other if other is None else pytest.approx(other, rel=1e-9, abs=1e-12) for other in others]
        assert list(values) == close
