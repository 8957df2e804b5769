"""The priority of this process against others on the machine."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from pathlib import Path

_NICE = 5
"""About a third of the processor's time where another program wants all of it, and all of it where none does."""
_AUTOGROUP = Path("/proc/self/autogroup")
_ATTEMPTS, _PAUSE = 50, 0.2


def give_way() -> None:
    """Let other programs come first from now on, such as the app, which has to answer keys at once.

    Linux shares the processor between sessions before it looks at the priority of their processes (sched(7), the
    autogroup feature). So the session of this process, which must have it to itself, is lowered too.
    """
    import psutil

    nice = min(os.getpriority(os.PRIO_PROCESS, 0) + _NICE, 19)
    for thread in psutil.Process().threads():  # those that imported modules have started
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, thread.id, nice)
    threading.Thread(target=_lower_the_session, daemon=True).start()


def _lower_the_session() -> None:
    """Try again for a while, as the kernel refuses two changes within a tenth of a second, also of other sessions."""
    for _ in range(_ATTEMPTS if _AUTOGROUP.exists() else 0):
        with contextlib.suppress(OSError):
            _AUTOGROUP.write_text(str(_NICE))
            return
        time.sleep(_PAUSE)
