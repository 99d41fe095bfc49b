"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import glob
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeAlias

from anoean_cli.errors import FileFormatError, OutputError, reason_of
from anoean_cli.storage.locks import CAREFULLY, try_lock

_REMEDIES = {
    errno.ENOENT: "create the folder first, or write elsewhere",
    errno.ENOTDIR: "name a file in an existing folder",
    errno.EACCES: "change the permissions, or write elsewhere",
    errno.EPERM: "change the permissions, or write elsewhere",
    errno.EROFS: "mount the file system for writing, or write elsewhere",
    errno.EISDIR: "name a file, not a folder",
    errno.EEXIST: "name a folder, not a file",
    errno.ENOSPC: "free some space, or write elsewhere",
    errno.EDQUOT: "free some space, or write elsewhere",
    errno.ENAMETOOLONG: "choose a shorter name",
}
_NO_LINKS = {errno.EPERM, errno.EACCES, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_FSYNC = {errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}
_RANDOM = 16  # hexadecimal digits in the name of a temporary file
Identity: TypeAlias = tuple[int, ...] | None


@contextmanager
def replacing(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; rename it over ``target`` when the body succeeds.

    When the body fails, by whatever exception, the temporary file is removed and the target is
    as it was. What a killed process left is removed by the next one that writes the same target.
    A symbolic link is followed: what it points to is replaced. The file gets the permissions of
    the one it replaces, or those that the umask gives to new files.

    Raises:
        OutputError: the target exists and ``overwrite`` is false, another process wrote it while
            the body ran, or it cannot be written. Every OSError of the body counts as the last,
            but for those of a broken connection.
    """
    with telling(target):
        check_writable(target, force=overwrite)
        real = Path(os.path.realpath(target))
        before = identity(real)
        _remove_abandoned(real)
        temporary, handle = _created(real)
        try:
            yield temporary
            _sync(temporary)
            if overwrite:
                check_unchanged(target, before)
                _keep_mode(real, temporary)
                os.replace(temporary, real)
            else:
                _publish(temporary, real)
            with suppress(OSError):
                _sync(real.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            os.close(handle)


def write_whole(target: Path, content: str | bytes, *, overwrite: bool) -> None:
    """Write a file of known content; text in UTF-8.

    Raises:
        OutputError: as `replacing`.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    with replacing(target, overwrite=overwrite) as temporary:
        temporary.write_bytes(data)


@contextmanager
def reading_back(target: Path) -> Iterator[None]:
    """Read what was just written for a target: what fails then is the disk's, not the file's.

    Raises:
        OutputError: where the body raises FileFormatError.
    """
    try:
        yield
    except FileFormatError as error:
        raise refusal(target, "what was written cannot be read back", "write elsewhere") from error


def check_writable(target: Path, *, force: bool) -> None:
    """Refuse an output that could not be written at the end, before any work starts.

    Raises:
        OutputError: the target exists and ``force`` is false, is a folder or a device, or its
            folder is missing or not writable.
    """
    with telling(target):
        if target.is_dir():
            raise refusal(target, "it is a folder", "name a file")
        if target.exists():
            if not target.is_file():  # renaming over /dev/null would be a disaster
                raise refusal(target, "it is not a regular file", "name another file")
            if not force:
                raise _exists(target)
        folder = Path(os.path.realpath(target)).parent
        if not folder.exists():
            raise refusal(target, f"there is no folder {folder}", _REMEDIES[errno.ENOENT])
        if not folder.is_dir():
            raise refusal(target, f"{folder} is not a folder", _REMEDIES[errno.ENOTDIR])
        if not os.access(folder, os.W_OK | os.X_OK):
            raise refusal(target, f"{folder} is not writable", _REMEDIES[errno.EACCES])


def make_folder(folder: Path) -> None:
    """Make a folder and those above it. Raises OutputError where that cannot be."""
    with telling(folder):
        folder.mkdir(parents=True, exist_ok=True)


def identity(path: Path) -> Identity:
    """What tells a file from a later one of its name; None where there is none to be seen."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


def check_unchanged(target: Path, before: Identity) -> None:
    """Raise OutputError where the target is no longer what it was."""
    if identity(target) != before:
        raise refusal(
            target, "another process wrote it meanwhile", "look at that one first, then run again"
        )


def _created(target: Path) -> tuple[Path, int]:
    """Make a temporary file; returns its path and a handle that keeps it from being removed."""
    while True:
        path = target.with_name(f"{_prefix(target)}{os.urandom(_RANDOM // 2).hex()}.tmp")
        # Not mkstemp: a file created with 0o666 gets the permissions that the umask gives.
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        if try_lock(handle) is not False and os.fstat(handle).st_nlink:
            return path, handle
        os.close(handle)  # another process took it for abandoned before it was locked


def _remove_abandoned(target: Path) -> None:
    """Remove the temporary files of processes that were killed: nobody holds their locks.

    Where there are no locks they stay.
    """
    pattern = f"{glob.escape(_prefix(target))}{'[0-9a-f]' * _RANDOM}.tmp"
    for path in target.parent.glob(pattern):
        with suppress(OSError):
            handle = os.open(path, os.O_WRONLY | CAREFULLY)
            try:
                if try_lock(handle):
                    path.unlink()
            finally:
                os.close(handle)


def _prefix(target: Path) -> str:
    return f".{target.name[:40]}."


def _publish(temporary: Path, target: Path) -> None:
    """Give the finished file its name unless something else got that name meanwhile."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if target.exists():
            raise _exists(target) from None
        os.replace(temporary, target)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FSYNC:  # some file systems have no fsync; that is no failure
            raise
    finally:
        os.close(handle)


def _keep_mode(old: Path, new: Path) -> None:
    with suppress(FileNotFoundError):
        os.chmod(new, stat.S_IMODE(old.stat().st_mode))


@contextmanager
def telling(target: Path) -> Iterator[None]:
    """Turn an OSError into the one message that the user reads."""
    try:
        yield
    except ConnectionError:  # a reader of our stdout that went away says nothing of the target
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else reason_of(error)
        remedy = _REMEDIES.get(error.errno or 0, "write elsewhere")
        raise refusal(target, reason, remedy) from error


def refusal(target: Path, reason: str, remedy: str) -> OutputError:
    """The error of a file that is not written, and what to do about it."""
    return OutputError(f"cannot write {target}: {reason}; {remedy}")


def _exists(target: Path) -> OutputError:
    return refusal(target, "it exists already", "give --force to replace it")
