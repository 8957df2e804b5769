"""Experiments: the shipped ones answer their question, and what is wrong with one's own is said in a sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from odd_files import at_once

from wdtui.problems.addition.config import RunConfig
from wdtui.schema.hyperparameters import ConfigError
from wdtui.studies import experiments
from wdtui.studies.experiments import ExperimentError, load

QUESTION = 'question = "Why?"\n'


def write(folder: Path, content: str, name: str = "mine.toml") -> str:
    path = folder / name
    path.write_text(content, encoding="utf-8")
    return str(path)


def assert_a_sentence(error: BaseException) -> None:
    text = str(error)
    assert text.endswith((".", "?")) and "\n" not in text and "Traceback" not in text


@pytest.mark.parametrize("name", experiments.names())
def test_shipped_experiments_have_a_question_and_a_valid_config(name: str) -> None:
    experiment = load(name)
    assert experiment.name == name and experiment.title.startswith(name)
    assert experiment.question.endswith("?") and experiment.article and experiment.expected
    cells = experiment.cells()
    assert len(cells) == len(set(cells)) >= 1
    assert isinstance(experiment.base({experiment.schema.length: 1}), experiment.kind)


@pytest.mark.parametrize("name", experiments.names())
@pytest.mark.parametrize("quick", [False, True], ids=["full", "quick"])
def test_a_claim_about_a_peak_shows_its_bounds(name: str, quick: bool) -> None:
    for claim in load(name).variant(quick).claims:
        said = re.search(r"([\d.]+) (?:to|and) ([\d.]+)\b", claim.says)
        if claim.find.endswith("_at") and said:
            assert (float(said[1]), float(said[2])) == (claim.at_least, claim.at_most), claim.says


def test_experiments_are_grouped_by_their_effect_and_the_demo_comes_first() -> None:
    groups = experiments.by_effect()
    assert sorted(name for group in groups.values() for name in group) == experiments.names()
    assert next(iter(groups.values()))[0] == "demo" and "grokking-modular" in groups["grokking"]
    for effect, group in groups.items():
        assert {load(name).effect or experiments.OTHER for name in group} == {effect}


def test_files_without_an_effect_or_with_an_error_are_grouped_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, QUESTION, "plain.toml")
    write(tmp_path, QUESTION + 'effect = "rotation"', "turning.toml")
    write(tmp_path, QUESTION + "effect = [1]", "wrong.toml")
    write(tmp_path, "question = ", "broken.toml")
    monkeypatch.setattr(experiments, "folder", lambda: tmp_path)
    others = ["broken", "plain", "wrong"]
    assert experiments.by_effect() == {"rotation": ["turning"], experiments.OTHER: others}
    assert list(experiments.by_effect()) == ["rotation", experiments.OTHER]


def test_the_articles_experiments_are_shipped() -> None:
    assert {"demo", "training-curves", "batchnorm-epsilon"} <= set(experiments.names())
    assert {cell.bn_epsilon for cell in load("batchnorm-epsilon").cells()} >= {1e-5, 1e-2}


def test_cells_are_all_combinations_of_the_axes(tmp_path: Path) -> None:
    experiment = load(
        write(tmp_path, QUESTION + "[config]\nepochs = 3\n[axes]\nwidth = [8, 16]\nweight_decay = [0, 0.1, 1]\n")
    )
    cells = experiment.cells({"seed": 7})
    assert [(cell.width, cell.weight_decay) for cell in cells] == [(w, d) for w in (8, 16) for d in (0, 0.1, 1)]
    assert all(cell.epochs == 3 and cell.seed == 7 for cell in cells)
    assert experiment.title == "mine (width 8, 16; weight_decay 0, 0.1, 1)"


def test_a_value_for_an_axis_leaves_no_duplicate_cells(tmp_path: Path) -> None:
    experiment = load(write(tmp_path, QUESTION + "[axes]\nwidth = [8, 16]\nseed = [0, 1, 1]\n"))
    assert [(cell.width, cell.seed) for cell in experiment.cells({"width": 32})] == [(32, 0), (32, 1)]


def test_an_axis_overrides_the_config(tmp_path: Path) -> None:
    experiment = load(
        write(tmp_path, QUESTION + "[config]\nnormalized_weight_decay = 0.05\n[axes]\nweight_decay = [0.2]\n")
    )
    assert experiment.cells()[0].weight_decay == 0.2
    assert experiment.base().normalized_weight_decay == 0.05


def test_axis_values_can_be_lists(tmp_path: Path) -> None:
    cells = load(write(tmp_path, QUESTION + "[axes]\ntrain_digits = [[2, 4], [4]]\n")).cells()
    assert [cell.train_digits for cell in cells] == [(2, 4), (4,)]


def test_an_experiment_without_axes_has_one_cell(tmp_path: Path) -> None:
    experiment = load(write(tmp_path, QUESTION))
    assert experiment.cells() == [experiment.base()] == [RunConfig()]
    assert experiment.title == experiment.name == "mine"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('questoin = "Why?"', ["questoin", "did you mean question?"]),
        ("[config]", ["the question is missing"]),
        ("question = 3", ["question", "text"]),
        (QUESTION + 'effect = "groking"', ["groking", "did you mean grokking?"]),
        (QUESTION + 'effect = ""', ["effect", "give one of", "grokking"]),
        (QUESTION + "effect = 3", ["effect", "text"]),
        (QUESTION + "config = 3", ["config", "a table"]),
        (QUESTION + "axes = [1]", ["axes", "a table"]),
        (QUESTION + "[config]\nwidht = 8", ["widht", "did you mean width?"]),
        (QUESTION + "[axes]\nwidht = [8]", ["widht", "did you mean width?"]),
        (QUESTION + "[axes]\nwidth = 8", ["width", "a list"]),
        (QUESTION + "[axes]\nwidth = []", ["width", "a list"]),
        (QUESTION + '[config]\nwidth = "8"', ["width", "a whole number"]),
        (QUESTION + "[config]\nwidth = 8.0", ["width: 8.0", "a whole number"]),
        (QUESTION + "[config]\nwidth = true", ["width: true", "a whole number"]),
        (QUESTION + "[config]\nwidth = 1979-05-27", ["width: 1979-05-27", "a whole number"]),
        (QUESTION + "[config]\nweight_decay = inf", ["weight_decay: inf", "≤"]),
        (QUESTION + "[axes]\nweight_decay = [0.1, nan]", ["weight_decay: nan", "a number"]),
        (QUESTION + "[axes]\nwidth = [8, -1]", ["width: -1", "≥ 1"]),
        (QUESTION + "[axes]\nbatch_size = [64, 6000]", ["train_size 5000 and batch_size 6000", "clash"]),
        (QUESTION + "[config]\nweight_decay = 0.1\nnormalized_weight_decay = 0.05", ["clash"]),
        (QUESTION + "[config\nwidth = 8", ["is not valid TOML", "line 2"]),
        (QUESTION + QUESTION, ["is not valid TOML", "line 2"]),
    ],
)
def test_an_invalid_file_gives_a_one_sentence_error(tmp_path: Path, content: str, said: list[str]) -> None:
    path = write(tmp_path, content)
    with pytest.raises((ExperimentError, ConfigError)) as error:
        load(path)
    assert_a_sentence(error.value)
    assert all(part in str(error.value) for part in ["mine.toml", *said]), str(error.value)


def test_errors_of_a_file_carry_the_field_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        load(write(tmp_path, QUESTION + "[config]\nwidth = 0"))
    assert error.value.fields == ("width",)


def test_the_error_names_an_unreadable_file(tmp_path: Path) -> None:
    (tmp_path / "folder.toml").mkdir()
    (tmp_path / "latin.toml").write_bytes('question = "Müßig?"'.encode("latin-1"))
    for name, reason in (("absent", "No such file"), ("folder", "Is a directory"), ("latin", "not UTF-8")):
        with pytest.raises(ExperimentError, match=f"{name}.toml cannot be read: .*{reason}") as error:
            load(str(tmp_path / f"{name}.toml"))
        assert_a_sentence(error.value)


def test_an_unknown_experiment_name_suggests_the_nearest_one() -> None:
    with pytest.raises(
        ExperimentError, match=r"^There is no experiment training-curve; did you mean training-curves\?"
    ):
        load("training-curve")
    with pytest.raises(ExperimentError, match=r"There is no experiment zzz\. `wdtui experiments list` shows"):
        load("zzz")
    with pytest.raises(ExperimentError):
        load("../experiments/demo")


def test_relative_paths_may_contain_spaces_and_umlauts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "\n# Versuch\n" + QUESTION, "mein größter.toml")
    monkeypatch.chdir(tmp_path)
    assert load("mein größter.toml").name == "mein größter"


def test_an_axis_accepts_the_syntax_of_the_command_line(tmp_path: Path) -> None:
    experiment = load(write(tmp_path, QUESTION + '[axes]\nweight_decay = "0,logspace(0.1,10,3)"\nwidth = [8]\n'))
    assert experiment.axes == {"weight_decay": [0, 0.1, 1, 10], "width": [8]}
    with pytest.raises(ConfigError, match=r"mine.toml: weight_decay: -1 is not allowed"):
        load(write(tmp_path, QUESTION + '[axes]\nweight_decay = "-1"\n'))


def test_axes_are_counted_before_they_are_expanded(tmp_path: Path) -> None:
    thousands = "\n".join(f'{name} = "range(0,3000)"' for name in ("seed", "data_seed", "width"))
    path = write(tmp_path, f"{QUESTION}[axes]\n{thousands}\n".replace('width = "range(0', 'width = "range(1'))
    with pytest.raises(ConfigError, match=r"make 26,991,000,000 runs; at most 10,000 are allowed") as caught:
        at_once(lambda: load(path))
    assert_a_sentence(caught.value)


def test_the_limit_of_runs_includes_forks(tmp_path: Path) -> None:
    branches = ", ".join(["{}"] * 200)
    axes = '[axes]\nseed = "range(0,100)"\n'
    path = write(tmp_path, f"{QUESTION}{axes}[fork]\nat_epoch = 1\nbranches = [{branches}]\n")
    with pytest.raises(ConfigError, match=r"make 20,100 runs; at most 10,000 are allowed"):
        load(path)


@pytest.mark.parametrize("key", ["question", "article", "expected"])
def test_overlong_texts_are_refused(tmp_path: Path, key: str) -> None:
    path = write(
        tmp_path, f'question = "Why?"\n{key} = "{"x" * 20_001}"\n'.removeprefix(QUESTION * (key == "question"))
    )
    with pytest.raises(ConfigError, match=f"{key} has 20,001 characters, and at most 20,000 are allowed"):
        load(path)


@pytest.mark.parametrize("kind", ["notes", "claims"])
def test_overlong_notes_and_claims_are_refused(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, f'{QUESTION}[[{kind}]]\nsays = "{"x" * 20_001}"\n')
    with pytest.raises(ConfigError, match="says has 20,001 characters"):
        load(path)
