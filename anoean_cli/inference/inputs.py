"""From what library users have in hand to the examples that a preprocessor takes."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.schema import TableSchema
from anoean_cli.errors import DataError
from anoean_cli.examples import ExampleSpec
from anoean_cli.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa


def as_examples(
    X: Any, schema: TableSchema | None, spec: ExampleSpec, nulls: Sequence[str] = ()
) -> Any:
    """Return X as an Arrow table of the schema's columns, or as uint8 images.

    Args:
        nulls: words that stand for missing values.

    Raises:
        DataError: X has other columns, another shape, or values that are not of their kind.
    """
    if schema is None:
        return as_images(X, (spec.shape[0], spec.shape[1], spec.shape[2]))
    import pyarrow as pa

    try:
        table = _as_table(X, schema)
    except DataError:
        raise
    except (AttributeError, TypeError, ValueError, pa.ArrowException) as error:
        raise DataError(f"X is no table: {error}") from error
    return _typed(table, schema, nulls)


def as_images(X: Any, shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Bytes 0..255 as (n, channels, height, width)."""
    try:
        values = np.asarray(X)
        if values.dtype.kind not in "biuf":
            values = values.astype(np.float64)
    except (TypeError, ValueError) as error:  # as of text, or rows of several lengths
        raise DataError(f"X is no array of images: {error}") from error
    if math.prod(values.shape[1:]) != math.prod(shape) or values.shape[1:] not in (
        shape,
        shape[1:],
        (math.prod(shape),),
    ):
        raise DataError(
            f"X has shape {values.shape}; images of shape {shape} (channels, height, width), "
            "or rows of as many pixel values, are needed"
        )
    if values.dtype != np.uint8:
        with np.errstate(invalid="ignore"):  # NaN is no whole number either
            as_bytes = values.astype(np.uint8)
        if not (as_bytes == values).all():
            raise DataError("pixel values must be whole numbers from 0 to 255")
        values = as_bytes
    return values.reshape(len(values), *shape)


def array_table(X: NDArray[Any], names: Sequence[str]) -> pa.Table:
    """Columns of a two-dimensional array as an Arrow table."""
    import pyarrow as pa

    native = X.astype(X.dtype.newbyteorder("="), copy=False)  # Arrow knows no other byte order
    return pa.table({name: pa.array(column) for name, column in zip(names, native.T, strict=True)})


def _as_table(X: Any, schema: TableSchema) -> pa.Table:
    import pyarrow as pa

    if isinstance(X, pa.RecordBatch):
        return pa.Table.from_batches([X])
    if isinstance(X, pa.Table):
        return X
    pandas = sys.modules.get("pandas")  # a frame of it has been made by who has imported it
    if pandas is not None and isinstance(X, pandas.DataFrame):
        # Columns that the model does not know may hold anything.
        known = X.loc[:, [str(name) in schema.columns for name in X.columns]]
        return pa.Table.from_pandas(known, preserve_index=False)
    if hasattr(X, "__arrow_c_stream__"):
        return pa.table(X)
    values = np.asarray(X)
    if values.ndim != 2:
        raise DataError(f"X has shape {values.shape}; rows and columns are needed")
    return array_table(values, _fields(schema, values.shape[1]))


def _fields(schema: TableSchema, width: int) -> list[str]:
    """The names of the fields of a row of that width: those of training, or as far as the last one
    that is needed, with or without the label."""
    needed = list(schema.source)
    of_training = [*needed, *schema.rest]
    without_label = [[n for n in names if n != schema.label] for names in (of_training, needed)]
    readings = [names for names in (of_training, needed, *without_label) if len(names) == width]
    if not readings:
        raise DataError(
            f"X has {counted(width, 'column')}; the model needs {len(needed)}: {', '.join(needed)}"
        )
    if len({tuple(names.index(column) for column in schema.columns) for names in readings}) > 1:
        raise DataError(
            f"X has {counted(width, 'column')}, which may be {', '.join(readings[0])} or "
            f"{', '.join(readings[1])}: give a data frame, whose columns have names"
        )
    return readings[0]


def _typed(table: pa.Table, schema: TableSchema, nulls: Sequence[str]) -> pa.Table:
    import pyarrow as pa

    from anoean_cli.data.columnar import as_kind
    from anoean_cli.data.header import column_list

    missing = [name for name in schema.columns if name not in table.column_names]
    if missing:
        raise DataError(f"X lacks the columns {column_list(missing)}")
    twice = [name for name in schema.columns if table.column_names.count(name) > 1]
    if twice:
        raise DataError(f"X has the columns {column_list(twice)} more than once")
    columns = {}
    for name, kind in schema.columns.items():
        try:
            first = schema.firsts.get(name, "year")
            columns[name] = as_kind(table.column(name), kind, nulls, first)
        except (ValueError, pa.ArrowException) as error:
            raise DataError(f"column {name!r} of X is not {kind}: {error}") from error
        if kind == "numeric" and np.isinf(columns[name].to_numpy()).any():
            raise DataError(f"column {name!r} of X holds infinite values")
    return pa.table(columns)
