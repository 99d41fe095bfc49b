"""Dates and times of day: from texts, and the cycles that come again.

Read is what can be meant in one way only: dates with the year first, as ISO 8601 has them, and
those with the day or the month first where the dates of a column leave but one of the two. Years
have four digits; between the parts stand ``-``, ``/`` or ``.``.

Moments are kept in one unit. With a time zone they are those of UTC, so that one moment is one
value, however it is written; without one they are what a clock showed. A column has one or the
other, for who takes local times for those of UTC is hours off and never told so.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from anoean_cli.examples import First, column_type

if TYPE_CHECKING:
    import pyarrow as pa

Cycle: TypeAlias = Literal["day", "week"]
CYCLES: dict[Cycle, int] = {"day": 1, "week": 7}  # in days
CYCLE_NAMES: dict[Cycle, str] = {"day": "time of day", "week": "day of the week"}
SECONDS = 86_400.0  # of a day
EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday, and Monday is 0
MICROSECONDS = 1e6
NEGLIGIBLE = 1e-9  # of a cycle
ZONES = {False: "no time zone", True: "a time zone"}

FIRSTS: tuple[First, ...] = get_args(First)
EXAMPLES: dict[First, str] = {"year": "2026-01-31", "day": "31/01/2026", "month": "01/31/2026"}

DAYS_OR_MONTHS = (
    "holds dates that may have the day or the month first (say --dates day-first or "
    "--dates month-first, or write them as 2026-01-31)"
)

_YEAR, _MONTH, _DAY = r"(\d{4})", r"(0?[1-9]|1[0-2])", r"(0?[1-9]|[12]\d|3[01])"
_PARTS: dict[First, tuple[str, str, str]] = {
    "year": (_YEAR, _MONTH, _DAY),
    "day": (_DAY, _MONTH, _YEAR),
    "month": (_MONTH, _DAY, _YEAR),
}
_TIME = r"[T ]([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d([.,]\d{1,9})?)?"
_ZONE = r" ?(Z|UTC|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)"
# As Arrow reads them: the year first, then all digits of each part, then - between them.
_YEAR_FIRST = {
    "day": (r"^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})", r"\3-\2-\1"),
    "month": (r"^(\d{1,2})[-/.](\d{1,2})[-/.](\d{4})", r"\3-\1-\2"),
}
_SPELLED = (
    (r"^(\d{4})[-/.](\d{1,2})[-/.](\d{1,2})", r"\1-0\2-0\3"),
    (r"^(\d{4})-0?(\d\d)-0?(\d\d)", r"\1-\2-\3"),
    (r"^(.{10}[T ])(\d):", r"\10\2:"),
    (r"[.,](\d{1,6})\d*", r".\1"),
    (" ?(?:Z|UTC)$", "Z"),
    (r" ([+-][\d:]+)$", r"\1"),
)


def type_of_dates(zoned: bool) -> pa.DataType:
    """Return the type of columns of dates with time zones, or without."""
    return column_type("datetime-utc" if zoned else "datetime")


def is_date(value: bytes, zoned: bool, first: First = "year") -> bool:
    """Whether a field holds a date as :func:`parsed_dates` would read it."""
    text = value.strip(b" \t")
    return _is_date(text, zoned, "year") or (first != "year" and _is_date(text, zoned, first))


def _is_date(text: bytes, zoned: bool, first: First) -> bool:
    found = _python_pattern(zoned, first).fullmatch(text)
    if found is None:
        return False
    parts = dict(zip(_PARTS[first], map(int, found.groups()[:3]), strict=True))
    return parts[_DAY] <= monthrange(parts[_YEAR], parts[_MONTH])[1]


@cache
def _python_pattern(zoned: bool, first: First) -> re.Pattern[bytes]:
    return re.compile(_pattern(zoned, first).encode(), re.ASCII)


def _pattern(zoned: bool, first: First) -> str:
    day = "[-/.]".join(_PARTS[first])
    return f"{day}{_TIME}{_ZONE}" if zoned else f"{day}({_TIME})?"


def look_like_dates(column: Any, zoned: bool, first: First = "year") -> Any:
    """Return for each text whether it is a date, if perhaps a 31st of June; null for null."""
    import pyarrow.compute as pc

    patterns = "|".join(_pattern(zoned, each) for each in dict.fromkeys(("year", first)))
    return pc.match_substring_regex(column, f"^(?:{patterns})$")


def parsed_dates(column: Any, zoned: bool, first: First = "year") -> Any:
    """Return strings without blanks around them, or nulls, as timestamps.

    Args:
        zoned: whether all of them have a time zone; if not, none may have one.
        first: what stands first in those in which the year does not.

    Raises:
        pa.ArrowInvalid: one is no such date.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    matches = look_like_dates(column, zoned, first)
    if pc.any(pc.invert(matches)).as_py():
        value = column[pc.index(matches, False).as_py()].as_py()
        raise pa.ArrowInvalid(f"{value!r} {fault_of(value.encode(), zoned, first)}")
    kind = type_of_dates(zoned)
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:  # a spelling that Arrow does not read, or a 31st of June
        spellings = _SPELLED if first == "year" else (_YEAR_FIRST[first], *_SPELLED)
        for pattern, replacement in spellings:
            column = pc.replace_substring_regex(column, pattern, replacement)
        return column.cast(kind)


