"""Warnings of drift: the columns that have changed most, however many have."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from anoean_cli.data.shares import Share
from anoean_cli.inference.drift import MOST_COLUMNS, Drift


@pytest.mark.parametrize("count", [3, MOST_COLUMNS, 5000])
def test_many_columns_are_not_told_one_by_one(count: int) -> None:
    shares: Any = {f"c{at}": {"missing": Share(at, count, 0.0)} for at in range(1, count + 1)}
    scores: Any = SimpleNamespace()
    told = Drift(scores, False, shares, [(name, "missing") for name in shares]).warnings()
    if count <= MOST_COLUMNS:
        assert len(told) == count
        return
    assert len(told) == MOST_COLUMNS + 1
    assert told[0].startswith(f"column 'c{count - MOST_COLUMNS + 1}'")
    assert told[-2].startswith(f"column 'c{count}': {count:,} of {count:,} values are missing")
    assert told[-1].startswith(f"{count - MOST_COLUMNS:,} more shares")
