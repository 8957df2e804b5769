"""Event files as they are found in the wild: cut off, resumed, with gaps, taken in twice, or none at all."""

from __future__ import annotations

import math
import os
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest
from command_line import assert_one_sentence
from exchange_tools import ORIGINAL, taken_in, write_events, write_original
from odd_files import ODD, at_once, make_odd

from wdtui.cli.main import main
from wdtui.exchange.exported import Run, load
from wdtui.store.store import Store

pytest.importorskip("tensorboard")

from wdtui.exchange import event_files


def only_run(folder: Path, store: Path) -> Run:
    with Store(store) as opened:
        (run_id,) = taken_in(folder, opened)
        return load(opened, run_id)


@pytest.mark.parametrize("missing", [1, 7, 40])
def test_a_truncated_event_file_is_read_up_to_that_point(missing: int, tmp_path: Path) -> None:
    file = write_events(tmp_path / "killed", {step: {"train/loss": 1 / step} for step in (10, 20, 30)})
    file.write_bytes(file.read_bytes()[:-missing])
    run = only_run(tmp_path, tmp_path / "store")
    assert run.curves["step"].tolist() == [10, 20]


def test_the_later_of_two_measurements_of_a_step_counts(tmp_path: Path) -> None:
    killed = {step: {"train/loss": 1.0, "val/accuracy/dataloader_idx_1": 0.25} for step in (10, 20, 30)}
    resumed = {step: {"train/loss": 2.0} for step in (30, 40)}
    write_events(tmp_path / "version_0", resumed, time=1000.0)  # its file is the first by name, yet the later one
    write_events(tmp_path / "version_0", killed, time=1.0)
    run = only_run(tmp_path, tmp_path / "store")
    assert run.curves["step"].tolist() == [10, 20, 30, 40]
    assert run.curves["train_loss"].tolist() == [1, 1, 2, 2]
    assert run.curves["test_accuracy"].tolist()[:3] == [0.25] * 3 and math.isnan(run.curves["test_accuracy"][3])


def test_hyperparameters_are_read_from_any_event_file(tmp_path: Path) -> None:
    write_events(tmp_path / "version_0", {10: {"train/loss": 1.0}}, hparams=ORIGINAL)
    write_events(tmp_path / "version_0", {20: {"train/loss": 0.5}}, time=9.0)
    run = only_run(tmp_path, tmp_path / "store")
    assert run.config.width == 128 and len(run) == 2


def test_nan_values_are_kept_on_import(tmp_path: Path) -> None:
    losses = {10: 1.0, 20: math.inf, 30: math.nan}
    write_events(tmp_path / "version_0", {step: {"train/loss": x, "train/accuracy": 0.0} for step, x in losses.items()})
    run = only_run(tmp_path, tmp_path / "store")
    assert run.curves["train_loss"].tolist()[:2] == [1, math.inf] and math.isnan(run.curves["train_loss"][2])


def test_an_epoch_that_is_not_a_number_is_counted_instead(tmp_path: Path) -> None:
    write_events(tmp_path / "version_0", {9: {"train/loss": 1.0, "epoch": math.nan}, 19: {"train/loss": 0.5}})
    assert only_run(tmp_path, tmp_path / "store").curves["epoch"].tolist() == [1, 2]


@pytest.mark.parametrize("tag", ["train/loss", "train/accuracy", "train/l2_norm", "val/accuracy/dataloader_idx_1"])
def test_a_single_known_tag_is_enough_and_the_rest_are_gaps(tag: str, tmp_path: Path) -> None:
    write_events(tmp_path / "version_0", {10: {tag: 0.5}, 20: {tag: 0.25}})
    run = only_run(tmp_path, tmp_path / "store")
    known = [name for name, column in run.curves.items() if not all(map(math.isnan, column))]
    assert len(known) == 3 and set(known) > {"step", "epoch"}


def test_a_second_import_of_the_same_run_is_reported_and_skipped(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_original(tmp_path / "logs" / "version_0", ORIGINAL)
    command = ["--store", str(tmp_path / "store"), "runs", "import", str(tmp_path / "logs")]
    assert main(command) == 0
    assert "Run 1: 3 points from" in capsys.readouterr().out
    assert main(command) == 0
    assert "already; nothing was imported." in capsys.readouterr().out
    with Store(tmp_path / "store") as store:
        assert len(store.runs()) == 1
    write_events(tmp_path / "logs" / "version_0", {311: {"train/loss": 0.1}}, time=99.0)
    assert main(command) == 0
    assert "Run 2: 4 points from" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["nowhere", "empty", "a file", "only other tags", "no event file", "no records"])
