"""The names of a table's columns: whether the first row holds them, and which ones options mean."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from itertools import chain, islice, zip_longest
from typing import NamedTuple

from anoean_cli.choices import FirstIfOpen
from anoean_cli.data import text
from anoean_cli.data.dates import FIRSTS
from anoean_cli.data.text import Dialect, shown
from anoean_cli.errors import UsageError
from anoean_cli.examples import First, TableOptions
from anoean_cli.wording import some

_COUNT = re.compile(rb"0|[1-9]\d{0,15}")
_WHOLE = re.compile(rb"[+-]?\d+")
_IF_OPEN: Mapping[FirstIfOpen | None, First] = {"day-first": "day", "month-first": "month"}
ENOUGH_COLUMNS = 5  # of however many, to tell names from values


def names_of(fields: Sequence[bytes]) -> tuple[str, ...]:
    """Return column names from a header; a field without one is named by its position."""
    stripped = [value.decode("utf-8", "backslashreplace").strip() for value in fields]
    return tuple(value or numbered(at) for at, value in enumerate(stripped))


def numbered(position: int) -> str:
    """Return the name of a column that has none; positions count from 0, names from 1."""
    return f"column_{position + 1}"


def column_list(names: Sequence[str]) -> str:
    """Return names for a message."""
    return some([shown(name) for name in names], 10)


# ---------------------------------------------------------------------------- recognising one


def names_features(fields: Sequence[bytes], features: Collection[str], decimal: str) -> bool:
    """Whether a first row is a header in the eyes of a model: it names half of the features.

    Any feature will do if no field is a number. Names that are numbers may be data by chance:
    if there are no others, all features must be there. Names in other letters show a header, too,
    of which it is told what is missing.
    """
    alike = {name.casefold() for name in features}
    found = {name for name in names_of(fields) if name.casefold() in alike}
    if not found or not _has_numbers(fields, decimal):
        return bool(found)
    if all(text.number(name.encode(), decimal) is not None for name in found):
        return len(found) == len(features)
    return 2 * len(found) >= len(features)


def holds_given_name(fields: Sequence[bytes], options: TableOptions) -> bool:
    """Whether a first row has a column that an option names, not counts."""
    label = () if options.label is None else (options.label,)
    kinds = (options.numeric, options.categorical, options.datetime)
    given = {*label, *options.ignore, *chain.from_iterable(kinds)}
    return any(name in given and _position(name) is None for name in names_of(fields))


def looks_like_header(
    first: Sequence[bytes],
    following: Sequence[Sequence[bytes]],
    dialect: Dialect,
    label: str | None = None,
) -> bool:
    """Whether the first row names the columns of those that follow.

    Text above a column of numbers is a name. Else, if all fields are words, they are names if none
    shows up again in its own column. Numbers are names, such as pandas gives, if both signs of it
    are there. Else the label tells: its name is no label, and labels repeat.
    """
    columns = _present(following, len(first), dialect)
    if any(
        _is_word(value, dialect) and column and all(_is_number(v, dialect) for v in column)
        for value, column in zip(first, columns, strict=False)
    ):
        return True
    if _could_be_names(first, dialect):
        return not any(value in column for value, column in zip(first, columns, strict=False))
    if _signs_of_numbers_as_names(first, following, dialect) == 2:
        return True
    position = None if label is None else _position(label)
    if position is None or not -len(columns) <= position < len(columns):
        return False
    name, labels = first[position], columns[position]
    return name not in (*labels, b"") and len(set(labels)) < len(labels)


def is_doubtful(first: Sequence[bytes], dialect: Dialect) -> bool:
    """Whether a row that looks like a header could be data as well: it holds numbers."""
    return _has_numbers(first, dialect.decimal)


def could_be_header(
    first: Sequence[bytes], following: Sequence[Sequence[bytes]], dialect: Dialect
) -> bool:
    """Whether a row that does not look like a header could be one as well: of numbers as names."""
    return _signs_of_numbers_as_names(first, following, dialect) == 1


def _signs_of_numbers_as_names(
    first: Sequence[bytes], following: Sequence[Sequence[bytes]], dialect: Dialect
) -> int:
    """How many of two signs there are that numbers in a first row are names; 0 if they cannot be.

    Names that come from counting go up by one, which rows of data hardly do, and no other row may.
    And they are unlike the values below them: whole numbers above fractions or words, or far from
    all values. Years and wavelengths above fractions have this sign, if not the other one.
    """
    is_number = [_is_number(value, dialect) for value in first]
    at = [i for i, found in enumerate(is_number) if found]
    names = [first[i] for i in at]
    if len(at) < 2 or len(set(names)) < len(names) or not all(map(_COUNT.fullmatch, names)):
        return 0
    columns = _present(following, len(first), dialect)
    for i, (value, column) in enumerate(zip(first, columns, strict=False)):
        is_index = i == 0 and not value
        is_name = is_number[i] or is_index
        if not is_name and (value in column or not _is_word(value, dialect)):
            return 0
    others = ([row[i] for i in at] for row in following if len(row) > at[-1])
    counts_alone = counts_up(names) and not any(map(counts_up, others))
    enough = math.ceil(min(ENOUGH_COLUMNS, max(2, len(at) / 2)))
    unlike = (i for i in at if i < len(columns) and _is_unlike(first[i], columns[i], dialect))
    return counts_alone + (len(list(islice(unlike, enough))) == enough)


def counts_up(values: Sequence[bytes]) -> bool:
    """Whether one or more values are whole numbers, without sign or leading zeros, up by one."""
    if not all(map(_COUNT.fullmatch, values)):
        return False
    numbers = [int(value) for value in values]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def _is_unlike(name: bytes, column: Sequence[bytes], dialect: Dialect) -> bool:
    """Whether a whole number is hardly one of a column's values: none of them is whole, or it lies
    beyond them by more than they span."""
    if not any(map(_WHOLE.fullmatch, column)):
        return bool(column)
    found = [text.number(value, dialect.decimal) for value in column]
    values = [number for number in found if number is not None]
    if len(values) < len(found):
        return False
    low, high = min(values), max(values)
    return max(low - int(name), int(name) - high) > high - low


def _could_be_names(first: Sequence[bytes], dialect: Dialect) -> bool:
    """Whether all fields are words, doubled or not; the first may be empty, as pandas writes it."""
    named = first[1:] if not first[0] and len(first) > 1 else first
    return all(_is_word(value, dialect) for value in named)


def _present(rows: Sequence[Sequence[bytes]], width: int, dialect: Dialect) -> list[list[bytes]]:
    """The values of each column, without the missing ones."""
    columns = zip_longest(*(row[:width] for row in rows))
    missing = dialect.marker_bytes
    return [[v for v in column if v is not None and v not in missing] for column in columns]


def _is_word(value: bytes, dialect: Dialect) -> bool:
    return value not in dialect.marker_bytes and not _is_number(value, dialect)


def _is_number(value: bytes, dialect: Dialect) -> bool:
    return text.number(value, dialect.decimal) is not None


def _has_numbers(fields: Sequence[bytes], decimal: str) -> bool:
    return any(text.number(value, decimal) is not None for value in fields)


# ---------------------------------------------------------------------------- what options mean


class Roles(NamedTuple):
    """What the user said of columns, by name.

    Attributes:
        label: the label column, or None.
        ignored: columns that are no features.
        numeric, categorical, datetime: features that are to be of that kind.
        firsts: what is to stand first in columns of dates.
        first_if_open: what does in dates that leave it open.
    """

    label: str | None = None
    ignored: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    datetime: tuple[str, ...] = ()
    firsts: Mapping[str, First] = {}
    first_if_open: First | None = None

    def may_be_first(self, name: str) -> Sequence[First]:
        """What may stand first in the dates of a column."""
        return (self.firsts[name],) if name in self.firsts else FIRSTS

    @property
    def vouched(self) -> tuple[str, ...]:
        """What is a feature whatever it holds."""
        return (*self.numeric, *self.categorical, *self.datetime)

    @property
    def as_text(self) -> tuple[str, ...]:
        """What is text even if all its values are numbers: 007 is not 7."""
        label = () if self.label is None else (self.label,)
        return (*label, *self.categorical)

    @property
    def unused(self) -> tuple[str, ...]:
        """What is no feature."""
        label = () if self.label is None else (self.label,)
        return (*label, *self.ignored)


class Columns(NamedTuple):
    """The columns of a file.

    Attributes:
        file: its name for messages.
        names: from its header, ``column_1``… where it has none.
        first: what its first row holds where that is no header.
    """

    file: str
    names: tuple[str, ...]
    first: tuple[str, ...] = ()

    @classmethod
    def of(cls, file: str, fields: tuple[str, ...], are_names: bool) -> Columns:
        """Return the columns of a text with these fields in its first row."""
        if are_names:
            return cls(file, fields)
        return cls(file, tuple(numbered(at) for at in range(len(fields))), fields)

    def roles(self, options: TableOptions) -> Roles:
        """Find the columns that options name or count.

        Raises:
            UsageError: there is no such column, or it is to be two things at once.
        """
        label = None if options.label is None else self._find(options.label, "--label")
        roles = Roles(
            label,
            tuple(self._find(given, "--ignore") for given in options.ignore),
            tuple(self._find(given, "--numeric") for given in options.numeric),
            tuple(self._find(given, "--categorical") for given in options.categorical),
            tuple(self._find(given, "--datetime") for given in options.datetime),
            self._firsts(options),
            _IF_OPEN.get(options.dates),
        )
        if label in roles.ignored:
            raise UsageError(f"--ignore {label}: that is the label column of {self.file}")
        if set(roles.ignored) == set(self.names):
            raise UsageError(f"--ignore leaves no column of {self.file}")
        for option, names, others in (
            ("--numeric", roles.numeric, (*roles.unused, *roles.categorical, *roles.datetime)),
            ("--categorical", roles.categorical, (*roles.unused, *roles.datetime)),
            ("--datetime", roles.datetime, roles.unused),
        ):
            for name in names:
                if name in others:
                    raise UsageError(
                        f"{option}: another option says what the column {shown(name)} is"
                    )
        return roles

    def _firsts(self, options: TableOptions) -> dict[str, First]:
        days: dict[str, First] = {self._find(n, "day_first"): "day" for n in options.day_first}
        return days | {self._find(n, "month_first"): "month" for n in options.month_first}

    def _find(self, given: str, option: str) -> str:
        """The column of that name, or at that position from 1 (from the end when negative)."""
        found = column_of(given, self.names)
        if found is not None:
            return found
        alone = "" if len(self.names) > 1 else "; if that is several, say the --delimiter"
        if not self.first:
            has = ", ".join(self.names[:50])
            raise UsageError(
                f"{option} {given}: {self.file} has no such column; it has: {has}{alone}"
            )
        raise UsageError(
            f"{option} {given}: {self.file} has no such column; it was read as having no header, "
            f"and its first row holds {column_list(self.first)}: if these are names, say "
            f"--header yes, else count the column, as in {option} {len(self.names)}{alone}"
        )


def column_of(given: str, names: Sequence[str]) -> str | None:
    """The column that an option names, or counts from 1, backwards from -1; None if none is."""
    if given in names:
        return given
    position = _position(given)
    is_there = position is not None and -len(names) <= position < len(names)
    return names[position] if position is not None and is_there else None


def _position(given: str) -> int | None:
    """The index that an option gives, counted from 1 or backwards from -1; None if it is a name."""
    try:
        position = int(given)
    except ValueError:
        return None
    return position - (position > 0) if position else None
