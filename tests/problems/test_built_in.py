"""The built-in problems that are declared classes: what they declare, that they resume exactly, what they compute."""

from __future__ import annotations

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from command_line import events, wdtui

from wdtui.problems import registry
from wdtui.problems.declared import DeclaredConfig
from wdtui.runs.service import about_source
from wdtui.runs.worker import Worker
from wdtui.training.declared import DeclaredSession

SMALL: dict[str, dict[str, object]] = {
    "modular_addition": {"p": 7, "width": 8, "steps": 6, "log_every": 2},
    "edge_of_stability": {"width": 4, "steps": 6, "log_every": 2},
    "rotation": {"width": 4, "steps": 6, "log_every": 2},
    "ridge": {"dimensions": 4, "steps": 6, "log_every": 2},
}
"""Of each built-in problem that is a class, a config of a few steps."""


def session_of(name: str, **changes: object) -> DeclaredSession:
    config = registry.find(name).config(**SMALL[name] | changes)
    assert isinstance(config, DeclaredConfig)
    return DeclaredSession(config, "cpu")


def measured(session: DeclaredSession) -> list[dict[str, float]]:
    return [dict(zip(session.columns[:-1], point.values[:-1], strict=True)) for point in session.points()]


def test_these_tests_have_all_of_them() -> None:
    declared = {name for name in registry.names() if issubclass(registry.find(name).config, DeclaredConfig)}
    assert declared == {*SMALL}


def test_their_declarations_import_no_torch() -> None:
    code = (
        "import sys; from wdtui.problems import registry; [*map(registry.find, registry.names())]; print(*sys.modules)"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "wdtui.problems.modular_addition" in loaded and "torch" not in loaded


SCHEDULED = {"decay_rule": "squared", "cosine_steps": 6}
CHANGES: list[tuple[str, dict[str, object]]] = [
    *((name, {}) for name in SMALL),
    ("modular_addition", SCHEDULED | {"grokfast": 2.0}),
    ("rotation", SCHEDULED | {"method": "sgd"}),
]


@pytest.mark.parametrize(("name", "changes"), CHANGES)
def test_a_run_is_resumed_to_the_same_bits(name: str, changes: dict[str, object]) -> None:
    expected = measured(session_of(name, **changes))
    half, passed = session_of(name, **changes), iter([True] * 3)  # sessions share the generators of their process
    assert len([*half.points(lambda: next(passed, False))]) == 1
    state, position = half.state(), json.loads(json.dumps(half.position()))
    state = {key: tensor.clone() for key, tensor in state.items()}
    resumed = session_of(name, **changes)
    resumed.restore(state, position)
    assert measured(resumed) == expected[1:]


@pytest.mark.parametrize("name", SMALL)
def test_its_runs_keep_a_copy_of_its_code_and_no_check_is_asked_for(name: str) -> None:
    schema = registry.find(name).config.schema()
    assert schema.problem == name and schema.source and {*schema.source.files} == {f"{name}.py"}
    assert about_source(schema) == ""
    older = dataclasses.replace(schema.source, files={f"{name}.py": "# as it was\n"})
    assert "has changed since" in about_source(dataclasses.replace(schema, source=older))


def test_the_command_line_trains_forks_and_replays_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_threads: None
) -> None:
    monkeypatch.setattr(
        "wdtui.cli.headless.ChildWorker", lambda *arguments, bound, **options: Worker(*arguments, **options)
    )
    flags = ["--p", "7", "--width", "8", "--steps", "20", "--threads", "1", "--headless", "--json"]
    for command in (
        ["run", "modular_addition", *flags],
        ["fork", "1", "--at", "10", "--set", "lr=0.1", "--headless", "--json"],
        ["replay", "1", "--headless", "--json"],
        ["sweep", "modular_addition", "--axis", "weight_decay=0,1", *flags],
    ):
        result = wdtui(*command, store=tmp_path)
        assert result.returncode == 0, result.stderr
    runs = events(wdtui("runs", "list", "--json", store=tmp_path).stdout)
    assert [(run["status"], run["step"]) for run in runs] == [("done", 20)] * 4  # λ = 1 is there already


# What they compute


def test_modular_addition_splits_all_pairs_and_knows_their_sums() -> None:
    problem = session_of("modular_addition", fraction=0.3).problem
    pairs = {}
    for x, y in (problem.train, problem.test):  # type: ignore[attr-defined]
        a, b = x[:, :7].argmax(1), x[:, 7:].argmax(1)
        assert torch.equal(y, (a + b) % 7) and (x.sum(1) == 2).all()
        pairs |= dict.fromkeys(zip(a.tolist(), b.tolist(), strict=True))
    assert len(pairs) == 49 and len(problem.train[1]) == 14  # type: ignore[attr-defined]


