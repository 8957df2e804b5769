"""`python -m wdtui` and the console script `wdtui`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the exit status is the documented one."""
    from wdtui.cli.main import main

    sys.exit(main())


if __name__ == "__main__":
    main()
