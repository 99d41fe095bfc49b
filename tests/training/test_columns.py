"""What is told of a table's columns: enough, and not a line for each of thousands."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from anoean_cli.data.fitting import fit_table
from anoean_cli.data.schema import infer_schema
from anoean_cli.training.columns import told_of_columns

N = 600


def told(columns: dict[str, object]) -> list[str]:
    table = pa.table({"x": np.random.default_rng(0).normal(size=N), **columns})
    schema = infer_schema(table)
    used = table.select(list(schema.columns))
    return list(told_of_columns(schema, fit_table(used, np.zeros(N, bool), schema)))


def test_nothing_is_told_of_plain_columns() -> None:
    assert told({"kind": ["a", "b", "c"] * (N // 3), "flag": ["true", "false"] * (N // 2)}) == []


def test_few_dropped_columns_have_a_line_each_and_many_share_one() -> None:
    names = [f"row {at}" for at in range(N)]
    assert told({"same": ["k"] * N, "name": names}) == [
        "column 'same' is constant in the training rows: dropped; "
        "--numeric or --categorical keeps it",
        "column 'name' is nearly unique to each row, like an identifier: dropped; "
        "--categorical keeps it",
    ]
    (line,) = told({f"id{at}": names for at in range(3000)})
    assert line.startswith("3,000 columns are dropped, each of which is nearly unique to each row")
    assert "(--categorical keeps what it names): 'id0', 'id1'" in line
    assert line.endswith("and 2990 more")


def test_rare_categories_are_told() -> None:
    (line,) = told({"user": [f"u{at // 2}" for at in range(N)]})
    assert line.startswith("column 'user' has 300 categories: the 255 most frequent are learned")
    assert "times of day" not in line
    (line,) = told({"at": [f"{8 + at // 120}:{at // 2 % 60:02}" for at in range(N)]})
    assert "they are times of day: give them with their date" in line


def test_what_is_learned_of_dates_is_told() -> None:
    hours = pa.array(np.arange(0, N).astype("M8[h]").astype("M8[us]"))
    (line,) = told({"at": hours.cast(pa.timestamp("us", "UTC"))})
    assert "learned from are time of day and day of the week, in UTC; the date itself" in line
