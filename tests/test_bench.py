"""`wdtui bench`: contestants that cannot run say so, and a recorded plain loop trains as the plain loop does."""

from __future__ import annotations

import multiprocessing
from functools import partial

import pytest
import torch
from fake_cuda import FakeCuda

from wdtui.bench import engine, throughput
from wdtui.bench.plain import plain_network, plain_optimizer, plain_steps
from wdtui.cli.bench import _show
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.tasks import make_task

SMALL = RunConfig(width=8, train_size=320, validation_size=20, test_size=20)
without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="Here contestants run on CUDA.")


def test_the_recorded_plain_loop_trains_as_the_plain_loop_does_bit_for_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda = FakeCuda(tensors_on=1).installed(monkeypatch)

    def trained(device: str) -> list[torch.Tensor]:
        task, network = make_task(SMALL), plain_network(SMALL)
        optimizer = plain_optimizer(SMALL, network, capturable=True)
        run_epoch = engine.recorded(lambda: plain_steps(SMALL, network, optimizer, task.train), device)
        for _ in range(4):
            run_epoch()
        return [parameter.detach() for parameter in network.parameters()]

    assert all(torch.equal(*pair) for pair in zip(trained("cpu"), trained("cuda:1"), strict=True))
    assert len(cuda.named("graph")) == 1 and len(cuda.named("replay")) == 3


@without_cuda
def test_contestants_that_cannot_run_say_so_in_their_row(capsys: pytest.CaptureFixture[str]) -> None:
    measured = engine.compare(8, 1, 3, [1, 2], "cuda:0")
    rows = measured["contestants"]
    assert {engine.PLAIN, engine.RECORDED, engine.COMPILED, engine.MEASURED, engine.LIMIT} < rows.keys()
    assert all("CUDA" in row["failure"] for row in rows.values())
    assert engine.ORIGINAL not in rows and "CPU only" in measured["note"]
    _show(measured)
    assert capsys.readouterr().out.count("not compiled with CUDA") == len(rows)


def test_without_the_plain_loop_the_others_have_no_ratio(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(config: RunConfig, device: str) -> engine.Epoch:
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(engine, "plain_epoch", fails)
    monkeypatch.setattr(engine, "RunConfig", partial(RunConfig, train_size=320, validation_size=20, test_size=20))
    measured = engine.compare(8, 1, 3)
    rows = measured["contestants"]
    assert rows[engine.PLAIN] == {"failure": "OutOfMemoryError: CUDA out of memory."}
    assert engine.RECORDED not in rows
    row = rows[engine.MEASURED]
    assert row["ratio"] is None and row["steps_per_second"] > 0 and row["share_of_limit"] > 0
    _show(measured)
    assert "OutOfMemoryError: CUDA out of memory." in capsys.readouterr().out


@without_cuda
def test_a_worker_that_cannot_train_answers_with_a_sentence() -> None:
    ours, theirs = multiprocessing.Pipe()
    throughput._work(theirs, 8, 2, 0, "cuda:0")
    assert "CUDA" in ours.recv()
