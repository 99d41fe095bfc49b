"""What a file holds, whether it is packed with gzip or not; and what a data set holds."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from anoean_cli.data.dates import in_microseconds
from anoean_cli.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

    from anoean_cli.interfaces import Dataset

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


def digest_of_rows(dataset: Dataset) -> str:
    """Return a SHA-256 of the examples and labels of a dataset, whatever it was read from."""
    import pyarrow as pa

    digest = hashlib.sha256()
    if isinstance(dataset.examples, np.ndarray):
        digest.update(json.dumps(dataset.examples.shape).encode())
        digest.update(np.ascontiguousarray(dataset.examples).data)
    else:
        for name, column in zip(
            dataset.examples.column_names, dataset.examples.columns, strict=True
        ):
            digest.update(json.dumps([name, len(column)]).encode())
            _add_column(digest, column)
    _add_column(digest, pa.chunked_array([pa.array(dataset.labels, pa.string())]))
    return digest.hexdigest()


def _add_column(digest: hashlib._Hash, column: pa.ChunkedArray) -> None:
    """Add what a column holds: neither its chunks nor how it marks missing values matter."""
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        digest.update(column.to_numpy().astype("<f8", copy=False))  # null becomes NaN
        return
    if pa.types.is_timestamp(column.type):
        digest.update(json.dumps(str(column.type)).encode())
        digest.update(column.is_null().to_numpy().tobytes())
        digest.update(in_microseconds(column).astype("<i8", copy=False).data)
        return
    encoded = column.combine_chunks().dictionary_encode()
    digest.update(json.dumps(encoded.dictionary.to_pylist()).encode())
    digest.update(encoded.indices.fill_null(-1).to_numpy().astype("<i4", copy=False))
