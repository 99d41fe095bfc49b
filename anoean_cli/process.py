"""This process: the signals that end it, and standard streams that are closed.

The command imports this before all else, so it imports next to nothing itself.
"""

from __future__ import annotations

import atexit
import gc
import io
import os
import signal
import sys
import threading
from contextlib import suppress
from types import FrameType
from typing import TextIO

from anoean_cli.errors import Terminated

BUFFERING = (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)
ENDINGS: dict[int, str] = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
if hasattr(signal, "SIGHUP"):  # where there are terminals to be closed
    ENDINGS[signal.SIGHUP] = "hung up"

came: list[int] = []
"""The signals that ended what was being done. A module of C whose import they break off turns
their exception into one of its own; the number tells still."""


def mind_signals() -> None:
    """Let Ctrl-C, SIGTERM and SIGHUP raise an exception, and note down that they came."""
    for number in ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as for what nohup starts
            signal.signal(number, _take)


def _take(number: int, frame: FrameType | None) -> None:
    came.append(number)
    raise KeyboardInterrupt if number == signal.SIGINT else Terminated


def occupy_closed_streams() -> None:
    """Take the descriptors of closed standard streams, or a file that we open gets one of them.

    Writing to a closed stdout then fails, as it does to a full one, where Python would drop what
    is printed or, without stderr, print what people are told. A closed stdin stays None.
    """
    if sys.stdin is None:
        _occupy(0, os.O_WRONLY)
    if sys.stdout is None:
        _occupy(1, os.O_RDONLY)
        sys.stdout = open(1, "w", encoding="utf-8")  # noqa: SIM115 - open to the end
    if sys.stderr is None:
        _occupy(2, os.O_WRONLY)
        sys.stderr = open(2, "w", encoding="utf-8")  # noqa: SIM115


def tell(line: str) -> None:
    """Print a line for people. Where stderr cannot be written, nobody is there to be told."""
    try:
        print(line, file=sys.stderr, flush=True)
    except OSError:
        forget(sys.stderr)


def leave(status: int) -> None:
    """End at once. After a failure a library's threads may still run, and now and then abort the
    process with a status of their own while the interpreter is taken down."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(status)


def finish() -> None:
    """End at once, after success, once what the interpreter first does at its end is done.

    Nothing is left then to taking it down: a library's threads that still run now and then abort
    the process meanwhile, and a batch job that lost nothing would look as if it had failed. It also
    takes a tenth of the time that scoring one row takes.
    """
    if _is_profiled():  # profilers write when all else is over
        return
    threading._shutdown()  # type: ignore[attr-defined]  # awaits threads
    atexit._run_exitfuncs()
    _write_open_files()
    leave(0)


def _is_profiled() -> bool:
    monitoring = getattr(sys, "monitoring", None)  # which cProfile is by, since Python 3.12
    by_monitor = monitoring is not None and monitoring.get_tool(monitoring.PROFILER_ID) is not None
    return by_monitor or sys.getprofile() is not None


def _write_open_files() -> None:
    """Write what is buffered for files that a plugin has not closed."""
    if "anoean_cli.registry" not in sys.modules:  # no plugin had a part, and ours are closed
        return
    for opened in gc.get_objects():
        if issubclass(type(opened), BUFFERING):
            with suppress(Exception):  # a plugin's own kind of file may fail as it likes
                opened.flush()
    if h5py := sys.modules.get("h5py"):
        for opened in h5py.h5f.get_obj_ids(types=h5py.h5f.OBJ_FILE):
            with suppress(Exception):
                h5py.h5f.flush(opened)


def forget(stream: TextIO) -> None:
    """Let what is still buffered go nowhere, or Python complains about it when it exits."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _occupy(descriptor: int, mode: int) -> None:
    os.dup2(os.open(os.devnull, mode), descriptor)
