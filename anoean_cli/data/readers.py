"""Tables from files: CSV and its kin, compressed or not, and Parquet.

Known columns are read batch by batch, in flat memory, and of each row that cannot be read it is
said why. What unknown columns hold is found out by `exploring`.

Rows are numbered from 1 without the header; lines are the physical lines of a text, from 1.
Wholly empty lines are no rows, not even in a table of a single column (there a missing value
can be written as ``""`` or ``NA``).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, TypeAlias
from unicodedata import normalize

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anoean_cli.choices import OnError
from anoean_cli.data import text
from anoean_cli.data.columnar import (
    BLOCK_BYTES,
    ParquetTable,
    as_categories,
    as_dates,
    as_numbers,
    as_text,
    as_written,
    is_parquet,
)
from anoean_cli.data.header import (
    Columns,
    column_list,
    column_of,
    names_features,
    names_of,
    numbered,
)
from anoean_cli.data.streams import decompressed, open_raw, peeked, utf8
from anoean_cli.data.text import Block, Dialect, Layout, Row, shown
from anoean_cli.errors import DataError, reason_of
from anoean_cli.examples import First, TableOptions
from anoean_cli.storage.remote import is_remote
from anoean_cli.wording import counted

if TYPE_CHECKING:
    from anoean_cli.data.ranges import Range


class Wanted(NamedTuple):
    """The columns to stream.

    Attributes:
        numeric: feature columns to be read as numbers.
        categorical: feature columns to be read as strings.
        source_columns: the fields of a training row in file order, the label included, without
            the unused ones at the end; what a file without a header is held against.
        label: the label's name among ``source_columns``, or as the user gave it.
        keep: further columns to pass through as strings, exactly as they are written.
        required_label: whether the label is to be read too.
        sought_label: whether it is to be read where the file has it.
        rest: the unused fields at the end of a training row: no extras where a file has them.
        label_is_given: whether the user gave the label, who may count the column.
        dates: feature columns to be read as dates, and whether they have time zones.
        firsts: what stands first in those of them in which it is not the year.
    """

    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    source_columns: tuple[str, ...] = ()
    label: str | None = None
    keep: tuple[str, ...] = ()
    required_label: bool = False
    sought_label: bool = False
    rest: tuple[str, ...] = ()
    label_is_given: bool = False
    dates: Mapping[str, bool] = {}
    firsts: Mapping[str, First] = {}

    def is_header(self, fields: Sequence[bytes], dialect: Dialect, file: str) -> bool:
        """Whether the first row of a text names these columns."""
        return names_features(fields, self.features, dialect.decimal)

    def among(self, columns: Columns) -> Wanted:
        """Return what is wanted of a table, here of any the same."""
        return self

    def settled(self, columns: Sequence[str], file: str) -> Wanted:
        """Return what is wanted of a file with these columns: with the label if it has it.

        Raises:
            DataError: the label to be read is a feature.
        """
        label = self.label
        if label is not None and self.label_is_given:
            label = column_of(label, columns) or label
        is_read = self.required_label or (self.sought_label and label in columns)
        if is_read and label in self.features:
            raise DataError(
                f"{file}: the label column cannot be {shown(label)}, a feature of the model; "
                "where a file without a header has other columns than training, give it one"
            )
        return self._replace(label=label, required_label=is_read)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of all columns that rows are read for."""
        return (*self.numeric, *self.categorical, *self.dates)

    @property
    def read(self) -> tuple[str, ...]:
        """The names of all columns that have to be there, each once."""
        label = (self.label,) if self.required_label and self.label is not None else ()
        return tuple(dict.fromkeys((*self.features, *label, *self.keep)))


class Sought(Protocol):
    """Who knows which columns to stream, at the latest on seeing how the table begins."""

    def is_header(self, fields: Sequence[bytes], dialect: Dialect, file: str) -> bool:
        """Whether the first row of a text holds names; asked unless the user says it.

        Raises:
            DataError: it cannot be told.
        """

    def among(self, columns: Columns) -> Wanted:
        """Return the columns to stream of a table that has these.

        Raises:
            DataError, UsageError: it cannot be told which.
        """


