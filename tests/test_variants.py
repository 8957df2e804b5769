"""Experiments' files: the full and the quick variant, other seeds, and whether their claims can be checked there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from wdtui.schema.hyperparameters import ConfigError
from wdtui.studies.experiments import ExperimentError, load, names
from wdtui.studies.verdicts import State, check

FILE = """question = "Why?"
[axes]
weight_decay = [0.1, 0.3]
[quick.config]
epochs = 5
[quick.axes]
weight_decay = [0.3]
[[claims]]
says = "It learns."
measure = "test_accuracy"
where = { weight_decay = 0.3 }
at_least = 0.5
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], str]:
    def write(content: str) -> str:
        (tmp_path / "mine.toml").write_text(content, encoding="utf-8")
        return str(tmp_path / "mine.toml")

    return write


def test_an_experiment_has_a_full_and_a_quick_variant(write: Callable[[str], str]) -> None:
    experiment = load(write(FILE))
    quick = experiment.variant(True)
    assert [cell.epochs for cell in experiment.cells()] == [385, 385]
    assert [(cell.epochs, cell.weight_decay) for cell in quick.cells()] == [(5, 0.3)]
    assert len(experiment.claims) == len(quick.claims) == 1
    assert quick.name == experiment.name and quick.question == experiment.question
    assert experiment.variant(False) is experiment
    assert [cell.seed for cell in quick.with_seeds(3).cells()] == [0, 1, 2]


def test_a_claim_about_one_seed_needs_that_seed(write: Callable[[str], str]) -> None:
    with_seeds = FILE.replace("[quick.config]", "seed = [0, 7]\n[quick.config]")
    experiment = load(write(with_seeds.replace("{ weight_decay = 0.3 }", "{ weight_decay = 0.3, seed = 7 }")))
    assert len(experiment.with_seeds(8).cells()) == 16
    with pytest.raises(ExperimentError, match=r"“It learns.” uses a seed outside 0 to 4\."):
        experiment.with_seeds(5)
    compared = with_seeds.replace("at_least", "minus = { weight_decay = 0.3, seed = 7 }\nat_least")
    with pytest.raises(ExperimentError, match="uses a seed outside 0 to 4"):
        load(
            write(
                compared.replace(
                    "where = { weight_decay = 0.3 }",
                    "where = { weight_decay = 0.1, seed = 0 }\nquick = { where = { weight_decay = 0.3, seed = 0 } }",
                )
            )
        ).with_seeds(5)


def test_the_full_variant_replaces_a_missing_quick_one(write: Callable[[str], str]) -> None:
    experiment = load(write('question = "Why?"\n'))
    assert experiment.variant(True) is experiment


def test_a_field_set_by_quick_is_not_an_axis_of_it(write: Callable[[str], str]) -> None:
    experiment = load(write('question = "Why?"\n[axes]\nseed = [0, 1]\n[quick.config]\nseed = 4\n'))
    assert [cell.seed for cell in experiment.variant(True).cells()] == [4]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (FILE.replace("0.3 }", "0.1 }"), ["in the quick variant of the claim “It learns.”", "no run with"]),
        (FILE + "[quick.axs]\nwidth = [8]\n", ["axs is not a key of quick; did you mean axes?"]),
        (FILE.replace("epochs = 5", "epoch = 5"), ["epoch", "did you mean epochs?"]),
        ('question = "Why?"\nclaims = 3\n', ["claims of an experiment must be tables"]),
        ('question = "Why?"\nclaims = [3]\n', ["claims must be tables"]),
        ('question = "Why?"\nquick = 3\n', ["quick of an experiment must be a table"]),
    ],
)
def test_errors_of_a_file_name_the_file(write: Callable[[str], str], content: str, said: list[str]) -> None:
    with pytest.raises((ConfigError, ExperimentError)) as error:
        load(write(content))
    assert all(part in str(error.value) for part in ["mine.toml", *said]), str(error.value)


@pytest.mark.parametrize("name", names())
def test_claims_of_shipped_experiments_can_be_shown_and_checked(name: str) -> None:
    for variant in {load(name).variant(quick).title: load(name).variant(quick) for quick in (False, True)}.values():
        for claim in variant.claims:
            assert claim.says.endswith(".") and claim.subject and claim.bounds
            assert check(claim, variant.cases(), {}).state == State.NOT_RUN
