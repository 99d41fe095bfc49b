"""Parquet: batches of rows, and Arrow columns of any type as numbers or as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from anoean_cli.data.dates import ZONES, parsed_dates, type_of_dates
from anoean_cli.data.meaning import BLANKS
from anoean_cli.data.streams import PARQUET
from anoean_cli.data.text import MAX_FIELDS, shown, without_nan
from anoean_cli.errors import DataError, reason_of
from anoean_cli.examples import ColumnKind, First
from anoean_cli.storage.remote import is_remote, open_remote

SUFFIXES = (".parquet", ".pq")
BLOCK_BYTES = 1 << 20
CELL_BYTES = 4  # of text, with its delimiter
PAGE_BYTES = 1 << 16


class ParquetTable:
    """An open Parquet file, for use as a context.

    Raises:
        DataError: the file is damaged or no Parquet file.
    """

    def __init__(self, path: Path | str) -> None:
        from pyarrow import parquet

        self.name = str(path)
        source = open_remote(self.name, seekable=True) if is_remote(path) else path
        with self._told():
            self._file = parquet.ParquetFile(
                source,
                buffer_size=PAGE_BYTES,  # not row groups whole
                thrift_container_size_limit=MAX_FIELDS + 1,  # columns, with the root of the schema
            )
            self.schema: pa.Schema = self._file.schema_arrow
            self.names: tuple[str, ...] = tuple(self.schema.names)

    def __enter__(self) -> ParquetTable:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def groups(self) -> list[tuple[int, int]]:
        """The rows and bytes of each row group."""
        about = self._file.metadata
        groups = (about.row_group(at) for at in range(about.num_row_groups))
        return [(group.num_rows, group.total_byte_size) for group in groups]

    def batches(
        self,
        columns: Sequence[str],
        block_bytes: int = BLOCK_BYTES,
        groups: Sequence[int] | None = None,
    ) -> Iterator[pa.RecordBatch]:
        """Yield the rows in batches.

        Args:
            columns: those to read.
            block_bytes: about how much a batch takes as text.
            groups: the row groups to read; None: all.

        Raises:
            DataError: a column is nested, or the file is damaged.
        """
        for name in columns:
            if pa.types.is_nested(_plain(self.schema.field(name).type)):
                raise DataError(
                    f"{self.name}, column {shown(name)}: holds nested values "
                    f"({self.schema.field(name).type}); flatten it or leave it out"
                )
        rows = max(1, block_bytes // (CELL_BYTES * max(1, len(columns))))
        with self._told():
            yield from self._file.iter_batches(
                batch_size=rows, columns=list(columns), row_groups=groups
            )

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except (pa.ArrowException, OSError, UnicodeError) as error:
            reason = reason_of(error)
            if "Exceeded size limit" in reason:
                told = (
                    f"has more than {MAX_FIELDS:,} columns or row groups; leave out columns that "
                    "are no features, or write larger row groups"
                )
            else:
                told = f"is damaged or no Parquet file: {reason}; write it anew"
            raise DataError(f"{self.name}: {told}") from error


def is_parquet(head: bytes, path: Path | str | None) -> bool:
    """Whether to read what begins so, and is called that, as Parquet."""
    return head.startswith(PARQUET) or str(path).lower().endswith(SUFFIXES)


def holds_numbers(kind: pa.DataType) -> bool:
    """Whether a column of this type is one of numbers; booleans are categories, as in a text."""
    types, kind = pa.types, _plain(kind)
    return bool(
        types.is_integer(kind)
        or types.is_floating(kind)
        or types.is_decimal(kind)
        or types.is_null(kind)
    )


def as_numbers(column: Any, nulls: Sequence[str]) -> Any:
    """Return a column as float64 with nulls for missing values and NaN; infinity stays.

    Raises:
        pa.ArrowException: it holds dates, or text that is not a number.
    """
    column = _decoded(column)
    if is_text(column.type):
        column = as_text(column, nulls)
    elif not (holds_numbers(column.type) or pa.types.is_boolean(column.type)):
        raise pa.ArrowTypeError(f"{column.type} is not a number")
    return without_nan(column.cast(pa.float64(), safe=False))


def zone_of(kind: pa.DataType) -> bool | None:
    """Whether a column of this type has time zones; None if it holds no dates."""
    types, kind = pa.types, _plain(kind)
    if types.is_timestamp(kind):
        return kind.tz is not None
    return False if types.is_date(kind) else None


def as_dates(column: Any, nulls: Sequence[str], zoned: bool, first: First = "year") -> Any:
    """Return a column as timestamps, of UTC if ``zoned``, with nulls for missing values.

    Args:
        first: what stands first in texts in which the year does not.

    Raises:
        pa.ArrowException: it holds something else, or dates with a time zone where others have
            none, or the other way round.
    """
    column = _decoded(column)
    if is_text(column.type):
        return parsed_dates(as_text(column, nulls), zoned, first)
    if column.null_count == len(column):
        missing = pa.nulls(len(column), type_of_dates(zoned))
        return missing if isinstance(column, pa.Array) else pa.chunked_array([missing])
    if zone_of(column.type) is not zoned:
        if zone_of(column.type) is None:
            raise pa.ArrowTypeError(f"{column.type} is not a date")
        raise pa.ArrowTypeError(
            f"its dates have {ZONES[not zoned]}, those of training {ZONES[zoned]}; write them alike"
        )
    of_nanoseconds = pa.types.is_timestamp(column.type) and column.type.unit == "ns"
    return column.cast(type_of_dates(zoned), safe=not of_nanoseconds)


def as_kind(column: Any, kind: ColumnKind, nulls: Sequence[str] = (), first: First = "year") -> Any:
    """Return a column as one of that kind.

    Args:
        first: of dates, as :func:`as_dates`.

    Raises:
        pa.ArrowException: its values are not of the kind.
    """
    if kind == "numeric":
        return as_numbers(column, nulls)
    if kind == "categorical":
        return as_text(column, nulls)
    return as_dates(column, nulls, zoned=kind == "datetime-utc", first=first)


def as_text(column: Any, nulls: Sequence[str]) -> Any:
    """Return a column as strings without blanks around them, with nulls for missing values.

    Raises:
        pa.ArrowException: it holds bytes that are not UTF-8.
    """
    import pyarrow.compute as pc

    column = pc.utf8_trim(as_written(column), characters=BLANKS)
    if not nulls:
        return column
    missing = pc.is_in(column, value_set=pa.array(nulls, pa.string()))
    return pc.if_else(missing, pa.scalar(None, pa.string()), column)


def as_categories(column: pa.ChunkedArray, nulls: Sequence[str]) -> pa.ChunkedArray:
    """Return dictionaries of strings as :func:`as_text` has them.

    Most need no change, and looking at the dictionaries alone tells that.
    """
    if any(_has_blanks_around(chunk.dictionary) for chunk in column.chunks):
        return as_text(column, nulls).dictionary_encode()
    return column


def _has_blanks_around(strings: pa.StringArray) -> bool:
    """Whether one of the strings, none null, begins or ends with a blank.

    By numpy: importing pyarrow.compute takes as long as a third of scoring one row.
    """
    _, ends, text = strings.buffers()
    if text is None or not len(strings):
        return False
    end = np.frombuffer(ends, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    filled = np.diff(end) > 0
    characters = np.frombuffer(text, np.uint8)
    outer = characters[np.concatenate([end[:-1][filled], end[1:][filled] - 1])]
    return bool(np.isin(outer, [ord(blank) for blank in BLANKS]).any())


def as_written(column: Any) -> Any:
    """Return a column as strings, blanks and marks of missing values as they are.

    Raises:
        pa.ArrowException: it holds bytes that are not UTF-8.
    """
    return _decoded(column).cast(pa.string())


def is_text(kind: pa.DataType) -> bool:
    """Whether a column of this type holds strings, or bytes that may be some."""
    types, kind = pa.types, _plain(kind)
    return bool(
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_binary(kind)
        or types.is_large_binary(kind)
    )


def _plain(kind: pa.DataType) -> pa.DataType:
    """The type of the values beneath dictionaries and extension types."""
    if isinstance(kind, pa.BaseExtensionType):
        return _plain(kind.storage_type)
    return _plain(kind.value_type) if pa.types.is_dictionary(kind) else kind


def _decoded(column: Any) -> Any:
    if isinstance(column.type, pa.BaseExtensionType):
        column = column.cast(column.type.storage_type)
    return column.cast(_plain(column.type)) if pa.types.is_dictionary(column.type) else column
