"""One writer at a time for one file: the second is told, not overwritten."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anoean_cli.storage.atomic import Identity, check_unchanged, refusal, telling
from anoean_cli.storage.locks import CAREFULLY, try_lock

LONGEST = 240  # bytes; most file systems end at 255


@contextmanager
def claimed(target: Path, before: Identity) -> Iterator[Callable[[], None]]:
    """Keep a file that is to be replaced for this process until the body ends.

    The claim is a lock on ``.NAME.lock`` beside the file. It ends with the process, so that what
    a killed one leaves behind keeps nobody away; the next one removes it. Where a file system has
    no locks, only the check tells of another writer.

    Args:
        target: the file; it need not be there.
        before: its ``identity`` when what it depends on was first looked at.

    Yields:
        A check to make before the file is written: it raises OutputError where the file is no
        longer what it was.

    Raises:
        OutputError: another process has the claim, or wrote the file since, or no claim can be
            made there.
    """
    real = Path(os.path.realpath(target))
    path = real.with_name(_name(real.name))
    with telling(target):
        handle = _taken(path, target)
    try:
        check_unchanged(target, before)
        yield lambda: check_unchanged(target, before)
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)
        os.close(handle)


def _name(name: str) -> str:
    """The name of the lock: of each file another one, and none longer than names may be."""
    if len(os.fsencode(name)) > LONGEST:
        name = f"{name[:40]}.{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}"
    return f".{name}.lock"


def _taken(path: Path, target: Path) -> int:
    """Open and lock the file; it may vanish meanwhile, when another one gives its claim back."""
    while True:
        try:
            handle = os.open(path, os.O_CREAT | os.O_RDWR | CAREFULLY, 0o666)
        except PermissionError as error:
            remedy = "change the permissions, or write elsewhere"
            raise refusal(target, f"no permission to write {path}", remedy) from error
        if try_lock(handle) is False:
            os.close(handle)
            remedy = "wait for that one to end, or write elsewhere"
            raise refusal(target, "another process is at work on it", remedy)
        with suppress(OSError):
            if os.path.samestat(os.fstat(handle), os.stat(path)):
                return handle
        os.close(handle)
