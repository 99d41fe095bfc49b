"""What the columns of a table are, and which of them a model uses."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.dates import (
    DAYS_OR_MONTHS,
    FIRSTS,
    as_seconds,
    recurring,
    writings,
)
from anoean_cli.errors import DataError, FileFormatError
from anoean_cli.examples import ColumnKind, First, column_kind, firsts_of

if TYPE_CHECKING:
    import pyarrow as pa

KINDS: tuple[ColumnKind, ...] = get_args(ColumnKind)

EMPTY, CONSTANT, COUNTER = "is empty", "is constant in the training rows", "counts the rows"
IDENTIFIER = "is nearly unique to each row, like an identifier"
IDENTIFIER_SHARE = 0.9
FEWEST_FOR_IDENTIFIER = 50
FEWEST_ALL_DIFFERENT = 20  # texts: as categories, none of them would ever be met again
# A counter may skip as many numbers as it gives, where rows were dropped after counting. A dense
# measurement that the table is sorted by looks alike, and as with a counter, rows to come are
# likely to lie beyond it.
NUMBERS_PER_ROW = 2
# As many pairs of equal numbers as chance would give; that it gives none has odds of e^-12.
PAIRS_BY_CHANCE = 12
DIGITS_OF_IDS = 10  # at least, of those that are told by their digits: times, phones
LARGEST_COUNT = 2.0**62
NEARLY_ALL = 0.99
ODD_DATES = (
    "holds dates that are not all written in one of these ways: 2026-01-31, 31/01/2026, 01/31/2026 "
    "(each alone, or with 08:15:00 behind it), or that name a day that there is not"
)
MIXED_ZONES = (
    "holds dates of which some have a time zone and some have none (give all of them one, such as "
    "2026-01-31T08:15:00+01:00, or none)"
)
NO_CYCLE = (
    "holds dates in which nothing comes again: no times of day over two days or more, "
    "no weekdays over two weeks"
)
# A day, year first or last, with a time behind it or not.
DATE = (
    r"^(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}|\d{1,2}/\d{1,2}/\d{2})"
    r"([T ]\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?( ?(Z|UTC|[AaPp][Mm]|[+-]\d{2}:?(\d{2})?))?)?$"
)


class TableSchema(NamedTuple):
    """The columns that a model reads, and how to find them in a row.

    Attributes:
        columns: the kind of each feature column, in order; ``datetime`` without a time zone and
            ``datetime-utc`` with one.
        dropped: why a column that training had is not read, by name.
        source: the fields of a row in file order, the label included, cut after the last used.
        label: the label's name among ``source``, or None.
        rest: the fields behind those: known, but never needed.
        firsts: what stands first in columns of dates in which it is not the year.
    """

    columns: Mapping[str, ColumnKind]
    dropped: Mapping[str, str] = {}
    source: tuple[str, ...] = ()
    label: str | None = None
    rest: tuple[str, ...] = ()
    firsts: Mapping[str, First] = {}

    @property
    def numeric(self) -> tuple[str, ...]:
        """Names of the columns of numbers."""
        return tuple(name for name, kind in self.columns.items() if kind == "numeric")

    @property
    def categorical(self) -> tuple[str, ...]:
        """Names of the columns of categories."""
        return tuple(name for name, kind in self.columns.items() if kind == "categorical")

    @property
    def dates(self) -> dict[str, bool]:
        """The columns of dates, and whether they have a time zone."""
        dates = ("datetime", "datetime-utc")
        return {n: kind == "datetime-utc" for n, kind in self.columns.items() if kind in dates}

    def to_json(self) -> dict[str, Any]:
        """What a model keeps of it."""
        return {
            "kind": "table",
            "columns": [[name, kind] for name, kind in self.columns.items()],
            "dropped": dict(self.dropped),
            "source": list(self.source),
            "label": self.label,
            "rest": list(self.rest),
            **({"firsts": dict(self.firsts)} if self.firsts else {}),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> TableSchema:
        """Raises FileFormatError where the JSON is not a schema."""
        try:
            columns: dict[str, ColumnKind] = {}
            for name, kind in value["columns"]:
                if not isinstance(name, str) or kind not in KINDS:
                    raise ValueError(f"column {name!r} of kind {kind!r}")
                columns[name] = kind
            source, label = tuple(map(str, value["source"])), value["label"]
            if label is not None and not isinstance(label, str):
                raise ValueError("label")
            rest = tuple(map(str, value.get("rest", ())))
            firsts = dict(value.get("firsts", {}))
            if not set(firsts.values()) <= set(FIRSTS) or not firsts.keys() <= columns.keys():
                raise ValueError("firsts")
            return cls(columns, dict(value["dropped"]), source, label, rest, firsts)
        except (KeyError, TypeError, ValueError) as error:
            raise FileFormatError(f"the table schema is damaged: {error}") from error


def infer_schema(
    table: pa.Table,
    source: Sequence[str] = (),
    label: str | None = None,
    vouched: Collection[str] = (),
    positions: NDArray[np.int64] | None = None,
) -> TableSchema:
    """Decide from the training rows which columns are features and of what kind.

    Columns that are constant or look like identifiers (nearly all values of a text column differ,
    or a whole-numbered column counts its rows), are dropped, unless they are vouched for; so are
    dates that cannot be read, or are of too few days for a cycle to come again. A date is no
    category: the rows to be scored have dates that no row had before.

    Args:
        table: n training rows, feature columns only: float64, strings or timestamps.
        source: the fields of a row in file order; by default the table's columns.
        label: the label's name among ``source``.
        vouched: columns that are never dropped.
        positions: (n,) where the training rows stand in the data, rising; by default they are all
            there is.

    Raises:
        DataError: no column is left.
    """
    at = np.arange(len(table)) if positions is None else positions
    columns: dict[str, ColumnKind] = {}
    dropped: dict[str, str] = {}
    for name in table.column_names:
        column = table.column(name)
        reason = None if name in vouched else _reason_to_drop(column, at)
        if reason is not None:
            dropped[name] = reason
        else:
            columns[name] = column_kind(column.type)
    if not columns:
        reasons = "; ".join(f"{name} {why}" for name, why in list(dropped.items())[:5])
        raise DataError(
            f"no column is left to learn from ({reasons or 'there is none'}); "
            "give data whose columns vary, or vouch for columns with --numeric or --categorical"
        )
    fields = tuple(source or table.column_names)
    used = 1 + max(i for i, name in enumerate(fields) if name in columns or name == label)
    firsts = firsts_of(table.select(list(columns)))
    return TableSchema(columns, dropped, fields[:used], label, fields[used:], firsts)


def _reason_to_drop(column: pa.ChunkedArray, positions: NDArray[np.int64]) -> str | None:
    import pyarrow.compute as pc

    rows, missing, kind = len(column), column.null_count, column_kind(column.type)
    if missing == rows:
        return EMPTY
    values = pc.unique(column.drop_null())
    distinct = len(values)
    if distinct == 1 and missing == 0:
        return CONSTANT
    if kind in ("datetime", "datetime-utc"):
        return None if recurring(as_seconds(column)) else NO_CYCLE
    if kind == "categorical" and pc.all(pc.match_substring_regex(values, DATE)).as_py():
        return _fault_of_dates(values)
    if rows - missing < FEWEST_FOR_IDENTIFIER:
        if not distinct == rows - missing >= FEWEST_ALL_DIFFERENT:
            return None
        if kind == "categorical":
            return IDENTIFIER
        is_index = not missing and _steps_with_rows(column.to_numpy(), positions)
        return COUNTER if is_index else None
    if kind == "numeric":
        # A row may be entered twice, or lack its number.
        if distinct < NEARLY_ALL * rows:
            return None
        counts = _counts_rows(*_each_once(column, positions), distinct == rows - missing)
        return COUNTER if counts else None
    if distinct > IDENTIFIER_SHARE * (rows - missing):
        return IDENTIFIER
    return None


def _each_once(
    column: pa.ChunkedArray, positions: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The values of a column of numbers and where they stand, each value where it comes first."""
    values = column.drop_null().to_numpy()
    at = np.sort(np.unique(values, return_index=True)[1])
    return values[at], positions[column.is_valid().to_numpy()][at]


