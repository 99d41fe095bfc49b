"""When two texts are the same value, although different programs wrote them.

A boolean, a number coding a category, or a day comes out of CSV, Parquet and data frames in as
many spellings: ``True`` and ``true``, ``10.0`` and ``10``, ``2020-01-03 00:00:00`` and
``2020-01-03``. Categories and labels are kept as they are written, and compared by what they mean.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Hashable
from decimal import Decimal

BLANKS = " \t"
LARGE = 10**15  # such numbers are written with an exponent

_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,4})?", re.ASCII)
_MOMENT = re.compile(
    r"((?P<day>\d{4}-\d\d-\d\d)[ T])?(?P<time>\d\d:\d\d:\d\d)(\.(?P<part>\d*?)0*)?"
    r"(?P<zone>Z|[+-]\d\d:?\d\d)?",
    re.ASCII,
)


def meaning(text: str) -> Hashable:
    """Return what is equal for texts of one value, and different for all others.

    A number with leading zeros is a code and means itself: ``007`` is not 7. An accent may be a
    letter's or stand after it, and blanks around a value may be of any kind.
    """
    text = unicodedata.normalize("NFC", text.strip())
    if text.lower() in ("true", "false"):
        return text.lower()
    if _NUMBER.fullmatch(text):
        return Decimal(text)
    moment = _MOMENT.fullmatch(text)
    return text if moment is None else _moment(**moment.groupdict(default=""))


def spellings(text: str) -> list[str]:
    """Return the usual other spellings of a value, for programs that compare only texts."""
    value = meaning(text)
    if value in ("true", "false"):
        likely = [str(value), str(value).capitalize(), str(value).upper()]
    elif isinstance(value, Decimal):
        likely = [str(float(value))]
        if abs(value) < LARGE:
            likely += [f"{value:f}", f"{value.to_integral_value():f}"]
    else:
        day = text[: len("2020-01-03")]
        likely = [text.replace("T", " "), text.replace(" ", "T")]
        likely += [day, f"{day} 00:00:00", f"{day}T00:00:00"]
        likely += [unicodedata.normalize(form, text) for form in ("NFC", "NFD")]
    return [other for other in dict.fromkeys(likely) if other != text and meaning(other) == value]


def _moment(day: str, time: str, part: str, zone: str) -> str:
    """A day and time, or a time alone, in one spelling; midnight of no zone is the day itself."""
    if day and time == "00:00:00" and not part and not zone:
        return day
    zone = zone.replace(":", "")
    return f"{day} {time}.{part}{'Z' if zone == '+0000' else zone}"
