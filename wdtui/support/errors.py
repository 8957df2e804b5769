"""The base class of all errors of wdtui. Each message is one sentence that a person can act on."""

from __future__ import annotations


class WdtuiError(Exception):
    """Says in one sentence what cannot be done and what to do about it."""


class TrainingError(WdtuiError):
    """Training failed, or could not start although the request was valid."""


class DivergedError(TrainingError):
    """The loss of a step, or another quantity measured after it, was NaN or infinite."""

    def __init__(self, step: int) -> None:
        super().__init__(f"Loss or parameters were no longer finite numbers at step {step:,}.")
        self.step = step
