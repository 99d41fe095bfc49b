"""Objects in S3 and Google Cloud Storage, by the file systems that pyarrow brings along.

Who may do what, and where the service is, the environment says as for other tools:
AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE, AWS_REGION or
AWS_DEFAULT_REGION, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL; GOOGLE_APPLICATION_CREDENTIALS,
STORAGE_EMULATOR_HOST.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from anoean_cli.errors import AnoeanError, DataError, OutputError, reason_of

SCHEMES = ("s3://", "gs://")
SECONDS_TO_ANSWER = 30
ACCESS = "check the credentials in the environment (AWS_..., GOOGLE_APPLICATION_CREDENTIALS)"
REASONS = {  # what an answer of the service holds, and what to say of it
    "ACCESS_DENIED": f"access is refused; {ACCESS}",
    "INVALID_ACCESS_KEY_ID": f"access is refused; {ACCESS}",
    "SIGNATURE_DOES_NOT_MATCH": f"access is refused; {ACCESS}",
    "HTTP status 403": f"access is refused; {ACCESS}",
    "PERMISSION_DENIED": f"access is refused; {ACCESS}",
    "NO_SUCH_BUCKET": "there is no such bucket; create it, or correct the name",
    "NETWORK_CONNECTION": "the service cannot be reached; check the network, and the endpoint "
    "in AWS_ENDPOINT_URL if there is one",
}


def is_remote(name: object) -> bool:
    """Whether this names an object in a store, and no file of this machine."""
    return str(name).startswith(SCHEMES)


def address_of(path: Path) -> str | None:
    """The address in a store that a path was made of, which takes one of its slashes away; None
    where it is a file's."""
    scheme, _, rest = str(path).partition(":/")
    return f"{scheme}://{rest}" if f"{scheme}://" in SCHEMES else None


def not_there(name: object) -> str:
    """What to tell of a name that no file of this machine has."""
    if "://" in str(name):
        schemes = " and ".join(SCHEMES)
        return f"{name}: of addresses only {schemes} are read; download it, and name the file"
    return f"{name}: no such file; check the path"


def open_remote(url: str, *, seekable: bool = False) -> Any:
    """Open an object for reading, as a stream, or so that parts of it can be read in any order.

    Raises:
        DataError: there is no such object or bucket, or it may not be read.
    """
    with _telling(DataError, f"{url}: "):
        files, path = _located(url)
        return files.open_input_file(path) if seekable else files.open_input_stream(path)


def size_of_remote(url: str) -> int:
    """The bytes of an object. Raises DataError as `open_remote`."""
    with _telling(DataError, f"{url}: "):
        files, path = _located(url)
        about = files.get_file_info(path)
        if not about.is_file:
            raise FileNotFoundError(url)
        return int(about.size)


def is_there(name: str) -> bool:
    """Whether there is such a file or object. Raises DataError where the store cannot be asked."""
    if not is_remote(name):
        return os.path.lexists(name)
    with _telling(DataError, f"{name}: "):
        files, path = _located(name)
        return bool(files.get_file_info(path).is_file)


def remove(name: str) -> None:
    """Remove a file or an object. Raises OutputError where that cannot be."""
    with _telling(OutputError, f"cannot remove {name}: "):
        if not is_remote(name):
            os.unlink(name)
            return
        files, path = _located(name)
        files.delete_file(path)


def check_remote(url: str, *, force: bool) -> None:
    """Refuse an output that could not be written at the end, before any work starts.

    Raises:
        OutputError: the object exists and ``force`` is false, or the store cannot be asked.
    """
    with _telling(OutputError, f"cannot write {url}: "):
        files, path = _located(url)
        if not force and files.get_file_info(path).is_file:
            raise OutputError(f"cannot write {url}: it exists already; give --force to replace it")
        if _is_missing(files, path.partition("/")[0]):
            raise FileNotFoundError(url)


@contextmanager
def uploading(url: str, *, overwrite: bool) -> Iterator[Path]:
    """Yield a temporary file; when the body succeeds, it becomes the object, whole.

    The store shows an object only once all of it is there.

    Raises:
        OutputError: the object exists and ``overwrite`` is false, or it cannot be written.
    """
    import tempfile

    from pyarrow import fs

    check_remote(url, force=overwrite)
    with tempfile.TemporaryDirectory(prefix="anoean-") as folder:
        temporary = Path(folder) / "object"
        temporary.touch()
        yield temporary
        check_remote(url, force=overwrite)
        with _telling(OutputError, f"cannot write {url}: "):
            files, path = _located(url)
            # One call of C++: nothing that happens in Python can end it half way, when closing
            # the stream would make an object of what was sent so far.
            fs.copy_files(str(temporary), path, fs.LocalFileSystem(), files)


def _is_missing(files: Any, bucket: str) -> bool:
    try:
        return not files.get_file_info(bucket).type
    except OSError:  # who may write objects need not be allowed to look at the bucket
        return False


def _located(url: str) -> tuple[Any, str]:
    """The file system of an object, and its path there, which begins with the bucket."""
    scheme, _, path = url.partition("://")
    bucket, _, key = path.partition("/")
    if not bucket or not key.strip("/") or "//" in path or path.endswith("/"):
        raise OSError(f"is no name of an object; write {scheme}://BUCKET/NAME")
    return _file_system(scheme), path


@cache
def _file_system(scheme: str) -> Any:
    """Raises OSError where this build of pyarrow cannot."""
    try:
        if scheme == "s3":
            from pyarrow.fs import S3FileSystem

            endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
            region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
            return S3FileSystem(
                endpoint_override=endpoint or None,
                region=region or ("us-east-1" if endpoint else None),
                connect_timeout=SECONDS_TO_ANSWER,
            )
        from pyarrow.fs import GcsFileSystem
    except ImportError:
        raise OSError(
            f"this build of pyarrow has no {scheme}://; pip install --force-reinstall pyarrow"
        ) from None
    from datetime import timedelta

    more: dict[str, Any] = {}
    if emulator := os.environ.get("STORAGE_EMULATOR_HOST"):
        way, _, host = emulator.rpartition("://")
        more = {"anonymous": True, "scheme": way or "http", "endpoint_override": host.rstrip("/")}
    return GcsFileSystem(retry_time_limit=timedelta(seconds=SECONDS_TO_ANSWER), **more)


@contextmanager
def _telling(kind: type[AnoeanError], about: str) -> Iterator[None]:
    """Turn the answer of a store into the one message that the user reads."""
    try:
        yield
    except FileNotFoundError:
        raise kind(f"{about}there is no such object or bucket") from None
    except (OSError, ValueError) as error:
        if isinstance(error, AnoeanError):
            raise
        what = reason_of(error)
        reason = next((told for sign, told in REASONS.items() if sign in what), what)
        raise kind(f"{about}{reason}") from error
