"""Problems that files declare: what is read of them, what is refused and how, and that their runs are exact."""

from __future__ import annotations

import inspect
import json
import pickle
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from command_line import wdtui

from wdtui.cli import declared as commands
from wdtui.cli import run, sweep
from wdtui.problems import files, registry
from wdtui.problems.declared import _RESERVED
from wdtui.problems.describe import described
from wdtui.problems.user_code import UserCodeError, load
from wdtui.runs.retention import Snapshot
from wdtui.schema.hyperparameters import ConfigError
from wdtui.schema.schema import Schema
from wdtui.schema.source import Source
from wdtui.training import trainer
from wdtui.training.declared import DeclaredSession, _flat
from wdtui.training.gauges import Gauges
from wdtui.training.state import StateError

GAUGES = "rotation", "decay_share", "scale_invariance", "effective_learning_rate", "time_constant"
REGRESSION = '''
import torch

import helper
import wdtui


class Regression(wdtui.Problem):
    """A line through noisy points."""

    points: int = wdtui.knob(16, ge=2, affects="data", help="How many points.")
    noise: float = wdtui.knob(0.1, ge=0, affects="data")
    kind: str = wdtui.knob("plain", affects="update")
    learning_rate: float = wdtui.knob(0.1, gt=0, sweep="log", affects="live")
    weight_decay: float = wdtui.knob(0.01, ge=0, sweep="log", affects="live")
    temperature: float = wdtui.knob(1.0, gt=0, affects="live")
    steps = 60
    log_every = 5

    def setup(self):
        self.x = torch.rand(self.points, 1)
        self.y = helper.SLOPE * self.x + self.noise * torch.randn(self.points, 1)
        self.model = torch.nn.Sequential(torch.nn.Linear(1, 8), torch.nn.Dropout(0.1), torch.nn.Linear(8, 1))
        self.optimizer = torch.optim.AdamW(
            [{"params": self.model[0].parameters()},
             {"params": self.model[2].parameters(), "lr": self.learning_rate / 2}],
            lr=self.learning_rate, weight_decay=self.weight_decay,
        )
        self.scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, self.steps)
        self.history = []
        self.heard = 0

    def steered(self, name, value):
        self.heard += 1

    def step(self):
        rows = torch.randperm(self.points)[:8]
        loss = (self.model(self.x[rows]) - self.y[rows]).square().mean() / self.temperature
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        self.history = [*self.history[-3:], loss.item()]
        return {"train_loss": loss}

    def measure(self):
        assert not self.model.training and not torch.is_grad_enabled()
        return {"test_loss": (self.model(self.x) - self.y).square().mean(), "norm/first": self.model[0].weight.norm()}
'''

TINY = """
import os, random, sys, torch, wdtui

class Tiny(wdtui.Problem):
    a: int = wdtui.knob(1, ge=1)
    steps = 30

    def setup(self):
        self.w = torch.zeros(1)
        self.n = 0
        {setup}

    def step(self):
        self.n += 1
        {step}

    def measure(self):
        {measure}
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WDTUI_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are read in this process: PyTorch is imported here already."""
    monkeypatch.setattr(files, "_described", described)


@pytest.fixture
def regression(tmp_path: Path, here: None) -> Path:
    (tmp_path / "helper.py").write_text("SLOPE = 3.0\n")
    return written(tmp_path / "regression.py", REGRESSION)


@pytest.fixture
def tiny(tmp_path: Path, here: None) -> Callable[..., Path]:
    def make(setup: str = "pass", step: str = "pass", measure: str = "return {'w': self.w}") -> Path:
        return written(tmp_path / "tiny.py", TINY.format(setup=setup, step=step, measure=measure))

    return make


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def opened(path: Path, **changes: object) -> DeclaredSession:
    config = registry.find(str(path)).config(**changes)
    session = trainer(config).open_session(config, "cpu", ())
    assert isinstance(session, DeclaredSession)
    return session


def values(session: DeclaredSession) -> list[dict[str, float]]:
    return [dict(zip(session.columns[:-1], point.values[:-1], strict=True)) for point in session.points()]


def test_the_norms_of_the_weights_are_measured_unasked(regression: Path) -> None:
    session = opened(regression, steps=5)
    last = values(session)[-1]
    weights = list(session.problem.model.parameters())  # type: ignore[attr-defined]
    assert last["weight_norm"] == pytest.approx(torch.cat([one.flatten() for one in weights]).norm().item())
    assert last["weight_norm/0"] == pytest.approx(weights[0].norm().item())


