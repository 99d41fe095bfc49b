"""What ``score`` writes: CSV, JSON lines or Parquet, to stdout or whole to a file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anoean_cli.choices import OutputFormat
from anoean_cli.data.inputs import Piece
from anoean_cli.errors import UsageError
from anoean_cli.inference.model import Scored
from anoean_cli.storage.atomic import replacing
from anoean_cli.storage.remote import is_remote, uploading

OUR_COLUMNS = ("file", "row", "score", "p_value", "anomaly", "reason")
ROWS_IN_A_GROUP = 1 << 16
ENDINGS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".pq": "parquet"}
NOT_WRITTEN = (".tsv", ".gz", ".bz2", ".xz", ".zst", ".zip", ".json", ".xlsx")


class Output(Protocol):
    """Where scored rows go, in one format: encoded in any thread, written in one."""

    def encoded(self, rows: pa.Table) -> Any:
        """Do the work on some rows, in any thread, and return what ``write`` takes."""

    def write(self, encoded: Any) -> None:
        """Write rows, in their order."""

    def close(self) -> None: ...


@contextmanager
def opened_output(
    out: str, format: OutputFormat | None, force: bool, stdout: TextIO, head: bool = True
) -> Iterator[Output]:
    """Open stdout (``-``) or a file that appears only once it is whole.

    Args:
        head: whether a CSV begins with the names of its columns.

    Raises:
        UsageError: what the file is called promises a format that is none of ours.
        OutputError: it cannot be written.
    """
    ending = Path(out).suffix.lower()
    if format is None and ending in NOT_WRITTEN:
        raise UsageError(
            f"--out {out}: files that end in {ending} are not written; end it in .csv, .jsonl or "
            ".parquet, or write to - and pipe that on"
        )
    kind = format or ENDINGS.get(ending, "csv")
    if out == "-":
        output = WRITERS[kind](stdout.buffer, head)
        yield output
        output.close()
        stdout.buffer.flush()
        return
    with written(out, force) as temporary, temporary.open("wb") as stream:
        output = WRITERS[kind](stream, head)
        yield output
        output.close()


def written(out: str, force: bool) -> AbstractContextManager[Path]:
    """A temporary file that becomes a file, or an object in a store, once it is whole."""
    if is_remote(out):
        return uploading(out, overwrite=force)
    return replacing(Path(out), overwrite=force)


def rows_of(
    piece: Piece, scored: Scored, only_anomalies: bool, more: Mapping[str, pa.Array] | None = None
) -> pa.Table:
    """The output rows of a piece: good and flagged ones by their numbers, our columns first.

    Args:
        more: columns of the good rows that come last, empty for flagged ones.
    """
    good, bad = len(piece.rows), len(piece.flagged)
    rows = np.concatenate([piece.rows, np.array([f.row for f in piece.flagged], np.int64)])
    files = piece.files
    reasons = _texts([flagged.reason for flagged in piece.flagged])
    columns = {
        "file": _repeated(files if isinstance(files, str) else "", good + bad),
        "row": _array(rows),
        "score": _followed(scored.scores, bad),
        "p_value": _followed(scored.p_values, bad),
        "anomaly": _followed(scored.is_anomaly, bad),
        "reason": pa.concat_arrays([pa.nulls(good, pa.string()), reasons]),
    }
    if piece.kept is not None:
        for at, name in enumerate(piece.kept.column_names):
            values = [flagged.kept[at] if flagged.kept else None for flagged in piece.flagged]
            both = [*piece.kept.column(name).chunks, _texts(values)]
            columns[name] = pa.concat_arrays(both)
    for name, array in (more or {}).items():
        columns[name] = pa.concat_arrays([array, pa.nulls(bad, array.type)])
    table = pa.table(columns)
    if bad:
        table = table.take(np.argsort(rows, kind="stable"))
    if not isinstance(files, str):
        # One image a file: the numbers so far are positions in the list of files.
        table = table.set_column(0, "file", pa.array(list(files)))
        table = table.set_column(1, "row", _array(np.ones(len(files), np.int64)))
    if only_anomalies:
        flagged_or_anomalous = np.asarray(table["anomaly"].fill_null(True))
        table = table.filter(flagged_or_anomalous)
    return table


def _array(values: NDArray[Any]) -> pa.Array:
    """(n,) numbers or booleans; pyarrow's own way imports numpy.ma, a twentieth of a short run."""
    data = np.packbits(values, bitorder="little") if values.dtype == bool else values
    buffer = pa.py_buffer(np.ascontiguousarray(data))
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), [None, buffer])


def _texts(texts: Sequence[str | None]) -> pa.Array:
    """Texts; none need not be converted, for which pyarrow imports dateutil and asks for pandas."""
    return pa.array(texts, pa.string()) if texts else pa.nulls(0, pa.string())


def _repeated(text: str, count: int) -> pa.Array:
    """A text so many times, likewise without a conversion."""
    octets = text.encode()
    ends = np.arange(count + 1, dtype=np.int32) * np.int32(len(octets))
    return pa.StringArray.from_buffers(count, pa.py_buffer(ends), pa.py_buffer(octets * count))


def _followed(values: NDArray[Any], missing: int) -> pa.Array:
    first = _array(values)
    return pa.concat_arrays([first, pa.nulls(missing, first.type)])


