"""Takes the picture of the workbench that opens the README.

    python -m wdtui.tui.picture docs/figures/workbench.svg [--store FOLDER] [--threads 1]

Trains runs of `grokking-modular`, quick and with seed 0: three with other λ, and a fork whose decay is switched off at
the fit. Then it opens the app, trains the one with λ 1 there, and takes the picture once that run has generalised,
while it goes on. Runs that the store already has are not trained again.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import html
import re
import sys
import tempfile
from pathlib import Path

from wdtui.runs.scheduler import Scheduler
from wdtui.runs.trained import trained
from wdtui.store.records import FINISHED
from wdtui.store.store import Store
from wdtui.studies import experiments
from wdtui.studies.branches import Branch
from wdtui.support.outputs import write_text
from wdtui.tui import Opening
from wdtui.tui.app import WorkbenchApp
from wdtui.tui.theme import DARK

_SIZE = 120, 40
_TEXT = re.compile(r'(<text [^>]*?\bx=")([\d.]+)(" [^>]*?textLength=")([\d.]+)("[^>]*>)([^<]*)</text>')
_FIT = 45
"""The step at which a run fits."""
_SECONDS, _LOOKS = 0.25, 8
"""How often the app is looked at, and how many times once it has come to rest."""


def main() -> None:
    parser = argparse.ArgumentParser("python -m wdtui.tui.picture", description="Takes a picture of the workbench.")
    parser.add_argument("output", type=Path, metavar="FILE.svg")
    parser.add_argument("--store", type=Path, help="The folder of the store; by default a temporary one.")
    parser.add_argument("--threads", type=int, default=1, help="The threads of each run.")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary, Store(given.store or Path(temporary)) as store:
        write_text(given.output, picture(store, given.threads), force=True)
    print(f"Wrote {given.output}.")


def picture(store: Store, threads: int) -> str:
    """Train the runs in a store, and return the picture as SVG."""
    experiment = experiments.load("grokking-modular").variant(quick=True)
    live, without, half, twice = (experiment.base({"seed": 0, "weight_decay": decay}) for decay in (1.0, 0.0, 0.5, 2.0))
    off = Branch(twice, _FIT, (("weight_decay", 0.0),))
    trained(
        store,
        [without, half, twice, off],
        experiment=experiment.name,
        executor=functools.partial(Scheduler, store, device="cpu", slots=1),
        threads=threads,
        tell=functools.partial(print, file=sys.stderr),
    )
    opening = Opening(config=live, experiment=experiment.name, threads=threads)
    return asyncio.run(_taken(store, opening))


async def _taken(store: Store, opening: Opening) -> str:
    """The workbench once the run that it opens with has generalised, or ended. The run is deleted afterwards."""
    before = {run.id for run in store.runs()}
    scheduler = Scheduler(store, device="cpu")
    app = WorkbenchApp(store, scheduler, device="cpu", opening=opening)

    def seen() -> bool:
        new = [one for one in app.snapshot.shown if one.run.id not in before]
        return any(one.milestones.generalise_step or one.run.status in FINISHED for one in new)

    async with app.run_test(size=_SIZE) as pilot:
        app.theme = DARK.name
        while app.return_code is None and not seen():
            await pilot.pause(_SECONDS)
        app.rest()
        for _ in range(_LOOKS):  # until all charts show the same step
            await pilot.pause(_SECONDS)
        drawn = app.export_screenshot(title="wdtui")
        await app.stop_and_exit("The picture is taken", 0)
    app.controls.delete([run.id for run in store.runs() if run.id not in before])
    return aligned(drawn)


def aligned(svg: str) -> str:
    """Give the dots of charts elements of their own.

    A text is stretched to its length as a whole. Fonts draw dots narrower or wider than blanks, so that dots in one
    text with blanks would be in other columns.
    """
    return _TEXT.sub(_parts, svg)


def _parts(text: re.Match[str]) -> str:
    before, x, between, length, after, content = text.groups()
    parts, start = re.findall(r"[\u2800-\u28ff]+|[^\u2800-\u28ff]+", html.unescape(content)), float(x)
    cell = float(length) / sum(map(len, parts))
    written = []
    for part in parts:
        shown = html.escape(part, quote=False).replace("\xa0", "&#160;")
        written.append(f"{before}{start:g}{between}{len(part) * cell:g}{after}{shown}</text>")
        start += len(part) * cell
    return "".join(written)


if __name__ == "__main__":
    main()
