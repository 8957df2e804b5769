"""The reference says what the definitions say."""

from __future__ import annotations

from pathlib import Path

from wdtui.problems.addition.config import RunConfig
from wdtui.problems.addition.metrics import METRICS
from wdtui.reference import reference
from wdtui.settings import SETTINGS

SHOWN = (Path(__file__).parent.parent / "docs" / "reference.md").read_text(encoding="utf-8")


def test_the_reference_is_up_to_date() -> None:
    assert reference() == SHOWN, "run `python -m wdtui.reference > docs/reference.md`"


def test_the_reference_lists_every_definition() -> None:
    assert all(f"| `{name}` |" in SHOWN for name in (*RunConfig.fields(), *METRICS, *SETTINGS))