class CsvOutput:
    """Floats in their shortest form that reads back the same, quotes only where needed."""

    def __init__(self, stream: BinaryIO, head: bool) -> None:
        self._stream = stream
        self._has_head = not head

    def encoded(self, rows: pa.Table) -> tuple[Sequence[str], Any]:
        """The columns' names and the rows as lines."""
        return rows.column_names, _lines(rows)

    def write(self, encoded: tuple[Sequence[str], Any]) -> None:
        """Append lines, after a header where none was written."""
        names, lines = encoded
        if not self._has_head:
            self._head(names)
        self._stream.write(lines)

    def close(self) -> None:
        """Write the header of an output without rows."""
        if not self._has_head:
            self._head(OUR_COLUMNS)

    def _head(self, names: Sequence[str]) -> None:
        self._stream.write(_lines(pa.table([_repeated(name, 1) for name in names], list(names))))
        self._has_head = True


def _lines(rows: pa.Table) -> Any:
    lines = _plain_lines(rows)
    return _quoted_lines(rows) if lines is None else lines


def _plain_lines(rows: pa.Table) -> Any:
    """The lines as bytes; None where a text has structural characters and needs quotes."""
    from pyarrow import csv

    lines = pa.BufferOutputStream()
    options = csv.WriteOptions(
        include_header=False, batch_size=max(1, len(rows)), quoting_style="none"
    )
    try:
        csv.write_csv(rows, lines, options)
    except pa.ArrowInvalid:
        return None
    return lines.getvalue()


def _quoted_lines(rows: pa.Table) -> bytes:
    """The same, far slower, with quotes around the texts that need them, and only those."""
    import pyarrow.compute as pc

    cells = [_cells(column) for column in rows.columns]
    lines = pc.binary_join_element_wise(*cells, ",", null_handling="replace").to_pylist()
    return "".join(f"{line}\n" for line in lines).encode()


def _cells(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column as text: missing values empty, text with structural characters in quotes."""
    import pyarrow.compute as pc

    text = column.cast(pa.string())
    if pa.types.is_string(column.type):
        doubled = pc.replace_substring(text, '"', '""')
        quoted = pc.binary_join_element_wise('"', doubled, '"', "")
        text = pc.if_else(pc.match_substring_regex(text, '[",\r\n]'), quoted, text)
    return text.fill_null("")


class JsonLinesOutput:
    """One JSON object a line."""

    def __init__(self, stream: BinaryIO, head: bool) -> None:
        self._stream = stream

    def encoded(self, rows: pa.Table) -> bytes:
        """The rows as UTF-8, an object a line."""
        # Column by column, and not by pyarrow.compute: importing it takes a short run too long.
        names = (_as_json(name).replace("%", "%%") for name in rows.column_names)
        keys = ", ".join(f"{name}: %s" for name in names)
        values = zip(*map(_json_values, rows.columns), strict=True)
        return "".join(map(f"{{{keys}}}\n".__mod__, values)).encode()

    def write(self, encoded: bytes) -> None:
        """Append lines."""
        self._stream.write(encoded)

    def close(self) -> None:
        """Nothing is left to write."""


def _json_values(column: pa.ChunkedArray) -> Iterator[str]:
    """A column's values as `json.dumps` writes them."""
    values = column.to_pylist()
    if pa.types.is_string(column.type):
        spelled: dict[str | None, str] = {value: _as_json(value) for value in set(values)}
        return map(spelled.__getitem__, values)
    if pa.types.is_boolean(column.type):
        return map({None: "null", True: "true", False: "false"}.__getitem__, values)
    return ("null" if value is None else repr(value) for value in values)


def _as_json(text: str | None) -> str:
    return json.dumps(text, ensure_ascii=False)


class ParquetOutput:
    """Row groups of one size, whatever the pieces that rows come in."""

    def __init__(self, stream: BinaryIO, head: bool) -> None:
        self._stream = stream
        self._writer: Any = None
        self._waiting: list[pa.Table] = []

    def encoded(self, rows: pa.Table) -> pa.Table:
        """The rows as they are: a group needs more of them."""
        return rows

    def write(self, encoded: pa.Table) -> None:
        """Write the groups that are full, and keep the rest."""
        self._waiting.append(encoded)
        if sum(map(len, self._waiting)) >= ROWS_IN_A_GROUP:
            waiting = pa.concat_tables(self._waiting)
            whole = len(waiting) // ROWS_IN_A_GROUP * ROWS_IN_A_GROUP
            for at in range(0, whole, ROWS_IN_A_GROUP):
                self._group(waiting.slice(at, ROWS_IN_A_GROUP))
            self._waiting = [waiting.slice(whole)]

    def close(self) -> None:
        """Write the last group and the footer."""
        if self._waiting:
            self._group(pa.concat_tables(self._waiting))
        if self._writer is not None:
            self._writer.close()

    def _group(self, rows: pa.Table) -> None:
        from pyarrow import parquet

        if self._writer is None:
            self._writer = parquet.ParquetWriter(pa.PythonFile(self._stream, "w"), rows.schema)
        if len(rows):
            self._writer.write_table(rows.combine_chunks())


WRITERS: dict[str, type[CsvOutput] | type[JsonLinesOutput] | type[ParquetOutput]] = {
    "csv": CsvOutput,
    "jsonl": JsonLinesOutput,
    "parquet": ParquetOutput,
}
