"""The addition problem: the article's network, what it is told, what it measures, and its engine."""

from __future__ import annotations

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.registry import Entry

PROBLEM = Entry(title="binary arithmetic", config=RunConfig, module=f"{__name__}.engine.problem")
