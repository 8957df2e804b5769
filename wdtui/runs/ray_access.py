"""Which Ray cluster a sweep uses: the one at an address that a person gave, or one of its own on this machine.

Whoever reaches a Ray cluster can run any program on all of its nodes. So an address that is merely found, in
$RAY_ADDRESS or in a file below /tmp that anybody may write, is never followed, and a cluster of a sweep's own listens
on the loopback interface alone, asks for a token that is made for it, and keeps its files in a private folder.

Some of Ray's switches count only before its import, so that nothing may import it before `join`.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import secrets
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wdtui.support.errors import WdtuiError

_ANSWER_SECONDS = 4.0
"""How long a cluster may take to accept a connection and to answer as its protocol has it."""
_ATTEMPTS = 4
"""How often Ray then tries to talk to it, about a second each; its own 20 take longer than a person waits."""
_ADDRESS = re.compile(r"([\w.-]+|\[[0-9A-Fa-f:]+\]):\d{1,5}", re.ASCII)
_LOOPBACK = "localhost", "127.0.0.1", "[::1]"
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(3) + b"\x04" + bytes(5)
"""What begins a connection of gRPC, which Ray speaks: HTTP/2's preface and a SETTINGS frame (RFC 9113, 3.4)."""
_SETTINGS = 4
"""The type of the frame that must answer it."""


class ClusterError(WdtuiError):
    """Why no cluster can be used, in one sentence."""


def join(address: str | None) -> None:
    """Connect this process to the cluster at HOST:PORT, or without an address to a new one of this machine alone.

    Raises ClusterError, within ten seconds where nothing answers at the address, and ImportError without Ray.
    """
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")  # Ray prints its warnings to stdout, among our JSON lines
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # what a cluster of our own would tell its makers
    if address is None:
        _start_own()
    else:
        _join(address)


def _start_own() -> None:
    folder = Path(tempfile.mkdtemp(prefix="wdtui-ray-", dir=_short_folder()))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)  # before Ray's own, so that it comes after it
    os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # "no cluster": its one node is at the loopback address
    os.environ.pop("RAY_AUTH_MODE", None)  # Ray then asks for a token
    os.environ.pop("RAY_AUTH_TOKEN_PATH", None)
    os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    import ray

    try:
        # below the private folder, as Ray opens its own to everybody
        ray.init("local", include_dashboard=False, _temp_dir=str(folder / "ray"), **_QUIET)
    except (OSError, RuntimeError, ValueError) as error:
        raise ClusterError(f"Ray could not start a cluster: {_first_line(error)}") from error
    if not ray.util.get_node_ip_address().startswith("127.") or os.environ.get("RAY_AUTH_MODE") != "token":
        ray.shutdown()
        hint = "Install the version that wdtui requires"
        raise ClusterError(f"Ray {ray.__version__} cannot be restricted to this machine. {hint}.")


def _join(address: str) -> None:
    if address.startswith("ray://"):
        raise ClusterError("A sweep cannot be steered through ray://. Start it on a node of the cluster.")
    if not _ADDRESS.fullmatch(address):
        raise ClusterError(f"--address {address}: give the cluster's HOST:PORT, as in 10.0.0.1:6379.")
    os.environ.setdefault("RAY_NUM_REDIS_GET_RETRIES", str(_ATTEMPTS))
    import ray
    from ray.exceptions import RayError

    _check_answers(address, ray.util.get_node_ip_address())
    try:
        with _stderr_dropped():
            ray.init(address, **_QUIET)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        hint = (
            "a cluster with a token needs RAY_AUTH_MODE=token and "
            "RAY_AUTH_TOKEN, or ~/.ray/auth_token, on this machine too"
        )
        raise ClusterError(f"Cannot join a Ray cluster at {address}: {_first_line(error)} ({hint}).") from error


def _check_answers(address: str, own_ip: str) -> None:
    """Raise ClusterError where nothing at HOST:PORT answers as a Ray cluster does; Ray itself tries for minutes.

    As Ray does, take the address of this node for the loopback address.
    """
    host, _, port = address.rpartition(":")
    host = own_ip if host in _LOOPBACK else host.strip("[]")
    outcome: list[str] = []

    def ask() -> None:
        try:
            with socket.create_connection((host, int(port)), _ANSWER_SECONDS) as connection:
                connection.sendall(_GREETING)
                answer = connection.recv(9, socket.MSG_WAITALL)
            outcome.append(
                "" if answer[3:4] == bytes([_SETTINGS]) else "the program at this address is not a Ray cluster"
            )
        except TimeoutError:
            outcome.append("nothing answers there")
        except (OSError, OverflowError) as error:
            outcome.append(getattr(error, "strerror", None) or str(error))

    # a thread, as to look up a name has no time limit of its own
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_ANSWER_SECONDS)
    why = outcome[0] if outcome else "nothing answers there"
    if why:
        raise ClusterError(f"Cannot join a Ray cluster at {address}: {why}.")


_QUIET: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}


@contextlib.contextmanager
def _stderr_dropped() -> Iterator[None]:
    """What Ray's own threads write there while they try is said by the error that follows."""
    before = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


def _short_folder() -> str | None:
    """Where the paths of sockets, of at most 107 bytes, have room; None for where this system has such files."""
    return "/tmp" if os.path.isdir("/tmp") else None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
