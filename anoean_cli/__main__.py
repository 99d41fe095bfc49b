"""The ``anoean`` command, and ``python -m anoean_cli``."""

from __future__ import annotations

import sys

from anoean_cli import process


def main() -> None:
    """Run the command and exit with its status.

    Nothing else is imported before signals are minded: Ctrl-C in the half second that imports take
    ends in one line as well.
    """
    try:
        process.mind_signals()
        process.occupy_closed_streams()
        from anoean_cli.app import main as run

        status = int(run())
    except BaseException:
        if not process.came:
            raise
        process.tell(f"error: {process.ENDINGS[process.came[-1]]}")
        status = 128 + process.came[-1]
    if status:
        process.leave(status)
    sys.exit(status)


if __name__ == "__main__":
    main()
