"""Sweeps on a real Ray cluster of two nodes on this machine, each with one CPU, beside the node that has the store."""

from __future__ import annotations

import contextlib
import signal
import socket
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import forked
import numpy as np
import psutil
import pytest
import ray_worker
from command_line import TINY, assert_one_sentence, events, start, until, wdtui

from wdtui.problems.addition.metrics import METRICS
from wdtui.runs import ray_access
from wdtui.runs.ray_access import ClusterError
from wdtui.store.records import FINISHED
from wdtui.store.store import Store
from wdtui.support.environment import own_environment

ray_cluster = pytest.importorskip("ray.cluster_utils")

GRID = ("--axis", "weight_decay=0.1,0.3", "--seeds", "2", *TINY, "--engine", "alone")
LONG = (*GRID, "--epochs", "400", "--keep-every", "20", "--log-every", "10")


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Any]]:
    """The cluster with at least so many nodes that take a run each, beside its head, which takes none."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("RAY_USAGE_STATS_ENABLED", "0")
        patched.setenv("RAY_worker_niceness", "0")  # at Ray's own 15 they starve beside other tests
        patched.setenv("RAY_health_check_period_ms", "1000")  # a lost node is noticed after five of these
        workers = forked_workers(tmp_path_factory.mktemp("ray") / "server", patched)
        plain = {"num_cpus": 0, "include_dashboard": False, "include_log_monitor": False}
        cluster = ray_cluster.Cluster(initialize_head=True, head_node_args=plain | workers)

        def with_nodes(count: int) -> Any:
            while len(cluster.list_all_nodes()) < count + 1:
                cluster.add_node(num_cpus=1, **workers)  # one after the other, as two at once may choose the same port
            return cluster

        try:
            yield with_nodes
        finally:
            cluster.shutdown()


def forked_workers(path: Path, patched: pytest.MonkeyPatch) -> dict[str, str]:
    """What has a node fork its workers, where that is possible, by the server that is offered at a path from now on."""
    if not forked.POSSIBLE:
        return {}
    forked.offer(str(path))
    patched.setenv("OFFERED_SERVER", str(path))
    patched.setenv("PYTHONPATH", own_environment()["PYTHONPATH"])
    return {"setup_worker_path": ray_worker.__file__}


@pytest.fixture
def cluster(nodes: Callable[[int], Any]) -> Any:
    """The cluster with two such nodes, of which a test may take one away."""
    return nodes(2)


def on(cluster: Any) -> tuple[str, ...]:
    return ("--headless", "--json", "--executor", "ray", "--address", cluster.address)


def rest_of(process: Any) -> list[dict[str, Any]]:
    output, error = process.communicate(timeout=200)
    assert process.returncode == 0, error
    return events(output)


def assert_alike(one: Path, other: Path, count: int) -> None:
    """Every point of every run is the same in both stores, to the last bit."""
    timing = {name for name, metric in METRICS.items() if metric.timing}
    with Store(one) as first, Store(other) as second:
        for run in first.runs():
            assert run.status_text in FINISHED
            (same,) = [found for found in second.runs() if found.config == run.config]
            curves, others = first.curves(run.id), second.curves(same.id)
            kept = [place for place, name in enumerate(curves.names) if name not in timing]
            assert np.array_equal(curves.steps, others.steps)
            assert np.array_equal(curves.values[:, kept], others.values[:, kept], equal_nan=True)
        assert len(first.runs()) == len(second.runs()) == count


MINE = """
import pathlib, torch, helper, wdtui

class Line(wdtui.Problem):
    slope: float = wdtui.knob(1.0, sweep="linear")
    steps = 40

    def setup(self):
        for path in (__file__, helper.__file__):  # as on a node that does not have them
            pathlib.Path(path).unlink(missing_ok=True)
        self.model = torch.nn.Linear(1, 1)

    def step(self):
        loss = (self.model(torch.randn(8, 1)) - self.slope).square().mean()
        loss.backward()
        with torch.no_grad():
            self.model.bias -= helper.RATE * self.model.bias.grad
        self.model.zero_grad()
        return {"train_loss": loss}
