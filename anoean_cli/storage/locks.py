"""Locks on open files, where the platform and the file system have such."""

from __future__ import annotations

import errno
import os

# For files that others may have put there: through no link, and without waiting for a pipe.
CAREFULLY = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_HELD = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES}


def try_lock(handle: int) -> bool | None:
    """Lock an open file for this process alone, without waiting.

    The lock ends when the handle is closed, at the latest with the process, however it ends.

    Returns:
        True: it is locked. False: another process holds it. None: there are no locks here, as on
        some network file systems.
    """
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return False if error.errno in _HELD else None
    return True