def test_the_decay_gauges_are_measured_and_change_no_bit(regression: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured = opened(regression, steps=13)
    points = values(measured)
    assert len(points) == 3 and all(point["rotation/0"] > 0 and point["decay_share/2"] > 0 for point in points)
    assert measured._probing._gauges is None  # no copy of the weights is left
    monkeypatch.setattr(Gauges, "measure", lambda _: {})
    monkeypatch.setattr(Gauges, "__init__", lambda *_: None)
    plain = opened(regression, steps=13)
    assert values(plain) == [
        {name: value for name, value in point.items() if not name.startswith(GAUGES)} for point in points
    ]
    states = [session.problem.model.state_dict().values() for session in (measured, plain)]  # type: ignore[attr-defined]
    assert all(map(torch.equal, *states))


def test_names_that_a_problem_records_are_its_own(regression: Path) -> None:
    regression.write_text(regression.read_text().replace('{"train_loss": loss}', '{"train_loss": loss, "rotation": 5}'))
    assert [point["rotation"] for point in values(opened(regression, steps=10))] == [5, 5]


# What a file declares


def test_a_file_declares_fields_with_the_usual_symbols_and_those_of_every_run(regression: Path) -> None:
    problem = registry.find(str(regression))
    schema = problem.config.schema()
    assert problem.title == "A line through noisy points."
    assert [*schema.fields][:3] == ["points", "noise", "kind"]
    assert {"seed", "log_every", "keep_every", "keep_megabytes"} <= {*schema.fields}
    assert schema.fields["steps"].default == 60 and schema.fields["steps"].affects == "bookkeeping"
    assert (schema.symbol("weight_decay"), schema.symbol("learning_rate")) == ("λ", "η")
    assert [field.name for field in schema.live_fields] == ["learning_rate", "weight_decay", "temperature"]
    assert problem.config(kind="other").steps_per_epoch == 1


def test_fields_are_found_by_what_people_call_them(regression: Path) -> None:
    schema = registry.find(str(regression)).config.schema()
    assert [schema.find(name).name for name in ("lr", "η", "wd")] == ["learning_rate"] * 2 + ["weight_decay"]
    refused = wdtui("run", str(regression), "--lr", "0.1", "--headless")
    assert refused.stderr == "wdtui: there is no option --lr; did you mean --learning-rate?\n"
    regression.write_text(regression.read_text().replace("learning_rate", "lr").replace("temperature", "eps"))
    schema = registry.find(str(regression)).config.schema()
    assert [schema.find(name).name for name in ("learning_rate", "lr", "eps")] == ["lr", "lr", "eps"]


def test_the_schema_carries_the_file_and_the_modules_beside_it(regression: Path) -> None:
    schema = registry.find(str(regression)).config.schema()
    back = Schema.from_json(schema.to_json())
    assert back == schema and back.source
    assert {*back.source.files} == {"regression.py", "helper.py"}
    assert pickle.loads(pickle.dumps(registry.find(str(regression)).config(points=5))).points == 5


def test_imports_inside_functions_and_packages_are_part_of_the_source(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").write_text("from . import inner\n")
    (tmp_path / "package" / "inner.py").write_text("X = 1\n")
    (tmp_path / "late.py").write_text("import package.inner\n")
    path = written(tmp_path / "main.py", "import torch\ndef f():\n    import late\n")
    assert {*Source.read(path).files} == {"main.py", "late.py", "package/__init__.py", "package/inner.py"}


def test_a_file_is_run_once_for_each_of_its_contents(regression: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = files.schema_of(str(regression))
    monkeypatch.setattr(files, "_described", lambda source: pytest.fail("it was run again"))
    assert files.schema_of(str(regression)) == first
    moved = regression.rename(regression.with_name("regression2.py"))
    assert moved.exists()
    with pytest.raises(pytest.fail.Exception):
        (regression.parent / "helper.py").write_text("SLOPE = 4.0\n")
        moved.rename(regression)
        files.schema_of(str(regression))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = (", "file.py, line 1: SyntaxError while it was imported: '(' was never closed."),
        ("import nothing_of_this_name", "file.py, line 1: ModuleNotFoundError while it was imported"),
        ("\n\nexit(3)", "file.py, line 3: it called exit() while it was imported."),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "file.py: the process that imported it ended"),
        ("x = 1", "file.py: it defines no class that inherits from wdtui.Problem."),
        (
            "import wdtui\nclass A(wdtui.Problem): ...\nclass B(wdtui.Problem): ...",
            "file.py: it defines A, B. Name one, as file.py:A.",
        ),
        (
            "import wdtui\nclass A(wdtui.Problem):\n    a: int = wdtui.knob(0, ge=1)",
            "file.py, A: The default of a: 0 is not allowed; give a whole number ≥ 1.",
        ),
        (
            "import wdtui\nclass A(wdtui.Problem):\n    a: dict = wdtui.knob({})",
            "is not a type of hyperparameters",
        ),
        ("import wdtui\nclass A(wdtui.Problem):\n    a: int = wdtui.knob(1, minimum=3)", "minimum is not a property"),
        (
            "import wdtui\nclass A(wdtui.Problem):\n    device: int = wdtui.knob(1)",
            "device: wdtui uses this name itself",
        ),
        (
            "import wdtui\nclass A(wdtui.Problem):\n    a: int = wdtui.knob(1, affects='lives')",
            "affects must be live or",
        ),
        (
            "import wdtui\nclass A(wdtui.Problem):\n    metrics = {'score': {'role': 'generalize'}}",
            "score has the role generalize, but a role is fit or generalise; did you mean generalise?",
        ),
    ],
)
def test_what_is_wrong_with_a_file_is_one_sentence(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as refused:
        registry.find(str(written(tmp_path / "file.py", text)))
    assert says in str(refused.value) and "\n" not in str(refused.value)


def test_threads_can_load_files_at_the_same_time(tmp_path: Path) -> None:
    sources = []
    for number in range(8):
        text = f"import wdtui\nclass A(wdtui.Problem):\n    number = {number}\n"
        path = written(tmp_path / f"file{number}.py", text + f"from helper{number} import X\n")
        written(tmp_path / f"helper{number}.py", "X = 1")
        sources.append(Source.read(path))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(load, sources * 5))
    assert [problem.number for problem in found] == [*range(8)] * 5  # type: ignore[attr-defined]


@pytest.mark.parametrize("command", [run.run, sweep.sweep, commands.check])
def test_no_knob_can_have_the_name_of_an_option(command: Any) -> None:
    assert {*inspect.signature(command.plain).parameters} - {"fields"} <= _RESERVED


def test_a_file_named_like_a_module_in_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"json.py: a module of this name is in use"):
        registry.find(str(written(tmp_path / "json.py", "import wdtui\nclass A(wdtui.Problem): ...")))