def found_dates(
    column: Any, firsts: Sequence[First] = FIRSTS, if_open: First | None = None
) -> tuple[Any, First] | None:
    """Return strings as timestamps, and what stands first in them.

    None if one of them is not a date like the others, all are missing, or it cannot be told
    whether days or months come first.

    Args:
        firsts: what may stand first in those in which the year does not.
        if_open: what does where the dates leave open which.
    """
    import pyarrow as pa

    zoned = _zone_of_first(column)
    if zoned is None:
        return None
    found: list[tuple[Any, First]] = []
    for first in firsts:
        with suppress(pa.ArrowInvalid):
            found.append((parsed_dates(column, zoned, first), first))
            if first == "year":
                break
    if len(found) > 1:
        found = [each for each in found if each[1] == if_open]
    return found[0] if found else None


def _zone_of_first(column: Any) -> bool | None:
    """Whether the first text that is not missing is a date with a time zone; None if it is none."""
    import pyarrow.compute as pc

    at = pc.index(pc.is_valid(column), True).as_py()
    text = b"" if at < 0 else column[at].as_py().encode()
    zones = (zoned for zoned in (False, True) for first in FIRSTS if is_date(text, zoned, first))
    return next(zones, None)


def writings(column: Any) -> dict[tuple[bool, First], int]:
    """How many texts look like dates of each kind: with a time zone or not, and what is first."""
    import pyarrow.compute as pc

    kinds = [(zoned, first) for first in FIRSTS for zoned in (False, True)]
    return {kind: pc.sum(look_like_dates(column, *kind)).as_py() or 0 for kind in kinds}


def fault_of(value: bytes, zoned: bool, first: First = "year") -> str:
    """Return what keeps a field from being a date like the others of its column."""
    if is_date(value, not zoned, first):
        return f"has {ZONES[not zoned]}, and the other dates of this column have {ZONES[zoned]}"
    day, between = EXAMPLES[first], "T" if first == "year" else " "
    if zoned:
        return f"is not a date such as {day}{between}08:15:00Z or {day}{between}08:15:00+01:00"
    return f"is not a date such as {day} or {day}{between}08:15:00"


def as_seconds(dates: Any) -> NDArray[np.float64]:
    """Timestamps of :func:`type_of_dates` → (n,) seconds since 1970, NaN where one is missing."""
    missing = dates.is_null().to_numpy(zero_copy_only=False)
    return np.where(missing, np.nan, in_microseconds(dates) / MICROSECONDS)


def in_microseconds(dates: Any) -> NDArray[np.int64]:
    """Timestamps, µs, → (n,) microseconds since 1970, 0 where one is missing."""
    import pyarrow as pa

    since: NDArray[np.int64] = dates.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return since


def named_cycles(cycles: Sequence[Cycle]) -> str:
    """Return what is learned of dates, for people."""
    return " and ".join(CYCLE_NAMES[cycle] for cycle in cycles)


# --------------------------------------------------------------------------- cycles


def phase(seconds: NDArray[np.float64], cycle: Cycle) -> NDArray[np.float64]:
    """How much of a cycle has gone, in [0, 1); of a week whole days count, from Monday."""
    days = seconds / SECONDS
    turns = days if cycle == "day" else (np.floor(days) + EPOCH_WEEKDAY) / CYCLES["week"]
    return turns - np.floor(turns)


def recurring(seconds: NDArray[np.float64]) -> Sequence[Cycle]:
    """The cycles that (n,) moments tell of: they span two of them, and differ within one.

    Of less, a part of a cycle that rows have not come to would look like an anomaly.
    """
    present = seconds[~np.isnan(seconds)]
    if not len(present):
        return ()
    span = np.ptp(present) / SECONDS
    return [
        cycle
        for cycle, days in CYCLES.items()
        if span >= 2 * days and np.ptp(phase(present, cycle)) > NEGLIGIBLE
    ]


def learned_cycles(dates: Any) -> Sequence[Cycle]:
    """The cycles of timestamps that come again; all, if the user vouches for dates without any."""
    return recurring(as_seconds(dates)) or list(CYCLES)
