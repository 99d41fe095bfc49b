"""Some of the rows that were scored, fetched once more to be shown.

Scoring keeps no examples: memory stays flat, and which rows are worth a look is known at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.inputs import Piece
from anoean_cli.evaluation.run import Labelled, rows_set_aside
from anoean_cli.examples import rows_at
from anoean_cli.inference.model import Model
from anoean_cli.interfaces import Dataset
from anoean_cli.training.preparation import take

ROWS_AT_ONCE = 1024

Positions: TypeAlias = NDArray[np.intp]
Examples: TypeAlias = Callable[[Positions], Iterator[tuple[Positions, Any]]]
"""From rising positions among scored rows to some of them at a time, with their examples."""


def of_test_rows(model: Model, dataset: Dataset) -> Examples:
    """The rows that training set aside, from the data set that they are of."""
    rows = rows_set_aside(model)

    def fetch(at: Positions) -> Iterator[tuple[Positions, Any]]:
        for start in range(0, len(at), ROWS_AT_ONCE):
            part = at[start : start + ROWS_AT_ONCE]
            yield part, take(dataset, model.schema, rows[part])

    return fetch


def of_pieces(read: Callable[[], Iterable[Piece]], labelled: Labelled) -> Examples:
    """The rows of an input, which is read once more, as far as is needed.

    Args:
        read: begins to read it.
        labelled: with ``positions`` among the rows that were read.
    """
    assert labelled.positions is not None
    positions = labelled.positions

    def fetch(at: Positions) -> Iterator[tuple[Positions, Any]]:
        wanted, start = positions[at], 0
        for piece in read() if len(at) else ():
            stop = start + len(piece.rows)
            first, last = np.searchsorted(wanted, [start, stop])
            if first < last:
                yield at[first:last], rows_at(piece.examples, wanted[first:last] - start)
            start = stop
            if last == len(wanted):
                break

    return fetch