def test_a_knob_without_an_annotation_has_the_type_of_its_default(tmp_path: Path) -> None:
    path = written(tmp_path / "file.py", "import wdtui\nclass A(wdtui.Problem):\n    a = wdtui.knob(0.5)")
    assert registry.find(str(path)).config.schema().fields["a"].kind == "float"


def test_an_endless_import_ends_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SECONDS", 1.0)
    with pytest.raises(ConfigError, match="took longer than 1 seconds"):
        registry.find(str(written(tmp_path / "file.py", "while True: pass")))


def test_a_class_is_named_after_a_colon(tmp_path: Path) -> None:
    text = "import wdtui\nclass A(wdtui.Problem): ...\nclass B(A): ...\n"
    path = written(tmp_path / "file.py", text)
    assert registry.find(f"{path}:A").name == "A"
    assert registry.find(str(path)).name == "B"  # A is only its base
    with pytest.raises(ConfigError, match=r"there is no problem C in it\. It has A, B"):
        registry.find(f"{path}:C")


def test_two_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder, value in (("one", 1), ("two", 2)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "helper.py").write_text(f"VALUE = {value}")
        written(
            tmp_path / folder / "file.py",
            "import helper, wdtui\n"
            "class A(wdtui.Problem):\n    value = helper.VALUE\n    a: int = wdtui.knob(helper.VALUE)",
        )
    found = [registry.find(str(tmp_path / folder / "file.py")).config.schema() for folder in ("one", "two")]
    assert [schema.fields["a"].default for schema in found] == [1, 2]
    assert [load(schema.source).value for schema in found if schema.source] == [1, 2]  # type: ignore[attr-defined]


# Sessions


