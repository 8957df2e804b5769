"""Reading: regular files alone, never more than was asked for, and never waiting."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from odd_files import ODD, at_once, make_odd

from wdtui import settings
from wdtui.settings import SettingsError
from wdtui.studies import experiments
from wdtui.studies.experiments import ExperimentError
from wdtui.support.files import check_regular, read_regular

QUESTION = 'question = "Why?"\n'


@pytest.mark.parametrize("kind", ODD)
def test_only_regular_files_are_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "odd"
    make_odd(kind, path)
    for act in (lambda: read_regular(path, 1000), lambda: check_regular(path, 1000)):
        with pytest.raises(OSError) as caught:
            at_once(act)
        assert caught.value.strerror


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # the name of a socket must be short
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("odd")
        with pytest.raises(OSError, match="is a socket, not a regular file"):
            read_regular(Path("odd"), 1000)


def test_links_are_followed_only_if_allowed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert read_regular(tmp_path / "link", 1000) == b"content"
    with pytest.raises(OSError, match="is a link"):
        read_regular(tmp_path / "link", 1000, links=False)


def test_files_above_the_size_limit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 1000)
    assert len(read_regular(tmp_path / "file", 1000)) == 1000
    for act in (read_regular, check_regular):
        with pytest.raises(OSError, match="is larger than 999 bytes"):
            act(tmp_path / "file", 999)


def test_files_that_report_a_wrong_size_are_bounded() -> None:
    with pytest.raises(OSError, match="is larger than 3 bytes"):
        read_regular(Path("/proc/cpuinfo"), 3)  # regular, with a size of 0


@pytest.mark.parametrize("kind", ODD)
def test_an_experiment_must_be_a_regular_file(kind: str, tmp_path: Path) -> None:
    make_odd(kind, tmp_path / "odd.toml")
    with pytest.raises(ExperimentError, match=r"odd\.toml cannot be read: .*\.$"):
        at_once(lambda: experiments.load(str(tmp_path / "odd.toml")))


@pytest.mark.parametrize("kind", ODD[:3])
def test_settings_must_be_a_regular_file(kind: str) -> None:
    make_odd(kind, settings.path())
    with pytest.raises(SettingsError, match=r"config\.toml cannot be read: .*\.$"):
        at_once(settings.read)


def test_settings_and_experiments_may_be_links_to_regular_files(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("fps = 2\n")
    settings.path().symlink_to(tmp_path / "file")
    assert settings.read().values == {"fps": 2}
    (tmp_path / "question").write_text(QUESTION)
    (tmp_path / "link.toml").symlink_to(tmp_path / "question")
    assert experiments.load(str(tmp_path / "link.toml")).question == "Why?"


def test_a_toml_file_of_many_megabytes_is_refused(tmp_path: Path) -> None:
    (tmp_path / "long.toml").write_text(f'question = "{"x" * 30_000_000}"\n')
    with pytest.raises(ExperimentError, match="is larger than 1 MB"):
        experiments.load(str(tmp_path / "long.toml"))
    settings.path().write_text(f"# {'x' * 30_000_000}\n")
    with pytest.raises(SettingsError, match="is larger than 1 MB"):
        settings.read()


def test_deeply_nested_toml_is_refused(tmp_path: Path) -> None:
    deep = "a = " + "[" * 100_000
    (tmp_path / "deep.toml").write_text(deep)
    with pytest.raises(ExperimentError, match="nested too deeply"):
        experiments.load(str(tmp_path / "deep.toml"))
    settings.path().write_text(deep)
    with pytest.raises(SettingsError, match="nested too deeply"):
        settings.read()


def test_a_toml_key_of_many_parts_is_refused_at_once(tmp_path: Path) -> None:
    (tmp_path / "deep.toml").write_text(QUESTION + "a" + ".a" * 100_000 + " = 1\n")
    with pytest.raises(ExperimentError, match="nested too deeply"):
        at_once(lambda: experiments.load(str(tmp_path / "deep.toml")))
