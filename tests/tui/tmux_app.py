"""`python tmux_app.py SOCKET`: the program as a user starts it, but an offered server forks its training processes."""

from __future__ import annotations

import sys

import forked
from haste import look_often

from wdtui.__main__ import main
from wdtui.support import environment

if __name__ == "__main__":
    forked.accept(sys.argv.pop())
    environment.start_module = forked.start_module  # type: ignore[assignment]
    look_often()
    main()
