"""Recorded steps: where and how a graph is recorded, and that replaying it trains as calling its steps does."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable

import pytest
import torch
from fake_cuda import FakeCuda

from wdtui.problems.addition.engine.graphs import Graphs, graphs_on


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
