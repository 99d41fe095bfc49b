"""What a file holds, whether it is packed with gzip or not."""

from __future__ import annotations

import gzip
import hashlib
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from anoean_cli.errors import DataError

CHUNK = 1 << 20


@contextmanager
def open_content(path: Path) -> Iterator[io.BufferedIOBase]:
    """Open a file for reading, decompressed if its first bytes say that it is gzip.

    Raises:
        DataError: the file cannot be read, or proves to be damaged while it is read.
    """
    try:
        with open(path, "rb") as file:
            is_gzip = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            if not is_gzip:
                yield file
                return
            with gzip.GzipFile(fileobj=file) as stream:
                yield stream
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(f"{path}: damaged gzip file ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def digest_of(path: Path) -> str:
    """Return the SHA-256 of the uncompressed content of a file.

    Raises:
        DataError: it cannot be read.
    """
    digest = hashlib.sha256()
    with open_content(path) as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
