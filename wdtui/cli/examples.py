"""The examples at the end of each command's `--help`. A test parses every one of them."""

from __future__ import annotations

import typer

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": ("wdtui", "wdtui run demo --headless", "wdtui --store ./lab runs list", "wdtui COMMAND --help"),
    "run": (
        "wdtui run demo",
        "wdtui run demo --headless",
        "wdtui run --weight-decay 0.3 --bn-epsilon 1e-5 --headless --json",
        "wdtui run training-curves --seed 7 --name seventh --detach",
        "wdtui run mine.toml --device cuda",
        "wdtui run mine.py --weight-decay 0.5",
    ),
    "new": ("wdtui new mine.py",),
    "check": ("wdtui check mine.py", "wdtui check mine.py:Mine --json"),
    "sweep": (
        "wdtui sweep --axis 'weight_decay=0,logspace(0.01,1,5)' --seeds 3 --headless",
        "wdtui sweep demo --axis width=64,128,256 --axis bn_epsilon=1e-5,1e-2",
        "wdtui sweep --axis 'seed=range(0,10)' --epochs 130 --headless --json",
        "wdtui sweep lambda --headless --executor ray --address 10.0.0.1:6379",
    ),
    "resume": (
        "wdtui resume last",
        "wdtui resume 3 --headless",
        "wdtui resume 3 --detach",
        "wdtui resume S2",
        "wdtui resume S2 --executor ray",
    ),
    "watch": ("wdtui watch last", "wdtui watch 3 --json"),
    "pause": ("wdtui pause last", "wdtui pause 3"),
    "checkpoint": ("wdtui checkpoint last", "wdtui checkpoint 3"),
    "stop": ("wdtui stop last", "wdtui stop 3", "wdtui stop S2"),
    "steer": (
        "wdtui steer last --set bn_epsilon=1e-2",
        "wdtui steer 3 --set weight_decay=0 --set learning_rate=3e-4",
        "wdtui steer 3 --set bn_epsilon=1e-2:50",
    ),
    "fork": (
        "wdtui fork 3 --at 8424 --set weight_decay=0",
        "wdtui fork last --set bn_epsilon=1e-2:50 --headless --name cured",
    ),
    "replay": ("wdtui replay 3", "wdtui replay last --headless --json"),
    "plot": (
        "wdtui plot 1 2 --output curves.png",
        "wdtui plot S3 --output lambda.svg",
        "wdtui plot last --metric weight_norm --metric bn_variance_min",
    ),
    "bench": ("wdtui bench", "wdtui bench --widths 64,256 --threads 1 --profile", "wdtui bench --output speed.json"),
    "doctor": ("wdtui doctor", "wdtui doctor --store ./lab"),
    "config show": ("wdtui config show", "wdtui config show --json"),
    "config path": ("wdtui config path", "WDTUI_CONFIG=./lab.toml wdtui config path"),
    "config set": (
        "wdtui config set theme light",
        "wdtui config set threads 1",
        "wdtui config set shared true",
        "wdtui config set keys.launch f5",
        "wdtui config set themes.mine.accent '#56b4e9'",
    ),
    "config unset": ("wdtui config unset theme", "wdtui config unset keys.launch"),
    "experiments list": ("wdtui experiments list", "wdtui experiments list --json"),
    "experiments show": ("wdtui experiments show lambda", "wdtui experiments show mine.toml"),
    "experiments run": ("wdtui experiments run batchnorm-epsilon", "wdtui experiments run lambda --quick --seeds 3"),
    "experiments verify": ("wdtui experiments verify lambda --quick", "wdtui experiments verify mine.toml --json"),
    "experiments report": (
        "wdtui experiments report lambda --quick",
        "wdtui experiments report width --quick --output width.html",
    ),
    "store check": ("wdtui store check", "wdtui store check --json"),
    "store backup": ("wdtui store backup runs-of-may.sqlite3",),
    "store move": ("wdtui store move /data/wdtui",),
    "runs export": (
        "wdtui runs export 1 2",
        "wdtui runs export last --format json --output run.json",
        "wdtui runs export 1 2 --format tensorboard --output logs",
    ),
    "runs script": ("wdtui runs script last --output plain.py",),
    "runs import": ("wdtui runs import lightning_logs",),
    "runs list": ("wdtui runs list", "wdtui runs list --json"),
    "runs show": ("wdtui runs show last", "wdtui runs show 3 --json"),
    "runs compare": ("wdtui runs compare 1 2 3", "wdtui runs compare first second"),
    "runs decay": ("wdtui runs decay last", "wdtui runs decay 3 --layer attn --sort share --json"),
    "runs check": ("wdtui runs check last", "wdtui runs check 3 --json"),
    "runs rename": ("wdtui runs rename last 'small epsilon'",),
    "runs note": ("wdtui runs note last 'crashes twice #unstable'",),
    "runs delete": ("wdtui runs delete 3", "wdtui runs delete 3 4 5 --yes"),
    "sweeps list": ("wdtui sweeps list", "wdtui sweeps list --json"),
    "sweeps show": ("wdtui sweeps show S2", "wdtui sweeps show last --json"),
}
"""By command; the empty name is the program itself."""


def epilog(command: str) -> str:
    """The examples as shown below a command's help, one per line."""
    return "\n".join(["\b", "Examples:", *(f"  {example}" for example in EXAMPLES.get(command, ()))])


def add_examples(app: typer.Typer, above: str = "") -> None:
    """Add the examples to every command of an app and of its groups."""
    for info in app.registered_commands:
        assert info.callback
        info.epilog = epilog(f"{above}{info.name or info.callback.__name__}")
    for group in app.registered_groups:
        if group.typer_instance:
            add_examples(group.typer_instance, f"{above}{group.name} ")
