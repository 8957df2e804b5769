"""The README and the pages it links to match the code."""

from __future__ import annotations

import re
from pathlib import Path

from wdtui.studies.experiments import load
from wdtui.tui.keys import GROUPS
from wdtui.tui.screens.help import key_table

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_page_of_keys_matches_the_bindings() -> None:
    page = (ROOT / "docs" / "keys.md").read_text(encoding="utf-8")
    shown = page.split("<!-- keys:")[1].split("-->", 1)[1].split("<!-- end of keys -->")[0]
    assert shown.strip() == key_table().strip()


def test_every_key_in_the_readme_is_a_binding_of_the_app() -> None:
    table = README.split("Then try these keys:")[1].split("[docs/tour.md]")[0]
    named = set(re.findall(r"^\| `(.)` \|", table, re.MULTILINE))
    assert named and named <= {key.title for keys in GROUPS.values() for key in keys}


def test_the_readme_fits_on_two_screens_before_its_list_of_pages() -> None:
    introduction = README.split("## Read on")[0]
    assert len(introduction.splitlines()) <= 100
    assert introduction.index("![") < introduction.index("```sh")


def test_every_file_that_is_linked_exists() -> None:
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]:
        links = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
        missing = [link for link in links if not link.startswith("http") and not (page.parent / link).exists()]
        assert not missing, f"{page.name} links to files that do not exist"


def test_the_first_two_code_blocks_set_up_everything_in_one_line_each() -> None:
    first, second = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[:2]
    assert len(first.strip().splitlines()) == len(second.strip().splitlines()) == 1
    assert "wdtui run demo --headless" in first and "pytest" in second


def test_the_example_of_a_new_experiment_can_be_loaded(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "experiments.md").read_text(encoding="utf-8")
    example = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)[0]
    (tmp_path / "mine.toml").write_text(example, encoding="utf-8")
    experiment = load(str(tmp_path / "mine.toml"))
    assert experiment.claims and experiment.notes
