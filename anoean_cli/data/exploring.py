"""Whole tables of unknown columns: what is in them, and of which type each column is.

Rows and lines are numbered as in `readers`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anoean_cli.data import text
from anoean_cli.data.columnar import (
    BLOCK_BYTES,
    ParquetTable,
    as_numbers,
    as_text,
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
    could_be_header,
    holds_given_name,
    is_doubtful,
    looks_like_header,
    names_of,
)
from anoean_cli.data.readers import cast, cast_dates, check_count, first_row, opened
from anoean_cli.data.schema import FEWEST_FOR_IDENTIFIER, IDENTIFIER_SHARE
from anoean_cli.data.streams import decompressed, open_bytes, open_raw, peeked
from anoean_cli.data.text import Dialect, Layout, shown
from anoean_cli.errors import DataError
from anoean_cli.examples import Drawing, First, TableOptions, column_type, with_firsts

if TYPE_CHECKING:
    from anoean_cli.data.drawing import Drawn

HEADER_ROWS = 1000
NEARLY_ALL = 0.95
LARGEST_EXACT = 2**53  # float64 holds all whole numbers up to it
MANY_NUMBERS = 50  # more than codes of categories have
FEW_ROWS = 1000  # of a chunk: to work on one of a few costs as much
SAMPLE = 1000  # values of a column that show whether it may be one of dates


class RawTable(NamedTuple):
    """A whole table as it was found.

    Attributes:
        drawn: its rows, of a large table some; of all columns but the ignored ones in file order:
            float64 where every value is a number (of Parquet where its type says so, or the user),
            timestamps where every one is a date, else strings; null where a value is missing.
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
        return _explored_parquet(path, options, warn, drawing)
    with decompressed(head, stream, str(path)) as content:
        columns, roles, dialect, drawn = _read_strings(content, str(path), options, warn, drawing)
    had_header, table = not columns.first, drawn.table
    if table.num_columns and len(table) < FEW_ROWS * table.column(0).num_chunks:
        table = table.combine_chunks()  # wide rows come a few at a time

    def place(row: int) -> str:
        return f"{path}, line {_line_of(path, options, int(drawn.rows[row]) + had_header)}"

    types = _Types(roles, (dialect.decimal, text.other_mark(dialect.decimal)), place, warn)
    for name in table.column_names:
        column = table.column(name)
        numbers = None
        if name not in roles.as_text and name not in roles.datetime:
            numbers = _parsed_numbers(column, dialect.decimal)
        if numbers is None:
            types.add_text(name, as_text(column, dialect.nulls))
        else:
            types.add_numbers(name, numbers, column)
    return RawTable(drawn._replace(table=types.table()), columns.names, had_header, roles)


@dataclass
class _Types:
    """The columns of a table, each of the type that is found for it.

    Attributes:
        roles: what the user said of columns.
        marks: the decimal mark of numbers that are text, and others that they may have.
        place: names the row at a position.
        warn: called with one line for what may be other than the user means.
    """

    roles: Roles
    marks: Sequence[str]
    place: Callable[[int], str]
    warn: Callable[[str], None]
    columns: dict[str, Any] = field(default_factory=dict)
    firsts: dict[str, First] = field(default_factory=dict)

    def add_numbers(self, name: str, numbers: pa.ChunkedArray, as_written: pa.ChunkedArray) -> None:
        """Add numbers, all of which must be finite."""
        row = _first_infinite(numbers)
        if row is not None:
            _refuse_infinite(self.place(row), name, as_written[row].as_py())
        if _loses_digits(numbers, as_written):
            self.warn(
                f"column {shown(name)} has whole numbers beyond {LARGEST_EXACT:,}, whose last "
                "digits are lost where they are taken as numbers: --categorical keeps them apart, "
                "--ignore leaves the column out"
            )
        self.columns[name] = numbers

    def add_text(self, name: str, strings: pa.ChunkedArray) -> None:
        """Add text: as dates where all of it are some, or the user says so."""
        roles = self.roles
        is_date, is_number = name in roles.datetime, name in roles.numeric
        self.columns[name] = strings
        if name in roles.as_text:
            return
        if is_date and strings.null_count == len(strings):
            self.columns[name] = strings.cast(column_type("datetime"))
            return
        if not is_number:
            dates = found_dates(strings, roles.may_be_first(name), roles.first_if_open)
            if dates is not None:
                self.columns[name], first = dates
                if first != "year":
                    self.firsts[name] = first
                return
            _judge_dates(strings, name, roles, self.place, None if is_date else self.warn)
        _judge_text(strings, name, self.marks, self.place, None if is_number else self.warn)

    def table(self) -> pa.Table:
        return with_firsts(pa.table(self.columns), self.firsts)


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
    if warn is not None and alike < NEARLY_ALL * present:
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
    """Positions of at most `SAMPLE` of so many values."""
    return np.linspace(0, count - 1, min(count, SAMPLE)).astype(np.int64)


