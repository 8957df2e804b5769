"""`python -m wdtui.runs.probe DEVICE`: whether a device can train, tried in a process of its own.

It trains a small batch twice, with all that a real batch uses on the device, for example CUDA graphs. A driver that
hangs or crashes stops only that process.
"""

from __future__ import annotations

import math
import signal
import subprocess
import sys

from wdtui.problems.addition.config import RunConfig
from wdtui.support.environment import command_of, own_environment
from wdtui.support.errors import TrainingError

_SECONDS = 120.0
"""The time limit. Loading CUDA takes most of it on a slow disk."""
_CONFIG = RunConfig(width=16, train_size=320, validation_size=16, test_size=16, epochs=6)


def fault(device: str, seconds: float = _SECONDS) -> str:
    """What is wrong with a device, in a sentence; empty if it trains."""
    command = command_of("wdtui.runs.probe", [device])
    try:
        tried = subprocess.run(command, env=own_environment(), capture_output=True, text=True, timeout=seconds)
    except subprocess.TimeoutExpired:
        return f"A small training did not end within {seconds:.0f} s. See whether another process uses the device."
    if tried.returncode < 0:
        return f"A small training ended its process ({signal.strsignal(-tried.returncode)}). Check the driver."
    lines = [line.strip() for line in tried.stderr.splitlines() if line.strip()]
    return f"A small training failed: {lines[-1] if lines else 'no message'}" if tried.returncode else ""


def try_training(device: str) -> None:
    """Train the small batch twice. Raises TrainingError if it learns nothing or if the results differ."""
    first, second = _losses(device), _losses(device)
    if any(not math.isfinite(loss) for losses in first for loss in losses) or first[0] == first[-1]:
        raise TrainingError("The loss did not change, or is no finite number. The device computes wrongly.")
    if first != second:
        raise TrainingError("Two equal trainings gave different losses. The device computes wrongly.")


def _losses(device: str) -> list[list[float]]:
    """The training losses of two models, [epochs, models]."""
    import torch

    from wdtui.training import trainer
    from wdtui.training.devices import use_device

    use_device(device)
    torch.set_num_threads(1)  # more would wait for each other on a busy machine
    configs = [_CONFIG, _CONFIG.replace(seed=_CONFIG.seed + 1)]
    batch = trainer(_CONFIG).open_batch(configs, device, [(), ()])
    losses, column = [], _CONFIG.columns.index("train_loss")
    for _ in range(_CONFIG.epochs):
        batch.run_epoch(lambda: True)
        losses.append([point.values[column] for _, point in batch.end_epoch()])
    return losses


def main(device: str) -> int:
    """Try a device. Returns the exit status, after a sentence on stderr if it is not 0."""
    from wdtui.runs.worker import sentence

    try:
        try_training(device)
    except Exception as error:  # PyTorch and the driver can fail in any way
        print(sentence(error), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
