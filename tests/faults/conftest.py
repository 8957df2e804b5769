"""Shared by all tests of faults, whose processes are forked from the one that runs the tests."""

from __future__ import annotations

import gc

import pytest
from forked import warm_up


@pytest.fixture(scope="session", autouse=True)
def warm() -> None:
    """What commands and trainings import is imported here once, so that no forked process must."""
    warm_up()
    gc.freeze()