@pytest.mark.parametrize("at", [1, 5, 23])
def test_a_restored_session_goes_on_with_the_same_bits(regression: Path, at: int) -> None:
    """Dropout, permutations, a scheduler, two groups, a list and a mean over steps are part of the state."""
    whole = opened(regression)
    snapshots: list[Snapshot] = []

    def poll() -> bool:
        if whole.step == at:
            snapshots.append(Snapshot.of(whole))
        return True

    expected = [point.values[:-1] for point in whole.points(poll)]
    again = opened(regression)
    again.restore(snapshots[0].tensors, snapshots[0].position)
    assert again.problem.history == whole.problem.history or again.step < whole.step  # type: ignore[attr-defined]
    rest = [point.values[:-1] for point in again.points()]
    assert rest == expected[len(expected) - len(rest) :] and rest
    json.dumps(snapshots[0].position)


def test_what_setup_builds_again_is_in_no_checkpoint(regression: Path) -> None:
    session = opened(regression)
    assert not any(name.startswith(("/attributes/x", "/attributes/y")) for name in session.state())
    session.problem.x = session.problem.x + 1  # type: ignore[attr-defined]
    assert "/attributes/x" in session.state()
    session = opened(regression)
    session.problem.y.mul_(2)  # type: ignore[attr-defined]
    assert "/attributes/y" in session.state()


ALIASES = {
    "an old tensor that another name still has": ("self.old = self.w", "self.w = self.w + 1"),
    "a tensor with two names": (
        "self.one, self.two = self.w, torch.ones(2)",
        "self.two = self.one = self.one + 1; self.one += 1",
    ),
    "tensors that change places": ("self.ring = [self.w, torch.ones(1)]", "self.ring.reverse(); self.ring[0] += 1"),
    "what something hidden refers to": ("self._hidden = [self.w]", "self._hidden[0] += 1"),
    "a leaf that is made anew": (
        "self.leaf = torch.ones(1, requires_grad=True)",
        "self.leaf = (self.leaf * 2).detach().requires_grad_()",
    ),
    "a view": ("self.rows = torch.zeros(3); self.row = self.rows[1:]", "self.row += 1"),
}


@pytest.mark.parametrize("case", ALIASES)
def test_names_refer_to_the_same_tensors_after_a_restoration(tiny: Callable[..., Path], case: str) -> None:
    setup, step = ALIASES[case]
    path = tiny(setup=setup, step=step)
    whole = opened(path)
    for _ in range(5):
        whole.take_step()
    again = opened(path)
    again.restore({name: tensor.clone() for name, tensor in whole.state().items()}, whole.position())
    for _ in range(3):
        for session in (whole, again):
            session.take_step()
        assert json.dumps(contents(again)) == json.dumps(contents(whole))


def contents(session: DeclaredSession) -> list[Any]:
    """All tensors of a problem, hidden ones too, and which of them are one."""
    tensors = [one for one in _flat(vars(session.problem)) if isinstance(one, torch.Tensor)]
    first = [next(at for at, other in enumerate(tensors) if other is one) for one in tensors]
    return [first, [(one.tolist(), one.requires_grad) for one in tensors]]


def test_a_tensor_made_anew_in_each_step_is_in_every_checkpoint(tiny: Callable[..., Path]) -> None:
    """Also where it has the address of the one that setup made, which is free by then."""
    session = opened(tiny(step="self.w = self.w + 1"))
    for _ in range(50):
        session.take_step()
        assert "/attributes/w" in session.state()


def test_steering_keeps_the_ratio_of_groups_and_the_shape_of_a_schedule(regression: Path) -> None:
    plain, steered = opened(regression), opened(regression)
    for session in (plain, steered):
        for _ in range(20):
            session.begin_epoch()
            session.take_step()
    steered.steer(learning_rate=0.2, temperature=2.0)
    groups = [session.problem.optimizer.param_groups for session in (plain, steered)]  # type: ignore[attr-defined]
    assert [group["lr"] for group in groups[1]] == pytest.approx([2 * group["lr"] for group in groups[0]])
    assert groups[1][0]["initial_lr"] == pytest.approx(0.2)
    assert steered.problem.scheduler.base_lrs == pytest.approx([0.2, 0.1])  # type: ignore[attr-defined]
    assert steered.problem.heard == 1 and steered.get("temperature") == 2.0  # type: ignore[attr-defined]


def test_values_that_steps_return_are_averaged_and_measured_ones_are_not(tiny: Callable[..., Path]) -> None:
    session = opened(tiny(step="return {'loss': self.n}", measure="return {'n': self.n}"), steps=20)
    assert values(session) == [{"loss": 5.5, "n": 10.0}, {"loss": 15.5, "n": 20.0}]


