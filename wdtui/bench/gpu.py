"""All measurements for a machine with a GPU, in under 25 minutes: `python -m wdtui.bench.gpu --output gpu.json`.

Each part runs in a process of its own with a time limit, so that a part that fails, hangs or loses the GPU leaves the
others alone. The file is written after each part. `--device cpu --small` rehearses the parts with small sizes.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from wdtui.bench.engine import WARM_UPS, Epoch, batch_epoch, compare, machine, recorded, timed
from wdtui.bench.profile import operations, where_time_goes
from wdtui.bench.same_bits import same_bits
from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.sizes import count_parameters
from wdtui.runs.worker import sentence
from wdtui.store.store import Store
from wdtui.support.errors import WdtuiError
from wdtui.support.outputs import check_file, write_text
from wdtui.training.devices import resolve_device, use_full_precision

_TOTAL_SECONDS = 24 * 60.0
_ROOT = Path(__file__).parents[2]
_TINY: dict[str, Any] = {"width": 8, "train_size": 320, "validation_size": 50, "test_size": 50}


@dataclasses.dataclass(frozen=True)
class Setting:
    """Where to measure, and whether this is a rehearsal with small sizes."""

    device: str
    small: bool

    @property
    def on_cuda(self) -> bool:
        return self.device.startswith("cuda")


class LeftOutError(WdtuiError):
    """Why a part is not measured here, or what it found wrong."""


Measure = Callable[[Setting], dict[str, Any]]


def hardware(setting: Setting) -> dict[str, Any]:
    """The machine, its GPU and the versions."""
    found = machine(1, setting.device) | {"cuda": torch.version.cuda}
    if setting.on_cuda:
        use_full_precision(setting.device)
        properties = torch.cuda.get_device_properties(setting.device)
        found |= {"gigabytes": properties.total_memory / 1e9, "processors": properties.multi_processor_count}
    return found | {"float32_matmul_precision": torch.get_float32_matmul_precision()}


def ceilings(setting: Setting) -> dict[str, Any]:
    """What the hardware reaches: GB/s of a copy, float32 TFLOP/s of products, µs of a node of a graph."""
    use_full_precision(setting.device)
    count, size = (2**22, 256) if setting.small else (2**28, 8192)
    source = torch.randn(count, device=setting.device)
    target = torch.empty_like(source)
    left, right = (torch.randn(size, size, device=setting.device) for _ in range(2))
    product = torch.empty_like(left)
    return {
        "copy_GB_per_s": 2 * source.nbytes / _seconds(lambda: target.copy_(source), setting) / 1e9,
        "matmul_TFLOP_per_s": 2 * size**3 / _seconds(lambda: torch.mm(left, right, out=product), setting) / 1e12,
        "bmm_TFLOP_per_s": {
            f"{models} models, width {width}": _bmm_speed(models, width, setting)
            for width in ([16] if setting.small else [64, 256, 1024])
            for models in ([1, 4] if setting.small else [1, 16, 64, 256, 1024])
        },
        "node_us": _node(setting) if setting.on_cuda else "It needs CUDA.",
    }


def _bmm_speed(models: int, width: int, setting: Setting) -> float:
    """TFLOP/s of the product of a hidden layer, for a batch of 64 pairs."""
    x = torch.randn(models, 64, width, device=setting.device)
    weights = torch.randn(models, width, width, device=setting.device)
    out = torch.empty_like(x)
    return 2 * models * 64 * width**2 / _seconds(lambda: torch.bmm(x, weights.mT, out=out), setting) / 1e12


def _node(setting: Setting) -> float:
    """Microseconds of one of 1,000 tiny nodes of a graph, each of which waits for the one before."""
    number = torch.zeros(1, device=setting.device)
    return _seconds(lambda: number.add_(1), setting, 1000) * 1e6


def _seconds(call: Callable[[], Tensor], setting: Setting, calls: int = 20) -> float:
    """The median time of a call, in a graph of several if the device has graphs."""
    run = recorded(lambda: [call() for _ in range(calls)], setting.device)
    times = [timed(run, setting.device) for _ in range(WARM_UPS + 5)]
    return statistics.median(times[WARM_UPS:]) / calls


def doctor(setting: Setting) -> dict[str, Any]:
    """What `wdtui doctor` reports."""
    with tempfile.TemporaryDirectory() as folder:
        return _command("-m", "wdtui", "doctor", "--store", f"{folder}/store")


def engine_tests(setting: Setting) -> dict[str, Any]:
    """The tests of the engine, on the device."""
    tests = _ROOT / "tests" / "lab"
    if not tests.is_dir():
        raise LeftOutError("It needs a checkout with the folder tests/lab.")
    which = tests / "test_tasks.py" if setting.small else tests
    side_by_side = ("-n", "4") if setting.on_cuda else ()  # small trainings leave most of a GPU idle
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", *side_by_side, str(which))
    return _command(*command, WDTUI_TEST_DEVICE=setting.device)


def correctness(setting: Setting) -> dict[str, Any]:
    """Which trainings give the same bits, at the size of real runs."""
    base = RunConfig(**_TINY) if setting.small else RunConfig()
    return same_bits(base, 4 if setting.small else 64, setting.device)


def out_of_memory(setting: Setting) -> dict[str, Any]:
    """A sweep of 64 runs on a GPU on which fewer have room: all must finish, in smaller batches."""
    if not setting.on_cuda:
        raise LeftOutError("It needs CUDA.")
    config = RunConfig(width=1024, train_size=640)
    free, _ = torch.cuda.mem_get_info(setting.device)
    copies = 5 * 4 * count_parameters(config)  # bytes of parameters as they are and were, gradients and two moments
    left = 44 * copies + 2**30  # the latter for CUDA itself in the sweep's process
    taken = torch.empty(max(0, free - left), dtype=torch.uint8, device=setting.device)
    with tempfile.TemporaryDirectory() as folder:
        _sweep(folder, setting, seeds=64, epochs=2, fields={"width": 1024, "train_size": 640})
        with Store(Path(folder) / "store") as store:
            runs = store.runs()
    sizes = {run.batched or 0 for run in runs}
    return {
        "gigabytes_taken": taken.nbytes / 1e9,
        "gigabytes_left": left / 1e9,
        "done": sum(run.status == "done" for run in runs),
        "models_per_batch": sorted(sizes),
        "halved": max(sizes) < len(runs),
    }


def bench(setting: Setting, width: int, models: Sequence[int], rounds: int) -> dict[str, Any]:
    """The engine beside the plain loop, eager, recorded and compiled, and beside the limits."""
    return (
        compare(8, 1, 3, [1, 2], setting.device) if setting.small else compare(width, 1, rounds, models, setting.device)
    )


def profile(setting: Setting) -> dict[str, Any]:
    """Where the time of a step goes, and the operations of one epoch of a batch, the longest first."""
    width, models = (8, 2) if setting.small else (256, 64)
    run_epoch = batch_epoch(RunConfig(width=width), models, setting.device)
    for _ in range(WARM_UPS):
        timed(run_epoch, setting.device)
    found = operations(run_epoch, setting.device)
    longest = sorted(found.items(), key=lambda item: -item[1][1])[:60]
    return {
        "microseconds": where_time_goes(width, 1, models, setting.device),
        "epoch": [{"name": name, "calls": calls, "us": total} for name, (calls, total) in longest],
    }


def sweep(setting: Setting) -> dict[str, Any]:
    """Model-steps/s of `wdtui sweep`, end to end, beside those of the batches that it trains."""
    fields: dict[str, Any] = _TINY if setting.small else {"width": 256}
    seeds, epochs = (2, 2) if setting.small else (64, 200)
    with tempfile.TemporaryDirectory() as folder:
        seconds = _sweep(
            folder, setting, "--axis", "weight_decay=0.01,0.1,0.3,1", seeds=seeds, epochs=epochs, fields=fields
        )
        with Store(Path(folder) / "store") as store:
            runs = store.runs()
    config = RunConfig(**fields, epochs=100)
    size = max(run.batched or 1 for run in runs)
    run_epoch: Epoch = batch_epoch(config, size, setting.device)
    times = [timed(run_epoch, setting.device) for _ in range(WARM_UPS + 5)][WARM_UPS:]
    end_to_end = sum(run.step for run in runs) / seconds
    bench_speed = size * config.steps_per_epoch / statistics.median(times)
    return {
        "runs": len(runs),
        "done": sum(run.status == "done" for run in runs),
        "models_per_batch": size,
        "seconds": seconds,
        "model_steps_per_s": end_to_end,
        "bench_model_steps_per_s": bench_speed,
        "ratio": end_to_end / bench_speed,
    }


def _sweep(folder: str, setting: Setting, *axes: str, seeds: int, epochs: int, fields: dict[str, Any]) -> float:
    """Train a sweep in a store in a folder. Returns its seconds, with the start and the end of the program."""
    flags = [
        f"--{name.replace('_', '-')}={value}" for name, value in {**fields, "seeds": seeds, "epochs": epochs}.items()
    ]
    started = time.perf_counter()
    place = ("--store", f"{folder}/store", "--device", setting.device, "--headless", "--json")
    ended = _command("-m", "wdtui", "sweep", *axes, *flags, *place)
    if ended["status"]:
        raise LeftOutError(f"The sweep ended with status {ended['status']}: {ended['lines'][-1:]}")
    return time.perf_counter() - started


def verify(setting: Setting) -> dict[str, Any]:
    """The verdicts of `experiments verify lambda --quick`. Its status is 0 where all claims hold."""
    if setting.small:
        raise LeftOutError("It takes too long for a rehearsal.")
    with tempfile.TemporaryDirectory() as folder:
        words = ("experiments", "verify", "lambda", "--quick", "--json", "--device", setting.device)
        return _command("-m", "wdtui", *words, "--store", f"{folder}/store")


def _command(*words: str, **environment: str) -> dict[str, Any]:
    """The exit status, the seconds and the last lines of a Python command."""
    started = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, *words],
        env=os.environ | environment, cwd=_ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace",
    )  # fmt: skip
    seconds = time.perf_counter() - started
    return {"status": ended.returncode, "seconds": seconds, "lines": ended.stdout.splitlines()[-60:]}


@dataclasses.dataclass(frozen=True)
class Bench:
    """The part `bench` for a width and batch sizes."""

    width: int
    models: tuple[int, ...]
    rounds: int = 5

    def __call__(self, setting: Setting) -> dict[str, Any]:
        return bench(setting, self.width, self.models, self.rounds)


PARTS: dict[str, tuple[Measure, float]] = {
    "hardware": (hardware, 60),
    "ceilings": (ceilings, 60),
    "doctor": (doctor, 150),
    "engine tests": (engine_tests, 300),
    "correctness": (correctness, 120),
    "out of memory": (out_of_memory, 90),
    "bench, width 256": (Bench(256, (1, 4, 16, 64, 256, 1024)), 150),
    "bench, width 64": (Bench(64, (1, 4, 16, 64, 256, 1024)), 120),
    "bench, width 1024": (Bench(1024, (1, 4, 16, 64)), 120),
    "bench, width 1024, large batches": (Bench(1024, (256, 1024), 3), 200),
    "profile": (profile, 90),
    "sweep": (sweep, 150),
    "verify": (verify, 200),
}
"""What is measured, in this order, and the most seconds that each may take."""


def measured(part: Measure, setting: Setting, seconds: float) -> dict[str, Any]:
    """The result of a part, in a process of its own, or its failure as a sentence; and its seconds."""
    started = time.perf_counter()
    spawn = multiprocessing.get_context("spawn")
    ours, theirs = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_measure, args=(theirs, part, setting))
    process.start()
    theirs.close()
    try:
        found: dict[str, Any] = (
            ours.recv() if ours.poll(seconds) else _failed(f"It did not end within {seconds:.0f} s.")
        )
    except EOFError:
        process.join()
        found = _failed(f"Its process ended with status {process.exitcode} and without a result.")
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid or 0, signal.SIGKILL)  # with all processes that it started
        process.kill()
        process.join()
    return found | {"seconds": time.perf_counter() - started}


def _measure(pipe: Any, part: Measure, setting: Setting) -> None:
    os.setpgid(0, 0)
    torch.set_num_threads(1)
    try:
        pipe.send({"result": part(setting)})
    except Exception as error:  # a driver can fail in any way
        pipe.send(_failed(sentence(error)))


def _failed(reason: str) -> dict[str, Any]:
    return {"failure": reason}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser("python -m wdtui.bench.gpu", description="All measurements for a GPU.")
    parser.add_argument("--output", type=Path, required=True, help="file for the results as JSON")
    parser.add_argument("--device", default="cuda", help="where to measure (cuda)")
    parser.add_argument("--small", action="store_true", help="rehearse with small sizes")
    parser.add_argument("--part", action="append", choices=list(PARTS), help="only this part; may be given again")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")
    given = parser.parse_args(arguments)
    try:
        setting = Setting(resolve_device(given.device), given.small)
        check_file(given.output, force=given.force)
    except WdtuiError as error:
        parser.error(str(error))
    until = time.monotonic() + _TOTAL_SECONDS
    parts: dict[str, Any] = {}
    for name, (part, limit) in PARTS.items():
        if given.part and name not in given.part:
            continue
        left = min(limit, until - time.monotonic())
        parts[name] = measured(part, setting, left) if left > 0 else _failed("No time was left.")
        result = {"device": setting.device, "small": setting.small, "parts": parts}
        write_text(given.output, json.dumps(result, indent=2), force=True)
        print(f"{name}: {parts[name].get('failure', 'measured')} ({parts[name].get('seconds', 0):.0f} s)", flush=True)


if __name__ == "__main__":
    main()