class Flagged(NamedTuple):
    """A row that could not be read.

    Attributes:
        row: its number.
        line: its line, 0 in Parquet.
        reason: what is wrong.
        kept: its values of the ``keep`` columns, () where they cannot be told.
    """

    row: int
    line: int
    reason: str
    kept: tuple[str | None, ...] = ()


class Batch(NamedTuple):
    """Consecutive rows of a file, each either good or flagged.

    Attributes:
        table: the feature columns of the good rows, numeric ones first, dates last, each as in
            ``Wanted``; categories are strings or dictionaries of strings.
        rows: (n,) the numbers of the good rows.
        kept: the ``keep`` columns of the good rows, None if none are asked for.
        labels: the labels of the good rows, None unless required.
        flagged: the other rows.
        extras: in the first batch of a file, its columns that training did not have.
    """

    table: pa.Table
    rows: NDArray[np.int64]
    kept: pa.Table | None = None
    labels: pa.Array | None = None
    flagged: Sequence[Flagged] = ()
    extras: tuple[str, ...] = ()


Unread: TypeAlias = Callable[[], Batch | None]
"""Parses a batch that is in memory as it was read; None where that has no rows.

Those of a file may be called in several threads, if each is begun in the order they come in: to
number its rows, one waits for those before it to be parsed. None is called twice.
"""


# ---------------------------------------------------------------------------- scoring


def unread(
    source: Path | str | BinaryIO,
    name: str,
    sought: Sought,
    options: TableOptions,
    on_error: OnError,
    block_bytes: int = BLOCK_BYTES,
    part: Range | None = None,
) -> Iterator[Unread]:
    """Yield the wanted columns of a table, batch by batch, each still to be parsed.

    Args:
        source: a file, an object in a store, or a stream that need not be seekable (then not
            Parquet) and is not closed.
        name: what messages call it.
        sought: the columns, a :class:`Wanted` where they are known beforehand.
        options: how the text is written.
        on_error: whether a row that cannot be read ends the reading or is flagged.
        block_bytes: about how much text makes a batch; the rows do not depend on it.
        part: of a file, the rows to read; None: all.

    Raises:
        DataError: the source cannot be read, lacks a column or has no rows; where a batch is
            parsed, a row cannot be read and ``on_error`` is ``"stop"``.
        UsageError: an unknown encoding, an impossible delimiter or decimal sign.
        Both: what ``sought`` raises.
    """
    path = source if isinstance(source, (Path, str)) else None
    raw = source if path is None else open_raw(path)
    head, stream = peeked(raw, owned=path is not None)  # type: ignore[arg-type]
    if not is_parquet(head, path):
        content = decompressed(head, stream, name)
        return _unread_text(content, name, sought, options, on_error, block_bytes, path, part)
    stream.close()
    if path is None or not (is_remote(path) or Path(path).is_file()):
        raise DataError(f"{name}: Parquet cannot be read from a pipe; give it as a file")
    return _unread_parquet(path, name, sought, options, on_error, block_bytes, part)


def _unread_text(
    stream: BinaryIO,
    name: str,
    sought: Sought,
    options: TableOptions,
    on_error: OnError,
    block_bytes: int,
    path: Path | str | None,
    part: Range | None,
) -> Iterator[Unread]:
    with stream:
        dialect, blocks = opened(stream, name, options, block_bytes)
        first, row, blocks = first_row(blocks, dialect, name)
        columns = _columns(row, name, sought, options, dialect)
        wanted = sought.among(columns)
        is_guess = bool(columns.first) and options.header is None
        layout, extras = _layout(columns, wanted, dialect, row.line if is_guess else 0)
        begins = part is None or part.rows == 0
        if part is not None and path is not None:
            from anoean_cli.data.ranges import blocks_of

            blocks = blocks_of(path, name, part, dialect.delimiter, block_bytes)
            if begins:
                first, row, blocks = first_row(blocks, dialect, name)
        if begins:
            blocks = chain([first if columns.first else text.without_first(first, row)], blocks)
        before = _Count(0 if part is None or begins else part.rows - (not columns.first))
        has_rows = not begins
        for block in blocks:
            has_rows = has_rows or bool(block.data.lstrip(b"\r\n"))  # blank lines are no rows
            after = _Count()
            yield partial(_text_batch, block, layout, wanted, on_error, before, after, extras)
            before = after
        if not has_rows:
            raise DataError(f"{name}: has no data rows; give it some")


