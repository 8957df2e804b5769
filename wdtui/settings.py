"""SETTINGS: what a person may set once for all commands, defined once, and the TOML file that they are read from.

theme = "light"             any of SETTINGS; a flag wins over the environment, that over the file, that over the default
[keys]                      other keys for what the app does: launch = "f5"
[themes.NAME]               colours of one's own over those of a base: base = "dark", accent = "#56b4e9"

Plain Python: no torch, no UI. What only the app can judge, keys and colours, is checked in `tui/`.
"""

from __future__ import annotations

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wdtui.schema.hyperparameters import ConfigError, Hyperparameter, Value, nearest
from wdtui.support.errors import WdtuiError
from wdtui.support.files import parse_toml, read_toml_text

TABLES = ("keys", "themes")
THEMES = ("auto", "dark", "light", "plain")


class SettingsError(WdtuiError, ValueError):
    """Invalid settings; the message is one sentence."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting(Hyperparameter):
    """One setting: read and checked as a hyperparameter is, or a text of a certain form."""

    variable: str = ""
    """The environment variable that sets it."""
    pattern: str = ""
    words: str = ""
    """What a text may be, as a pattern and in words."""

    @property
    def allowed(self) -> str:
        return self.words or super().allowed

    def check(self, value: Any) -> Value:
        if self.kind != "text":
            return super().check(value)
        if not isinstance(value, str) or not re.fullmatch(self.pattern, value):
            raise self._refusal(value)
        return value

    def _parsed(self, text: str) -> Any:
        return text if self.kind == "text" else super()._parsed(text)


SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for setting in (
        Setting(
            name="theme",
            kind="text",
            default="auto",
            variable="WDTUI_THEME",
            pattern=r"[\w-]+",
            words=f"{', '.join(THEMES)} or the name of your own theme",
            help="The app's colours. auto selects dark, or plain on a terminal with 16 colours.",
        ),
        Setting(
            name="device",
            kind="text",
            default="auto",
            variable="WDTUI_DEVICE",
            pattern=r"auto|cpu|cuda(:\d+)?|mps",
            words="auto, cpu, cuda, cuda:N or mps",
            help="Device for new runs.",
        ),
        Setting(
            name="store",
            kind="text",
            optional=True,
            variable="WDTUI_HOME",
            pattern=r".+",
            words="a folder",
            help="Folder of the run store; by default in the system's folder for user data.",
        ),
        Setting(
            name="fps",
            kind="float",
            default=3.0,
            ge=0.1,
            le=30,
            variable="WDTUI_FPS",
            help="How often per second the app reads new points; use less on slow connections.",
        ),
        Setting(
            name="threads",
            kind="int",
            optional=True,
            ge=1,
            le=4096,
            variable="WDTUI_THREADS",
            help="CPU threads of a new run; by default chosen by its width.",
        ),
        Setting(
            name="shared",
            kind="bool",
            default=False,
            variable="WDTUI_SHARED",
            help="Whether the store's group may read and write it; otherwise only its owner may.",
        ),
    )
}


@dataclasses.dataclass(frozen=True)
class Settings:
    """What one file says; the environment has its say when a value is asked for."""

    path: Path
    values: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    keys: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Actions of the app, and their keys as Textual names them."""
    themes: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)

    def given(self, name: str) -> Value:
        """What the environment or the file sets, None where neither does. Raises SettingsError."""
        setting = SETTINGS[name]
        if text := os.environ.get(setting.variable):
            try:
                value = setting.parse(text)
                if name == "theme":
                    _check_theme(value, self.themes)
            except (SettingsError, ConfigError) as error:
                raise SettingsError(f"${setting.variable}: {error}") from error
            return value
        return self.values.get(name)

    def value(self, name: str) -> Any:
        """The value that applies if no flag is given. Raises SettingsError."""
        given = self.given(name)
        return SETTINGS[name].default if given is None else given

    def source(self, name: str) -> str:
        """Where the value comes from, in words."""
        if os.environ.get(SETTINGS[name].variable):
            return f"${SETTINGS[name].variable}"
        return "the file" if name in self.values else "built in"


def path() -> Path:
    """The file of the settings: $WDTUI_CONFIG, or else config.toml in the place for a user's settings here."""
    if given := os.environ.get("WDTUI_CONFIG"):
        return Path(given).expanduser()
    import platformdirs

    return platformdirs.user_config_path("wdtui") / "config.toml"


def read() -> Settings:
    """The settings of the file, none where there is no file. Raises SettingsError."""
    file = path()
    try:
        return parsed(file, read_toml_text(file))
    except (FileNotFoundError, NotADirectoryError):
        return Settings(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise SettingsError(f"{file} cannot be read: {reason}.") from error


def parsed(file: Path, text: str) -> Settings:
    """The settings that a text sets, all checked but keys and colours. Raises SettingsError, which names the file."""
    try:
        content = parse_toml(text)
        keys, themes = (_table(content.pop(name, {}), name) for name in TABLES)
        themes = {name: _table(colours, f"themes.{name}") for name, colours in themes.items()}
        for table, texts in {"keys": keys, **{f"themes.{name}": colours for name, colours in themes.items()}}.items():
            for name, value in texts.items():
                if not isinstance(value, str):
                    raise SettingsError(f"{table}.{name} must be text in quotes.")
        values = {name: setting_named(name).check(value) for name, value in content.items()}
        _check_theme(values.get("theme", "auto"), themes)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{file} is not valid TOML: {error}.") from error
    except (SettingsError, ConfigError) as error:
        raise SettingsError(f"{file}: {error}") from error
    return Settings(file, values, keys, themes)


def setting_named(name: str) -> Setting:
    """The setting of this name; raises SettingsError, with the nearest and all there are, where there is none."""
    if name not in SETTINGS:
        known = [*SETTINGS, *TABLES]
        raise SettingsError(f"{name} is not a setting{nearest(name, known)} The settings are {', '.join(known)}.")
    return SETTINGS[name]


def _check_theme(theme: Value, own: Mapping[str, Any]) -> None:
    known = (*THEMES, *own)
    if theme not in known:
        raise SettingsError(f"there is no theme {theme}{nearest(str(theme), known)} The themes are {', '.join(known)}.")


def _table(value: Any, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise SettingsError(f"{name} must be a table such as [{name}].")
    return value
