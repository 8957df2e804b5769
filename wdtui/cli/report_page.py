"""The page of `wdtui experiments report`: a pure function from findings to an HTML text, with everything escaped."""

from __future__ import annotations

import dataclasses
import html
import importlib.resources
from collections.abc import Iterable, Iterator, Mapping, Sequence

from wdtui.analysis.sweep_table import Row, Table, label
from wdtui.runs.evidence import Standing
from wdtui.runs.sweep_words import spread_text, states_text
from wdtui.schema.hyperparameters import format_value
from wdtui.schema.schema import Schema
from wdtui.store.records import RunRecord
from wdtui.studies.experiments import Experiment
from wdtui.studies.verdicts import State, Verdict
from wdtui.support.text import NOTHING, clean, number

_SIGNS = {State.HOLDS: "✓", State.FAILS: "✗", State.NOT_RUN: NOTHING}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Findings:
    """The results of one variant of an experiment in a store."""

    experiment: Experiment
    argument: str
    """The experiment as given on the command line."""
    quick: bool
    standing: Standing
    table: Table
    """Over all axes but the seeds."""
    columns: tuple[str, ...]
    """The columns of the table of cells."""
    wanted: int
    """The number of runs of the variant."""
    runs: Sequence[RunRecord]
    """The runs in the store."""
    figures: Sequence[tuple[str, str]]
    """Each an <svg> element and its caption."""


def page(found: Findings) -> str:
    """The whole page."""
    style = importlib.resources.files(__package__).joinpath("report.css").read_text(encoding="utf-8")
    body = "\n".join(part for part in _parts(found) if part)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(found.experiment.name)}: {_text(found.experiment.question)}</title>\n"
        f"<style>\n{style}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _parts(found: Findings) -> Iterator[str]:
    experiment = found.experiment
    variant = " · quick variant" if found.quick else ""
    yield f'<p class="eyebrow">wdtui experiment · {_text(experiment.name)}{variant}</p>'
    yield f"<h1>{_text(experiment.question)}</h1>"
    yield f'<p class="dim">Source: {_text(experiment.article)}</p>' if experiment.article else ""
    yield f"<p>{_text(experiment.expected.strip())}</p>" if experiment.expected.strip() else ""
    yield f'<p class="standing">{_standing(found)}</p>'
    yield _claims(found.standing.verdicts)
    yield "<h2>Figures</h2>" if found.figures else ""
    for svg, caption in found.figures:
        yield f'<figure>\n<div class="wide">{svg}</div>\n<figcaption>{_text(caption)}</figcaption>\n</figure>'
    yield _table(found)
    yield _configs(found)
    yield _trained(experiment.schema, found.runs)
    yield _commands(found)


def _standing(found: Findings) -> str:
    total, trained = len(found.standing.verdicts), len(found.runs)
    claims = f"{total} claim{'s' * (total != 1)}: {found.standing.words}." if total else "There are no claims."
    if not trained:
        return f"{claims} None of the {number(found.wanted)} runs is trained yet."
    if trained == found.wanted:
        return f"{claims} {f'All {number(trained)} runs are' if trained > 1 else 'The one run is'} trained."
    return f"{claims} {number(trained)} of {number(found.wanted)} runs are trained; this page shows their results."


def _claims(verdicts: Sequence[Verdict]) -> str:
    if not verdicts:
        return ""
    items = []
    for verdict in verdicts:
        state = f"{_SIGNS[verdict.state]} {verdict.state.value}"
        kind = verdict.state.value.replace(" ", "-")
        measured = verdict.measured
        if verdict.value is None:
            measured += f" Claim: the {verdict.claim.subject}: {verdict.claim.bounds}."
        items.append(
            f'<li><span class="state {kind}">{state}</span><p>{_text(verdict.claim.says)}</p>'
            f'<p class="measured">{_text(measured)}</p></li>'
        )
    return '<h2>Claims</h2>\n<ul class="claims">\n' + "\n".join(items) + "\n</ul>"


