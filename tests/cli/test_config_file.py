"""Settings: a flag over the environment over the file over what is built in, and errors that say what is meant."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from command_line import TINY, assert_one_sentence

from wdtui import settings
from wdtui.cli.main import main
from wdtui.settings import SETTINGS
from wdtui.settings_file import changed
from wdtui.store.store import Store, default_folder


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WDTUI_CONFIG", str(tmp_path / "some" / "config.toml"))
    for setting in SETTINGS.values():
        monkeypatch.delenv(setting.variable, raising=False)
    return settings.path()


def shown(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    capsys.readouterr()
    assert main(["config", "show", "--json"]) == 0
    rows = map(json.loads, capsys.readouterr().out.splitlines())
    return {row["name"]: (row["value"], row["source"]) for row in rows}


def test_the_environment_overrides_the_file_and_the_file_the_defaults(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert shown(capsys)["fps"] == (3.0, "built in")
    assert main(["config", "set", "fps", "2"]) == 0
    assert shown(capsys)["fps"] == (2.0, "the file")
    monkeypatch.setenv("WDTUI_FPS", "8")
    assert shown(capsys)["fps"] == (8.0, "$WDTUI_FPS")
    monkeypatch.delenv("WDTUI_FPS")
    assert main(["config", "unset", "fps"]) == 0
    assert shown(capsys)["fps"] == (3.0, "built in")


def test_a_flag_overrides_the_settings(file: Path, tmp_path: Path) -> None:
    main(["config", "set", "threads", "2"])
    main(["config", "set", "store", str(tmp_path / "lab")])
    run = ["run", *TINY[:-2], "--epochs", "1", "--headless", "--json"]
    assert main(run) == 0 and main([*run, "--threads", "1"]) == 0
    assert default_folder() == tmp_path / "lab"
    with Store() as store:
        assert [run.threads for run in store.runs()] == [1, 2]


def test_the_file_keeps_its_comments_and_its_order(file: Path) -> None:
    file.parent.mkdir()
    file.write_text(
        '# mine\ntheme = "light" # bright\n\n[keys]\n# run\nlaunch = "f5"\n\n[themes.sea]\naccent = "#56b4e9"\n'
    )
    for name, value in {"fps": "2", "keys.stop": "f8", "themes.sea.line": "#333333", "theme": "sea"}.items():
        assert main(["config", "set", name, value]) == 0
    assert file.read_text() == (
        '# mine\ntheme = "sea"\nfps = 2.0\n\n[keys]\n# run\nlaunch = "f5"\nstop = "f8"\n\n'
        '[themes.sea]\naccent = "#56b4e9"\nline = "#333333"\n'
    )
    assert main(["config", "unset", "keys.launch"]) == 0 and settings.read().keys == {"stop": "f8"}


WRONG = {
    ("fsp", "1"): "fsp is not a setting; did you mean fps?",
    ("foo", "1"): "foo is not a setting. The settings are theme, device, store, fps, threads, shared, keys, themes.",
    ("fps", "99"): "fps: 99 is not allowed; give a number ≥ 0.1 and ≤ 30",
    ("device", "gpu"): "device: gpu is not allowed; give auto, cpu, cuda, cuda:N or mps",
    ("theme", "lihgt"): "there is no theme lihgt; did you mean light? The themes are auto, dark, light, plain.",
    ("theme", "neon"): "there is no theme neon. The themes are auto, dark, light, plain.",
    ("keys.luanch", "f5"): "there is no action luanch; did you mean launch?",
    ("keys.launch", "s"): "keys.launch: s is the key of steer already",
    ("keys.launch", "j"): "keys.launch: j is the key of run_below already",
    ("keys.pause", "end"): "keys.pause: end is the key of last_run already",
    ("keys.launch", "f99"): "keys.launch: f99 is not a key",
    ("keys.launch", "escape"): "escape has a meaning everywhere",
    ("themes.sea.acent", "#fff"): "acent is not a key of a theme; did you mean accent?",
    ("themes.sea.accent", "bluish"): "bluish is not a colour",
}


@pytest.mark.parametrize(("given", "said"), WRONG.items())
def test_an_invalid_setting_is_reported_and_not_written(
    given: tuple[str, str], said: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["config", "set", *given]) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert said in error and not file.exists()


def test_an_unknown_theme_in_the_environment_is_reported(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WDTUI_THEME", "lihgt")
    assert main(["config", "show"]) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert (
        "$WDTUI_THEME: there is no theme lihgt; did you mean light? The themes are auto, dark, light, plain." in error
    )
    assert main(["config", "set", "themes.lihgt.accent", "#56b4e9"]) == 0
    assert shown(capsys)["theme"] == ("lihgt", "$WDTUI_THEME")


@pytest.mark.parametrize("text", ["fps = [", "fsp = 1", 'keys = "f5"', "[keys]\nlaunch = 5", "theme = 3"])
def test_an_invalid_settings_file_gives_a_one_sentence_error(
    text: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file.parent.mkdir()
    file.write_text(text)
    assert main(["run", "demo", "--headless"]) == 2
    error = capsys.readouterr().err
    assert_one_sentence(error)
    assert str(file) in error


def test_unusual_formatting_of_the_settings_is_preserved() -> None:
    with pytest.raises(settings.SettingsError, match="Edit it by hand"):
        changed('keys = { launch = "f5" }\n', "keys.launch", "f6")


def test_no_setting_is_read_from_elsewhere_in_a_test() -> None:
    assert "pytest" in os.environ["WDTUI_CONFIG"]
