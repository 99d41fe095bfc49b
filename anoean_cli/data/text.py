"""The grammar of delimited text: rows, fields and numbers, and blocks of rows as Arrow tables.

The grammar is that of ``pyarrow.csv``, which parses nearly everything here: a field is quoted
when its first character is a quote; a row ends at ``\\n``, ``\\r\\n`` or a lone ``\\r`` outside
quotes; empty lines are no rows, in a table of one column neither. The same grammar is written
down once more as patterns, slow but able to say which row a block fails on and why.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import chain, islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from anoean_cli.choices import OnError
from anoean_cli.data.dates import fault_of, is_date, parsed_dates
from anoean_cli.data.meaning import BLANKS
from anoean_cli.data.streams import Read
from anoean_cli.errors import DataError, UsageError, printable
from anoean_cli.examples import First, TableOptions
from anoean_cli.wording import counted

NULL_VALUES = ("", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "#N/A", "?")
MAX_ROW_BYTES = 16 << 20
MAX_FIELDS = 100_000  # of a row: so many take a second to match and parse
BLOCK_ROWS = 1 << 16  # more would be a block of next to empty rows, each an object if it is bad
CATEGORIES = pa.dictionary(pa.int32(), pa.string())

_DELIMITERS = (",", ";", "\t", "|")
_SNIFFED_LINES = 20
_SHOWN_CHARACTERS = 60
_BOM = b"\xef\xbb\xbf"
_LINE_END = re.compile(rb"\r\n|\n|\r")


# ---------------------------------------------------------------------------- dialect


@dataclass(frozen=True)
class Dialect:
    """How fields are parted and numbers and missing values written."""

    delimiter: str = ","
    decimal: str = "."
    nulls: tuple[str, ...] = NULL_VALUES

    @cached_property
    def markers(self) -> list[str]:
        """What stands for a missing value, with the blanks that some writers put around commas."""
        around = ("{}", " {}", "{} ", " {} ")
        return [blanks.format(marker) for marker in self.nulls for blanks in around]

    @cached_property
    def marker_bytes(self) -> frozenset[bytes]:
        """The markers as they stand in a file."""
        return frozenset(marker.encode() for marker in self.markers)


def dialect_of(head: bytes, options: TableOptions) -> Dialect:
    """Return the dialect that the options give, the delimiter found in ``head`` if they do not.

    Raises:
        UsageError: a delimiter or decimal sign that cannot be one, or both the same.
    """
    if options.decimal not in (".", ","):
        raise UsageError(f"--decimal is {options.decimal!r}; it can be . or ,")
    delimiter = _checked_delimiter(options) or _sniffed(head, options.decimal)
    return Dialect(delimiter, options.decimal, nulls_of(options))


def nulls_of(options: TableOptions) -> tuple[str, ...]:
    """Return what stands for a missing value."""
    return NULL_VALUES if options.null_values is None else options.null_values


def _checked_delimiter(options: TableOptions) -> str | None:
    delimiter = options.delimiter
    if delimiter is None:
        return None
    delimiter = "\t" if delimiter.lower() in ("tab", r"\t") else delimiter
    if len(delimiter) != 1 or not delimiter.isascii() or delimiter in '"\r\n':
        raise UsageError(f"--delimiter is {delimiter!r}; it has to be one character, or tab")
    if delimiter == options.decimal:
        raise UsageError(f"--delimiter and --decimal are both {delimiter!r}")
    return delimiter


def _sniffed(head: bytes, decimal: str) -> str:
    """The delimiter that the first lines have equally often, the most frequent if several.

    A few lines may disagree with the first, so that a ragged row is told as such.
    """
    unquoted = re.sub(rb'"[^"]*"?', b'""', head)
    lines = [line for line in _LINE_END.split(unquoted) if line][: _SNIFFED_LINES + 1]
    if len(lines) > 1 and not unquoted.endswith((b"\n", b"\r")):
        lines.pop()  # it may be cut off
    best, chosen = (0, 0), ","
    for delimiter in _DELIMITERS:
        counts = [line.count(delimiter.encode()) for line in lines]
        if delimiter == decimal or not counts or not counts[0]:
            continue
        rank = (counts.count(counts[0]), counts[0])
        if rank > best:
            best, chosen = rank, delimiter
    return chosen


# ---------------------------------------------------------------------------- rows and fields


class Block(NamedTuple):
    """Whole rows of a text.

    Attributes:
        data: the bytes, each row with its line end.
        line: the physical line, from 1, that the bytes begin on.
        unclosed: they are the last of the text, one row with a quote that is never closed.
    """

    data: bytes
    line: int
    unclosed: bool = False


class Row(NamedTuple):
    """One row as it is written: its bytes, first line, end in the block, and whether it ends."""

    raw: bytes
    line: int
    end: int
    closed: bool = True


def blocks(
    read: Read, delimiter: str, name: str, block_bytes: int, line: int = 1
) -> Iterator[Block]:
    """Cut a text into blocks of whole rows, of about ``block_bytes`` and `BLOCK_ROWS` at most.

    Args:
        line: the physical line that it begins on.

    Raises:
        DataError: a row is longer than ``MAX_ROW_BYTES``.
    """
    pending = b""
    while True:
        # Reading as much as is pending keeps the work on one huge row linear in its size.
        left = MAX_ROW_BYTES + 1 - len(pending)
        part = read(min(max(block_bytes, len(pending)), left))
        data = pending + part
        if not part and data and not data.endswith((b"\n", b"\r")):
            data += b"\n"
        cut = _whole_rows(data, delimiter, at_end=not part)
        if cut:
            block = Block(data[:cut], line)
            lines = line_ends(block.data)
            yield from [block] if lines <= BLOCK_ROWS else _parted(block, delimiter)
            line += lines
        pending = data[cut:]
        if not part:
            break
        if len(pending) > MAX_ROW_BYTES:
            raise DataError(
                f"{name}, line {line}: the row has no end within {MAX_ROW_BYTES >> 20} MiB; "
                "look for a quote that is never closed"
            )
    if pending:
        yield Block(pending, line, unclosed=True)


def _parted(block: Block, delimiter: str) -> Iterator[Block]:
    """Cut a block of many rows into several."""
    ends = _row_ends(block.data, delimiter)
    if ends is None:
        ends = np.array([row.end for row in rows_of(block, delimiter)]) - 1
    begin, line = 0, block.line
    for at in chain(ends[BLOCK_ROWS - 1 :: BLOCK_ROWS], [len(block.data) - 1]):
        end = int(at) + 1
        end += block.data[end - 1 : end + 1] == b"\r\n"
        if end > begin:
            yield Block(block.data[begin:end], line)
            line += line_ends(block.data[begin:end])
            begin = end


def _whole_rows(data: bytes, delimiter: str, at_end: bool) -> int:
    """How many of the first bytes are whole rows."""
    end = len(data)
    if data.endswith(b"\r") and not at_end:
        end -= 1  # a \n may follow and belong to it
    if b'"' not in data:
        return _last_line_end(data, end)
    ends = _row_ends(data, delimiter)
    if ends is None:
        return _whole_rows_exactly(data, delimiter, end)
    ends = ends[ends < end]
    return int(ends[-1]) + 1 if len(ends) else 0


def _last_line_end(data: bytes, end: int) -> int:
    """The position after the last line end before ``end``, 0 if there is none."""
    return max(data.rfind(b"\n", 0, end), data.rfind(b"\r", 0, end)) + 1


def _parts_fields(data: bytes, quotes: np.ndarray[Any, Any], delimiter: str) -> bool:
    """Whether every quote opens or closes a field or is doubled, so that counting them is enough.

    It is not where a quote stands inside an unquoted field, such as ``5" disk``.
    """
    beside = np.zeros(256, dtype=bool)
    beside[[ord(delimiter), ord("\n"), ord("\r"), ord('"')]] = True
    padded = np.frombuffer(b"\n" + data + b"\n", np.uint8)
    before_opening = padded[quotes[0::2]]
    after_closing = padded[quotes[1::2] + 2]
    return bool(beside[before_opening].all() and beside[after_closing].all())


def _whole_rows_exactly(data: bytes, delimiter: str, end: int) -> int:
    match, position = _patterns(delimiter)[0].match, 0
    while (row := match(data, position)) and row.end() <= end:
        position = row.end()
    return position


@cache
def _patterns(delimiter: str) -> tuple[re.Pattern[bytes], re.Pattern[bytes]]:
    """Return the patterns of a row with its line end, and of a field.

    All repetitions are possessive: there is one way to read a text, and no backtracking.
    """
    sign = re.escape(delimiter).encode()
    rest = rb"[^" + sign + rb"\r\n]*+"
    inside = rb'[^"]*+(?:""[^"]*+)*+'
    one = rb'(?:"' + inside + rb'"' + rest + rb'|(?!")' + rest + rb")"
    row = one + rb"(?:" + sign + one + rb")*+(?:\r\n|\n|\r)"
    parts = rb'"(' + inside + rb')"(' + rest + rb')|((?!")' + rest + rb")"
    return re.compile(row), re.compile(parts)


def count_rows(block: Block, delimiter: str) -> int:
    """How many rows a block has; those that `rows_of` yields, many times as fast."""
    data = block.data
    if block.unclosed:
        return 1
    if not any(sign in data for sign in (b'"', b"\r", b"\n\n")):
        return data.count(b"\n") - data.startswith(b"\n")
    ends = _row_ends(data, delimiter)
    if ends is None:
        return sum(1 for _ in rows_of(block, delimiter))
    # An end right after another one, or at the beginning, is that of an empty line.
    return int((np.diff(ends, prepend=-1) > 1).sum())


def _row_ends(data: bytes, delimiter: str) -> np.ndarray[Any, Any] | None:
    """Where lines end outside of quoted fields; None where quotes stand inside unquoted ones."""
    octets = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero((octets == ord("\n")) | (octets == ord("\r")))
    quotes = np.flatnonzero(octets == ord('"'))
    if not _parts_fields(data, quotes, delimiter):
        return None
    outside: np.ndarray[Any, Any] = ends[np.searchsorted(quotes, ends) % 2 == 0]
    return outside


def rows_of(block: Block, delimiter: str) -> Iterator[Row]:
    """Yield the rows of a block, without empty lines."""
    if block.unclosed:
        yield Row(block.data, block.line, len(block.data), closed=False)
        return
    match, position, line = _patterns(delimiter)[0].match, 0, block.line
    while position < len(block.data):
        found = match(block.data, position)
        if found is None:  # a block holds whole rows only
            raise AssertionError(f"no row at line {line}")
        raw = found.group()
        position = found.end()
        if raw.strip(b"\r\n"):
            yield Row(raw, line, position)
        line += line_ends(raw)


def fields_of(row: Row, delimiter: str) -> list[bytes]:
    """Return the fields of a row without their quotes: of more than ``MAX_FIELDS`` the first ones
    and the rest as one more."""
    raw = row.raw.rstrip(b"\r\n")
    if b'"' not in raw:
        return raw.split(delimiter.encode(), MAX_FIELDS)
    match, position = _patterns(delimiter)[1].match, 0
    fields: list[bytes] = []
    while len(fields) < MAX_FIELDS and (found := match(raw, position)):
        quoted, tail, bare = found.groups()
        fields.append(bare if quoted is None else quoted.replace(b'""', b'"') + tail)
        if found.end() == len(raw):
            return fields
        position = found.end() + 1
    return [*fields, raw[position:]]  # the rest, or a quote that is never closed


def has_too_many(fields: Sequence[bytes]) -> bool:
    """Whether there were more than ``MAX_FIELDS`` in the row that they come from."""
    return len(fields) > MAX_FIELDS


def line_ends(data: bytes) -> int:
    """How many physical lines end in ``data``."""
    lone = data.count(b"\r") - data.count(b"\r\n") if b"\r" in data else 0
    return data.count(b"\n") + lone


def without_first(block: Block, row: Row) -> Block:
    """Return what follows ``row``, the first row of the block."""
    line = row.line + line_ends(row.raw)
    return block._replace(data=block.data[row.end :], line=line, unclosed=False)


# ---------------------------------------------------------------------------- values


_NOT_A_NUMBER = re.compile(rb"[+-]?nan(\(\w*\))?", re.IGNORECASE)
_INFINITE = re.compile(rb"[+-]?inf(inity)?", re.IGNORECASE)


def are_numbers(column: pa.ChunkedArray, decimal: str) -> pa.ChunkedArray:
    """Return for each text whether it is a number as :func:`number` has it; null for null."""
    import pyarrow.compute as pc

    kinds = (_number_pattern(decimal), _NOT_A_NUMBER, _INFINITE)
    any_kind = "|".join(f"(?:{kind.pattern.decode()})" for kind in kinds)
    pattern = rf"^[ \t]*(?:{any_kind})[ \t]*$"
    return pc.match_substring_regex(column, pattern, ignore_case=True)


def other_mark(decimal: str) -> str:
    """Return the decimal mark that this one is not."""
    return "," if decimal == "." else "."


@cache
def _number_pattern(decimal: str) -> re.Pattern[bytes]:
    sign = re.escape(decimal).encode()
    digits = rb"(?:[0-9]+" + sign + rb"?[0-9]*|" + sign + rb"[0-9]+)"
    return re.compile(rb"[+-]?" + digits + rb"(?:[eE][+-]?[0-9]+)?")


def number(value: bytes, decimal: str) -> float | None:
    """Return the number that a field holds as Arrow would read it; None if it holds none."""
    value = value.strip(b" \t")
    if _number_pattern(decimal).fullmatch(value):
        return float(value.replace(decimal.encode(), b"."))
    if _INFINITE.fullmatch(value):
        return float("inf")
    return float("nan") if _NOT_A_NUMBER.fullmatch(value) else None


def shown(value: bytes | str) -> str:
    """Return a value for a message: quoted, on one line, of bearable length."""
    text = value if isinstance(value, str) else value.decode("utf-8", "backslashreplace")
    if len(text) > _SHOWN_CHARACTERS:
        text = text[: _SHOWN_CHARACTERS - 1] + "…"
    return f"'{printable(text)}'"


# ---------------------------------------------------------------------------- blocks as tables


class Layout(NamedTuple):
    """Where in a row of a text which columns are.

    Attributes:
        file: the name for messages.
        width: the number of fields of a row.
        numeric: position by name of columns of numbers.
        categorical: position by name of columns of text that become dictionaries.
        dates: position by name of columns of dates.
        zoned: those of them that have time zones.
        firsts: what stands first in those of them in which it is not the year.
        text: position by name of other columns of text; in both, null markers are nulls.
        kept: position by name of columns of text that are passed on exactly as written.
        guessed: the first line where it was taken for data for want of known names, else 0.
    """

    file: str
    dialect: Dialect
    width: int
    numeric: Mapping[str, int] = {}
    categorical: Mapping[str, int] = {}
    dates: Mapping[str, int] = {}
    zoned: Collection[str] = ()
    firsts: Mapping[str, First] = {}
    text: Mapping[str, int] = {}
    kept: Mapping[str, int] = {}
    guessed: int = 0

    def writing(self, name: str) -> tuple[bool, First]:
        """Whether the dates of a column have time zones, and what stands first in them."""
        return name in self.zoned, self.firsts.get(name, "year")


class Fault(NamedTuple):
    """What is wrong with one row, and what to do about it."""

    reason: str
    remedy: str


class BadRow(NamedTuple):
    """A row with a fault.

    Attributes:
        at: its index among all rows of the block.
        line: where it is in the text.
        reason: what is wrong.
        kept: its values of the kept columns, None for one that is no text; () where fields are
            missing or too many, so that it is not known which they are.
    """

    at: int
    line: int
    reason: str
    kept: tuple[str | None, ...]


class Parsed(NamedTuple):
    """The rows of a block.

    Attributes:
        table: the columns of numbers and text of the good rows.
        kept: the kept columns of the good rows, None if none are asked for.
        bad: the other rows.
    """

    table: pa.Table
    kept: pa.Table | None
    bad: Sequence[BadRow] = ()


def parse(block: Block, layout: Layout, on_error: OnError) -> Parsed:
    """Turn a block into tables.

    Raises:
        DataError: a row cannot be read and ``on_error`` is ``"stop"``, or it is a header that was
            not known as one, or has a quote that is never closed and so all lines that are left.
    """
    tables = None if block.unclosed else _converted(block.data, layout)
    return Parsed(*tables) if tables else _sifted(block, layout, on_error)


def _sifted(block: Block, layout: Layout, on_error: OnError) -> Parsed:
    """Parse a block some of whose rows are bad: find these, and let Arrow read the others."""
    good: list[bytes] = []
    bad: list[BadRow] = []
    for index, row in enumerate(rows_of(block, layout.dialect.delimiter)):
        fields = fields_of(row, layout.dialect.delimiter)
        fault = _fault(row, fields, layout)
        swallowed = 0 if row.closed else line_ends(row.raw.rstrip(b"\r\n"))
        if swallowed:
            raise DataError(
                f"{layout.file}, line {row.line}: a quoted field is never closed, which makes one "
                f"row of this line and the {swallowed:,} after it; close it, or double the quote"
            )
        if fault is None:
            good.append(row.raw)
        elif on_error == "flag" and not _holds_names(row, fields, layout):
            bad.append(BadRow(index, row.line, fault.reason, _kept(row, fields, layout)))
        else:
            place = "," if fault.reason.startswith("column ") else ":"
            raise DataError(f"{layout.file}, line {row.line}{place} {fault.reason}; {fault.remedy}")
    tables = _converted(b"".join(good) or b"\n", layout)
    if tables is None:  # the patterns and Arrow should never disagree; lose no row if they do
        raise DataError(f"{layout.file}: a row from line {block.line} on cannot be read")
    return Parsed(*tables, bad)


def _holds_names(row: Row, fields: Sequence[bytes], layout: Layout) -> bool:
    """Whether a first line that was taken for data has words, each another one, wherever numbers
    belong: then columns were matched by position, and would be of whoever stands there."""
    numbers = [fields[at].strip() for at in layout.numeric.values() if at < len(fields)]
    return (
        row.line == layout.guessed
        and len(set(numbers)) == len(numbers) > 1
        and all(_is_a_name(word, layout.dialect) for word in numbers)
    )


def _is_a_name(word: bytes, dialect: Dialect) -> bool:
    is_marker = word in dialect.marker_bytes
    has_letter = any(letter.isalpha() for letter in word.decode("utf-8", "replace"))
    return has_letter and not is_marker and number(word, dialect.decimal) is None


def _kept(row: Row, fields: Sequence[bytes], layout: Layout) -> tuple[str | None, ...]:
    """The kept values of a bad row."""
    if not row.closed or len(fields) != layout.width:
        return ()
    values = (fields[position] for position in layout.kept.values())
    return tuple(value.decode() if _is_utf8(value) else None for value in values)


def _converted(data: bytes, layout: Layout) -> tuple[pa.Table, pa.Table | None] | None:
    """Let Arrow read rows; None if one of them is bad."""
    types: dict[str, tuple[int, pa.DataType]] = {
        name: (position, pa.float64()) for name, position in layout.numeric.items()
    }
    types |= {name: (position, CATEGORIES) for name, position in layout.categorical.items()}
    strings = chain(layout.dates.items(), layout.text.items())
    types |= {name: (position, pa.string()) for name, position in strings}
    kept_types = {name: (position, pa.string()) for name, position in layout.kept.items()}
    try:
        table = _finite(_read(data, layout, types, layout.dialect.markers))
        table = None if table is None else _dated(table, layout)
        kept = _read(data, layout, kept_types, None) if kept_types else None
    except pa.ArrowInvalid:
        return None
    return None if table is None else (table, kept)


def _read(
    data: bytes,
    layout: Layout,
    types: Mapping[str, tuple[int, pa.DataType]],
    markers: list[str] | None,
) -> pa.Table:
    from pyarrow import csv

    if data.startswith(_BOM):
        data = b"\n" + data  # only the text's own first mark is dropped, not one in a value
    by_position = {str(position): kind for position, kind in types.values()}
    table = csv.read_csv(
        pa.py_buffer(data),
        csv.ReadOptions(
            column_names=[str(position) for position in range(layout.width)],
            block_size=len(data) + 1,
        ),
        csv.ParseOptions(delimiter=layout.dialect.delimiter, newlines_in_values=True),
        csv.ConvertOptions(
            column_types=by_position,
            include_columns=list(by_position),
            null_values=markers or [],
            strings_can_be_null=markers is not None,
            decimal_point=layout.dialect.decimal,
        ),
    )
    columns = [table.column(str(position)) for position, _ in types.values()]
    return pa.table(columns, names=list(types))


def _finite(table: pa.Table) -> pa.Table | None:
    """Make NaN a null; None if a number is infinite."""
    for index, column in enumerate(table.columns):
        if not pa.types.is_floating(column.type):
            continue
        values = column.to_numpy()  # with NaN for nulls
        if np.isfinite(values).all():
            continue
        if np.isinf(values).any():
            return None
        if np.isnan(values).sum() > column.null_count:
            table = table.set_column(index, table.field(index), without_nan(column))
    return table


def _dated(table: pa.Table, layout: Layout) -> pa.Table:
    """Make timestamps of dates. Raises pa.ArrowInvalid where one is none."""
    if not layout.dates:
        return table
    import pyarrow.compute as pc

    for name in layout.dates:
        trimmed = pc.utf8_trim(table.column(name), characters=BLANKS)
        dates = parsed_dates(trimmed, *layout.writing(name))
        table = table.set_column(table.column_names.index(name), name, dates)
    return table


def without_nan(column: pa.ChunkedArray | pa.Array) -> Any:
    """Return the column with nulls for NaN."""
    import pyarrow.compute as pc

    return pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)


def _fault(row: Row, fields: Sequence[bytes], layout: Layout) -> Fault | None:
    """Say what is wrong with a row, None if nothing is."""
    if not row.closed:
        return Fault("a quoted field is never closed", "close it, or double the quote")
    if len(fields) != layout.width:
        return _ragged(len(fields), layout)
    markers = layout.dialect.marker_bytes
    for name, position in layout.numeric.items():
        if fields[position] not in markers and (
            fault := _number_fault(name, fields[position], row, layout)
        ):
            return fault
    for name, position in layout.dates.items():
        value, writing = fields[position], layout.writing(name)
        if value not in markers and not is_date(value, *writing):
            fault = not_a_date(name, value, *writing)
            return _guessed(fault, value) if row.line == layout.guessed else fault
    for name, position in chain.from_iterable(
        columns.items() for columns in (layout.categorical, layout.text, layout.kept)
    ):
        if not _is_utf8(fields[position]):
            return Fault(
                f"column {shown(name)}: {shown(fields[position])} is not valid text",
                "say its encoding with --encoding",
            )
    return None


def _ragged(found: int, layout: Layout) -> Fault:
    count = f"more than {MAX_FIELDS:,} fields" if found > MAX_FIELDS else counted(found, "field")
    return Fault(
        f"{count} where {layout.width} are expected",
        f"correct the row, or say the delimiter ({shown(layout.dialect.delimiter)} was taken) "
        "with --delimiter",
    )


def _number_fault(name: str, value: bytes, row: Row, layout: Layout) -> Fault | None:
    found = number(value, layout.dialect.decimal)
    if found is None:
        fault = not_a_number(name, value, layout.dialect.decimal)
        return _guessed(fault, value) if row.line == layout.guessed else fault
    if abs(found) == float("inf"):
        return Fault(
            f"column {shown(name)}: {shown(value)} is not a finite number",
            "leave the field empty if the value is missing",
        )
    return None


def _guessed(fault: Fault, value: bytes) -> Fault:
    """The fault of a first line that was taken for data."""
    remedy = "if this line holds column names, say --header yes, if it is data, --header no"
    if not value.isascii():
        remedy += "; and if they look garbled, the --encoding"
    return fault._replace(remedy=remedy)


def not_a_date(name: str, value: bytes, zoned: bool, first: First = "year") -> Fault:
    """Return what is wrong with a value in a column of dates."""
    return Fault(
        f"column {shown(name)}: {shown(value)} {fault_of(value, zoned, first)}",
        "write it so, or name it in --null-values if it stands for a missing value",
    )


def not_a_number(name: str, value: bytes, decimal: str) -> Fault:
    """Return what is wrong with a value in a column of numbers."""
    remedy = "correct it, or name it in --null-values if it stands for a missing value"
    mark = other_mark(decimal)
    if for_people(value, decimal):
        remedy = "write plain numbers, without thousands separators, currency or per cent signs"
        if number(value, mark) is not None:
            remedy += f", or say --decimal {mark} if that is the decimal mark"
    elif number(value, mark) is not None:
        remedy = f"correct it, or say --decimal {mark} if that is the decimal mark"
    return Fault(f"column {shown(name)}: {shown(value)} is not a number", remedy)


def for_people(value: bytes, decimal: str) -> bool:
    """Whether a value is a number as people write it: 63,696.50, € 12.30, 45 %."""
    separator = re.escape(other_mark(decimal))
    plain = re.sub(r"^[+-]?\s*[$€£¥]|[$€£¥%]$", "", value.decode(errors="replace").strip()).strip()
    ungrouped = plain
    if re.match(rf"[+-]?\d{{1,3}}(?:{separator}\d{{3}})+(?!\d)", plain):
        ungrouped = plain.replace(other_mark(decimal), "")
    is_number = number(ungrouped.encode(), decimal) is not None
    return is_number and ungrouped.encode() != value.strip()


def _is_utf8(value: bytes) -> bool:
    try:
        value.decode()
    except UnicodeDecodeError:
        return False
    return True


def sample(block: Block, delimiter: str, count: int) -> list[list[bytes]]:
    """Return the fields of the first ``count`` rows of a block."""
    return [fields_of(row, delimiter) for row in islice(rows_of(block, delimiter), count)]
