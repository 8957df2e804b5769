"""`wdtui plot` and `wdtui experiments report`, as real processes on a store that was written beforehand."""

from __future__ import annotations

import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
from command_line import assert_one_sentence, wdtui

from wdtui.analysis.milestones import milestones
from wdtui.cli.main import main
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.curves import Curves, Point
from wdtui.store.store import Status, Store
from wdtui.studies.experiments import load
from wdtui.studies.grid import Grid

FILE = """
question = "Does <b>weight decay</b> shrink & generalise?"
expected = "The norm."
[config]
width = 8
epochs = 3
[axes]
weight_decay = [0.0, 0.1]
seed = [0, 1]
[quick.config]
epochs = 2
[[claims]]
says = "With λ > 0 the norm is < 5."
measure = "weight_norm"
where = { weight_decay = 0.1 }
at_most = 5
[[claims]]
says = "Nobody ever fits."
measure = "fitted"
where = { weight_decay = 0.0 }
at_most = 0
[[claims]]
says = "Together."
measure = "weight_norm"
along = "weight_decay"
find = "largest_rise"
at_most = 0
"""
CONFIG = RunConfig(width=8, epochs=3)


def train(store: Store, config: RunConfig, name: str = "") -> int:
    """A finished run, without the training: it fits at once, and its norm is 9 less 60 λ."""
    run_id = store.add_run(config, name=name)
    store.claim(run_id, device="cpu", threads=1, versions={"wdtui": "0.1.0", "torch": "2.13.0"})
    values = {"train_accuracy": 1.0, "test_accuracy": 0.25, "weight_norm": 9 - 60 * config.weight_decay}
    points = [Point(78 * e, e, tuple(values.get(n, 0.5) for n in config.columns)) for e in range(1, config.epochs + 1)]
    store.append(
        store.run(run_id).claim,
        points,
        speed=1.0,
        milestones=milestones(Curves.of(config.columns, points), RunConfig.schema().judged).to_json(),
    )
    store.set_status(store.run(run_id).claim, Status.DONE)
    return run_id


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs 1 to 3, of an experiment that has four; run 4 without points; sweeps S1 with one axis, S2 with none."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "mine.toml").write_text(FILE, encoding="utf-8")
    with Store(folder) as store:
        cells = load(str(folder / "mine.toml")).cells()
        for cell, name in zip((cells[0], cells[2], cells[3]), ("</svg><script>", "", ""), strict=True):
            train(store, cell, name)
        store.add_run(CONFIG.replace(seed=9))
        for axes in ({"weight_decay": [0.0, 0.1]}, {}):
            sweep = store.sweeps.add(Grid.of(CONFIG, axes))
            for place, config in enumerate(store.sweeps.get(sweep).cells):
                store.sweeps.attach(sweep, place, train(store, config.config))
    return folder