"""


def test_the_source_of_a_problem_goes_with_its_runs(
    nodes: Callable[[int], Any], tmp_path: Path, in_threads: None
) -> None:
    path, helper = tmp_path / "mine.py", tmp_path / "helper.py"
    sweep = "sweep", str(path), "--axis", "slope=1,2", "--seeds", "2", "--threads", "1"
    path.write_text(MINE), helper.write_text("RATE = 0.1")
    rest_of(start(*sweep, *on(nodes(1)), store=tmp_path / "far"))
    assert not path.exists() and not helper.exists()
    path.write_text(MINE), helper.write_text("RATE = 0.1")
    assert wdtui(*sweep, "--headless", "--json", "--workers", "1", store=tmp_path / "near").returncode == 0
    assert_alike(tmp_path / "far", tmp_path / "near", 4)


def test_commands_reach_a_run_on_another_node_and_ctrl_c_leaves_a_checkpoint(cluster: Any, tmp_path: Path) -> None:
    endless = ("--axis", "seed=0,1,2", *TINY, "--engine", "alone", "--epochs", "1000000", "--log-every", "100")
    process = start("sweep", *endless, *on(cluster), store=tmp_path)
    with Store(tmp_path) as store:
        until(lambda: sum(run.step > 0 for run in store.runs()) == 2, process)
        first, second = sorted(run.id for run in store.runs() if run.step)
        assert wdtui("steer", str(first), "--set", "weight_decay=0.2", store=tmp_path).returncode == 0
        until(lambda: any(event.kind == "steered" for event in store.events(first)), process)
        assert sum(run.status_text == "queued" for run in store.runs()) == 1  # each has its CPU for itself
        assert wdtui("stop", str(first), store=tmp_path).returncode == 0
        until(lambda: store.run(first).status_text == "stopped", process)
        until(lambda: sum(run.status_text == "running" for run in store.runs()) == 2, process)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
        assert process.returncode == 130
        assert_one_sentence(error)
        interrupted = store.run(second)
        assert interrupted.status_text == "interrupted" and interrupted.reason.startswith("Interrupted by Ctrl-C")
        assert (interrupted.checkpoint_step or 0) >= interrupted.step > 0
        assert not any(run.status_text == "queued" for run in store.runs())


def test_a_sweep_equals_the_local_one_also_where_a_node_dies_in_the_middle(cluster: Any, tmp_path: Path) -> None:
    far, near = tmp_path / "far", tmp_path / "near"
    process = start("sweep", *LONG, *on(cluster), store=far)
    with Store(far) as store:
        until(lambda: sum(run.live and run.checkpoint_step is not None for run in store.runs()) == 2, process)
        cluster.remove_node(cluster.list_all_nodes()[-1], allow_graceful=False)
        *cells, summary = rest_of(process)
        kinds = {run.id: [event.kind for event in store.events(run.id)] for run in store.runs()}
    assert sorted(cell["status"] for cell in cells) == ["done"] * 4
    assert sum("lost" in kind for kind in kinds.values()) == 1
    assert sum("resumed" in kind for kind in kinds.values()) == 1, kinds
    local = wdtui("sweep", *LONG, "--headless", "--json", store=near)
    assert summary["table"] == events(local.stdout)[-1]["table"]
    assert_alike(far, near, 4)


def test_unsupported_ray_options_give_a_one_sentence_error(tmp_path: Path) -> None:
    refused = {
        ("--executor", "ray", "--address", "127.0.0.1:1"): "Cannot join a Ray cluster at 127.0.0.1:1",
        ("--executor", "ray", "--address", "ray://127.0.0.1:1"): "Start it on a node of the cluster",
        ("--executor", "ray", "--address", "auto"): "give the cluster's HOST:PORT",
        ("--executor", "ray", "--address", "10.0.0.1"): "give the cluster's HOST:PORT",
        ("--executor", "ray", "--workers", "2"): "--workers is for this machine",
        ("--executor", "ray", "--device", "mps"): "give auto, cpu or cuda",
        ("--address", "127.0.0.1:1"): "--address needs --executor ray",
    }
    for options, sentence in refused.items():
        result = wdtui("sweep", *GRID, "--headless", *options, store=tmp_path)
        assert result.returncode == 2 and sentence in result.stderr
        assert_one_sentence(result.stderr)
    with Store(tmp_path) as store:
        assert not store.runs() and not store.sweeps.all()


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[tuple[str, list[socket.socket]]]:
    """Something at an address that is no cluster, and who has connected to it."""
    seen: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = server.accept()
                seen.append(connection)
                serve(connection)

    with socket.create_server(("", 0)) as server:  # Ray takes the address of the node for the loopback address
        threading.Thread(target=accept, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}", seen


def greet(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def refused(serve: Callable[[socket.socket], None], why: str) -> None:
    with listening(serve) as (address, seen):
        began = time.monotonic()
        with pytest.raises(ClusterError, match=f"Cannot join a Ray cluster at {address}: .*{why}.*\\.$"):
            ray_access.join(address)
        assert time.monotonic() - began < 10 and seen


@pytest.mark.parametrize(
    ("serve", "why"),
    [(socket.socket.close, ""), (greet, "is not a Ray cluster")],
    ids=["closing", "a web server"],
)
def test_a_server_that_is_not_a_cluster_is_reported_within_ten_seconds(
    serve: Callable[[socket.socket], None], why: str
) -> None:
    refused(serve, why)


def test_silence_and_an_unresolvable_name_are_reported_within_ten_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    over, known = threading.Event(), socket.getaddrinfo

    def resolve(host: str, *arguments: Any, **options: Any) -> list[Any]:
        if host != "far.example":
            return known(host, *arguments, **options)
        over.wait(60)
        raise OSError("unknown")

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    assert ray_access._ANSWER_SECONDS < 10
    monkeypatch.setattr(ray_access, "_ANSWER_SECONDS", 0.5)  # how long each of them takes
    with ThreadPoolExecutor() as at_the_same_time:
        silence = at_the_same_time.submit(refused, lambda connection: None, "nothing answers")
        began = time.monotonic()
        with pytest.raises(ClusterError, match=r"at far\.example:6379: nothing answers there\."):
            ray_access.join("far.example:6379")
        over.set()
        assert time.monotonic() - began < 10
        silence.result()


def family(process: Any) -> list[psutil.Process]:
    """A process and all that come from it."""
    return [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]


def listening_servers(process: Any) -> list[tuple[psutil.Process, int]]:
    """The servers of a process's cluster, each with a port that it listens at."""
    found = []
    for member in family(process):
        with contextlib.suppress(psutil.NoSuchProcess):  # a cluster that starts has some that soon end
            if "gcs_server" in member.name():
                found += [(member, port) for _, port in listening_at(member)]
    return found


