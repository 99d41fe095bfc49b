"""How messages count and list things, and how options do."""

from __future__ import annotations

import re
from collections.abc import Sequence

PART = re.compile(r'\s*(?:"((?:[^"]|"")*+)"\s*|([^,]*))(?:,|$)')


def counted(count: int, noun: str) -> str:
    """``1 row``, ``1,000 rows``, ``2 anomalies``."""
    if count == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {plural}"


def some(names: Sequence[str], most: int = 12) -> str:
    """``a, b``, or the first of them and how many more there are: ``a, b and 3 more``."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def split_list(text: str | None) -> tuple[str, ...]:
    """The parts of a comma-separated option; one that holds a comma is in double quotes."""
    parts = (quoted.replace('""', '"') or bare.strip() for quoted, bare in PART.findall(text or ""))
    return tuple(part for part in parts if part)
