"""How messages count things."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """``1 row``, ``1,000 rows``, ``2 anomalies``."""
    if count == 1:
        return f"1 {noun}"
    plural = f"{noun[:-1]}ies" if noun.endswith("y") else f"{noun}s"
    return f"{count:,} {plural}"
