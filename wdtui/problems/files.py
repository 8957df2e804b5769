"""What a file declares: it is run once in a process of its own, and its schema is kept by the hash of its contents.

Running a file is running its code. So it is only ever done with a path that a person typed, or that a TOML file which
they opened names, and never in this process: an endless import, a crash or an `exit()` there ends with a sentence here.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

from wdtui.schema.hyperparameters import ConfigError
from wdtui.schema.schema import Schema
from wdtui.schema.source import Source
from wdtui.support import environment

_refused: dict[str, ConfigError] = {}
"""Why sources of this process could not be read, by their hash."""
SECONDS = 60.0
"""How long a file may take to be imported."""


def schema_of(name: str) -> Schema:
    """What FILE.py or FILE.py:Class declares, with its source. Raises ConfigError."""
    path, class_name = split(name)
    source = Source.read(Path(path), class_name)
    kept = _kept(source, "schemas")
    text = _text(kept)
    if text is None:
        if source.hash in _refused:
            raise _refused[source.hash]
        try:
            text = _described(source)
        except ConfigError as error:  # a command asks for its flags first, and then for its config
            _refused[source.hash] = error
            raise
        _write(kept, text)
    schema = Schema.from_json(text)
    if schema.source and schema.source.path != source.path:  # equal files of two folders have one entry
        return Schema.from_json(
            json.dumps(json.loads(text) | {"source": source.to_json() | {"name": schema.source.name}})
        )
    return schema


def known_exact(source: Source) -> bool | None:
    """What the last check found: does a file resume to the same bits? None where it was not checked here."""
    text = _text(_kept(source, "exact"))
    return json.loads(text)["exact"] is True if text else None


def remember_exact(source: Source, exact: bool) -> None:
    _write(_kept(source, "exact"), json.dumps({"exact": exact}))


def split(name: str) -> tuple[str, str]:
    """FILE.py:Class as the path and the name of the class, which is empty where there is none."""
    path, colon, class_name = name.rpartition(":")
    return (path, class_name) if colon and path.endswith(".py") else (name, "")


def _described(source: Source) -> str:
    """Run the file in a process of its own and return the schema as JSON. Raises ConfigError."""
    pipes: Any = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    process = environment.start_module("wdtui.problems.describe", text=True, start_new_session=True, **pipes)
    try:
        output, _ = process.communicate(json.dumps(source.to_json()), timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise ConfigError(
            f"{source.shown}: importing it took longer than {SECONDS:.0f} seconds. "
            "Move work from the top of the file into setup."
        ) from None
    finally:
        with contextlib.suppress(ProcessLookupError):  # with whatever it has started
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    try:
        answer: dict[str, Any] = json.loads(output)
    except ValueError:
        answer = {}
    if "error" in answer:
        raise ConfigError(str(answer["error"]))
    if "schema" in answer:
        return str(answer["schema"])
    how = signal.strsignal(-process.returncode) if process.returncode < 0 else f"exit status {process.returncode}"
    raise ConfigError(f"{source.shown}: the process that imported it ended before it had finished ({how}).")


def _folder() -> Path:
    """Where what is known of files is kept: $WDTUI_CACHE, or the place for a user's caches here."""
    import platformdirs

    given = os.environ.get("WDTUI_CACHE")
    return Path(given) if given else platformdirs.user_cache_path("wdtui")


def _kept(source: Source, what: str) -> Path:
    from importlib.metadata import version  # takes 10 ms, which the first frame need not wait for

    return _folder() / what / f"{source.hash}-{version('wdtui')}.json"


def _text(path: Path) -> str | None:
    try:
        text = path.read_text(encoding="utf-8")
        json.loads(text)
    except (OSError, ValueError):
        return None
    return text


def _write(path: Path, text: str) -> None:
    """Keep a schema; where that cannot be done the file is run again the next time."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(f".{os.getpid()}")
        part.write_text(text, encoding="utf-8")
        part.replace(path)
