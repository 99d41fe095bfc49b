"""What the user is told of a table's columns: what is not learned from, and what of the others."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING

from anoean_cli.data.dates import named_cycles
from anoean_cli.data.fitting import MOST_CATEGORIES
from anoean_cli.data.header import column_list
from anoean_cli.data.preprocessing import CategoricalColumn, DateColumn, TablePreprocessor
from anoean_cli.data.schema import (
    CONSTANT,
    COUNTER,
    IDENTIFIER,
    MIXED_ZONES,
    NO_CYCLE,
    ODD_DATES,
    TableSchema,
    rising_columns,
)

if TYPE_CHECKING:
    import pyarrow as pa

TIMES = "; they are times of day: give them with their date, or as a number of minutes"
_TIME = re.compile(r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?")
MOST_LINES = 5  # about columns that are dropped for one reason
KEPT_BY = {
    CONSTANT: "--numeric or --categorical",
    COUNTER: "--numeric or --categorical",
    IDENTIFIER: "--categorical",
    ODD_DATES: "--categorical",
    MIXED_ZONES: "--categorical",
    NO_CYCLE: "--datetime",
}


def told_of_columns(schema: TableSchema, preprocessor: TablePreprocessor) -> Iterator[str]:
    """Yield a line for each thing to tell.

    Args:
        preprocessor: as it was fitted on the training rows.
    """
    for reason in dict.fromkeys(schema.dropped.values()):
        names = [name for name, why in schema.dropped.items() if why == reason]
        yield from _of_dropped(names, reason)
    for name in schema.categorical:
        words = preprocessor.columns[name]
        assert isinstance(words, CategoricalColumn)
        if words.left_out:
            found = len(words.categories) + words.left_out
            yield (
                f"column {name!r} has {found:,} categories: the {MOST_CATEGORIES} most frequent "
                "are learned from, the others count as unseen"
                + (TIMES if all(map(_TIME.fullmatch, words.categories)) else "")
            )
    for name, zoned in schema.dates.items():
        column = preprocessor.columns[name]
        assert isinstance(column, DateColumn)
        first = f" with the {schema.firsts[name]} first" if name in schema.firsts else ""
        clock = "UTC" if zoned else "the time that is written"
        yield (
            f"column {name!r} holds dates{first}: learned from are {named_cycles(column.cycles)}, "
            f"in {clock}; the date itself is not, for rows to come have later ones"
        )


def told_of_order(table: pa.Table, schema: TableSchema, vouched: Collection[str]) -> Iterator[str]:
    """Yield a line for each column that rises with the rows and is learned from all the same."""
    for name in rising_columns(table, schema, vouched):
        yield (
            f"column {name!r} rises or falls from row to row, or has another long number in nearly "
            "each, as ids and times do: rows to come may lie beyond, and all look like anomalies; "
            "--ignore leaves it out, --numeric vouches for it"
        )


def _of_dropped(names: list[str], reason: str) -> Iterator[str]:
    """Columns that are dropped for one reason share a line where there are many."""
    option = KEPT_BY.get(reason)
    if len(names) > MOST_LINES:
        kept = f" ({option} keeps what it names)" if option else ""
        count = f"{len(names):,} columns are dropped"
        yield f"{count}, each of which {reason}{kept}: {column_list(names)}"
        return
    kept = f"; {option} keeps it" if option else ""
    for name in names:
        yield f"column {name!r} {reason}: dropped{kept}"
