"""`python ray_worker.py WORKER.py ARGUMENTS`: a Ray worker that is forked by the server offered at $OFFERED_SERVER.

Ray's own would import PyTorch anew for each job. This process stands for the forked one, and ends as that does.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys

import forked

_NOT_FOR_THE_WORKER = "--language=", "--serialized-runtime-env-context="


def main() -> None:
    """In the forked process."""
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")


if __name__ == "__main__":
    forked.accept(os.environ["OFFERED_SERVER"])
    words = [word for word in sys.argv[1:] if not word.startswith(_NOT_FOR_THE_WORKER)]
    streams = {"stdout": 1, "stderr": 2}
    # in a session of its own, as Ray kills the whole group of a worker that it ends
    worker = forked.Process("ray_worker", words, env={**os.environ}, start_new_session=True, **streams)
    signal.signal(signal.SIGTERM, lambda number, _: worker.send_signal(number))
    sys.exit(worker.wait())