def test_an_import_without_runs_gives_an_error_and_creates_no_store(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "logs"
    if kind == "a file":
        folder.write_text("step,loss\n")
    elif kind != "nowhere":
        folder.mkdir()
    if kind == "only other tags":
        write_events(folder, {10: {"loss/of/another/program": 1.0}})
    if kind == "no event file":
        (folder / "events.out.tfevents.txt").write_text("step,loss\n" * 100)
    if kind == "no records":
        (folder / "events.out.tfevents.1.host").write_bytes(b"")
    assert main(["--store", str(tmp_path / "store"), "runs", "import", str(folder)]) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert str(folder) in error and not (tmp_path / "store").exists()


def test_an_invalid_record_gives_a_one_sentence_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    with (tmp_path / "events.out.tfevents.1.host").open("wb") as file:
        RecordWriter(file).write(b"\xff\xffthis is no event")
    assert main(["--store", str(tmp_path / "store"), "runs", "import", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert "cannot be read as an event file" in error


@pytest.mark.parametrize("kind", [kind for kind in ODD if kind != "folder"])  # a folder may have such a name
def test_event_files_that_are_not_regular_files_are_refused_at_once(kind: str, tmp_path: Path) -> None:
    write_events(tmp_path / "whole", {10: {"train/loss": 1.0}})
    make_odd(kind, tmp_path / "odd" / "events.out.tfevents.1")
    read: list[Any] = []
    at_once(lambda: read.append(event_files.read(tmp_path)))
    [(found, [reason])] = read
    assert [one.path for one in found] == [tmp_path / "whole"]
    assert re.search(r"odd/events\.out\.tfevents\.1 cannot be read as an event file: .*\.$", reason)


def test_a_link_to_an_event_file_elsewhere_is_not_followed(tmp_path: Path) -> None:
    file = write_events(tmp_path / "elsewhere", {10: {"train/loss": 1.0}})
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / file.name).symlink_to(file)
    found, [reason] = event_files.read(tmp_path / "given")
    assert not found and "it is a link, and links are not followed" in reason
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert len(event_files.read(tmp_path / "link")[0]) == 1  # the folder itself is what the person has typed


def test_an_event_file_of_terabytes_is_refused_at_once(tmp_path: Path) -> None:
    file = write_events(tmp_path / "sparse", {10: {"train/loss": 1.0}})
    os.truncate(file, 10**12)
    read: list[Any] = []
    at_once(lambda: read.append(event_files.read(tmp_path)))
    [(found, [reason])] = read
    assert not found and "is larger than 1,000 MB" in reason


def test_a_damaged_event_file_is_imported_up_to_the_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_events(tmp_path / "logs", {step: {"train/loss": 1 / step} for step in range(10, 100, 10)})
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert main(["--store", str(tmp_path / "store"), "runs", "import", str(tmp_path / "logs")]) == 0
    captured = capsys.readouterr()
    assert "Run 1: 3 points from" in captured.out
    assert_one_sentence(captured.err)
    assert "is damaged: " in captured.err and f" of {len(data):,} bytes were read." in captured.err
    with Store(tmp_path / "store") as store:
        (event,) = store.events(1)
        assert "is damaged" in event.data["remarks"]


def test_a_truncated_event_file_reports_how_much_was_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_events(tmp_path / "logs", {step: {"train/loss": 1 / step} for step in (10, 20, 30)})
    file.write_bytes(file.read_bytes()[:-7])
    assert main(["--store", str(tmp_path / "store"), "runs", "import", str(tmp_path / "logs")]) == 0
    assert "ends in the middle of a record: " in capsys.readouterr().err


def test_a_file_damaged_from_its_start_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_events(tmp_path / "logs", {10: {"train/loss": 1.0}})
    file.write_bytes(b"\x01" + file.read_bytes()[1:])
    assert main(["--store", str(tmp_path / "store"), "runs", "import", str(tmp_path / "logs")]) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert "has no metrics that can be read: " in error and "is damaged: 0 of" in error
    assert not (tmp_path / "store").exists()


def test_one_bad_folder_does_not_block_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs = tmp_path / "logs"
    write_original(logs / "a", ORIGINAL | {"hidden_dim": -4})
    write_original(logs / "b", ORIGINAL)
    write_events(logs / "c", {10: {"train/loss": 1.0, "epoch": -3.0}})
    assert main(["--store", str(tmp_path / "store"), "runs", "import", str(logs)]) == 1
    captured = capsys.readouterr()
    assert captured.out.splitlines() == [f"Run 1: 3 points from {logs / 'b'}."]
    first, second = captured.err.splitlines()
    assert_one_sentence(first)
    assert_one_sentence(second)
    assert f"{logs / 'a'} records hidden_dim -4" in first and f"{logs / 'c'} records the epoch -3" in second
    assert main(["--store", str(tmp_path / "store"), "runs", "import", str(logs / "c")]) == 2


@pytest.mark.parametrize(
    ("epochs", "said"),
    [
        ([-3.0, 1.0], "records the epoch -3 at step 10: epochs are numbers from 0 to 10,000,000"),
        ([0.0, 1e30], "records the epoch 1e+30 at step 20: epochs are numbers from 0 to 10,000,000"),
        ([5.0, 3.0], "records the epoch 3 at step 20 after 5: epochs never decrease"),
    ],
)
def test_impossible_epochs_give_a_one_sentence_error(
    epochs: list[float], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = {10 * place: {"train/loss": 1.0, "epoch": epoch} for place, epoch in enumerate(epochs, start=1)}
    write_events(tmp_path / "logs", rows)
    assert main(["--store", str(tmp_path / "store"), "runs", "import", str(tmp_path / "logs")]) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert said in error and not (tmp_path / "store").exists()


def test_epochs_that_are_not_numbers_are_counted_and_reported(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    epochs = {10: 4.0, 20: math.nan, 30: math.inf, 40: 7.0}
    write_events(tmp_path / "logs", {step: {"train/accuracy": 0.5, "epoch": epoch} for step, epoch in epochs.items()})
    assert main(["--store", str(tmp_path / "store"), "runs", "import", str(tmp_path / "logs")]) == 0
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert "At 2 of 4 points the epoch is not a number. These epochs were counted." in error
    with Store(tmp_path / "store") as store:
        assert store.curves(1).epochs.tolist() == [5, 6, 7, 8]


def test_a_negative_step_gives_a_one_sentence_error(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_events(tmp_path / "logs", {-10: {"train/loss": 1.0}, 10: {"train/loss": 1.0}})
    assert main(["--store", str(tmp_path / "store"), "runs", "import", str(tmp_path / "logs")]) == 2
    assert "records the step -10: steps are whole numbers from 0 on." in capsys.readouterr().err


EVIL = "evil\x1b]0;title\x07\x1b[31m\x9b32mred\u202e"


def test_no_control_character_of_a_folders_name_reaches_the_terminal_or_the_store(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_original(tmp_path / EVIL / "good", ORIGINAL)
    write_original(tmp_path / EVIL / EVIL, ORIGINAL | {"lr": 0.5})
    write_events(tmp_path / EVIL / "bad", {10: {"train/loss": 1.0, "epoch": -3.0}})
    cut = write_events(tmp_path / EVIL / "cut", {step: {"train/loss": 1 / step} for step in (10, 20)})
    cut.write_bytes(cut.read_bytes()[:-7])
    command = ["--store", str(tmp_path / "store"), "runs", "import", str(tmp_path / EVIL)]
    for arguments in (command, command, ["runs", "list"], ["runs", "show", "2"], ["runs", "show", "2", "--json"]):
        store = [] if arguments is command else ["--store", str(tmp_path / "store")]
        assert main([*store, *arguments]) in (0, 1)
        captured = capsys.readouterr()
        shown = (captured.out + captured.err).replace("\n", "")
        assert "evilred" in shown or "list" in arguments
        assert not [char for char in shown if unicodedata.category(char) in ("Cc", "Cf", "Cs")]
    with Store(tmp_path / "store") as store:
        assert "evilred, imported" in {run.name for run in store.runs()}