class _Count:
    """How many rows a file has up to some place: known once all of them are parsed."""

    def __init__(self, rows: int | None = None) -> None:
        self._rows = rows
        self._known = threading.Event()
        if rows is not None:
            self._known.set()

    def tell(self, rows: int | None) -> None:
        """Let those go on that wait; None where it will never be known."""
        self._rows = rows
        self._known.set()

    def wait(self) -> int:
        self._known.wait()
        if self._rows is None:
            raise DataError("rows before these cannot be read")  # and whoever reads them says why
        return self._rows


def opened(
    stream: BinaryIO, name: str, options: TableOptions, block_bytes: int
) -> tuple[Dialect, Iterator[Block]]:
    """How a text is written, and its blocks of rows."""
    head, read = utf8(stream, name, options.encoding)
    dialect = text.dialect_of(head, options)
    return dialect, text.blocks(read, dialect.delimiter, name, block_bytes)


def first_row(
    blocks: Iterator[Block], dialect: Dialect, name: str
) -> tuple[Block, Row, Iterator[Block]]:
    """Return the first row with the block it is in and the blocks after that."""
    for block in blocks:
        for row in text.rows_of(block, dialect.delimiter):
            if not row.closed:
                raise DataError(f"{name}, line {row.line}: a quoted field is never closed")
            return block, row, blocks
    raise DataError(f"{name}: is empty; give it rows")


def _text_batch(
    block: Block,
    layout: Layout,
    wanted: Wanted,
    on_error: OnError,
    before: _Count,
    after: _Count,
    extras: tuple[str, ...],
) -> Batch | None:
    """Return the rows of a block, None if there are none, numbered on from those before it."""
    count = None
    try:
        parsed = text.parse(block, layout, on_error)
        done = before.wait()
        count = done + len(parsed.table) + len(parsed.bad)
    finally:
        after.tell(count)
    if count == done:
        return None
    bad = np.array([row.at for row in parsed.bad], np.int64)
    rows = np.delete(np.arange(done + 1, count + 1, dtype=np.int64), bad)
    flagged = [Flagged(done + 1 + row.at, row.line, row.reason, row.kept) for row in parsed.bad]
    nulls, columns = layout.dialect.nulls, parsed.table
    numbers = {name: columns.column(name) for name in wanted.numeric}
    strings = {name: as_categories(columns.column(name), nulls) for name in wanted.categorical}
    labels = None
    for name in layout.text:  # the label, if it is wanted and there
        labels = as_text(columns.column(name), nulls).combine_chunks()
    dates = {name: columns.column(name) for name in wanted.dates}
    table = pa.table(numbers | strings | dates)
    return Batch(table, rows, parsed.kept, labels, flagged, () if done else extras)


# ---------------------------------------------------------------------------- matching columns


def _columns(
    first: Row, name: str, sought: Sought, options: TableOptions, dialect: Dialect
) -> Columns:
    """Return the columns of a text, named by its first row if that is a header."""
    fields = text.fields_of(first, dialect.delimiter)
    check_count(fields, name, first, dialect)
    has_header = options.header
    if has_header is None:
        has_header = sought.is_header(fields, dialect, name)
    return Columns.of(name, names_of(fields), has_header)


