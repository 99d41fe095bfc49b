"""Made rows to try a model on, where no real ones are at hand: a model file keeps none.

Every value at which something changes is among them: knots, categories and their other spellings,
missing values, categories that training did not have, numbers far outside.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.meaning import spellings
from anoean_cli.data.preprocessing import (
    CategoricalColumn,
    Column,
    DateColumn,
    ImagePreprocessor,
    NumericColumn,
    TablePreprocessor,
)
from anoean_cli.examples import column_type

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = {"table": 1536, "image": 192}
MOST_PIXELS = 2**24
UNSEEN = "\N{REPLACEMENT CHARACTER}"
UNUSUAL = 0.1  # of the values of a row that is much like others


def probes(preprocessor: TablePreprocessor | ImagePreprocessor) -> Any:
    """Return rows as `Preprocessor.transform` takes them: an Arrow table, or uint8 images."""
    rng = np.random.default_rng(0)
    if isinstance(preprocessor, ImagePreprocessor):
        return _images(preprocessor.shape, rng)
    return _table(preprocessor, rng)


def _images(shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.uint8]:
    """A black one, a white one, and noise on more and more of the pixels."""
    n = min(ROWS["image"], max(2, MOST_PIXELS // math.prod(shape)))
    share = np.linspace(0, 1, n - 1).reshape(-1, *[1] * len(shape))
    noise = rng.integers(0, 256, (n - 1, *shape), np.uint8)
    noise[rng.random(noise.shape) >= share] = 0
    return np.concatenate([noise, np.full((1, *shape), 255, np.uint8)])


def _table(preprocessor: TablePreprocessor, rng: np.random.Generator) -> pa.Table:
    """One half of the rows is of values drawn freely, the other of usual ones but for a few.

    The first half is far from what is normal, so that the second half tells more about p-values.
    """
    import pyarrow as pa

    n = ROWS["table"]
    columns = {}
    for name, column in preprocessor.columns.items():
        usual, *others = _values(column)
        drawn = rng.permutation(np.resize(np.array(others, object), n))
        is_usual = (np.arange(n) >= n // 2) & (rng.random(n) >= UNUSUAL)
        values = np.where(is_usual, usual, drawn).tolist()
        columns[name] = pa.array(values, _type(column))
    return pa.table(columns)


def _type(column: Column) -> pa.DataType:
    if isinstance(column, DateColumn):
        return column_type("datetime")
    return column_type("numeric" if isinstance(column, NumericColumn) else "categorical")


def _values(column: Column) -> list[Any]:
    """A usual value, and others."""
    if isinstance(column, DateColumn):
        return _moments()
    return _numbers(column) if isinstance(column, NumericColumn) else _texts(column)


def _numbers(column: NumericColumn) -> list[Any]:
    """A usual value, and others."""
    between = (column.knots[1:] + column.knots[:-1]) / 2
    spread = column.center + column.scale * np.array([-30, -10, -3, -1, -0.1, 0, 0.1, 1, 3, 10, 30])
    whole = np.array([-1e300, -1e9, -1, -0.0, 1e-300, 1, 1e9, 1e300])
    return [column.fill, None, *spread, *whole, *column.knots, *between]


def _moments() -> list[Any]:
    """Microseconds since 1970: of all hours of a week, of midnights, and of far years."""
    hours = [*range(7 * 24), -1, 10**6]
    return [0, None, *(3_600_000_000 * hour + 1 for hour in hours), -(2**55), 2**57]


def _texts(column: CategoricalColumn) -> list[Any]:
    """A usual value, and others."""
    known = [text for name in column.categories for text in (name, *spellings(name))]
    return [*known[:1], None, UNSEEN, *known]