def _read_strings(
    stream: BinaryIO,
    file: str,
    options: TableOptions,
    warn: Callable[[str], None],
    drawing: Drawing | None,
) -> tuple[Columns, Roles, Dialect, Drawn]:
    """Read a text with all columns as strings, but for the ignored ones."""
    dialect, blocks = opened(stream, file, options, BLOCK_BYTES)
    first, row, blocks = first_row(blocks, dialect, file)
    rows = text.sample(first, dialect.delimiter, 1 + HEADER_ROWS)
    check_count(rows[0], file, row, dialect)
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
            labels = cast(table, roles.label, file, as_text, nulls)
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
    marks: Sequence[str],
    place: Callable[[int], str],
    warn: Callable[[str], None] | None,
) -> None:
    """Tell of text in a column nearly all of whose values are numbers, or most of them and of many
    different ones, as categories are not; None to warn refuses any.

    With another decimal mark the values may be numbers as well. All are some only where the type
    of a file's column says that it is text.

    Raises:
        DataError: nearly all are numbers, which as text would be next to all different, and dropped
            as an identifier's.
    """
    import pyarrow.compute as pc

    present = len(column) - column.null_count
    if not present:
        return
    decimal = marks[0]
    by_mark = [text.are_numbers(column, mark) for mark in marks]
    is_number = by_mark[0]
    numbers = max(pc.sum(found).as_py() for found in by_mark)
    row = pc.index(is_number, False).as_py()
    if row < 0:
        if pc.count_distinct(column).as_py() >= MANY_NUMBERS and warn is not None:
            warn(
                f"column {shown(name)} is text by its type, although all of its "
                "values can be read as numbers: --numeric takes it as numbers "
                "(--categorical takes it as it is)"
            )
        return
    fault = text.not_a_number(name, column[row].as_py().encode(), decimal)
    if warn is None:
        raise DataError(f"{place(row)}, {fault.reason}; {fault.remedy}")
    if numbers < present / 2:
        some = column.drop_null().take(pa.array(_spread(present))).to_pylist()
        if all(text.for_people(value.encode(), decimal) for value in some):
            warn(f"{place(row)}, {fault.reason}, so the column is taken as text: {fault.remedy}")
        return
    if numbers < NEARLY_ALL * present:
        different = pc.count_distinct(column.filter(pc.fill_null(is_number, False))).as_py()
        if different < MANY_NUMBERS:
            return
    elif present >= FEWEST_FOR_IDENTIFIER and (
        pc.count_distinct(column).as_py() > IDENTIFIER_SHARE * present
    ):
        raise DataError(
            f"{place(row)}, {fault.reason}, although {numbers:,} of its {present:,} values can be "
            f"read as numbers: {fault.remedy} (--ignore leaves the column out)"
        )
    warn(
        f"{place(row)}, {fault.reason}, so the column is taken as text, although {numbers:,} of "
        f"its {present:,} values can be read as numbers: {fault.remedy} "
        "(--categorical takes it as it is, --numeric refuses it)"
    )


def _loses_digits(numbers: pa.ChunkedArray, as_written: pa.ChunkedArray) -> bool:
    """Whether there are whole numbers, written as such, that float64 does not tell apart."""
    import pyarrow.compute as pc

    if not (pc.max(pc.abs(numbers)).as_py() or 0) > LARGEST_EXACT:
        return False
    kind = as_written.type
    if pa.types.is_integer(kind) or (pa.types.is_decimal(kind) and kind.scale <= 0):
        return True
    if holds_numbers(kind):
        return False
    is_whole = pc.match_substring_regex(as_text(as_written, ()), "^[+-]?[0-9]{16,}$")
    return bool(pc.any(is_whole).as_py())


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
        dialect, blocks = opened(stream, str(path), options, BLOCK_BYTES)
        rows = (row for block in blocks for row in text.rows_of(block, dialect.delimiter))
        for at, row in enumerate(rows):
            if at == index:
                return row.line
    raise DataError(f"{path}: changed while it was read")


def _explored_parquet(
    path: Path | str,
    options: TableOptions,
    warn: Callable[[str], None],
    drawing: Drawing | None,
) -> RawTable:
    with ParquetTable(path) as file:
        columns = Columns(str(path), file.names)
        _check_distinct(columns.names, str(path))
        roles = columns.roles(options)
        used = [name for name in columns.names if name not in roles.ignored]
        nulls = text.nulls_of(options)
        tables = (pa.Table.from_batches([batch]) for batch in file.batches(used))
        drawn = _drawn(tables, str(path), roles, nulls, drawing)
    table = drawn.table

    def place(row: int) -> str:
        return f"{path}, row {drawn.rows[row] + 1}"

    types = _Types(roles, (".",), place, warn)  # which is the only mark that Arrow reads
    for name in used:
        values = table.column(name)
        zoned = zone_of(values.type)
        may_be_numbers = name in roles.numeric or holds_numbers(values.type)
        if may_be_numbers and name not in roles.as_text and name not in roles.datetime:
            types.add_numbers(name, cast(table, name, str(path), as_numbers, nulls), values)
        elif zoned is not None and name not in roles.as_text:
            types.columns[name] = cast_dates(table, name, str(path), nulls, zoned)
        else:
            types.add_text(name, cast(table, name, str(path), as_text, nulls))
    return RawTable(drawn._replace(table=types.table()), columns.names, True, roles)