def test_plot_draws_runs_and_sweeps_and_prints_the_path(folder: Path, tmp_path: Path) -> None:
    one = wdtui("plot", "1", store=folder, cwd=tmp_path)
    assert one.returncode == 0 and one.stdout == "Wrote run-1.png.\n" and one.stderr == ""
    assert (tmp_path / "run-1.png").read_bytes().startswith(b"\x89PNG")
    assert wdtui("plot", "s1", store=folder, cwd=tmp_path).stdout == "Wrote sweep-s1.png.\n"
    several = wdtui("plot", "1", "2", "--metric", "test_loss", "--output", "a.SVG", store=folder, cwd=tmp_path)
    assert several.stdout == "Wrote a.SVG.\n" and "<svg" in (tmp_path / "a.SVG").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["1", "--output", "a.pdf"], "ends in .png or .svg"),
        (["1", "--output", "no/such/folder/a.png"], "cannot be written"),
        (["1", "--metric", "test_los"], "test_loss"),
        (["1", "--metric", "sharpness"], "not measured in any of these runs"),
        (["S1", "--metric", "bn_variance_min/block1.norm1"], "no metric bn_variance_min/block1.norm1"),
        (["S1", "1"], "either one sweep or runs"),
        (["S2"], "no axis but seeds"),
        (["S7"], "no sweep S7"),
        (["77"], "no run 77"),
        (["4"], "no points yet"),
    ],
)
def test_plot_refuses_in_one_sentence(folder: Path, tmp_path: Path, arguments: list[str], says: str) -> None:
    result = wdtui("plot", *arguments, store=folder, cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert_one_sentence(result.stderr)
    assert says in result.stderr and not list(tmp_path.iterdir())


def test_without_matplotlib_plot_says_how_to_install_it(folder: Path, tmp_path: Path) -> None:
    program = (
        "import importlib.util as u, sys; find = u.find_spec;"
        "u.find_spec = lambda name, *rest: None if name == 'matplotlib' else find(name, *rest);"
        "from wdtui.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    for command in (["plot", "1"], ["experiments", "report", "demo"]):
        command = [sys.executable, "-c", program, *command, "--store", str(folder)]
        result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
        assert result.returncode == 2 and "pip install 'wdtui[plot]'" in result.stderr
        assert_one_sentence(result.stderr)


class Page(HTMLParser):
    """What a page holds; fails where a tag is closed that was not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [str(value) for name, value in attributes if name in ("href", "src", "xlink:href", "srcset")]
        self.ids += [str(value) for name, value in attributes if name == "id"]
        if tag not in ("meta", "br", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attributes)
        if self.open[-1] == tag:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_is_self_contained_and_shows_each_claim(folder: Path, tmp_path: Path) -> None:
    result = wdtui("experiments", "report", str(folder / "mine.toml"), store=folder, cwd=tmp_path)
    assert result.returncode == 0 and result.stdout == "Wrote mine.html.\n" and result.stderr == ""
    text = (tmp_path / "mine.html").read_text(encoding="utf-8")
    page = Page(text)
    assert page.open == [] and page.tags.count("svg") == 2 and len(page.ids) == len(set(page.ids)) > 10
    assert not {"script", "link", "img", "iframe", "b"} & set(page.tags)
    assert page.links and all(link.startswith("#") for link in page.links)
    assert "@import" not in text and "url(http" not in text and "prefers-color-scheme" in text
    assert "Does <b>weight decay</b> shrink & generalise?" in page.text
    for says in ("With λ > 0 the norm is < 5.", "Nobody ever fits.", "Together."):
        assert says in page.text
    assert "3 claims: 1 holds, 2 not run. 3 of 4 runs are trained" in page.text
    assert "✓ holds" in page.text and "Weight norm at the end: 3 (median of 3, 3); claimed: at most 5." in page.text
    assert "1 of its 2 runs are missing. Claim: the share of seeds that fit: at most 0 %." in page.text
    assert "torch 2.13.0" in page.text and f"wdtui experiments verify {folder}/mine.toml" in page.text
    assert "missing" in page.text, "the state of the cell that lacks a run"


def test_a_report_without_runs_says_so(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "quick.html"
    experiment = str(folder / "mine.toml")
    result = wdtui("experiments", "report", experiment, "--quick", "--output", str(path), store=folder)
    assert result.returncode == 0, result.stderr
    page = Page(path.read_text(encoding="utf-8"))
    assert "None of the 4 runs is trained yet" in page.text and "svg" not in page.tags and "quick variant" in page.text
    assert page.text.count("not run") >= 3 and "--quick" in page.text


def test_a_report_that_cannot_be_written_is_refused(folder: Path, tmp_path: Path) -> None:
    for arguments in (["demo", "--output", "a.pdf"], ["demo", "--quick"], ["demoo"], ["demo", "--output", "no/a.html"]):
        result = wdtui("experiments", "report", *arguments, store=folder, cwd=tmp_path)
        assert result.returncode == 2, result.stderr
        assert_one_sentence(result.stderr)


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (["plot", "1"], "run-1.png"),
        (["experiments", "report", "MINE"], "mine.html"),
        (["runs", "script", "1", "--output", "run.py"], "run.py"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_pictures_replace_files_only_with_force_and_follow_no_link(
    command: list[str],
    name: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = ["--store", str(folder), *(str(folder / "mine.toml") if word == "MINE" else word for word in command)]
    (tmp_path / name).write_text("mine")
    assert main(given) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert f"{name} already exists. Give --force to replace it" in error and (tmp_path / name).read_text() == "mine"
    assert main([*given, "--force"]) == 0
    assert (tmp_path / name).read_bytes() != b"mine" and [path.name for path in tmp_path.iterdir()] == [name]
    (tmp_path / "kept").write_text("kept")
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(tmp_path / "kept")
    assert main([*given, "--force"]) == 2
    assert (tmp_path / "kept").read_text() == "kept" and "is a link" in capsys.readouterr().err


def test_a_benchmark_does_not_replace_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "speed.json").write_text("mine")
    assert main(["bench", "--output", str(tmp_path / "speed.json")]) == 2
    assert "speed.json already exists. Give --force" in capsys.readouterr().err
    assert (tmp_path / "speed.json").read_text() == "mine"
