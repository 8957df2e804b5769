"""Custom keys for the actions of `keys`: validated here, bound by Textual's keymap, shown wherever keys are."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping

from textual.keys import Keys, format_key

from wdtui.schema.hyperparameters import nearest
from wdtui.settings import SettingsError
from wdtui.support.third_party import character_to_key
from wdtui.tui.keys import APP, CHARTS, DECAY, GROUPS, ROWS, RUNS, SWEEP, TABLE, Key

ACTIONS: dict[str, Key] = {key.name: key for group in GROUPS.values() for key in group if key.name}
"""The actions whose keys can be changed."""
_SCREENS = ((*ROWS, *RUNS, *TABLE, *CHARTS, *APP), (*RUNS, *CHARTS, *DECAY, *APP), (*SWEEP, *APP))
"""Within each of these groups a key has one meaning."""
_KEPT = ("escape", "tab", "shift+tab", "backspace")
_MODIFIERS = ("ctrl", "shift", "alt", "meta", "super", "hyper")


def keymap(wanted: Mapping[str, str]) -> dict[str, str]:
    """The keys of the settings, by action, in Textual's own names. Raises SettingsError."""
    mapped = {}
    for name, keys in wanted.items():
        if name not in ACTIONS:
            raise SettingsError(f"keys.{name}: there is no action {name}{nearest(name, ACTIONS)}")
        mapped[name] = ",".join(_checked(name, key.strip()) for key in keys.split(","))
    for screen in _SCREENS:
        _check_clashes(screen, mapped)
    return mapped


def title(key: Key, mapped: Mapping[str, str]) -> str:
    """The name of a key as shown under a keymap."""
    if key.name in mapped and ACTIONS.get(key.name) == key:
        *modifiers, last = mapped[key.name].split(",")[0].split("+")
        return "".join("^" if part == "ctrl" else f"{part}+" for part in modifiers) + format_key(last)
    return key.title


def key_of(name: str, mapped: Mapping[str, str]) -> str:
    """The name of an action's key as shown under a keymap, for sentences."""
    return title(ACTIONS[name], mapped)


def _checked(name: str, key: str) -> str:
    *modifiers, last = key.split("+") if len(key) > 1 else [key]
    known = {key.value for key in Keys if not key.value.startswith("<")}
    textual_name = character_to_key(last) if len(last) == 1 else last
    if (
        not textual_name
        or any(part not in _MODIFIERS for part in modifiers)
        or not (textual_name in known or _is_character(textual_name))
    ):
        raise SettingsError(f"keys.{name}: {key or 'nothing'} is not a key{nearest(key, known)}")
    full = "+".join([*modifiers, textual_name])
    if full in _KEPT:
        raise SettingsError(f"keys.{name}: {key} has a meaning everywhere; give another key.")
    return full


def _is_character(name: str) -> bool:
    """Whether it is a letter, a digit, or Textual's name of a character, such as question_mark."""
    if len(name) == 1:
        return True
    try:
        return bool(unicodedata.lookup(name.replace("_", " ").upper()))
    except KeyError:
        return name in ("slash", "minus", "plus", "underscore")


def _check_clashes(screen: tuple[Key, ...], mapped: Mapping[str, str]) -> None:
    owners: dict[str, Key] = {}
    for key in screen:
        for bound in mapped.get(key.name, key.key).split(","):
            other = owners.setdefault(bound, key)
            if other != key:
                name, owner = (key.name, other) if key.name in mapped else (other.name, key)
                raise SettingsError(f"keys.{name}: {bound} is the key of {owner.name or owner.help} already.")
