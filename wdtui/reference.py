"""docs/reference.md, made from the definitions: `python -m wdtui.reference > docs/reference.md`; a test compares."""

from __future__ import annotations

from collections.abc import Iterator

from wdtui.problems.addition.config import RunConfig
from wdtui.schema.hyperparameters import Hyperparameter, format_value
from wdtui.settings import SETTINGS

_LAYERS = {"linear": "each linear layer", "norm": "each BatchNorm", "invariant": "each linear layer before a BatchNorm"}


def reference() -> str:
    """Hyperparameters, metrics and settings as Markdown."""
    return "\n".join([_INTRODUCTION, *_hyperparameters(), *_metrics(), *_settings()]) + "\n"


_INTRODUCTION = """\
# Reference

<!-- made by `python -m wdtui.reference > docs/reference.md`; a test holds it to the definitions -->
"""


def _hyperparameters() -> Iterator[str]:
    yield "## Hyperparameters\n"
    yield "Each is a flag (`--weight-decay`), a TOML key, a field of the form and a field of the stored config."
    yield "Its symbol and the short names beside it stand for it in `--axis`, in `--set` and in the filter."
    yield "*Sweep*: on which scale a sweep over it is drawn. *Live*: it can be changed while the run trains."
    for group, title in RunConfig.groups.items():
        yield f"\n### {title}\n"
        yield from _head("name", "also", "default", "allowed", "unit", "sweep", "live", "")
        for field in RunConfig.fields().values():
            if field.group == group:
                default, live = f"`{format_value(field.default)}`", "yes" if field.steerable else ""
                cells = f"`{field.name}`", _also(field), default, field.allowed, field.unit, field.sweep, live
                yield _row(*cells, field.help)


def _also(field: Hyperparameter) -> str:
    return ", ".join(filter(None, [field.symbol, *(f"`{alias}`" for alias in field.aliases)]))


def _metrics() -> Iterator[str]:
    yield "\n## Metrics\n"
    yield "Logged every `log_every` epochs. A layer's value is named `metric/layer`, as `weight_norm/block1.linear1`."
    yield ""
    yield from _head("name", "label", "unit", "per layer", "")
    for metric in RunConfig.metrics.values():
        every = f" Every `{metric.every}` epochs." if metric.every else ""
        yield _row(f"`{metric.name}`", metric.label, metric.unit, _LAYERS.get(metric.layers, ""), metric.help + every)


def _settings() -> Iterator[str]:
    yield "\n## Settings\n"
    yield "In the file that `wdtui config path` names. A flag wins over the environment, that over the file, that over"
    yield "the default. Beside these, `[keys]` has other keys for actions, and `[themes.NAME]` colours of your own.\n"
    yield from _head("name", "default", "allowed", "environment", "")
    for setting in SETTINGS.values():
        default = f"`{format_value(setting.default)}`"
        yield _row(f"`{setting.name}`", default, setting.allowed, f"`{setting.variable}`", setting.help)


def _head(*titles: str) -> Iterator[str]:
    yield _row(*titles)
    yield "|" + "---|" * len(titles)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


if __name__ == "__main__":
    print(reference(), end="")