def test_metrics_that_appear_later_are_gaps_before(tiny: Callable[..., Path]) -> None:
    session = opened(tiny(measure="return {'a': 1} if self.n < 15 else {'b': 2}"))
    assert [{*found} for found in values(session)] == [{"a"}, {"a", "b"}, {"a", "b"}]


def test_metrics_have_the_names_that_they_have_in_a_watched_loop(tiny: Callable[..., Path]) -> None:
    session = opened(tiny(step="return {'train/loss': 1}", measure="return {'λ max\\n': 2, 'norm/a/b': 3, 0: 4}"))
    assert values(session)[0] == {"train_loss": 1, "λ max": 2, "norm/a.b": 3, "_0": 4}


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        ({"setup": "1 / 0"}, "tiny.py, line 11: ZeroDivisionError in setup: division by zero."),
        ({"step": "sys.exit(3)"}, "tiny.py, line 15: it called exit() in step."),
        ({"step": "return 3"}, "in step: it returned an int; return a dict of numbers by name, or nothing."),
        ({"measure": "return {'a': 'text'}"}, "in measure: a cannot be recorded: it is a str and no number."),
        ({"measure": "return {'a': torch.zeros(2)}"}, "a cannot be recorded: it is a tensor of shape (2,) and"),
        ({"measure": "return {'epoch\\x1b[31m': 1}"}, "epoch cannot be recorded: wdtui has a column of that name."),
        ({"measure": "raise ValueError('a\\x1b[2Jb')"}, "ValueError in measure: a"),
    ],
)
def test_what_goes_wrong_in_a_file_names_its_line(tiny: Callable[..., Path], parts: dict[str, str], says: str) -> None:
    with pytest.raises(UserCodeError) as raised:
        values(opened(tiny(**parts)))
    assert says in str(raised.value) and "\x1b" not in str(raised.value)
    assert "/wdtui/" not in raised.value.trace


@pytest.mark.parametrize("attribute", ["open('/dev/null')", "iter([1])", "object()", "(i for i in [1])"])
def test_an_attribute_that_cannot_be_kept_is_refused_by_name(tiny: Callable[..., Path], attribute: str) -> None:
    with pytest.raises(StateError, match=r"^stream: a checkpoint cannot hold a"):
        opened(tiny(setup=f"self.stream = {attribute}"))
    opened(tiny(setup=f"self._stream = {attribute}"))


def test_a_loss_that_is_not_finite_ends_the_run_and_another_metric_does_not(tiny: Callable[..., Path]) -> None:
    session = opened(tiny(measure="return {'later': float('nan') if self.n < 20 else 1.0}"))
    assert len(values(session)) == 3
    config = registry.find(str(tiny(step="return {'loss': float('inf')}"))).config()
    session = trainer(config).open_session(config, "cpu", ())  # type: ignore[assignment]
    with pytest.raises(Exception, match="no longer finite numbers at step 10"):
        list(session.points())


def test_only_falls_of_what_is_measured_on_all_data_are_blow_ups(tiny: Callable[..., Path]) -> None:
    for parts, judged in (
        ({"step": "return {'train_accuracy': 1.0}"}, ""),
        ({"measure": "return {'train_accuracy': 1.0}"}, "train_accuracy"),
        ({"step": "return {'train_accuracy': 0.5}", "measure": "return {'train_accuracy': 1.0}"}, "train_accuracy"),
    ):
        session = opened(tiny(**parts))
        values(session)
        assert session.schema.judged == ("train_accuracy", "", judged)


