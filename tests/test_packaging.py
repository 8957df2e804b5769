"""What is installed is complete."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent


def test_the_wheel_contains_experiments_and_stylesheets(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("wdtui-*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    for path in [*(ROOT / "experiments").glob("*.toml"), *(ROOT / "experiments").rglob("*.json")]:
        assert f"wdtui/presets/{path.relative_to(ROOT / 'experiments')}" in names
    for stylesheet in (ROOT / "wdtui").rglob("*.tcss"):
        assert str(stylesheet.relative_to(ROOT)) in names
