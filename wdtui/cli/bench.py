"""`wdtui bench`: the speed of this engine, compared with a plain PyTorch loop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from wdtui.cli.errors import CommandError
from wdtui.cli.fields import DeviceOption, ForceOption, JsonOption


def bench(
    widths: Annotated[str, typer.Option(metavar="N,…", help="Widths to measure.")] = "64,256",
    models: Annotated[str, typer.Option(metavar="K,…", help="Sizes of batches to measure.")] = "1,4,16",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 2,
    rounds: Annotated[
        int, typer.Option(min=3, help="Number of measurements of each variant; the median is reported.")
    ] = 15,
    plans: Annotated[bool, typer.Option("--plans", help="Also compare threads, processes and batches.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Also show how the time of a step is spent.")] = False,
    device: DeviceOption = "cpu",
    output: Annotated[Path | None, typer.Option(help="File for the results as JSON.")] = None,
    force: ForceOption = False,
    json: JsonOption = False,
) -> None:
    """Measure the speed of this engine, a plain nn.Module loop, the original code and the matrix products alone."""
    import json as json_module

    from wdtui.support.outputs import check_file, write_text

    if output:
        check_file(output, force=force)
    sizes = [_number(size, "models") for size in models.split(",") if size]
    wanted = [_number(width, "widths") for width in widths.split(",")]
    from wdtui.bench.engine import compare, machine
    from wdtui.bench.profile import where_time_goes
    from wdtui.bench.throughput import throughput
    from wdtui.training.devices import resolve_device

    device_name = resolve_device(device)
    result: dict[str, Any] = {"machine": machine(threads, device_name), "widths": [], "plans": [], "profiles": []}
    if not json:
        typer.echo(", ".join(f"{key} {value}" for key, value in result["machine"].items()))
    for width in wanted:
        measured = compare(width, threads, rounds, sizes, device_name)
        result["widths"].append(measured)
        if not json:
            _show(measured)
    for width in wanted if plans else []:
        compared = throughput(width, max(3, rounds // 5), sizes, device_name)
        result["plans"].append(compared)
        if not json:
            _show_plans(compared)
    for width in wanted if profile else []:
        parts = where_time_goes(width, threads, max(sizes, default=1), device_name)
        result["profiles"].append({"width": width, "microseconds": parts})
        if not json:
            _show_profile(width, parts)
    if output:
        write_text(output, json_module.dumps(result, indent=2), force=force)
    if json:
        typer.echo(json_module.dumps(result))


def _show(measured: dict[str, Any]) -> None:
    typer.echo(f"\nwidth {measured['width']}{'':<33} model-steps/s          × plain loop   of the limit")
    for name, contestant in measured["contestants"].items():
        if "failure" in contestant:
            typer.echo(f"  {name:<38} {contestant['failure']}")
            continue
        speed, spread = contestant["steps_per_second"], contestant["spread"]
        ratio, share = _cell(contestant["ratio"], ".2f"), _cell(contestant["share_of_limit"], ".0%")
        typer.echo(f"  {name:<38} {speed:>12,.0f}  ± {spread:4.0%}   {ratio:>12} {share:>14}")
    if measured["metrics_cost"] is not None:
        typer.echo(f"  all metrics cost {measured['metrics_cost']:.1%} of the training time")
    if measured["note"]:
        typer.echo(f"  {measured['note']}")


def _cell(value: float | None, form: str) -> str:
    """A ratio, or a dash where that to which it relates could not be measured."""
    return "–" if value is None else format(value, form)


def _show_plans(compared: dict[str, Any]) -> None:
    typer.echo(f"\nwidth {compared['width']}, one PyTorch thread per worker")
    for name, plan in compared["plans"].items():
        if "failure" in plan:
            typer.echo(f"  {name:<38} {plan['failure']}")
            continue
        speed, ratio = plan["model_steps_per_second"], _cell(plan["ratio"], ".2f")
        typer.echo(f"  {name:<38} {speed:>12,.0f} model-steps/s in total {ratio:>8} × the plain loop")


def _show_profile(width: int, parts: dict[str, dict[str, float]]) -> None:
    typer.echo(f"\nwidth {width}, microseconds of a model-step{'':<2}" + "".join(f"{way:>26}" for way in parts))
    for kind in next(iter(parts.values())):
        typer.echo(f"  {kind:<38}" + "".join(f"{way[kind]:>26,.0f}" for way in parts.values()))


def _number(text: str, option: str) -> int:
    if not text.strip().isdecimal() or int(text) < 1:
        raise CommandError(f"{option} {text}: give whole numbers of at least 1, separated by commas.")
    return int(text)
