"""Tables from files: CSV and its kin, compressed or not, and Parquet.

``read_table`` reads a whole table of unknown columns and finds out their types. ``stream_table``
reads known columns batch by batch, in flat memory, and says of each row that it cannot read why.

Rows are numbered from 1 without the header; lines are the physical lines of a text, from 1.
Wholly empty lines are no rows, not even in a table of a single column (there a missing value
can be written as ``""`` or ``NA``).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, TypeAlias

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
    holds_numbers,
    is_parquet,
    zone_of,
)
from anoean_cli.data.dates import (
    DAYS_OR_MONTHS,
    FIRSTS,
    found_dates,
    is_date,
    writings,
)
from anoean_cli.data.header import (
    Columns,
    Roles,
    column_list,
    column_of,
    could_be_header,
    holds_given_name,
    is_doubtful,
    looks_like_header,
    names_features,
    names_of,
    numbered,
)
from anoean_cli.data.streams import decompressed, open_bytes, open_raw, peeked, utf8
from anoean_cli.data.text import Block, Dialect, Layout, Row, shown
from anoean_cli.errors import DataError
from anoean_cli.examples import Drawing, First, TableOptions, with_firsts
from anoean_cli.storage.remote import is_remote
from anoean_cli.wording import counted

if TYPE_CHECKING:
    from anoean_cli.data.drawing import Drawn
    from anoean_cli.data.ranges import Range

__all__ = [
    "BLOCK_BYTES",
    "Batch",
    "Flagged",
    "RawTable",
    "Sought",
    "Wanted",
    "open_bytes",
    "read_table",
    "stream_table",
    "unread",
]


_HEADER_ROWS = 1000
_NEARLY_ALL = 0.95
_FEW_ROWS = 1000  # of a chunk: to work on one of a few costs as much
_SAMPLE = 1000  # values of a column that show whether it may be one of dates


class RawTable(NamedTuple):
    """A whole table as it was found.

    Attributes:
        drawn: its rows, of a large table some; of all columns but the ignored ones in file order:
            float64 where every value is a number, timestamps where every one is a date, else
            strings; null where a value is missing.
        columns: the names of all columns, ``column_1``… where the file has none.
        had_header: whether the names come from the file.
        roles: what the user said of columns.
    """

    drawn: Drawn
    columns: tuple[str, ...]
    had_header: bool
    roles: Roles

    @property
    def table(self) -> pa.Table:
        return self.drawn.table


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


def stream_table(
    source: Path | str | BinaryIO,
    name: str,
    sought: Sought,
    options: TableOptions,
    on_error: OnError,
    block_bytes: int = BLOCK_BYTES,
) -> Iterator[Batch]:
    """Yield the wanted columns of a table, batch by batch.

    Args:
        source: a file, an object in a store, or a stream that need not be seekable (then not
            Parquet) and is not closed.
        name: what messages call it.
        sought: the columns, a :class:`Wanted` where they are known beforehand.
        options: how the text is written.
        on_error: whether a row that cannot be read ends the reading or is flagged.
        block_bytes: about how much text makes a batch; the rows do not depend on it.

    Raises:
        DataError: the source cannot be read, lacks a column or has no rows; a row cannot be
            read and ``on_error`` is ``"stop"``.
        UsageError: an unknown encoding, an impossible delimiter or decimal sign.
        Both: what ``sought`` raises.
    """
    for part in unread(source, name, sought, options, on_error, block_bytes):
        batch = part()
        if batch is not None:
            yield batch


def unread(
    source: Path | str | BinaryIO,
    name: str,
    sought: Sought,
    options: TableOptions,
    on_error: OnError,
    block_bytes: int = BLOCK_BYTES,
    part: Range | None = None,
) -> Iterator[Unread]:
    """Yield what :func:`stream_table` does, each batch still to be parsed.

    Args:
        part: of a file, the rows to read; None: all.

    Raises:
        DataError, UsageError: as :func:`stream_table`; what is wrong with a row comes out where
            its batch is parsed.
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
        dialect, blocks = _opened(stream, name, options, block_bytes)
        first, row, blocks = _first_row(blocks, dialect, name)
        columns = _columns(row, name, sought, options, dialect)
        wanted = sought.among(columns)
        is_guess = bool(columns.first) and options.header is None
        layout, extras = _layout(columns, wanted, dialect, row.line if is_guess else 0)
        begins = part is None or part.rows == 0
        if part is not None and path is not None:
            from anoean_cli.data.ranges import blocks_of

            blocks = blocks_of(path, name, part, dialect.delimiter, block_bytes)
            if begins:
                first, row, blocks = _first_row(blocks, dialect, name)
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


