"""What weight decay does in a run of the store."""

from __future__ import annotations

from wdtui.analysis.decay import Decay, decay
from wdtui.schema.curves import Curves
from wdtui.schema.decay import TimeConstant
from wdtui.schema.hyperparameters import ConfigError
from wdtui.store.records import RunRecord, StoreError


def decay_of(run: RunRecord, curves: Curves) -> Decay:
    """Its layers and what matters; a live run is seen with all the steps that it will have."""
    done = int(curves.steps[-1]) if len(curves) else 0
    return decay(curves, max(run.steps, done) if run.live else done, _declared(run))


def _declared(run: RunRecord) -> TimeConstant | None:
    """The time constant by the hyperparameters in force; None if this version cannot read them."""
    try:
        return run.config.steered({name: run.in_force[name] for name in run.steered_fields}).time_constant
    except (StoreError, ConfigError):
        return None
