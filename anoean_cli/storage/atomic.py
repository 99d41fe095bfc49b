"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from anoean_cli.errors import OutputError

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


@contextmanager
def replacing(target: Path, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary path beside ``target``; rename it over ``target`` when the body succeeds.

    When the body fails, by whatever exception, the temporary file is removed and the target is
    as it was. A symbolic link is followed: what it points to is replaced. The file gets the
    permissions of the one it replaces, or those that the umask gives to new files.

    Raises:
        OutputError: the target exists and ``overwrite`` is false, or it cannot be written. Every
            OSError of the body counts as the latter, but for those of a broken connection.
    """
    with _telling(target):
        check_writable(target, force=overwrite)
        real = Path(os.path.realpath(target))
        temporary = real.with_name(f".{real.name[:40]}.{secrets.token_hex(8)}.tmp")
        try:
            # Not mkstemp: a file created with 0o666 gets the permissions that the umask gives.
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            yield temporary
            _sync(temporary)
            if overwrite:
                _keep_mode(real, temporary)
                os.replace(temporary, real)
            else:
                _publish(temporary, real)
            with suppress(OSError):
                _sync(real.parent)
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)


def check_writable(target: Path, *, force: bool) -> None:
    """Refuse an output that could not be written at the end, before any work starts.

    Raises:
        OutputError: the target exists and ``force`` is false, is a folder or a device, or its
            folder is missing or not writable.
    """
    with _telling(target):
        if target.is_dir():
            raise _refusal(target, "it is a folder", "name a file")
        if target.exists():
            if not target.is_file():  # renaming over /dev/null would be a disaster
                raise _refusal(target, "it is not a regular file", "name another file")
            if not force:
                raise _exists(target)
        folder = Path(os.path.realpath(target)).parent
        if not folder.exists():
            raise _refusal(target, f"there is no folder {folder}", _REMEDIES[errno.ENOENT])
        if not folder.is_dir():
            raise _refusal(target, f"{folder} is not a folder", _REMEDIES[errno.ENOTDIR])
        if not os.access(folder, os.W_OK | os.X_OK):
            raise _refusal(target, f"{folder} is not writable", _REMEDIES[errno.EACCES])


def make_folder(folder: Path) -> None:
    """Make a folder and those above it. Raises OutputError where that cannot be."""
    with _telling(folder):
        folder.mkdir(parents=True, exist_ok=True)


def _publish(temporary: Path, target: Path) -> None:
    """Give the finished file its name unless something else got that name meanwhile."""
    try:
        os.link(temporary, target)
    except FileExistsError:
        raise _exists(target) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _claim_and_rename(temporary, target)


def _claim_and_rename(temporary: Path, target: Path) -> None:
    """Publish where there are no hard links: take the name with an empty file, then rename."""
    try:
        os.close(os.open(target, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        raise _exists(target) from None
    try:
        os.replace(temporary, target)
    except BaseException:
        target.unlink(missing_ok=True)
        raise


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
def _telling(target: Path) -> Iterator[None]:
    """Turn an OSError into the one message that the user reads."""
    try:
        yield
    except ConnectionError:  # a reader of our stdout that went away says nothing of the target
        raise
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else " ".join(str(error).split())
        remedy = _REMEDIES.get(error.errno or 0, "write elsewhere")
        raise _refusal(target, reason, remedy) from error


def _refusal(target: Path, reason: str, remedy: str) -> OutputError:
    return OutputError(f"cannot write {target}: {reason}; {remedy}")


def _exists(target: Path) -> OutputError:
    return _refusal(target, "it exists already", "give --force to replace it")