def test_stablemax_and_a_softmax_in_float64_are_losses_of_the_same_logits() -> None:
    losses = {}
    for softmax in ("float32", "float64", "stablemax"):
        problem: Any = session_of("modular_addition", softmax=softmax).problem
        losses[softmax] = problem.step()["train_loss"]
    x, y = problem.train
    logits = session_of("modular_addition").problem.model(x).double()  # type: ignore[attr-defined]
    positive = [[z + 1 if z >= 0 else 1 / (1 - z) for z in row] for row in logits.tolist()]
    expected = [-math.log(row[right] / sum(row)) for row, right in zip(positive, y.tolist(), strict=True)]
    assert losses["stablemax"].item() == pytest.approx(np.mean(expected))
    assert losses["float32"].item() == pytest.approx(losses["float64"].item(), rel=1e-6)
    assert [one.dtype for one in losses.values()] == [torch.float32, torch.float64, torch.float64]


def test_float32_leaves_no_gradient_of_a_right_answer_that_is_certain() -> None:
    left = {}
    for softmax in ("float32", "float64", "stablemax"):
        problem: Any = session_of("modular_addition", softmax=softmax).problem
        right = torch.nn.functional.one_hot(problem.train[1], 7) == 1
        logits = torch.where(right, 30.0, 0.0).requires_grad_()
        problem.model = lambda _, logits=logits: logits
        problem._loss().backward()
        left[softmax] = logits.grad[right].abs().max().item()
    assert left["float32"] == 0 < left["float64"] < 1e-10 < left["stablemax"]


def test_grokfast_adds_a_moving_average_to_the_gradient() -> None:
    problem: Any = session_of("modular_addition", grokfast=2.0, grokfast_memory=0.9).problem
    parameter, average, seen = next(problem.model.parameters()), None, []
    problem.optimizer.step = lambda: seen.append(parameter.grad.clone())
    for _ in range(3):  # at the same weights, as nothing moves them
        problem.step()
    plain: Any = session_of("modular_addition").problem
    plain.step()
    gradient = next(plain.model.parameters()).grad
    for amplified in seen:
        average = gradient if average is None else 0.9 * average + 0.1 * gradient
        torch.testing.assert_close(amplified, gradient + 2 * average)


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("samples", [2, 12])
def test_ridge_is_the_closed_solution(weight_decay: float, samples: int) -> None:
    session = session_of("ridge", weight_decay=weight_decay, noise=0.3, steps=samples, log_every=samples)
    (point,) = measured(session)
    x, y, teacher = (getattr(session.problem, name).numpy() for name in ("x", "y", "teacher"))
    assert x.shape == (samples, 4) and np.linalg.norm(teacher) == pytest.approx(1)
    kernel = x @ x.T + weight_decay * np.eye(samples)
    weights = x.T @ (np.linalg.pinv(kernel, rcond=1e-10) @ y)
    assert point["weight_norm"] == pytest.approx(np.linalg.norm(weights))
    assert point["test_loss"] == pytest.approx(((weights - teacher) ** 2).sum() + 0.09)
    assert point["train_loss"] == pytest.approx(((x @ weights - y) ** 2).mean(), abs=1e-12)


def test_samples_of_ridge_do_not_depend_on_how_many_there_will_be() -> None:
    assert measured(session_of("ridge", steps=4)) == measured(session_of("ridge", steps=6))[:2]


def test_the_sharpness_is_the_largest_eigenvalue_of_the_hessian() -> None:
    session = session_of("edge_of_stability", steps=100, log_every=5)
    last = measured(session)[-1]
    model, problem = session.problem.model, session.problem  # type: ignore[attr-defined]
    parameters = dict(model.named_parameters())
    flat = torch.cat([one.detach().flatten() for one in parameters.values()])

    def loss(flat: torch.Tensor) -> torch.Tensor:
        parts = flat.split([one.numel() for one in parameters.values()])
        given = {name: part.view_as(one) for (name, one), part in zip(parameters.items(), parts, strict=True)}
        return (torch.func.functional_call(model, given, (problem.x,)) - problem.y).square().mean()  # type: ignore

    largest = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat))[-1].item()
    assert last["sharpness"] == pytest.approx(largest, rel=1e-6)
    assert last["edge"] == pytest.approx(last["sharpness"] * 0.1 / 2)