def check_count(fields: Sequence[bytes], file: str, row: Row, dialect: Dialect) -> None:
    """Raise DataError where a first row has more fields than a table may have columns."""
    if text.has_too_many(fields):
        raise DataError(
            f"{file}, line {row.line}: more than {text.MAX_FIELDS:,} columns; leave out those that "
            f"are no features, or say the delimiter ({shown(dialect.delimiter)} was taken) with "
            "--delimiter"
        )


def _layout(
    columns: Columns, wanted: Wanted, dialect: Dialect, guessed: int
) -> tuple[Layout, tuple[str, ...]]:
    """Match the columns of a text with the wanted ones: where they are, and what is extra."""
    file, order = columns.file, columns.names
    if columns.first:
        order = _order(len(order), file, wanted, dialect)
    wanted = wanted.settled(order, file)
    (_check_order if columns.first else _check_names)(order, file, wanted)
    at = {column: position for position, column in enumerate(order)}
    positions = {column: at[column] for column in wanted.read}
    layout = Layout(
        file=file,
        dialect=dialect,
        width=len(order),
        numeric={column: positions[column] for column in wanted.numeric},
        categorical={column: positions[column] for column in wanted.categorical},
        dates={column: positions[column] for column in wanted.dates},
        zoned=[column for column, zoned in wanted.dates.items() if zoned],
        firsts=wanted.firsts,
        text={wanted.label: positions[wanted.label]}
        if wanted.required_label and wanted.label is not None
        else {},
        kept={column: positions[column] for column in wanted.keep},
        guessed=guessed,
    )
    known = _known(wanted)
    return layout, tuple(column for column in order if column not in known)


def _known(wanted: Wanted) -> set[str]:
    label = (wanted.label,) if wanted.label else ()
    return {*wanted.source_columns, *wanted.rest, *wanted.read, *label}


def _check_names(names: Sequence[str], file: str, wanted: Wanted) -> None:
    counts = Counter(names)
    missing = [column for column in wanted.read if not counts[column]]
    if missing:
        remedy = ""
        if any(column in wanted.features for column in missing):
            remedy = "; add or rename what is missing, or train a model without it (--ignore)"
        elif wanted.required_label and wanted.label in missing:
            remedy = "; give rows with labels, or name their column with --label"
        composed = {normalize("NFC", name) for name in names}
        if any(normalize("NFC", column) in composed for column in missing):
            remedy = "; some differ only in how accents are written: rename those"
        elif not all(map(str.isascii, missing)):
            remedy += "; if names look garbled, say the --encoding"
        raise DataError(
            f"{file}: has no column {column_list(missing)}; "
            f"its columns are {column_list(names)}{remedy}"
        )
    doubled = [column for column in wanted.read if counts[column] > 1]
    if doubled:
        raise DataError(
            f"{file}: has more than one column {column_list(doubled)}; rename or drop one"
        )


def _order(count: int, file: str, wanted: Wanted, dialect: Dialect) -> tuple[str, ...]:
    """Return the names of all fields of rows that have ``count`` of them and no header."""
    order = wanted.source_columns
    unlabelled = tuple(column for column in order if column != wanted.label)
    if count == len(unlabelled):
        order = unlabelled
    if count < len(order):
        needed = order if wanted.required_label else unlabelled
        raise DataError(
            f"{file}: has {counted(count, 'column')}; the model needs {len(needed)} "
            f"({column_list(needed)}), or a header that names them; or say the delimiter "
            f"({shown(dialect.delimiter)} was taken) with --delimiter"
        )
    known = (*order, *wanted.rest)
    return (*known, *(numbered(at) for at in range(len(known), count)))[:count]


def _check_order(order: Sequence[str], file: str, wanted: Wanted) -> None:
    missing = [column for column in wanted.read if column not in order]
    if missing:
        raise DataError(
            f"{file}: has no header, so column {column_list(missing)} cannot be found; "
            "add a header line (and say --header yes if it is not recognised)"
        )


# ---------------------------------------------------------------------------- scoring Parquet


