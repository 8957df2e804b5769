"""Tests have processes look for what is new more often than a person needs it, and read experiments once."""

from __future__ import annotations

from wdtui.cli import headless, owners
from wdtui.runs import child, completion
from wdtui.studies import experiments
from wdtui.studies.experiments import Experiment

_SECONDS = 0.02
_FOLDER = experiments.folder()
_load, _loaded = experiments.load, dict[str, Experiment]()


def look_often() -> None:
    """Have this process, and what it forks, look often."""
    completion._LOOK_SECONDS, completion._SHARE = _SECONDS, 1.0
    child._LOOK_SECONDS = headless._FOLLOW_SECONDS = owners._LOOK_SECONDS = _SECONDS


def load_once() -> None:
    """Have this process, and what it forks, keep the experiments that come with wdtui in memory."""
    experiments.load = _load_once


def _load_once(name: str) -> Experiment:
    if experiments.folder() != _FOLDER or name not in experiments.names():  # a test's own
        return _load(name)
    if name not in _loaded:
        _loaded[name] = _load(name)
    return _loaded[name]