def rising_columns(
    table: pa.Table, schema: TableSchema, vouched: Collection[str] = ()
) -> list[str]:
    """Columns of whole numbers that rise, or fall, from row to row, and do not count them: ids with
    gaps, times in seconds. Rows to come are likely to lie beyond all that was learned from. So are
    they, whatever the order, where nearly each has a long number of its own.

    Args:
        table: the training rows in their order.
        vouched: columns that are not looked at.
    """
    names = (name for name in schema.numeric if name not in vouched)
    return [name for name in names if _rises(table.column(name))]


def _rises(column: pa.ChunkedArray) -> bool:
    values = column.drop_null().to_numpy()
    if len(values) < FEWEST_FOR_IDENTIFIER or (values != np.floor(values)).any():
        return False
    if _are_long_and_alike(values):
        return True
    signs = np.sign(np.diff(values))
    steps = np.count_nonzero(signs)  # of times in seconds some are equal
    return bool(steps > len(values) / 2 and abs(signs.sum()) > (2 * NEARLY_ALL - 1) * steps)


def _are_long_and_alike(values: NDArray[np.float64]) -> bool:
    """Whether whole numbers, nearly each of them another one, have as many digits, and ten or more,
    as long ids, phone numbers and times in seconds do."""
    digits = np.log10(np.abs(values).clip(1)).astype(int)
    if digits.min() < DIGITS_OF_IDS - 1 or digits.min() < digits.max():
        return False
    return len(np.unique(values)) > IDENTIFIER_SHARE * len(values)


