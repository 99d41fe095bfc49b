"""Commands launched in a folder as a user launches them, perhaps under strace, and what they told.

Shared by the benchmarks of trust: faults.py (writes) and hostile.py (reads).
"""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from common import alone, anoean

Done = subprocess.CompletedProcess[str]


def launch(
    place: Path,
    line: str,
    cache: Path,
    *,
    under: Sequence[str] = (),
    program: Sequence[str] | None = None,
    timeout: float | None = None,
) -> Done:
    """Run one command line on one thread, with all that it prints.

    Args:
        place: the current folder of the command.
        line: its arguments, as at a shell.
        cache: where it keeps what it prepares.
        under: a command that runs it, such as strace with its options.
        program: what is run instead of the installed command.
        timeout: seconds after which it is killed (SIGKILL).

    Raises:
        subprocess.TimeoutExpired: it was killed.
    """
    program = anoean() if program is None else program
    return subprocess.run(
        [*under, *program, *shlex.split(line)],
        cwd=place,
        env=alone(cache),
        capture_output=True,
        text=True,
        errors="replace",
        timeout=timeout,
    )


def strace(log: Path, calls: Sequence[str], *more: str) -> list[str]:
    """What writes these system calls of a command, and of its threads, to a file."""
    return ["strace", "-f", "-qq", "-o", str(log), "-e", f"trace={','.join(calls)}", *more]


def is_one_message(done: Done) -> bool:
    """Whether a command ended with one message, and nothing after it."""
    lines = done.stderr.strip().splitlines()
    errors = [line for line in lines if line.startswith("error: ")]
    return len(errors) == 1 and lines[-1] == errors[0] and "Traceback" not in done.stderr
