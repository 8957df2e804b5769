"""What is handed over is what the store holds, as the tools that read it see it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import TINY, assert_one_sentence, wdtui
from exchange_tools import CONFIG, NAMES, stored_run

from wdtui.cli.main import main
from wdtui.exchange import exported
from wdtui.exchange.export import FORMATS, export
from wdtui.exchange.exported import ExchangeError, Run, load, stream
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Point
from wdtui.store.records import Status
from wdtui.store.store import Store
from wdtui.support import environment
from wdtui.support.outputs import FileError


def test_every_number_of_a_csv_reads_back_exactly(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "store")
    (path,) = export([run], "csv", tmp_path / "points.csv")
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == list(run.curves) and len(rows) == 3
    for name, column in zip(header, zip(*rows, strict=True), strict=True):
        np.testing.assert_array_equal(np.array([float(text) for text in column]), run.curves[name])


def test_numpy_reads_the_csv_by_column_name(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "store")
    (path,) = export([run], "csv", tmp_path / "points.csv")
    read = np.genfromtxt(path, delimiter=",", names=True, deletechars="")
    np.testing.assert_array_equal(read["test_loss"], run.curves["test_loss"])
    np.testing.assert_array_equal(read["sharpness"], run.curves["sharpness"])


def test_json_is_strict_and_holds_config_milestones_events_and_points(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "store")
    (path,) = export([run], "json", tmp_path / "run.json")

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    assert RunConfig.from_mapping(read["config"]) == CONFIG
    assert read["milestones"]["fit_step"] == 1 and read["events"][0]["kind"] == "steered"
    assert read["points"]["sharpness"] == [None, run.curves["sharpness"][1], None]
    assert read["points"]["test_loss"] == run.curves["test_loss"].tolist()


def test_parquet_has_typed_columns_and_the_rest_of_the_run_in_its_metadata(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    run = stored_run(tmp_path / "store")
    (path,) = export([run], "parquet", tmp_path / "run.parquet")
    table = parquet.read_table(path)
    assert table.column_names == list(run.curves) and str(table.schema.field("step").type) == "int64"
    for name, column in run.curves.items():
        np.testing.assert_array_equal(table[name].to_numpy(), column)
    about = json.loads(table.schema.metadata[b"wdtui"])
    assert RunConfig.from_mapping(about["config"]) == CONFIG and about["milestones"]["fit_step"] == 1


def test_tensorboard_opens_the_scalars_and_the_hyperparameters(tmp_path: Path) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from tensorboard.plugins.hparams import metadata

    run = stored_run(tmp_path / "store")
    for _ in range(2):  # the second takes the first's place
        (path,) = export([run], "tensorboard", tmp_path / "board")
    events = accumulator.EventAccumulator(str(path), size_guidance={"scalars": 0}).Reload()
    milestones = {f"milestones/{name}" for name in ("fit_step", "generalise_step", "blowups")}
    assert {*events.Tags()["scalars"]} == {*run.curves, *milestones} - {"step"}
    read = events.Scalars("test_loss")
    assert [scalar.step for scalar in read] == [1, 2, 3]
    np.testing.assert_array_equal(np.float32([scalar.value for scalar in read]), np.float32(run.curves["test_loss"]))
    assert [scalar.step for scalar in events.Scalars("sharpness")] == [2]
    content = events.summary_metadata[metadata.SESSION_START_INFO_TAG].plugin_data.content
    hyperparameters = metadata.parse_session_start_info_plugin_data(content).hparams
    assert hyperparameters["weight_decay"].number_value == 0.3
    assert hyperparameters["batch_norm"].bool_value and hyperparameters["train_digits"].string_value == "2"


def test_a_run_without_points_is_exported_in_every_format(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("tensorboard")
    with Store(tmp_path) as store:
        run = load(store, store.add_run(CONFIG))
    for format in FORMATS:
        (path,) = export([run], format, tmp_path / f"empty.{format}")
        assert path.exists()


def test_several_runs_go_into_a_folder_under_their_numbers(tmp_path: Path) -> None:
    runs = [stored_run(tmp_path / "store"), stored_run(tmp_path / "store")]
    paths = export(runs, "csv", tmp_path / "new")
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == ["new/run-1.csv", "new/run-2.csv"]
    with pytest.raises(ExchangeError, match="is the name of a file"):
        export(runs, "csv", paths[0])


def test_the_error_for_a_missing_extra_says_what_to_install(tmp_path: Path) -> None:
    stored_run(tmp_path)
    program = (
        "import sys; sys.modules['pyarrow'] = sys.modules['tensorboard'] = None\n"
        "from wdtui.cli.main import main\n"
        "for format in ('parquet', 'tensorboard'): print(main([*sys.argv[1:], '--format', format]))"
    )
    arguments = ["--store", str(tmp_path), "runs", "export", "1", "--output", str(tmp_path / "x")]
    result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert result.stdout.split() == ["2", "2"]
    for format, error in zip(("parquet", "tensorboard"), result.stderr.splitlines(), strict=True):
        assert_one_sentence(error)
        assert f"pip install 'wdtui[{format}]'" in error


def test_the_command_exports_what_was_trained_without_importing_torch(tmp_path: Path) -> None:
    assert wdtui("run", *TINY, "--epochs", "2", "--headless", store=tmp_path).returncode == 0
    program = (
        "import sys; from wdtui.cli.main import main; status = main(sys.argv[1:]);"
        "sys.exit('imported torch' if 'torch' in sys.modules else status)"
    )
    arguments = ["--store", str(tmp_path), "runs", "export", "last", "--output", str(tmp_path / "new" / "a.csv")]
    result = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert "2 points" in result.stdout and len((tmp_path / "new" / "a.csv").read_text().splitlines()) == 3
    refused = wdtui("runs", "export", "7", store=tmp_path)
    assert refused.returncode == 2
    assert_one_sentence(refused.stderr)


def test_the_documented_commands_export_and_import_runs(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    page = (Path(__file__).parents[2] / "docs" / "commands.md").read_text(encoding="utf-8")
    block = page.split("## Export and import")[1].split("```sh\n")[1].split("```")[0]
    commands = [line.split("#")[0].split()[1:] for line in block.strip().splitlines()]
    store = tmp_path / "store"
    runs = [stored_run(store), stored_run(store)]
    export(runs[:1], "tensorboard", tmp_path / "lightning_logs")
    for command in commands:
        result = wdtui(*command, store=store, cwd=tmp_path)
        assert result.returncode == 0, result.stderr
    assert {"run-1.csv", "run-2.csv", "run.json", "plain.py"} <= {path.name for path in tmp_path.iterdir()}
    assert take_last(store).config == CONFIG


def take_last(folder: Path) -> Run:
    with Store(folder) as store:
        return load(store, "last")


def test_a_run_can_be_exported_to_stdout(tmp_path: Path) -> None:
    stored_run(tmp_path / "store", "mine")
    result = wdtui("runs", "export", "1", "--output", "-", store=tmp_path / "store", cwd=tmp_path)
    assert result.returncode == 0 and result.stdout.startswith("step,epoch,")
    assert "Run 1: " in result.stderr and not (tmp_path / "-").exists()
    log = tmp_path / "log"
    log.write_text("what was there\n")
    for format in ("csv", "json"):
        with log.open("a") as file:
            command = ["--store", str(tmp_path / "store"), "runs", "export", "1", "--format", format, "--output", "-"]
            assert (
                environment.start_module("wdtui.__main__", command, stdout=file, stderr=subprocess.DEVNULL).wait(60)
                == 0
            )
    assert log.read_text().startswith(f"what was there\n{result.stdout}{{")
    refused = wdtui("runs", "export", "1", "--format", "parquet", "--output", "-", store=tmp_path / "store")
    assert refused.returncode == 2 and "--output - works for one run, as csv or json" in refused.stderr


def wdtui_here(store: Path, *arguments: str) -> int:
    """The program, in this process."""
    return main(["--store", str(store), *arguments])


@pytest.mark.parametrize("format", FORMATS)
def test_an_export_replaces_files_only_with_force(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("tensorboard")
    stored_run(tmp_path / "store")
    monkeypatch.chdir(tmp_path)
    command = ("runs", "export", "1", "--format", format)
    assert wdtui_here(tmp_path / "store", *command) == 0
    target = tmp_path / f"run-1{FORMATS[format].suffix}"
    files = [target] if target.is_file() else list(target.iterdir())
    before = [file.read_bytes() for file in files]
    capsys.readouterr()
    assert wdtui_here(tmp_path / "store", *command) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert "Give --force to replace it" in error and [file.read_bytes() for file in files] == before
    assert wdtui_here(tmp_path / "store", *command, "--force") == 0
    assert len([target] if target.is_file() else list(target.iterdir())) == 1


def test_if_one_of_several_files_exists_nothing_is_exported(tmp_path: Path) -> None:
    runs = [stored_run(tmp_path / "store"), stored_run(tmp_path / "store")]
    (tmp_path / "run-2.csv").write_text("mine")
    with pytest.raises(FileError, match=r"run-2\.csv already exists"):
        export(runs, "csv", tmp_path)
    assert not (tmp_path / "run-1.csv").exists() and (tmp_path / "run-2.csv").read_text() == "mine"


def test_no_export_writes_through_a_link_or_into_the_store(tmp_path: Path) -> None:
    run = stored_run(tmp_path / "store")
    kept = tmp_path / "kept"
    kept.write_text("kept")
    (tmp_path / "run-1.csv").symlink_to(kept)
    with pytest.raises(FileError, match=r"run-1\.csv is a link"):
        export([run], "csv", tmp_path, force=True)
    with pytest.raises(FileError, match="belongs to the run store"):
        export([run], "csv", tmp_path / "store" / "wdtui.sqlite3", force=True)
    assert kept.read_text() == "kept" and len(take_last(tmp_path / "store")) == 3


@pytest.mark.parametrize("name", ["one.parquet", "one.csv", "one.JSON"])
def test_several_runs_cannot_be_exported_to_one_file(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stored_run(tmp_path / "store", "a")
    stored_run(tmp_path / "store", "b")
    target = tmp_path / name
    assert wdtui_here(tmp_path / "store", "runs", "export", "1", "2", "--format", "csv", "--output", str(target)) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert "is the name of a file, but 2 runs need a folder" in error and not target.exists()
    same = ("runs", "export", "1", "a", "--output", str(tmp_path / "same.csv"))
    assert wdtui_here(tmp_path / "store", *same) == 0, "one run by two names"


def test_the_default_format_follows_the_file_name(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    stored_run(tmp_path / "store")
    for name in ("a.json", "a.parquet", "a.txt"):
        assert wdtui_here(tmp_path / "store", "runs", "export", "1", "--output", str(tmp_path / name)) == 0
    assert json.loads((tmp_path / "a.json").read_text())["id"] == 1
    assert parquet.read_table(tmp_path / "a.parquet").num_rows == 3
    assert (tmp_path / "a.txt").read_text().startswith("step,epoch,")


POINTS = 3_000


@pytest.fixture(scope="module")
def long_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a run of POINTS points, 2 MB as they are stored."""
    folder = tmp_path_factory.mktemp("long")
    values = np.random.default_rng(0).random((POINTS, len(NAMES))).round(3).tolist()
    with Store(folder) as store:
        run_id = store.add_run(CONFIG.replace(epochs=POINTS))
        points = [Point(n, n, tuple(row)) for n, row in enumerate(values, start=1)]
        store.append(store.run(run_id).claim, points, speed=1.0, milestones={})
        store.set_status(store.run(run_id).claim, Status.DONE)
    return folder


