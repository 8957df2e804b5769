"""What a person may call a hyperparameter: one list of names, symbols and aliases, wherever it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import assert_one_sentence

from wdtui.cli.main import main
from wdtui.problems.addition.config import RunConfig
from wdtui.runs import query
from wdtui.schema.hyperparameters import ConfigError
from wdtui.schema.steering import parse_assignment
from wdtui.studies.experiments import ExperimentError, load
from wdtui.studies.grid import read_axes

SCHEMA = RunConfig.schema()
MEANT = {
    "λ": "weight_decay",
    "wd": "weight_decay",
    "lambda": "weight_decay",
    "ε": "bn_epsilon",
    "eps": "bn_epsilon",
    "H": "width",
    "h": "width",
    "lr": "learning_rate",
    "bs": "batch_size",
    "λ_norm": "normalized_weight_decay",
    "Learning-Rate": "learning_rate",
}


@pytest.mark.parametrize(("typed", "field"), MEANT.items())
def test_axes_changes_and_the_filter_take_symbols_and_aliases(typed: str, field: str) -> None:
    assert SCHEMA.find(typed) is RunConfig.fields()[field]
    assert read_axes(SCHEMA, [f"{typed}=8"]).keys() == {field}
    assert parse_assignment(SCHEMA, f"{typed}=8")[0] == field
    assert query.parse(f"{typed}>=0", [SCHEMA])


@pytest.mark.parametrize("field", RunConfig.fields().values(), ids=lambda field: field.name)
def test_every_symbol_names_its_field_and_no_alias_names_two(field: object) -> None:
    said = [field.name, *filter(None, [field.symbol]), *field.aliases]  # type: ignore[attr-defined]
    assert {SCHEMA.names[one.lower()] for one in said} == {field.name}  # type: ignore[attr-defined]
    assert sum(len({one.name, one.symbol, *one.aliases} - {""}) for one in RunConfig.fields().values()) == len(
        SCHEMA.names
    )


def test_an_axis_given_by_name_and_alias_is_a_duplicate() -> None:
    with pytest.raises(ConfigError, match="learning_rate is given twice"):
        read_axes(SCHEMA, ["lr=1e-3", "learning_rate=1e-2"])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("lerning_rate", "learning_rate"), ("lrr", "lr"), ("widht", "width"), ("weigth-decay", "weight_decay")],
)
def test_a_misspelt_name_suggests_the_nearest_one(typed: str, meant: str) -> None:
    for read in (
        lambda: read_axes(SCHEMA, [f"{typed}=8"]),
        lambda: parse_assignment(SCHEMA, f"{typed}=8"),
    ):
        with pytest.raises(ConfigError, match=rf"is not a field of a run; did you mean {meant}\?"):
            read()


@pytest.mark.parametrize(
    "content", ["[config]\nlr = 1", "[axes]\nlr = [1, 2]", "[axes]\n'λ' = [1]", "[config]\nwd = 1"]
)
def test_a_file_needs_full_names_and_the_error_suggests_them(content: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f'question = "Why?"\n{content}\n', encoding="utf-8")
    with pytest.raises((ConfigError, ExperimentError), match=r"did you mean (learning_rate|weight_decay)\?"):
        load(str(tmp_path / "mine.toml"))
    with pytest.raises(ConfigError, match=r"lr is not a field of a run; did you mean learning_rate\?"):
        RunConfig.from_mapping({"lr": 1})


@pytest.mark.parametrize(
    ("typed", "meant"), [("--lr", "--learning-rate"), ("--wd", "--weight-decay"), ("--eps", "--bn-epsilon")]
)
def test_an_alias_as_a_flag_suggests_the_flag(typed: str, meant: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", typed, "1", "--headless"]) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert f"did you mean {meant}?" in error