def listening_at(process: psutil.Process) -> set[tuple[str, int]]:
    connections = process.net_connections("inet")
    return {(found.laddr.ip, found.laddr.port) for found in connections if found.status == psutil.CONN_LISTEN}


def test_a_sweeps_own_cluster_is_private(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(socket.socket.close) as (decoy, seen):
        (tmp_path / "ray").mkdir()
        (tmp_path / "ray" / "ray_current_cluster").write_text(decoy)  # as any user of a machine may write one
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
        monkeypatch.setenv("RAY_ADDRESS", decoy)
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        monkeypatch.setenv("RAY_worker_niceness", "0")
        monkeypatch.setenv("HOME", str(tmp_path / "home"))
        endless = (*GRID, "--epochs", "1000000", "--log-every", "100", "--threads", "2")  # one at a time on two cores
        process = start("sweep", *endless, "--headless", "--json", "--executor", "ray", store=tmp_path)
        until(lambda: len(listening_servers(process)) == 1, process)
        ((gcs, port),) = listening_servers(process)
        monkeypatch.setenv("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # another user here comes as near as that
        monkeypatch.delenv("RAY_AUTH_MODE")
        at = "--executor", "ray", "--address", f"127.0.0.1:{port}"
        stranger = start("sweep", *GRID, "--headless", *at, store=tmp_path / "x")
        with Store(tmp_path) as store:
            until(lambda: any(run.step for run in store.runs()), process)
        assert wdtui("pause", "1", store=tmp_path).returncode == 0  # what follows needs no training
        listeners = {address for member in family(process) for address in listening_at(member)}
        assert listeners and {ip for ip, _ in listeners} <= {"127.0.0.1", "::1", "::ffff:127.0.0.1"}
        assert gcs.environ()["RAY_AUTH_MODE"] == "token" and len(gcs.environ()["RAY_AUTH_TOKEN"]) == 64
        folder = next(word.partition("=")[2] for word in gcs.cmdline() if word.startswith("--log_dir"))
        private = next(part for part in Path(folder).parents if part.name.startswith("wdtui-ray-"))
        assert stat.S_IMODE(private.stat().st_mode) == 0o700
        _, refusal = stranger.communicate(timeout=100)
        assert stranger.returncode == 2 and f"Cannot join a Ray cluster at 127.0.0.1:{port}" in refusal
        assert "RAY_AUTH_TOKEN" in refusal
        assert_one_sentence(refusal)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=100)
        assert process.returncode == 130
        assert error.startswith(f"wdtui: $RAY_ADDRESS is ignored, give --address {decoy}")
        assert not seen and not private.exists() and not (tmp_path / "home").exists()