def _opened(
    stream: BinaryIO, name: str, options: TableOptions, block_bytes: int
) -> tuple[Dialect, Iterator[Block]]:
    head, read = utf8(stream, name, options.encoding)
    dialect = text.dialect_of(head, options)
    return dialect, text.blocks(read, dialect.delimiter, name, block_bytes)


def _first_row(
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
    _check_count(fields, name, first, dialect)
    has_header = options.header
    if has_header is None:
        has_header = sought.is_header(fields, dialect, name)
    return Columns.of(name, names_of(fields), has_header)


def _check_count(fields: Sequence[bytes], file: str, row: Row, dialect: Dialect) -> None:
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
    numbers = {name: _cast(batch, name, file, as_numbers, nulls) for name in wanted.numeric}
    strings = {name: _cast(batch, name, file, as_text, nulls) for name in wanted.categorical}
    dates = {
        name: _cast_dates(batch, name, file, nulls, zoned, wanted.firsts.get(name, "year"))
        for name, zoned in wanted.dates.items()
    }
    table = pa.table(numbers | strings | dates)
    kept = {name: _cast(batch, name, file, as_written) for name in wanted.keep}
    labels = None
    if wanted.required_label and wanted.label is not None:
        labels = _cast(batch, wanted.label, file, as_text, nulls)
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


def _cast_dates(
    batch: Any, column: str, file: str, nulls: Sequence[str], zoned: bool, first: First = "year"
) -> pa.Array:
    cast = partial(as_dates, zoned=zoned, first=first)
    return _cast(batch, column, file, cast, nulls, what="dates")


def _cast(
    batch: pa.RecordBatch,
    column: str,
    file: str,
    cast: Callable[..., Any],
    *nulls: Sequence[str],
    what: str = "",
) -> pa.Array:
    values = batch.column(column)
    try:
        return cast(values, *nulls)
    except pa.ArrowException as error:
        what = what or ("numbers" if cast is as_numbers else "text")
        reason = " ".join(str(error).split())
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


# ---------------------------------------------------------------------------- exploring


def read_table(
    path: Path | str,
    options: TableOptions,
    warn: Callable[[str], None] = lambda message: None,
    drawing: Drawing | None = None,
) -> RawTable:
    """Read a whole table, or rows drawn from it, and find out its columns and their types.

    Args:
        path: the file.
        options: how the text is written, and what the user says of columns.
        warn: called with one line for what may be other than the user means.
        drawing: how rows are drawn if there are too many; the types of columns, and what is wrong
            with values, are then those of the rows drawn. None takes all rows.

    Raises:
        DataError: the file cannot be read or has no rows, two columns have one name, a row
            cannot be read, a column of numbers holds an infinite one, or text where the user
            says numbers.
        UsageError: an unknown encoding, an impossible delimiter or decimal sign, a column that
            is not there.
    """
    head, stream = peeked(open_raw(path), owned=True)
    if is_parquet(head, path):
        stream.close()
        return _explored_parquet(path, options, drawing)
    with decompressed(head, stream, str(path)) as content:
        columns, roles, dialect, drawn = _read_strings(content, str(path), options, warn, drawing)
    had_header, table = not columns.first, drawn.table
    if table.num_columns and len(table) < _FEW_ROWS * table.column(0).num_chunks:
        table = table.combine_chunks()  # wide rows come a few at a time

    def place(row: int) -> str:
        return f"{path}, line {_line_of(path, options, int(drawn.rows[row]) + had_header)}"

    types = _Types()
    for name in table.column_names:
        column = table.column(name)
        if name in roles.as_text:
            types.columns[name] = as_text(column, dialect.nulls)
        else:
            _typed(types, column, name, dialect, roles, place, warn)
    return RawTable(drawn._replace(table=types.table()), columns.names, had_header, roles)


@dataclass
class _Types:
    """The columns of a table, each of the type that was found for it."""

    columns: dict[str, Any] = field(default_factory=dict)
    firsts: dict[str, First] = field(default_factory=dict)

    def add_dates(self, name: str, dates: pa.ChunkedArray, first: First) -> None:
        self.columns[name] = dates
        if first != "year":
            self.firsts[name] = first

    def table(self) -> pa.Table:
        return with_firsts(pa.table(self.columns), self.firsts)


def _typed(
    types: _Types,
    column: pa.ChunkedArray,
    name: str,
    dialect: Dialect,
    roles: Roles,
    place: Callable[[int], str],
    warn: Callable[[str], None],
) -> None:
    """Add strings as numbers or dates where all of them are some."""
    numbers = None if name in roles.datetime else _parsed_numbers(column, dialect.decimal)
    if numbers is not None:
        row = _first_infinite(numbers)
        if row is not None:
            _refuse_infinite(place(row), name, column[row].as_py())
        types.columns[name] = numbers
        return
    strings = as_text(column, dialect.nulls)
    if name not in roles.numeric:
        dates = found_dates(strings, roles.may_be_first(name), roles.first_if_open)
        if dates is not None:
            types.add_dates(name, *dates)
            return
        _judge_dates(strings, name, roles, place, None if name in roles.datetime else warn)
    _judge_text(column, name, dialect, place, None if name in roles.numeric else warn)
    types.columns[name] = strings


def _judge_dates(
    column: pa.ChunkedArray,
    name: str,
    roles: Roles,
    place: Callable[[int], str],
    warn: Callable[[str], None] | None,
) -> None:
    """Tell of text in a column nearly all of whose values are dates of one kind; None to warn
    refuses any."""
    present = len(column) - column.null_count
    if not present or (warn is not None and not _may_hold_dates(column)):
        return
    counts, firsts = writings(column), roles.may_be_first(name)
    # Of equals what the user says of open ones, else the first.
    zoned, first = max(
        (kind for kind in counts if kind[1] in firsts),
        key=lambda kind: (counts[kind], kind[1] == roles.first_if_open),
    )
    alike = counts[zoned, first]
    if warn is not None and alike < _NEARLY_ALL * present:
        return
    bad = (
        (at, value.encode())
        for at, value in enumerate(column.to_pylist())
        if value is not None and not is_date(value.encode(), zoned, first)
    )
    row, value = next(bad, (None, b""))
    if row is None:  # the other way round as well
        if warn is None:
            raise DataError(f"{place(0)}, column {shown(name)}: {DAYS_OR_MONTHS}")
        return
    fault = text.not_a_date(name, value, zoned, first)
    if name in roles.firsts and any(is_date(value, zoned, other) for other in FIRSTS):
        fault = fault._replace(remedy="correct it, or what --schema says is first in the column")
    if warn is None:
        raise DataError(f"{place(row)}, {fault.reason}; {fault.remedy}")
    warn(
        f"{place(row)}, {fault.reason}, so the column is taken as text, although "
        f"{alike:,} of its {present:,} values are written as dates: {fault.remedy} "
        "(--categorical takes it as it is, --datetime refuses it)"
    )


def _may_hold_dates(column: pa.ChunkedArray) -> bool:
    """Whether of some values at least half look like dates, which is quickly found out."""
    some = column.drop_null().take(pa.array(_spread(len(column) - column.null_count)))
    return max(writings(some).values()) >= len(some) / 2


def _spread(count: int) -> NDArray[np.int64]:
    """Positions of at most `_SAMPLE` of so many values."""
    return np.linspace(0, count - 1, min(count, _SAMPLE)).astype(np.int64)


def _read_strings(
    stream: BinaryIO,
    file: str,
    options: TableOptions,
    warn: Callable[[str], None],
    drawing: Drawing | None,
) -> tuple[Columns, Roles, Dialect, Drawn]:
    """Read a text with all columns as strings, but for the ignored ones."""
    dialect, blocks = _opened(stream, file, options, BLOCK_BYTES)
    first, row, blocks = _first_row(blocks, dialect, file)
    rows = text.sample(first, dialect.delimiter, 1 + _HEADER_ROWS)
    _check_count(rows[0], file, row, dialect)
    fields = names_of(rows[0])
    columns = Columns.of(file, fields, _has_header(rows, dialect, options, file, warn))
    if not columns.first:
        first = text.without_first(first, row)
    _check_distinct(columns.names, file, options.header is None)
    roles = columns.roles(options)
    positions = {name: at for at, name in enumerate(columns.names) if name not in roles.ignored}
    layout = Layout(file, dialect, len(fields), text=positions)
    tables = (text.parse(block, layout, "stop").table for block in chain([first], blocks))
    return columns, roles, dialect, _drawn(tables, file, roles, dialect.nulls, drawing)


def _drawn(
    tables: Iterable[Any],
    file: str,
    roles: Roles,
    nulls: Sequence[str],
    drawing: Drawing | None,
) -> Drawn:
    """What is kept of a file's rows, which come in parts."""
    from anoean_cli.data.drawing import Reservoir

    kept, count = Reservoir(file, drawing), 0
    for table in tables:
        labels = None
        if roles.label is not None:
            labels = _cast(table, roles.label, file, as_text, nulls)
        kept.add(table, labels)
        count += len(table)
    if not count:
        raise DataError(f"{file}: has no data rows; give it some")
    return kept.drawn()


def _has_header(
    rows: Sequence[Sequence[bytes]],
    dialect: Dialect,
    options: TableOptions,
    file: str,
    warn: Callable[[str], None],
) -> bool:
    if options.header is not None:
        return options.header
    if holds_given_name(rows[0], options):
        return True
    found = looks_like_header(rows[0], rows[1:], dialect, options.label)
    if found and is_doubtful(rows[0], dialect):
        warn(
            f"{file}: its first row, {column_list(names_of(rows[0]))}, is taken for column names; "
            "say --header no if it is data"
        )
    if not found and could_be_header(rows[0], rows[1:], dialect):
        warn(
            f"{file}: its first row, {column_list(names_of(rows[0]))}, is taken for data; "
            "say --header yes if it holds names"
        )
    return found


def _check_distinct(names: Iterable[str], file: str, is_guess: bool = False) -> None:
    doubled = [name for name, count in Counter(names).items() if count > 1]
    if doubled:
        raise DataError(
            f"{file}: has more than one column {column_list(doubled)}; give each its own name"
            + (", or say --header no if the first row is data" if is_guess else "")
        )


def _parsed_numbers(column: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray | None:
    """Return strings as float64, with null for NaN; None if one of them is not a number."""
    import pyarrow.compute as pc

    chunks = []
    for chunk in column.chunks:  # most columns that are not numbers show it in the first chunk
        if decimal == ",":
            if pc.any(pc.match_substring(chunk, ".")).as_py():
                return None
            chunk = pc.replace_substring(chunk, ",", ".")
        try:
            chunks.append(as_numbers(chunk, ()))
        except pa.ArrowInvalid:
            return None
    return pa.chunked_array(chunks, pa.float64())


def _judge_text(
    column: pa.ChunkedArray,
    name: str,
    dialect: Dialect,
    place: Callable[[int], str],
    warn: Callable[[str], None] | None,
) -> None:
    """Tell of text in a column nearly all of whose values are numbers; None to warn refuses any.

    With the other decimal mark the values may be numbers as well.
    """
    import pyarrow.compute as pc

    present = len(column) - column.null_count
    is_number = text.are_numbers(column, dialect.decimal)
    numbers = max(
        pc.sum(found).as_py() or 0
        for found in (is_number, text.are_numbers(column, text.other_mark(dialect.decimal)))
    )
    if warn is not None and numbers < _NEARLY_ALL * present:
        return
    row = pc.index(is_number, False).as_py()
    fault = text.not_a_number(name, column[row].as_py().encode(), dialect.decimal)
    if warn is None:
        raise DataError(f"{place(row)}, {fault.reason}; {fault.remedy}")
    warn(
        f"{place(row)}, {fault.reason}, so the column is taken as text, although {numbers:,} of "
        f"its {present:,} values can be read as numbers: {fault.remedy} "
        "(--categorical takes it as it is, --numeric refuses it)"
    )


def _first_infinite(numbers: pa.ChunkedArray) -> int | None:
    import pyarrow.compute as pc

    at = pc.index(pc.is_inf(numbers), True).as_py()
    return None if at < 0 else int(at)


def _refuse_infinite(place: str, column: str, value: object) -> None:
    raise DataError(
        f"{place}, column {shown(column)}: {shown(str(value))} is not a finite number; "
        "leave it empty if the value is missing"
    )


def _line_of(path: Path | str, options: TableOptions, index: int) -> int:
    """Return the line of a row of a text, counted from 0 with the header; reads it once more."""
    with open_bytes(path) as stream:
        dialect, blocks = _opened(stream, str(path), options, BLOCK_BYTES)
        rows = (row for block in blocks for row in text.rows_of(block, dialect.delimiter))
        for at, row in enumerate(rows):
            if at == index:
                return row.line
    raise DataError(f"{path}: changed while it was read")


def _explored_parquet(path: Path | str, options: TableOptions, drawing: Drawing | None) -> RawTable:
    with ParquetTable(path) as file:
        columns = Columns(str(path), file.names)
        _check_distinct(columns.names, str(path))
        roles = columns.roles(options)
        used = [name for name in columns.names if name not in roles.ignored]
        nulls = text.nulls_of(options)
        tables = (pa.Table.from_batches([batch]) for batch in file.batches(used))
        drawn = _drawn(tables, str(path), roles, nulls, drawing)
    table = drawn.table
    types = _Types()

    def place(row: int) -> str:
        return f"{path}, row {drawn.rows[row] + 1}"

    for name in used:
        values = table.column(name)
        is_numeric = name in roles.numeric or holds_numbers(values.type)
        if name in roles.as_text or not is_numeric or name in roles.datetime:
            _text_or_dates(types, table, name, str(path), roles, nulls, place)
            continue
        types.columns[name] = _cast(table, name, str(path), as_numbers, nulls)
        row = _first_infinite(types.columns[name])
        if row is not None:
            _refuse_infinite(place(row), name, values[row].as_py())
    return RawTable(drawn._replace(table=types.table()), columns.names, True, roles)


def _text_or_dates(
    types: _Types,
    table: pa.Table,
    name: str,
    file: str,
    roles: Roles,
    nulls: Sequence[str],
    place: Callable[[int], str],
) -> None:
    """Add a column that is not one of numbers, as timestamps where all of it are dates."""
    zoned = zone_of(table.schema.field(name).type)
    if zoned is not None and name not in roles.as_text:
        types.columns[name] = _cast_dates(table, name, file, nulls, zoned)
        return
    strings = types.columns[name] = _cast(table, name, file, as_text, nulls)
    if name in roles.as_text:
        return
    dates = found_dates(strings, roles.may_be_first(name), roles.first_if_open)
    if dates is not None:
        types.add_dates(name, *dates)
    elif name in roles.datetime:
        _judge_dates(strings, name, roles, place, None)
