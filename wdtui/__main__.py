"""`python -m wdtui` and the console script `wdtui`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the exit status is the documented one."""
    try:
        from wdtui.cli.main import main
    except KeyboardInterrupt:
        print("wdtui: Interrupted.", file=sys.stderr)
        sys.exit(130)
    sys.exit(main())


if __name__ == "__main__":
    main()
