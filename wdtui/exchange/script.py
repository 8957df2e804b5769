"""A run as a short script in plain PyTorch that trains the same network on the same pairs without wdtui."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from importlib import resources

from wdtui.exchange.exported import ExchangeError, Run
from wdtui.exchange.template import DATA, DECOUPLED_SGD, LOOP, NETWORK, NOISE, PLAN
from wdtui.problems.addition.config import RunConfig
from wdtui.schema.steering import Plan

_DRIFT = '''
Pairs, initial parameters and order of batches are those of the run. Each step is the same except for rounding, as
wdtui's engine does the arithmetic in another order. The differences start at about 1e-7 and grow with each step.
Expect similar curves, not the same digits. Measured on one thread of one CPU over 10,140 steps:
- `wdtui run demo` and its script differed at any one point by at most 7.8 % of the test pairs (at step 2,262, where
  test accuracy climbs), 1.9 % of the training pairs and 0.09 in weight norm, and at the end by 1.6 %, 0.02 % and 0.04.
- With λ 0.3 and ε 1e-5 test accuracy swings all the time. It differed by up to 59 % at one point, training accuracy
  by 3.5 % and the weight norm by 0.3. Compare the shape of such curves, not single points.
"""
'''
"""The part of the script's header about rounding differences."""


def script(run: Run) -> str:
    """The text of the script. Raises ExchangeError for a run that is not supported."""
    config = run.config
    if not isinstance(config, RunConfig):
        raise ExchangeError(f"Run {run.id} is of the problem {config.problem}, but the script supports only addition.")
    if config.architecture == "transformer":
        raise ExchangeError(f"Run {run.id} trains the transformer, but the script supports only the residual network.")
    if config.optimizer not in ("adamw", "adam", "sgd"):
        raise ExchangeError(f"Run {run.id} uses {config.optimizer}, but the script supports only AdamW, Adam and SGD.")
    for steering in run.plan:
        if not run.record.schema.field(steering.field).steerable:
            raise ExchangeError(
                f"Run {run.id} changes {steering.field} while training, but the script supports only changes of "
                "weight_decay, bn_epsilon and learning_rate."
            )
    parts = [
        _head(run, config),
        DATA,
        NOISE if config.label_noise else "",
        _network(),
        NETWORK,
        _plan(run.plan, config),
        LOOP,
    ]
    text = "".join(parts)
    for placeholder, code in _choices(run, config).items():
        text = text.replace(f"«{placeholder}»", code)
    return text


def _head(run: Run, config: RunConfig) -> str:
    title = " ".join(run.record.title.split()).replace('"', "'").replace("\\", "")
    constants = {
        name.upper(): getattr(config, name)
        for name in (
            "bits", "train_digits", "test_digits", "train_size", "validation_size", "test_size", "label_noise",
            "data_seed", "width", "blocks", "bn_epsilon", "bn_momentum", "learning_rate", "weight_decay",
            "batch_size", "epochs", "seed", "log_every",
        )
    }  # fmt: skip
    lines = [f"{name} = {value!r}\n" for name, value in constants.items() if _wanted(name, config)]
    imports = "import math\nimport random\n\nimport torch\nfrom torch import Tensor, nn\n"
    imports += "from torch.nn import functional\n\n"
    what = f'"""Run {run.id} of wdtui ({title}), in plain PyTorch: needs only torch, prints a line per logged epoch.\n'
    threads = f"\ntorch.set_num_threads({run.record.threads})  # as the run had\n" if run.record.threads else ""
    return f"{what}{_DRIFT}\n{imports}{''.join(lines)}{threads}"


def _network() -> str:
    """The source of the reference network's classes. It is read as text because importing it takes torch."""
    source = resources.files("wdtui.problems.addition.engine").joinpath("residual.py").read_text(encoding="utf-8")
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    return "".join(f"\n\n{ast.get_source_segment(source, node)}\n" for node in classes)


def _wanted(name: str, config: RunConfig) -> bool:
    if name.startswith("BN_"):
        return config.batch_norm
    return name != "LABEL_NOISE" or bool(config.label_noise)


def _choices(run: Run, config: RunConfig) -> dict[str, str]:
    """The code for each placeholder of the template, chosen by the config."""
    order = (
        'seed = random.Random(f"order {SEED} {epoch}").getrandbits(63)\n'
        "    order = torch.randperm(TRAIN_SIZE, generator=torch.Generator().manual_seed(seed))"
        if config.shuffle
        else "order = torch.arange(TRAIN_SIZE)"
    )
    mse = "functional.mse_loss(torch.sigmoid(logits), targets)"
    return {
        "operation": "x + y" if config.task == "add" else "x * y",
        "noise": "known_y = add_noise(known_y, rng.getrandbits(63))\n" if config.label_noise else "",
        "norm": "True, BN_EPSILON, BN_MOMENTUM" if config.batch_norm else "False, 0.0, 0.0",
        "loss": mse if config.loss == "mse" else "functional.binary_cross_entropy_with_logits(logits, targets)",
        "optimizer": _optimizer(config),
        "order": order,
        "follow": "    follow_plan(epoch)\n" if run.plan else "",
        "decay": DECOUPLED_SGD if config.optimizer == "sgd" and config.decoupled else "",
    }


def _optimizer(config: RunConfig) -> str:
    if config.optimizer == "sgd":
        l2 = "0.0" if config.decoupled else "WEIGHT_DECAY"
        return f"torch.optim.SGD(network.parameters(), LEARNING_RATE, momentum={config.momentum!r}, weight_decay={l2})"
    kind = "AdamW" if config.decoupled else "Adam"  # AdamW decays the parameters, Adam the gradient
    how = f"betas={config.betas!r}, eps={config.adam_epsilon!r}, weight_decay=WEIGHT_DECAY"
    return f"torch.optim.{kind}(\n    network.parameters(), LEARNING_RATE, {how}\n)"


def _plan(plan: Plan, config: RunConfig) -> str:
    if not plan:
        return ""
    by_hand = config.optimizer == "sgd" and config.decoupled
    return PLAN.replace("«plan»", "".join(_steerings(plan, config))).replace("«sets»", _sets(plan, by_hand).rstrip())


def _steerings(plan: Plan, config: RunConfig) -> Iterator[str]:
    for steering in plan:
        first = steering.step // config.steps_per_epoch
        yield f"    ({first}, {steering.field!r}, {steering.old!r}, {steering.new!r}, {steering.epochs}),\n"


def _sets(plan: Plan, by_hand: bool) -> str:
    """The lines that set each steered field."""
    decay = (
        "    global WEIGHT_DECAY\n    WEIGHT_DECAY = "
        if by_hand
        else '    optimizer.param_groups[0]["weight_decay"] = '
    )
    ways = {
        "weight_decay": f'{decay}value("weight_decay", epoch)\n',
        "learning_rate": '    optimizer.param_groups[0]["lr"] = value("learning_rate", epoch)\n',
        "bn_epsilon": '    for norm in network.norms():\n        norm.eps = value("bn_epsilon", epoch)\n',
    }
    return "".join(way for field, way in ways.items() if any(steering.field == field for steering in plan))
