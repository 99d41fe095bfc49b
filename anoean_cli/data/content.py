"""Digests of what a file holds, packed or not, and of what a data set holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.dates import in_microseconds
from anoean_cli.data.streams import CHUNK, open_content

if TYPE_CHECKING:
    import pyarrow as pa

    from anoean_cli.interfaces import Dataset

MANY_COPIES = 0.05  # of rows set aside: from this share on people are told
# Of SplitMix64 (Steele, Lea and Flood, 2014, Fast splittable pseudorandom number generators)
MIXING = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))


def digest_of(path: Path | str) -> str:
    """Return the SHA-256 of the uncompressed content of a file or an object in a store.

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


def without_places(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """What tells data apart in a provenance: checksums and how it was read, not where it was found,
    nor which of the files are for a test."""
    apart = {k: v for k, v in provenance.items() if k not in ("source", "test_files", "reload")}
    again = provenance.get("reload", {})
    return {**apart, "reload": {k: v for k, v in again.items() if k != "source"}}


def row_hashes(examples: NDArray[Any] | pa.Table) -> NDArray[np.uint64]:
    """(n,) a number for each row, the same for rows that are equal in every column.

    Rows that differ have the same one in 1 of 2^64 pairs; a missing value equals another.
    """
    if isinstance(examples, np.ndarray):
        return _digests(image.tobytes() for image in examples)
    hashes = np.zeros(len(examples), np.uint64)
    for codes in map(_codes, examples.columns):
        hashes ^= codes
        for shift, factor in MIXING:
            hashes = (hashes ^ (hashes >> np.uint64(shift))) * np.uint64(factor)
    return hashes


def _codes(column: pa.ChunkedArray) -> NDArray[np.uint64]:
    """(n,) what tells the values of a column apart."""
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        return _bits(column.to_numpy() + 0.0)  # null becomes NaN, and -0 is 0
    if pa.types.is_timestamp(column.type):
        times = column.cast("int64").fill_null(np.iinfo(np.int64).min)
        return _bits(times.to_numpy())
    coded = column.cast("string").combine_chunks().dictionary_encode(null_encoding="encode")
    texts = (repr(text).encode() for text in coded.dictionary.to_pylist())
    found: NDArray[np.uint64] = _digests(texts)[coded.indices.to_numpy()]
    return found


def _digests(values: Iterable[bytes]) -> NDArray[np.uint64]:
    """(n,) 64 bits of a digest of each value."""
    digests = (hashlib.blake2b(value, digest_size=8).digest() for value in values)
    return _bits(np.frombuffer(b"".join(digests), "<u8"))


def _bits(values: NDArray[Any]) -> NDArray[np.uint64]:
    """(n,) values of 64 bits as these bits."""
    return values.view(np.uint64)


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
