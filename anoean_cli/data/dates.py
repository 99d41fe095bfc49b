"""Dates and times of day: from texts as ISO 8601 writes them, and the cycles that come again.

Moments are kept in one unit. With a time zone they are those of UTC, so that one moment is one
value, however it is written; without one they are what a clock showed. A column has one or the
other, for who takes local times for those of UTC is hours off and never told so.
"""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anoean_cli.interfaces import column_type

if TYPE_CHECKING:
    import pyarrow as pa

Cycle: TypeAlias = Literal["day", "week"]
CYCLES: dict[Cycle, int] = {"day": 1, "week": 7}  # in days
CYCLE_NAMES: dict[Cycle, str] = {"day": "time of day", "week": "day of the week"}
SECONDS = 86_400.0  # of a day
EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday, and Monday is 0
MICROSECONDS = 1e6
NEGLIGIBLE = 1e-9  # of a cycle
EXAMPLES = {
    False: "2026-01-31 or 2026-01-31T08:15:00",
    True: "2026-01-31T08:15:00Z or 2026-01-31T08:15:00+01:00",
}

ZONES = {False: "no time zone", True: "a time zone"}

_DAY = r"(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])"
_TIME = r"[T ]([01]\d|2[0-3]):[0-5]\d(:[0-5]\d([.,]\d{1,9})?)?"
_ZONE = r" ?(Z|UTC|[+-]([01]\d|2[0-3])(:?[0-5]\d)?)"
_PATTERNS = {False: f"{_DAY}({_TIME})?", True: f"{_DAY}{_TIME}{_ZONE}"}


def type_of_dates(zoned: bool) -> pa.DataType:
    """Return the type of columns of dates with time zones, or without."""
    return column_type("datetime-utc" if zoned else "datetime")


def is_date(value: bytes, zoned: bool) -> bool:
    """Whether a field holds a date as :func:`parsed_dates` would read it."""
    found = _python_pattern(zoned).fullmatch(value.strip(b" \t"))
    if found is None:
        return False
    year, month, day = (int(part) for part in found.groups()[:3])
    return day <= monthrange(year, month)[1]


@cache
def _python_pattern(zoned: bool) -> re.Pattern[bytes]:
    return re.compile(_PATTERNS[zoned].encode(), re.ASCII)


def look_like_dates(column: Any, zoned: bool) -> Any:
    """Return for each text whether it is a date, if perhaps a 31st of June; null for null."""
    import pyarrow.compute as pc

    return pc.match_substring_regex(column, f"^(?:{_PATTERNS[zoned]})$")


def parsed_dates(column: Any, zoned: bool) -> Any:
    """Return strings without blanks around them, or nulls, as timestamps.

    Args:
        zoned: whether all of them have a time zone; if not, none may have one.

    Raises:
        pa.ArrowInvalid: one is no such date.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    matches = look_like_dates(column, zoned)
    if pc.any(pc.invert(matches)).as_py():
        value = column[pc.index(matches, False).as_py()].as_py()
        raise pa.ArrowInvalid(f"{value!r} {fault_of(value.encode(), zoned)}")
    kind = type_of_dates(zoned)
    try:
        return column.cast(kind)
    except pa.ArrowInvalid:  # a spelling that Arrow does not read, or a 31st of June
        plain = pc.replace_substring_regex(column, r"[.,](\d{1,6})\d*", r".\1")
        return pc.replace_substring_regex(plain, " ?(?:Z|UTC)$", "Z").cast(kind)


def fault_of(value: bytes, zoned: bool) -> str:
    """Return what keeps a field from being a date like the others of its column."""
    if not is_date(value, not zoned):
        return f"is not a date such as {EXAMPLES[zoned]}"
    return f"has {ZONES[not zoned]}, and the other dates of this column have {ZONES[zoned]}"


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
