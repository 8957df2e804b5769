"""Bad input costs one sentence and exit status 2, and leaves nothing behind."""

from __future__ import annotations

import sqlite3
import subprocess
import unicodedata
from pathlib import Path

import pytest
from command_line import TINY, assert_one_sentence, in_own_process, wdtui

from wdtui.cli.main import main

BAD = {
    "negative weight decay": (["--weight-decay", "-1"], "weight_decay: -1 is not allowed; give a number ≥ 0"),
    "NaN": (["--weight-decay", "nan"], "weight_decay: nan"),
    "infinity": (["--bn-epsilon", "inf"], "bn_epsilon: inf"),
    "no width": (["--width", "0"], "width: 0 is not allowed; give a whole number ≥ 1"),
    "underscores": (["--width", "1_000"], "width: 1_000"),
    "a fraction for a count": (["--epochs", "1.5"], "epochs: 1.5"),
    "no such choice": (["--optimizer", "lion"], "adamw or adam or sgd"),
    "a misspelt flag": (["--wieght-decay", "1"], "did you mean --weight-decay?"),
    "a misspelt experiment": (["dmo"], "There is no experiment dmo; did you mean demo?"),
    "digits that overflow": (["--train-digits", "12"], "train_digits 12 and bits 32 clash"),
    "too few numbers": (["--test-size", "1000"], "test_digits 3 and test_size 1000 clash"),
    "no full batch": (["--train-size", "10"], "train_size 10 and batch_size 64 clash"),
    "a batch of one": (["--batch-size", "1"], "batch_size 1 and batch_norm true clash"),
    "both weight decays": (["--weight-decay", "1", "--normalized-weight-decay", "1"], "give one of the two"),
    "a flag without value": (["--bits"], "bits: --headless is not allowed"),
    "no such device": (["--device", "cuda:7"], "Give auto or"),
}


@pytest.mark.parametrize(("arguments", "said"), BAD.values(), ids=BAD.keys())
def test_bad_input_gives_a_one_sentence_error(arguments: list[str], said: str, tmp_path: Path) -> None:
    result = wdtui("run", *arguments, "--headless", "--json", store=tmp_path / "store")
    assert result.returncode == 2 and result.stdout == ""
    assert_one_sentence(result.stderr)
    assert said in result.stderr
    assert not (tmp_path / "store").exists()


def test_an_unknown_field_in_a_file_is_named_with_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('question = "Why?"\n[config]\nweigth_decay = 1\n')
    result = wdtui("run", str(tmp_path / "mine.toml"), "--headless", store=tmp_path)
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert "mine.toml: weigth_decay is not a field of a run; did you mean weight_decay?" in result.stderr


@pytest.mark.parametrize("command", ["runs list", "run demo --headless", "runs show 1"])
def test_a_corrupt_store_is_reported_and_not_changed(command: str, tmp_path: Path) -> None:
    database = tmp_path / "wdtui.sqlite3"
    database.write_bytes(b"this is no database " * 100)
    result = wdtui(*command.split(), store=tmp_path)
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert str(database) in result.stderr
    assert database.read_bytes() == b"this is no database " * 100


def test_the_error_names_a_store_that_cannot_be_created(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    result = wdtui("run", "demo", "--headless", store=tmp_path / "file")
    assert result.returncode == 2
    assert_one_sentence(result.stderr)
    assert str(tmp_path / "file") in result.stderr


def test_a_store_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    assert wdtui("runs", "list", store=tmp_path).returncode == 0
    with sqlite3.connect(tmp_path / "wdtui.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 999")
    result = wdtui("runs", "list", store=tmp_path)
    assert result.returncode == 2
    assert_one_sentence(result.stderr)


def test_a_full_disk_ends_the_run_and_keeps_stored_points(tmp_path: Path) -> None:
    mounted = tmp_path / "small"
    mounted.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", mounted], capture_output=True).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        (mounted / "ballast").write_bytes(bytes(400_000))
        result = in_own_process("run", *TINY, "--epochs", "20000", "--headless", "--json", store=mounted)
        assert result.returncode == 1
        assert_one_sentence(result.stderr)
        assert "full" in result.stderr
        for extra in mounted.glob("checkpoints/*/*"):
            extra.unlink()
        shown = wdtui("runs", "show", "1", "--json", store=mounted)
        assert shown.returncode == 0 and '"status": "interrupted"' in shown.stdout
        assert len(result.stdout.splitlines()) > 100
    finally:
        subprocess.run(["umount", mounted], check=True)


@pytest.mark.parametrize("command", ["runs show 7", "stop 7", "pause 7", "resume 7", "steer 7 --set width=3", "runz"])
def test_commands_on_an_empty_store_give_a_one_sentence_error(command: str, tmp_path: Path) -> None:
    result = wdtui(*command.split(), store=tmp_path)
    assert result.returncode == 2
    assert_one_sentence(result.stderr)


NOTHING = {
    "plot 99": "There is no run 99",
    "plot S99": "There is no sweep S99",
    "resume S99": "There is no sweep S99",
    "runs export 99": "There is no run 99",
    "runs export last --format nope": "'--format': 'nope' is not one of 'csv'",
    "runs script 99": "There is no run 99",
    "runs import nowhere": "nowhere is not a folder",
    "sweep --axis foo=1": "The axis foo is not a field of a run",
    "sweep --axis widht=8": "did you mean width?",
    "fork last --at -1": "'--at': Input should be greater than or equal to 0",
    "experiments report nope": "There is no experiment nope",
    "experiments verify nope": "There is no experiment nope",
    "bench --widths x": "widths x: give whole numbers",
}


@pytest.mark.parametrize(("command", "said"), NOTHING.items(), ids=NOTHING.keys())
def test_errors_name_what_does_not_exist(command: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command.split()) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert said in error


def test_no_control_character_of_a_file_or_folder_name_reaches_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    evil = tmp_path / "evil\x1b]0;title\x07\x1b[31m\x9b32mred\u202e"
    evil.mkdir()
    toml = evil / f"{evil.name}.toml"
    toml.write_text('question = "Why?"\n[axes]\nwidth = [8, 16]\n')
    for command in (["experiments", "show", str(toml)], ["runs", "list"], ["sweeps", "list"], ["runs", "show", "1"]):
        main(["--store", str(evil), *command])
        captured = capsys.readouterr()
        shown = captured.out + captured.err
        assert shown and not [char for char in shown if char != "\n" and unicodedata.category(char) in ("Cc", "Cf")]
