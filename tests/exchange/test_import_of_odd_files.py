"""Event files as they are found in the wild: cut off, resumed, with gaps, taken in twice, or none at all."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from command_line import assert_one_sentence
from exchange_tools import ORIGINAL, taken_in, write_events, write_original
from odd_files import ODD, at_once, make_odd

from wdtui.cli.main import main
from wdtui.exchange.taken import ExchangeError, Run, take
from wdtui.runs.store import Store

pytest.importorskip("tensorboard")

from wdtui.exchange import event_files


def only_run(folder: Path, store: Path) -> Run:
    with Store(store) as opened:
        (run_id,) = taken_in(folder, opened)
        return take(opened, run_id)


@pytest.mark.parametrize("missing", [1, 7, 40])
def test_a_file_cut_off_in_the_middle_of_a_record_is_read_up_to_there(missing: int, tmp_path: Path) -> None:
    file = write_events(tmp_path / "killed", {step: {"train/loss": 1 / step} for step in (10, 20, 30)})
    file.write_bytes(file.read_bytes()[:-missing])
    run = only_run(tmp_path, tmp_path / "store")
    assert run.curves["step"].tolist() == [10, 20]


def test_of_steps_measured_twice_the_later_measurement_counts(tmp_path: Path) -> None:
    killed = {step: {"train/loss": 1.0, "val/accuracy/dataloader_idx_1": 0.25} for step in (10, 20, 30)}
    resumed = {step: {"train/loss": 2.0} for step in (30, 40)}
    write_events(tmp_path / "version_0", resumed, time=1000.0)  # its file is the first by name, yet the later one
    write_events(tmp_path / "version_0", killed, time=1.0)
    run = only_run(tmp_path, tmp_path / "store")
    assert run.curves["step"].tolist() == [10, 20, 30, 40]
    assert run.curves["train_loss"].tolist() == [1, 1, 2, 2]
    assert run.curves["test_accuracy"].tolist()[:3] == [0.25] * 3 and math.isnan(run.curves["test_accuracy"][3])


def test_the_hyperparameters_may_stand_in_any_of_the_files(tmp_path: Path) -> None:
    write_events(tmp_path / "version_0", {10: {"train/loss": 1.0}}, hparams=ORIGINAL)
    write_events(tmp_path / "version_0", {20: {"train/loss": 0.5}}, time=9.0)
    run = only_run(tmp_path, tmp_path / "store")
    assert run.config.width == 128 and len(run) == 2


def test_a_training_that_blew_up_keeps_what_is_not_a_number(tmp_path: Path) -> None:
    losses = {10: 1.0, 20: math.inf, 30: math.nan}
    write_events(tmp_path / "version_0", {step: {"train/loss": x, "train/accuracy": 0.0} for step, x in losses.items()})
    run = only_run(tmp_path, tmp_path / "store")
    assert run.curves["train_loss"].tolist()[:2] == [1, math.inf] and math.isnan(run.curves["train_loss"][2])


def test_an_epoch_that_is_no_number_is_counted_instead(tmp_path: Path) -> None:
    write_events(tmp_path / "version_0", {9: {"train/loss": 1.0, "epoch": math.nan}, 19: {"train/loss": 0.5}})
    assert only_run(tmp_path, tmp_path / "store").curves["epoch"].tolist() == [1, 2]


@pytest.mark.parametrize("tag", ["train/loss", "train/accuracy", "train/l2_norm", "val/accuracy/dataloader_idx_1"])
def test_a_single_known_tag_is_enough_and_the_rest_are_gaps(tag: str, tmp_path: Path) -> None:
    write_events(tmp_path / "version_0", {10: {tag: 0.5}, 20: {tag: 0.25}})
    run = only_run(tmp_path, tmp_path / "store")
    known = [name for name, column in run.curves.items() if not all(map(math.isnan, column))]
    assert len(known) == 3 and set(known) > {"step", "epoch"}


def test_what_was_taken_in_before_is_said_and_not_doubled(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_original(tmp_path / "logs" / "version_0", ORIGINAL)
    command = ["--store", str(tmp_path / "store"), "runs", "import", str(tmp_path / "logs")]
    assert main(command) == 0
    assert "Run 1: 3 points from" in capsys.readouterr().out
    assert main(command) == 0
    assert "already; nothing was added." in capsys.readouterr().out
    with Store(tmp_path / "store") as store:
        assert len(store.runs()) == 1
    write_events(tmp_path / "logs" / "version_0", {311: {"train/loss": 0.1}}, time=99.0)
    assert main(command) == 0
    assert "Run 2: 4 points from" in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["nowhere", "empty", "a file", "only other tags", "no event file", "no records"])
def test_what_holds_no_run_is_one_sentence_and_makes_no_store(
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


def test_a_record_that_is_no_event_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from tensorboard.summary.writer.record_writer import RecordWriter

    with (tmp_path / "events.out.tfevents.1.host").open("wb") as file:
        RecordWriter(file).write(b"\xff\xffthis is no event")
    assert main(["--store", str(tmp_path / "store"), "runs", "import", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert "cannot be read as an event file" in error


@pytest.mark.parametrize("kind", [kind for kind in ODD if kind != "folder"])  # a folder may have such a name
def test_an_event_file_that_is_no_regular_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    write_events(tmp_path / "whole", {10: {"train/loss": 1.0}})
    make_odd(kind, tmp_path / "odd" / "events.out.tfevents.1")
    with pytest.raises(ExchangeError, match=r"odd/events\.out\.tfevents\.1 cannot be read as an event file: .*\.$"):
        at_once(lambda: event_files.read(tmp_path))


def test_a_link_to_an_event_file_elsewhere_is_not_followed(tmp_path: Path) -> None:
    file = write_events(tmp_path / "elsewhere", {10: {"train/loss": 1.0}})
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / file.name).symlink_to(file)
    with pytest.raises(ExchangeError, match="it is a link, which is not followed here"):
        event_files.read(tmp_path / "given")
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert len(event_files.read(tmp_path / "link")) == 1  # the folder itself is what the person has typed


def test_an_event_file_of_terabytes_is_refused_at_once(tmp_path: Path) -> None:
    file = write_events(tmp_path / "sparse", {10: {"train/loss": 1.0}})
    os.truncate(file, 10**12)
    with pytest.raises(ExchangeError, match="is larger than 1,000 MB"):
        at_once(lambda: event_files.read(tmp_path))
