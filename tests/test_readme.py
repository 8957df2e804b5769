"""The README says what is so."""

from __future__ import annotations

import re
from pathlib import Path

from wdtui.studies.experiments import load
from wdtui.tui.screens.help import key_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_key_table_is_the_one_of_the_bindings() -> None:
    shown = README.split("<!-- keys:")[1].split("-->", 1)[1].split("<!-- end of keys -->")[0]
    assert shown.strip() == key_table().strip()


def test_every_file_that_is_linked_exists() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", README)
    assert links and all((ROOT / link).exists() for link in links if not link.startswith("http"))


def test_the_first_two_code_blocks_set_up_everything_in_one_line_each() -> None:
    first, second = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[:2]
    assert len(first.strip().splitlines()) == len(second.strip().splitlines()) == 1
    assert "wdtui run demo --headless" in first and "pytest" in second


def test_the_experiment_of_ones_own_can_be_loaded(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    (tmp_path / "mine.toml").write_text(example, encoding="utf-8")
    experiment = load(str(tmp_path / "mine.toml"))
    assert experiment.claims and experiment.notes
