"""The base of all errors in which wdtui speaks: each message is one sentence that a person can act on."""

from __future__ import annotations


class WdtuiError(Exception):
    """What was asked for cannot be done, and what to do about it, in one sentence."""


class TrainingError(WdtuiError):
    """What ended a run that had begun, or kept one from beginning although it was asked for rightly."""


class DivergedError(TrainingError):
    """The loss of a step, or another quantity measured after it, was NaN or infinite."""

    def __init__(self, step: int) -> None:
        super().__init__(f"Loss or parameters were no longer finite numbers at step {step:,}.")
        self.step = step
