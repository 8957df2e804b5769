"""Keys that a slow line delivers in one piece: whatever a key opens has the focus before the next key is handled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from burst_tools import Terminal, Typed, terminal

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a pseudo-terminal")

_SECONDS = 20
BURSTS = {
    "/done": Typed("Workbench", "filter", "done"),
    "/test>0.9": Typed("Workbench", "filter", "test>0.9"),
    "ndone": Typed("LineDialog", "", "done"),
    "c0.5": Typed("Workbench", "field-weight_decay", "0.5"),
}
"""The four that lost their text."""
OTHERS = {
    "emine": Typed("LineDialog", "", "mine"),
    "w2": Typed("LineDialog", "", "2"),
    "s0.25": Typed("SteerDialog", "field-weight_decay", "0.25"),
    "f0": Typed("ForkDialog", "field-step", "0"),
    "Wwidth=8,16": Typed("SweepForm", "axis-0", "width=8,16"),
    "\x10note": Typed("CommandPalette", "", "note"),
    "ndome\x7f\x7fne": Typed("LineDialog", "", "done"),
    "nfirst\rnsecond": Typed("LineDialog", "", "second"),
    "c\x1b[B0.01": Typed("Workbench", "field-bn_epsilon", "0.01"),
    "/done\r/x": Typed("Workbench", "filter", "x"),
}
"""All else that opens a text box, edits in it, or leaves it and opens another."""


def lost(screen: Terminal, bursts: dict[str, Typed], times: int) -> dict[str, int]:
    """How many of so many bursts of each kind came to something else."""
    counts = dict.fromkeys(bursts, 0)
    for _ in range(times):
        for burst, wanted in bursts.items():
            screen.clear()
            screen.write(burst)
            counts[burst] += not screen.comes_to(wanted, _SECONDS)
    return counts


def test_keys_typed_at_once_go_to_the_dialog_that_the_first_opens(tmp_path: Path) -> None:
    with terminal(tmp_path, runs=1) as screen:
        assert lost(screen, BURSTS | OTHERS, 1) == dict.fromkeys(BURSTS | OTHERS, 0)


@pytest.mark.long
def test_no_key_of_fifty_bursts_is_lost_while_three_runs_train(tmp_path: Path) -> None:
    with terminal(tmp_path, width=128) as screen:
        assert lost(screen, BURSTS, 50) == dict.fromkeys(BURSTS, 0)
