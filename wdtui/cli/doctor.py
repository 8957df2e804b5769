"""`wdtui doctor`: checks the installation and the machine, and says how to repair what does not work."""

from __future__ import annotations

import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import typer

from wdtui.cli.fields import StoreOption

Finding = tuple[bool, str, str]
"""Whether it is well, the subject, and the result."""
_EXTRAS = "plot", "parquet", "tensorboard", "ray", "digits", "gpu", "lightning", "transformers"
"""The extras in pyproject.toml for users, not for developers."""


def doctor(store: StoreOption = None) -> int:
    """Check versions, devices, store and terminal; exit with status 1 if something does not work."""
    findings = [*_versions(), *_devices(), *_settings(), *_store(store), *_terminal()]
    for well, subject, found in findings:
        typer.echo(f"{'ok   ' if well else 'WRONG'}  {subject:<12} {found}")
    return 0 if all(well for well, _, _ in findings) else 1


def _versions() -> Iterator[Finding]:
    yield sys.version_info >= (3, 11), "python", platform.python_version()
    for package in ("wdtui", "torch", "textual", "rich", "typer", "plotext", "numpy"):
        try:
            yield True, package, version(package)
        except PackageNotFoundError:
            yield False, package, f"not installed; pip install {package}"
    here = [extra for extra in _EXTRAS if _has(extra)]
    missing = [extra for extra in _EXTRAS if extra not in here]
    yield True, "extras", f"{', '.join(here) or 'none'}" + (f"; not here: {', '.join(missing)}" if missing else "")


def _has(extra: str) -> bool:
    """Whether all packages of an extra are installed, in any version."""
    needed = [line for line in requires("wdtui") or [] if re.search(f"extra == ['\"]{extra}['\"]", line)]
    try:
        return bool(needed) and all(version(re.split(r"[^\w.-]", line)[0]) for line in needed)
    except PackageNotFoundError:
        return False


def _devices() -> Iterator[Finding]:
    try:
        import wdtui.training.devices as devices
    except Exception as error:  # a broken PyTorch can fail in any way
        yield False, "devices", f"PyTorch cannot be imported ({type(error).__name__}: {error}); reinstall it"
        return
    from wdtui.runs import probe
    from wdtui.support import machine

    load = machine.sample()
    yield True, "memory", f"{load.memory[0] / 1e9:.1f} of {load.memory[1] / 1e9:.1f} GB in use"
    for gpu in load.gpus:
        yield True, "gpu", f"{gpu.name}: {machine.gpu_text(gpu).removeprefix('GPU').strip()}"
    available = devices.available_devices()
    yield True, "devices", f"{', '.join(available)}; {os.cpu_count()} CPU cores"
    for device in available:
        if device != "cpu":
            fault = probe.fault(device)
            yield not fault, device, fault or "a small batch trained twice with the same result"
    reason = devices.why_no_gpu()
    if reason:
        yield True, "gpu", reason


def _settings() -> Iterator[Finding]:
    from wdtui import settings
    from wdtui.tui import check_settings

    try:
        read = settings.read()
        check_settings(read)
        for name in settings.SETTINGS:
            read.value(name)
        yield True, "settings", f"{read.path}" + ("" if read.path.exists() else ": none yet")
    except settings.SettingsError as error:
        yield False, "settings", str(error)


def _store(folder: Path | None) -> Iterator[Finding]:
    from wdtui.store.store import Store
    from wdtui.support.errors import WdtuiError

    try:
        with Store(folder) as store:
            runs, damage = store.runs(), store.check() or store.missing()
            free = shutil.disk_usage(store.folder).free
            yield not damage, "store", damage or f"{store.folder}: {len(runs):,} runs"
            yield from ((False, "store", run.reason) for run in runs if run.damaged)
            yield free > 2**28, "disk", f"{free / 2**30:,.1f} GiB free" + ("" if free > 2**28 else "; free some space")
    except WdtuiError as error:
        yield False, "store", str(error)


def _terminal() -> Iterator[Finding]:
    if not sys.stdout.isatty():
        yield True, "terminal", "output is not a terminal; the app needs one, --headless does not"
        return
    size, term = shutil.get_terminal_size(), os.environ.get("TERM", "")
    yield (
        term not in ("", "dumb"),
        "terminal",
        f"TERM={term or 'unset'}" + ("" if term not in ("", "dumb") else "; set it, for example to xterm-256color"),
    )
    yield size.columns >= 80 and size.lines >= 24, "size", f"{size.columns}×{size.lines}; the app needs 80×24"
    encoding = (sys.stdout.encoding or "").lower()
    yield encoding == "utf-8", "encoding", f"{encoding}" + ("" if encoding == "utf-8" else "; set LANG=C.UTF-8")