def _fault_of_dates(texts: pa.Array) -> str:
    """Why dates, all different, were not read."""
    counts = writings(texts)
    zoned = [max(counts[has, first] for first in FIRSTS) for has in (True, False)]
    if all(zoned) and sum(zoned) == len(texts):
        return MIXED_ZONES
    for has in (True, False):
        year, *others = (counts[has, first] for first in FIRSTS)
        if year < min(others) == len(texts):
            return DAYS_OR_MONTHS
    return ODD_DATES


def _steps_with_rows(values: NDArray[np.float64], positions: NDArray[np.int64]) -> bool:
    """Whether (n,) whole numbers go on by the same for each row of the table, of which these are
    some.

    Of few rows that is asked of a counter: in a table that is sorted by a measurement, this rises
    with each row too.
    """
    steps, between = np.diff(values), np.diff(positions)
    is_even = (steps * between[0] == steps[0] * between).all()
    return bool(is_even and (values == np.floor(values)).all())


def _counts_rows(
    values: NDArray[np.float64], positions: NDArray[np.int64], all_differ: bool
) -> bool:
    """Whether distinct values number the rows: an index, an id, or a time in even steps.

    Training rows are some of a table's rows, so their numbers have gaps; it is their positions
    that tell whether the numbers would be about as many as the rows. That much could be said of a
    measurement too. But it would not rise, or fall, from each row to the next, and if its rows
    are in no order, some of its values would be equal: by chance n values of r possible ones
    have n²/2r pairs of equals.

    Args:
        values: (n,), each of them once.
        positions: (n,) of the rows in their table, rising.
        all_differ: whether no value was there twice.
    """
    if not (np.abs(values) < LARGEST_COUNT).all() or (values != np.floor(values)).any():
        return False
    steps = np.diff(values.astype(np.int64))
    steps //= np.gcd.reduce(steps)  # ids may be given in tens, and times are seconds or minutes
    numbers = np.concatenate([[0], np.cumsum(steps)])
    span, rows = int(np.ptp(numbers)) + 1, int(np.ptp(positions)) + 1
    if span > NUMBERS_PER_ROW * rows:
        return False
    between = np.diff(positions)  # in which a counter goes on by one for each row, or more
    is_ordered = max((steps >= between).mean(), (-steps >= between).mean()) >= NEARLY_ALL
    return is_ordered or (all_differ and len(values) ** 2 >= 2 * PAIRS_BY_CHANCE * span)
