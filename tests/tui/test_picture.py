"""The README's picture: real runs are trained, and the app is drawn while the last one trains."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from wdtui.store.store import Store
from wdtui.studies import experiments
from wdtui.tui import picture


def test_the_picture_is_taken_of_real_runs_and_the_last_one_is_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_threads: None
) -> None:
    load = experiments.load

    def small(name: str) -> Any:
        if name != "grokking-modular":
            return load(name)
        quick = load(name).variant(quick=True)
        return dataclasses.replace(quick, config=quick.config | {"p": 5, "width": 4, "steps": 20})

    monkeypatch.setattr(experiments, "load", small)
    monkeypatch.setattr(picture, "_FIT", 10)
    monkeypatch.setattr(picture, "_SECONDS", 0.05)
    with Store(tmp_path / "runs") as store:
        drawn = picture.picture(store, threads=1)
        assert sorted(run.values["weight_decay"] for run in store.runs()) == [0, 0, 0.5, 2]
    assert "grokking-modular" in drawn and "5&#160;" in drawn and re.search("[\u2800-\u28ff]", drawn)


def test_dots_and_blanks_are_stretched_apart() -> None:
    text = '<text class="a" x="10" y="5" textLength="40" clip-path="url(#b)">⣀⣀&#160;&lt;</text>'
    assert picture.aligned(text) == (
        '<text class="a" x="10" y="5" textLength="20" clip-path="url(#b)">⣀⣀</text>'
        '<text class="a" x="30" y="5" textLength="20" clip-path="url(#b)">&#160;&lt;</text>'
    )