def _table(found: Findings) -> str:
    axes, schema = list(found.table.axes), found.table.schema
    heads = [f"<th>{_text(schema.symbol(axis))}</th>" for axis in axes] + ['<th class="text">state</th>']
    heads += [f"<th>{_text(label(schema, name))}</th>" for name in found.columns]
    rows = "\n".join(f"<tr>{''.join(_row(schema, row, found.columns))}</tr>" for row in found.table.rows)
    caption = "Median over the seeds, with minimum and maximum below it."
    return (
        f'<h2>Cells</h2>\n<p class="dim">{caption}</p>\n<div class="wide"><table>\n<thead><tr>{"".join(heads)}</tr>'
        f"</thead>\n<tbody>\n{rows}\n</tbody>\n</table></div>"
    )


def _row(schema: Schema, row: Row, columns: Sequence[str]) -> Iterator[str]:
    yield from (f"<td>{_text(format_value(value))}</td>" for value in row.values)
    yield f'<td class="text">{_text(states_text(row))}</td>'
    for name in columns:
        median, _, rest = spread_text(schema, row, name).partition(" (")
        spread, _, count = rest.partition(")")
        small = f"<small>{_text(spread)}</small>" if spread else ""
        yield f"<td>{_text(median)}{small}{_text(count)}</td>"


def _configs(found: Findings) -> str:
    experiment = found.experiment
    own = _listed({name: value for name, value in experiment.config.items() if name not in experiment.axes})
    varied = {name: ", ".join(map(format_value, values)) for name, values in experiment.axes.items()}
    parts = [f"<h2>Configuration</h2>\n{_pairs(own | varied)}"]
    rest = {name: value for name, value in experiment.schema.defaults.items() if name not in own | varied}
    parts.append(f"<details><summary>All other fields have their defaults</summary>\n{_pairs(_listed(rest))}</details>")
    if experiment.fork:
        from wdtui.studies.branches import in_words

        branches = "; ".join(in_words(experiment.schema, branch) for branch in experiment.fork.branches)
        parts.append(f"<p>Each run is forked {experiment.fork.place(experiment.schema.length)}: {_text(branches)}.</p>")
    return "\n".join(parts)


def _trained(schema: Schema, runs: Sequence[RunRecord]) -> str:
    if not runs:
        return ""
    versions = [", ".join(f"{name} {version}" for name, version in run.versions.items()) for run in runs]
    rows = {
        "runs": _ranges(sorted(run.id for run in runs)),
        **{
            schema.field(name).label: _distinct(format_value(run.values[name]) for run in runs) for name in schema.seeds
        },
        "versions": "; ".join(dict.fromkeys(filter(None, versions))) or NOTHING,
        "device": _distinct(run.device for run in runs),
        "threads": _distinct(format_value(run.threads) for run in runs),
    }
    return f"<h2>How it was trained</h2>\n{_pairs(rows)}"


def _commands(found: Findings) -> str:
    import shlex

    name = f"{shlex.quote(found.argument)}{' --quick' if found.quick else ''}"
    act = "verify" if found.standing.verdicts else "run"
    lines = [f"wdtui experiments {act} {name}", f"wdtui experiments report {name}"]
    says = "The first trains what is missing" + (" and checks the claims" if act == "verify" else "")
    return f'<h2>How to reproduce it</h2>\n<pre>{_text(chr(10).join(lines))}</pre>\n<p class="dim">{says}.</p>'


def _listed(values: Mapping[str, object]) -> dict[str, str]:
    return {name: format_value(value) for name, value in values.items()}


def _pairs(pairs: Mapping[str, str]) -> str:
    return "<dl>" + "".join(f"<dt>{_text(name)}</dt><dd>{_text(value)}</dd>" for name, value in pairs.items()) + "</dl>"


def _distinct(texts: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(texts)) or NOTHING


def _ranges(run_ids: Sequence[int]) -> str:
    """Ascending numbers of runs, with consecutive ones as 3–7."""
    spans: list[list[int]] = []
    for run_id in run_ids:
        if spans and spans[-1][1] == run_id - 1:
            spans[-1][1] = run_id
        else:
            spans.append([run_id, run_id])
    return ", ".join(str(first) if first == last else f"{first}–{last}" for first, last in spans)


def _text(text: str) -> str:
    """Any text, escaped for the page."""
    return html.escape(clean(text) if "\n" not in text else "\n".join(map(clean, text.split("\n"))))
