"""`wdtui runs decay`: what weight decay does to each layer of a run."""

from __future__ import annotations

import json as json_module
import math
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from wdtui.cli.errors import CommandError
from wdtui.cli.fields import JsonOption, StoreOption
from wdtui.cli.runs import RunArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wdtui.analysis.decay import Layer
    from wdtui.schema.curves import Curves

_MOST = 40


def decay(
    run: RunArgument,
    layer: Annotated[str, typer.Option(metavar="PATTERN", help="Part of the names of layers; * is anything.")] = "",
    sort: Annotated[
        Literal["deviation", "share", "network"],
        typer.Option(help="By the distance from equilibrium, the decay share, or in the network's order."),
    ] = "deviation",
    most: Annotated[int, typer.Option(min=1, help="How many layers to print.")] = _MOST,
    json: JsonOption = False,
    store: StoreOption = None,
) -> None:
    """Show what weight decay does to each layer: its norm, its rotation beside the equilibrium, its decay share."""
    from wdtui.analysis.decay import matching, ordered
    from wdtui.analysis.summary import finite
    from wdtui.runs.decay import decay_of
    from wdtui.store.store import Store

    with Store(store) as opened:
        record = opened.find(run)
        curves = opened.curves(record.id)
    found = decay_of(record, curves)
    layers = ordered(matching(found.layers, layer), sort)
    if layer and found.layers and not layers:
        raise CommandError(f"No layer of run {record.id} has {layer} in its name.")
    if json:
        about = {
            "event": "decay",
            "run_id": record.id,
            "step": record.step,
            **finite({"time_constant": found.constant.steps if found.constant else math.nan}),
            "sentences": found.sentences,
            "layers": list(map(_as_json, layers)),
        }
        typer.echo(json_module.dumps(about, ensure_ascii=False, allow_nan=False))
        return
    for sentence in found.sentences:
        typer.echo(sentence)
    if layers:
        _print_table(layers[:most], curves)
    else:
        typer.echo(f"Run {record.id} has recorded no decay gauges.")
    if (further := len(layers) - most) > 0:
        typer.echo(f"and {further:,} further layers; --most prints more, --layer selects some.")


def _as_json(layer: Layer) -> dict[str, Any]:
    """The values of a layer under the names of their metrics; None for what is unknown."""
    from wdtui.analysis.summary import finite

    values = {
        "weight_norm": layer.norm,
        "rotation": layer.rotation,
        "rotation_of_equilibrium": layer.equilibrium,
        "decay_share": layer.decay_share,
        "scale_invariance": layer.cosine,
    }
    return {"layer": layer.name, **finite(values), "scale_invariant": layer.invariant}


def _print_table(layers: Sequence[Layer], curves: Curves) -> None:
    import sys

    from rich.console import Console
    from rich.text import Text

    from wdtui.plots.terminal.layers import Row, fitted

    console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 160)
    rows = [Row(layer, curves) for layer in layers]
    columns = fitted(rows, console.width)
    console.print(Text("".join(column.aligned(column.title, cells) for column, cells in columns).rstrip(), "dim"))
    for row in rows:
        console.print("".join(column.cell(row, cells) for column, cells in columns).rstrip())
