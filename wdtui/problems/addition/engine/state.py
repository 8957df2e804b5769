"""The shapes in a training's state, known without making one: what a checkpoint of it must hold."""

from __future__ import annotations

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.engine.epoch import window_size
from wdtui.problems.addition.optimizers import OPTIMIZERS


def state_shapes(config: RunConfig, batch: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in the state of a run after so many steps of an epoch, all of floating point.

    The state of a run whose sharpness is measured has more.
    """
    parameters, norms, width = config.parameters, config.norm_layers, config.width
    row = batch % window_size(config)
    remembered = OPTIMIZERS[config.optimizer].remembers
    moments: dict[str, tuple[int, ...]] = {name: () if name == "steps" else (parameters,) for name in remembered}
    return {
        "network.parameters": (parameters,),
        "network.running": (norms, 2, width),
        **{f"optimizer.{name}": shape for name, shape in moments.items()},
        "record.sums": (3,),
        "record.variance": (norms, width),
        "record.logits": (row, config.batch_size, config.bits),
        "record.inverse_deviations": (row, norms, width),
    }