def _unread_parquet(
    path: Path | str,
    name: str,
    sought: Sought,
    options: TableOptions,
    on_error: OnError,
    block_bytes: int,
    part: Range | None,
) -> Iterator[Unread]:
    nulls = text.nulls_of(options)
    with ParquetTable(path) as file:
        names = file.names
        wanted = sought.among(Columns(name, names)).settled(names, name)
        _check_names(names, name, wanted)
        known = _known(wanted)
        extras = tuple(column for column in names if column not in known)
        done, groups = 0, None
        if part is not None:
            done, groups = part.rows, range(part.start, part.stop)
        for rows in file.batches(wanted.read, block_bytes, groups):
            if len(rows):
                new = () if done else extras
                yield partial(_parquet_batch, rows, name, wanted, nulls, on_error, done, new)
            done += len(rows)
        if not done:
            raise DataError(f"{name}: has no data rows; give it some")


def _parquet_batch(
    batch: pa.RecordBatch,
    file: str,
    wanted: Wanted,
    nulls: Sequence[str],
    on_error: OnError,
    done: int,
    extras: tuple[str, ...],
) -> Batch:
    numbers = {name: cast(batch, name, file, as_numbers, nulls) for name in wanted.numeric}
    strings = {name: cast(batch, name, file, as_text, nulls) for name in wanted.categorical}
    dates = {
        name: cast_dates(batch, name, file, nulls, zoned, wanted.firsts.get(name, "year"))
        for name, zoned in wanted.dates.items()
    }
    table = pa.table(numbers | strings | dates)
    kept = {name: cast(batch, name, file, as_written) for name in wanted.keep}
    labels = None
    if wanted.required_label and wanted.label is not None:
        labels = cast(batch, wanted.label, file, as_text, nulls)
    rows = np.arange(done + 1, done + len(batch) + 1, dtype=np.int64)
    infinite = _infinite_rows(numbers)
    flagged = [
        Flagged(int(rows[at]), 0, why, tuple(values[at].as_py() for values in kept.values()))
        for at, why in sorted(infinite.items())
    ]
    if flagged and on_error == "stop":
        raise DataError(
            f"{file}, row {flagged[0].row}, {flagged[0].reason}; use a null if the value is missing"
        )
    good = np.delete(np.arange(len(batch)), list(infinite))
    return Batch(
        table.take(good),
        rows[good],
        pa.table(kept).take(good) if kept else None,
        labels.take(pa.array(good)) if labels is not None else None,
        flagged,
        extras,
    )


def cast_dates(
    batch: Any, column: str, file: str, nulls: Sequence[str], zoned: bool, first: First = "year"
) -> pa.Array:
    """The same as timestamps; what stands first matters to texts alone."""
    make = partial(as_dates, zoned=zoned, first=first)
    return cast(batch, column, file, make, nulls, what="dates")


def cast(
    batch: pa.RecordBatch,
    column: str,
    file: str,
    make: Callable[..., Any],
    *nulls: Sequence[str],
    what: str = "",
) -> pa.Array:
    """A column of Arrow values as another type, made by one of `columnar`.

    Raises:
        DataError: a value cannot be read as such.
    """
    values = batch.column(column)
    try:
        return make(values, *nulls)
    except pa.ArrowException as error:
        what = what or ("numbers" if make is as_numbers else "text")
        reason = reason_of(error)
        raise DataError(
            f"{file}, column {shown(column)}: its values, of type {values.type}, "
            f"cannot be read as {what}: {reason}"
        ) from error


def _infinite_rows(numbers: Mapping[str, pa.Array]) -> dict[int, str]:
    """Return the positions of rows with an infinite number, and what is wrong with each."""
    found: dict[int, str] = {}
    for name, values in numbers.items():
        as_array = values.to_numpy(zero_copy_only=False)
        for at in np.flatnonzero(np.isinf(as_array)):
            found.setdefault(
                int(at), f"column {shown(name)}: '{as_array[at]}' is not a finite number"
            )
    return found
