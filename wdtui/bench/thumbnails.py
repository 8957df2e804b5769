"""Records the pictures of experiments that the gallery shows.

    python -m wdtui.bench.thumbnails NAME… [--store FOLDER] [--threads 1]

Trains those runs of the quick variant that a picture shows and that the store lacks, one at a time, and writes
experiments/thumbnails/NAME.json. What a picture shows is the table [picture] of the experiment's file.
"""

from __future__ import annotations

import argparse
import functools
import sys
from pathlib import Path

from wdtui.runs.evidence import Evidence
from wdtui.runs.scheduler import Scheduler
from wdtui.runs.thumbnails import thumbnail
from wdtui.runs.trained import trained
from wdtui.store.store import Store
from wdtui.studies import experiments
from wdtui.studies.experiments import Experiment
from wdtui.studies.pictures import needed
from wdtui.support.outputs import write_text


def main() -> None:
    parser = argparse.ArgumentParser("python -m wdtui.bench.thumbnails", description="Records pictures of experiments.")
    parser.add_argument("names", metavar="NAME", nargs="+", choices=experiments.names())
    parser.add_argument("--store", type=Path, help="The folder of the store; by default the configured one.")
    parser.add_argument("--threads", type=int, default=1, help="The threads of each run.")
    given = parser.parse_args()
    with Store(given.store) as store:
        for name in given.names:
            print(record(store, experiments.load(name), given.threads))


def record(store: Store, experiment: Experiment, threads: int) -> str:
    """Write the picture of an experiment, after training what it lacks; returns a line about it."""
    shown = experiment.variant(quick=True)
    trained(
        store,
        needed(shown.picture.cases),
        experiment=experiment.name,
        executor=functools.partial(Scheduler, store, device="cpu", slots=1),
        threads=threads,
        tell=functools.partial(print, file=sys.stderr),
    )
    picture = thumbnail(store, Evidence(store), shown)
    if picture is None:
        return f"{experiment.name}: not written, because some of its runs have failed."
    path = experiments.thumbnail_file(experiment.name)
    path.parent.mkdir(exist_ok=True)
    text = picture.to_text()
    write_text(path, text, force=True)
    return f"{path}: {len(picture.curves)} curves, {len(text.encode()):,} bytes"


if __name__ == "__main__":
    main()
