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


def test_what_cannot_be_watched_is_told_and_nothing_else() -> None:
    nan = float("nan")
    scores: Any = SimpleNamespace()
    columns: Any = {
        "size": {"missing": Share(0, 9, 0.0), "out_of_range": Share(0, 9, nan)},
        "kind": {"missing": Share(0, 9, 0.0), "unseen": Share(0, 9, 0.0)},
    }
    of_scores, of_columns = Drift(scores, False, columns, []).unwatched()
    assert of_scores.startswith("scores are not watched for drift: the reference scores are appr")
    assert "anoean calibrate --data NEW_NORMALS" in of_scores
    assert of_columns.startswith("1 of 2 columns are not watched for values that are smaller or")
    columns["size"]["out_of_range"] = Share(0, 9, 0.1)
    assert Drift(scores, True, columns, []).unwatched() == []