KINDS = {
    "MLP": "nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 2))",
    "ConvNet with BatchNorm2d": "nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))",
    "LayerNorm transformer": "nn.Sequential(nn.Flatten(2), nn.Flatten(1), nn.Unflatten(1, (8, 8)),"
    " nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), nn.RMSNorm(8), nn.Flatten(), nn.Linear(64, 2))",
    "compiled": "torch.compile(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), backend='eager')",
}
ANY = """
import torch, wdtui
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Any(wdtui.Problem):
    learning_rate: float = wdtui.knob(0.01, affects="live")
    bn_epsilon: float = wdtui.knob(1e-5, affects="live")
    steps = 6
    log_every = 3

    def setup(self):
        x, y = torch.randn(32, 1, 8, 8), torch.randint(2, (32,))
        self.loader = DataLoader(TensorDataset(x, y), 8, shuffle=True, num_workers={workers})
        self.model = {model}
        self.model(x)
        half = list(self.model.parameters())
        self.first = torch.optim.SGD(half[:1], self.learning_rate, momentum=0.9)
        self.second = torch.optim.AdamW(half[1:], self.learning_rate)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.first, 2)
        self._batches = iter(self.loader)

    def step(self):
        total = 0.0
        for _ in range(2):  # gradient accumulation
            batch = next(self._batches, None)
            if batch is None:
                self._batches = iter(self.loader)
                batch = next(self._batches)
            x, y = batch
            with torch.autocast("cpu", dtype=torch.bfloat16):
                loss = nn.functional.cross_entropy(self.model(x).float(), y) / 2
            loss.backward()
            total += loss.item()
        for optimizer in (self.first, self.second):
            optimizer.step()
            optimizer.zero_grad()
        self.scheduler.step()
        return {{"train_loss": total}}
"""


@pytest.mark.parametrize("kind", KINDS)
def test_networks_of_all_kinds_train_and_are_steered(kind: str, tmp_path: Path, here: None) -> None:
    workers = 1 if kind == "MLP" else 0
    session = opened(written(tmp_path / "any.py", ANY.format(model=KINDS[kind], workers=workers)))
    session.steer(learning_rate=0.02, bn_epsilon=1e-3)
    assert len(values(session)) == 2
    assert session.problem.second.param_groups[0]["lr"] == 0.02  # type: ignore[attr-defined]
    restored = opened(tmp_path / "any.py")
    state = {name: tensor.clone() for name, tensor in session.state().items()}
    restored.restore(state, session.position())
    assert all(torch.equal(tensor, state[name]) for name, tensor in restored.state().items())
    assert restored.problem.second.param_groups[0]["lr"] == 0.02  # type: ignore[attr-defined]
    for opened_one in (session, restored):  # a worker of a DataLoader ends at once, not after 5 s in a later collection
        del opened_one.problem._batches  # type: ignore[attr-defined]


# Exactness


@pytest.mark.parametrize(
    ("parts", "exact", "named"),
    [
        ({}, True, ""),
        ({"setup": "self.data = torch.tensor(list(os.urandom(8)))"}, False, "setup builds data differently"),
        ({"setup": "self._stream = iter(range(99))", "step": "self.w += next(self._stream)"}, False, "_stream"),
        ({"step": "STATE.append(1); self.w += len(STATE)"}, False, "STATE"),
    ],
)
def test_check_finds_what_is_not_exact_and_names_it(
    tiny: Callable[..., Path], parts: dict[str, str], exact: bool, named: str
) -> None:
    path = tiny(**parts)
    path.write_text(path.read_text() + "\nSTATE = []\n")
    result = wdtui("check", str(path))
    assert result.returncode == (0 if exact else 3)
    assert named in result.stdout
    source = registry.find(str(path)).config.schema().source
    assert source and files.known_exact(source) is exact


def test_the_new_file_is_exact_and_short(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    assert wdtui("new", str(path)).returncode == 0
    assert len(path.read_text().splitlines()) < 45
    assert "already exists" in wdtui("new", str(path)).stderr
    small = ["--p", "11", "--width", "8"]
    assert "Exact" in wdtui("check", str(path), *small).stdout


# The pages


def test_the_example_is_the_file_that_new_writes(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "docs" / "examples" / "modular_addition.py"
    assert wdtui("new", str(tmp_path / "mine.py")).returncode == 0
    assert example.read_text() == (tmp_path / "mine.py").read_text()


def test_the_problem_of_the_page_trains(tmp_path: Path, here: None) -> None:
    code, _ = _programs_of_the_page()
    last = values(opened(written(tmp_path / "line.py", code)))[-1]
    assert last["slope"] == pytest.approx(3, abs=0.3)


def test_the_optimizer_of_the_page_decays() -> None:
    _, code = _programs_of_the_page()
    names: dict[str, Any] = {}
    exec(code, names)
    model, before = names["model"], names["model"].weight.detach().clone()
    model(torch.ones(1, 8)).sum().backward()
    names["optimizer"].step()
    assert not torch.equal(model.weight, before)


def _programs_of_the_page() -> list[str]:
    page = Path(__file__).parents[2] / "docs" / "problem.md"
    return re.findall(r"^```python\n(import torch.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
