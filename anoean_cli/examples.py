"""What examples look like, as files have them and to networks: plain data that all rooms share.

It is a module of its own because scoring a row needs no more of the plugin contracts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anoean_cli.choices import FirstIfOpen

if TYPE_CHECKING:
    import pyarrow as pa

Kind: TypeAlias = Literal["image", "table"]
ColumnKind: TypeAlias = Literal["numeric", "categorical", "datetime", "datetime-utc"]
First: TypeAlias = Literal["year", "day", "month"]
"""What stands first in the dates of a column; any column may hold some with the year first."""
Json: TypeAlias = Any
FloatRows: TypeAlias = NDArray[np.float32]
Scores: TypeAlias = NDArray[np.float64]
State: TypeAlias = dict[str, NDArray[Any]]

_FIRST = b"first"


@dataclass(frozen=True)
class ExampleSpec:
    """What one preprocessed example looks like to an encoder.

    Attributes:
        kind: ``"image"`` or ``"table"``.
        shape: ``(channels, height, width)`` of an image, ``(features,)`` of a table row.
        bins: positions of features that only spell out the one before them, for networks: a linear
            layer makes steps of them.
        widths: how many features each column of a table has, in their order; none: one each.
        quantiles: positions of features that are the normal quantile of the one before them.
        gaps: positions of features that are 1 where the value of a column is missing.
        categories: positions of features that are 1 where a column has one of the categories that
            training had; all of a column's are 0 where it has none of them.
    """

    kind: Kind
    shape: tuple[int, ...]
    bins: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()
    quantiles: tuple[int, ...] = ()
    gaps: tuple[int, ...] = ()
    categories: tuple[int, ...] = ()

    @property
    def plain(self) -> NDArray[np.intp]:
        """The positions of all features but bins, in the flattened example."""
        return np.setdiff1d(np.arange(int(np.prod(self.shape))), self.bins)

    @property
    def to_scale(self) -> NDArray[np.intp]:
        """Those of ``plain`` that are no quantiles: numbers are as far apart as they are."""
        return np.setdiff1d(self.plain, self.quantiles)

    @property
    def numbers(self) -> NDArray[np.intp]:
        """The positions of standardised numbers beside which their quantile stands."""
        return np.array(self.quantiles, np.intp) - 1

    @property
    def ranked(self) -> NDArray[np.intp]:
        """Those of ``plain`` that are none of the ``numbers``."""
        return np.setdiff1d(self.plain, self.numbers)

    @property
    def columns(self) -> NDArray[np.intp]:
        """The number of the column that each feature of a table row is of."""
        widths = self.widths or (1,) * self.shape[0]
        return np.repeat(np.arange(len(widths)), widths)


def differ(rows: FloatRows) -> bool:
    """Whether (n, *shape) rows are not all the same one."""
    return bool((rows != rows[:1]).any())


def rows_at(examples: Any, positions: NDArray[Any]) -> Any:
    """Some of an Arrow table's rows, or of images."""
    return examples[positions] if isinstance(examples, np.ndarray) else examples.take(positions)


@dataclass(frozen=True)
class TableOptions:
    """How a text table is to be read; ``None`` means "find out".

    ``label``, ``ignore``, ``numeric``, ``categorical``, ``datetime``, ``day_first`` and
    ``month_first`` name columns, or give positions counted from 1 (from the end when negative).
    The last two are of columns of dates, in which they hold whatever the dates look like;
    ``dates`` holds where the dates themselves leave it open.
    """

    header: bool | None = None
    delimiter: str | None = None
    decimal: str = "."
    encoding: str = "utf-8"
    null_values: tuple[str, ...] | None = None
    label: str | None = None
    ignore: tuple[str, ...] = ()
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    datetime: tuple[str, ...] = ()
    dates: FirstIfOpen | None = None
    day_first: tuple[str, ...] = ()
    month_first: tuple[str, ...] = ()


def column_type(kind: ColumnKind) -> pa.DataType:
    """Return the Arrow type that columns of a kind have in a `Dataset`."""
    import pyarrow as pa

    return {
        "numeric": pa.float64(),
        "categorical": pa.string(),
        "datetime": pa.timestamp("us"),
        "datetime-utc": pa.timestamp("us", "UTC"),
    }[kind]


def column_kind(type: pa.DataType) -> ColumnKind:
    """Return the kind of a column of a `Dataset` by its type."""
    import pyarrow as pa

    if pa.types.is_timestamp(type):
        return "datetime" if type.tz is None else "datetime-utc"
    return "numeric" if pa.types.is_floating(type) else "categorical"


def firsts_of(table: pa.Table) -> dict[str, First]:
    """Return what stands first in the columns of dates in which it is not the year."""
    told = {field.name: (field.metadata or {}).get(_FIRST, b"") for field in table.schema}
    firsts: dict[bytes, First] = {b"day": "day", b"month": "month"}
    return {name: firsts[first] for name, first in told.items() if first in firsts}


def with_firsts(table: pa.Table, firsts: Mapping[str, First]) -> pa.Table:
    """Return the table with what `firsts_of` shall say of it, as metadata of its fields."""
    if not firsts:
        return table
    import pyarrow as pa

    fields = [
        field.with_metadata({_FIRST: firsts[field.name]}) if field.name in firsts else field
        for field in table.schema
    ]
    return table.cast(pa.schema(fields))


@dataclass(frozen=True)
class Drawing:
    """How rows are drawn from a table that has too many of them to be kept.

    Attributes:
        most: how many rows are kept.
        normal: labels that are normal, ``""`` among them where rows without a label are; half of
            the rows that are kept are for these.
        seed: of the random numbers.
    """

    most: int
    normal: tuple[str, ...] = ()
    seed: int = 0