PEAK = """
import sys, tracemalloc
from pathlib import Path
from wdtui.exchange import exported
from wdtui.exchange.export import export
from wdtui.exchange.exported import stream
from wdtui.store import store as store_module
from wdtui.store.store import Store

store, short, format, out = sys.argv[1:]
store_module._PIECE, exported._COLUMN_BYTES = 100, 150_000
with Store(Path(short)) as opened:
    export([stream(opened, 1)], format, Path(out, f"warm.{format}"))  # what is imported does not count
with Store(Path(store)) as opened:
    tracemalloc.start()
    export([stream(opened, 1)], format, Path(out, f"long.{format}"))
    print(tracemalloc.get_traced_memory()[1])
"""
"""In a process of its own, as threads of other tests would count too."""


@pytest.mark.parametrize("format", ["csv", "json", "parquet"])
def test_an_export_reads_the_points_in_chunks(format: str, long_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    stored_run(tmp_path / "short")
    command = [sys.executable, "-c", PEAK, str(long_run), str(tmp_path / "short"), format, str(tmp_path)]
    peak = int(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout)
    stored = POINTS * (2 + len(NAMES)) * 8
    assert peak < stored / 2, f"{peak:,} bytes for {stored:,} of points"


@pytest.mark.parametrize("format", FORMATS)
def test_reading_points_in_chunks_gives_the_same_file(
    format: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("pyarrow")
    pytest.importorskip("tensorboard")
    whole = stored_run(tmp_path / "store")
    monkeypatch.setattr("wdtui.store.store._PIECE", 2)
    monkeypatch.setattr(exported, "_COLUMN_BYTES", 50)
    with Store(tmp_path / "store") as store:
        run = stream(store, 1)
        assert len(run) == 3 and run.milestones == whole.milestones
        for name, column in run.curves.items():
            np.testing.assert_array_equal(column, whole.curves[name])
            assert column.dtype == whole.curves[name].dtype
        (parts,), (once,) = export([run], format, tmp_path / "parts"), export([whole], format, tmp_path / "once")
    if format == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
        for a, b in zip(parquet.read_table(parts).columns, parquet.read_table(once).columns, strict=True):
            np.testing.assert_array_equal(a.to_numpy(), b.to_numpy())
    elif format == "tensorboard":
        (a,), (b,) = parts.iterdir(), once.iterdir()
        assert len(a.read_bytes()) == len(b.read_bytes())
    else:
        assert parts.read_bytes() == once.read_bytes()


def test_a_run_that_changes_during_an_export_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored_run(tmp_path / "store")
    with Store(tmp_path / "store") as store:
        run = stream(store, 1)
        store.truncate(store.run(1).claim, 2)
        with pytest.raises(ExchangeError, match=r"changed while it was read\. Try again"):
            export([run], "csv", tmp_path / "out.csv")
    assert not list(tmp_path.glob("*out*"))
