"""The ``anoean`` command, and ``python -m anoean_cli``."""

from __future__ import annotations

import gc
import sys

from anoean_cli import process

FEWEST_NEW = 50_000
"""Objects made between two searches for garbage. With Python's 700, imports alone cause hundreds,
which find none and take a tenth of the time that scoring one row takes."""


def main() -> None:
    """Run the command and exit with its status.

    Nothing else is imported before signals are minded: Ctrl-C in the half second that imports take
    ends in one line as well.
    """
    try:
        process.mind_signals()
        gc.set_threshold(FEWEST_NEW)
        process.occupy_closed_streams()
        from anoean_cli.app import main as run

        status = int(run())
        if status == 0:
            process.finish()
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
