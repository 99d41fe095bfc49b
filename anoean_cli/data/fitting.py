"""What preprocessing learns of a table: from training rows to the columns of a `TablePreprocessor`.

Scoring never imports this module.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.dates import learned_cycles
from anoean_cli.data.preprocessing import (
    LARGEST,
    CategoricalColumn,
    Column,
    DateColumn,
    NumericColumn,
    TablePreprocessor,
    floats,
    nothing,
    one_chunk,
    strings,
)
from anoean_cli.data.schema import TableSchema

if TYPE_CHECKING:
    import pyarrow as pa

MOST_KNOTS = 256
CLOSEST_KNOTS = 1e-300  # a line between closer ones would be infinitely steep
MOST_CATEGORIES = 255
OUTERMOST_QUANTILE = 1e-4
MOST_BINS = 32  # of a column
MOST_BINNED = 2048  # features of all columns; wider tables have fewer bins a column, or none
FEWEST_ROWS_A_BIN = 10
NARROWEST_BIN = 1e-6  # of quantiles; float32 tells its ends apart
LOUDEST = 3.0  # times their geometric mean is the largest spread of columns in one unit
NARROWEST = 0.05  # of the median range is their smallest
FEWEST_COLUMNS = 5  # of which that can be said
WEIGHTS = (0.25, 2.5)  # of such columns; more would take quantiles beyond ±CLIP


def fit_table(
    table: pa.Table,
    is_anomaly: NDArray[np.bool_],
    schema: TableSchema,
    inputs: str = "quantile",
) -> TablePreprocessor:
    """Fit all columns on the training rows.

    Args:
        table: (n rows) of the schema's columns.
        is_anomaly: (n,); center and scale come from the normals alone.
        inputs: ``"standard"`` standardises numeric columns, ``"quantile"`` gives each its normal
            quantile beside that, and ``"bins"`` the quantile's piecewise-linear encoding as well
            (Gorishniy et al. 2022, On Embeddings for Numerical Features, section 3.2), with bins
            of about the same number of training rows. With either of these two, columns in one unit
            keep the square root of how their spreads differ.
    """
    most = min(MOST_BINS, MOST_BINNED // max(1, len(schema.numeric))) if inputs == "bins" else 0
    unit = _common_unit(table, is_anomaly, schema) if inputs != "standard" else None
    columns: dict[str, Column] = {}
    for name, kind in schema.columns.items():
        values = one_chunk(table.column(name))
        if kind == "numeric":
            columns[name] = _fit_numeric(floats(values), is_anomaly, inputs, most, unit)
        elif kind == "categorical":
            columns[name] = _fit_categorical(strings(values))
        else:
            columns[name] = _fit_dates(values)
    return TablePreprocessor(columns)


def _common_unit(
    table: pa.Table, is_anomaly: NDArray[np.bool_], schema: TableSchema
) -> float | None:
    """The median spread of the columns, if they seem to be in one unit; else None.

    Among pixels, or readings of like sensors, a column that hardly varies tells hardly anything,
    and would count as much as the others once standardised. Of other columns spreads tell only what
    they are measured in, and one of them is then far larger, or smaller, than most; of flags they
    tell how rare these are.
    """
    columns = (floats(one_chunk(table.column(name))) for name in schema.numeric)
    normals = (_of_normals(values, is_anomaly) for values in columns)
    varying = [
        (spread, np.ptp(values), _is_flag(values))
        for values in normals
        if (spread := _spread(values)) > 0
    ]
    if len(varying) < FEWEST_COLUMNS:
        return None
    spreads, ranges, flags = np.array(varying).T
    too_loud = spreads.max() > LOUDEST * np.exp(np.log(spreads).mean())
    too_narrow = ranges.min() < NARROWEST * np.median(ranges)
    if too_loud or too_narrow or flags.mean() > 0.5:
        return None
    return float(np.median(spreads))


def _of_normals(values: NDArray[np.float64], is_anomaly: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The values of normals that are there, or all if no normal has one; [0] without any."""
    present = ~np.isnan(values)
    for rows in (present & ~is_anomaly, present):
        if rows.any():
            return values[rows].clip(-LARGEST, LARGEST)
    return np.zeros(1)


def _is_flag(values: NDArray[np.float64]) -> bool:
    return bool(((values == values.min()) | (values == values.max())).all())


def _spread(values: NDArray[np.float64]) -> float:
    """The standard deviation, in which rounding leaves something of equal values; the range where
    squares are too small to be told from 0."""
    if not len(values) or np.ptp(values) == 0:
        return 0.0
    return float(values.std()) or float(np.ptp(values))


def _fit_numeric(
    values: NDArray[np.float64],
    is_anomaly: NDArray[np.bool_],
    inputs: str,
    most_bins: int,
    unit: float | None,
) -> NumericColumn:
    missing = np.isnan(values)
    present = values[~missing].clip(-LARGEST, LARGEST)
    normal = _of_normals(values, is_anomaly)
    own = _spread(normal)
    # The root, as faults of a column that varies little may be as small.
    weight = np.clip((own / unit) ** 0.5, *WEIGHTS) if own and unit else 1.0
    spread = own or min(_spread(present) or 1.0, unit or np.inf)
    knots, quantiles = (
        _normal_quantiles(present) if inputs != "standard" else (nothing(), nothing())
    )
    quantiles = weight * quantiles
    binned = np.interp(present, knots, quantiles) if len(knots) else nothing()
    return NumericColumn(
        knots,
        quantiles,
        _even_bins(binned, most_bins),
        center=float(normal.mean()),
        scale=float(spread / weight),
        fill=float(np.median(normal)),
        indicator=bool(missing.any()),
        missing=float(missing.mean()) if len(missing) else 0.0,
        new=_alone_outside(present),
        least=float(present.min()) if len(present) else np.nan,
        largest=float(present.max()) if len(present) else np.nan,
        tails=inputs != "standard",
    )


def _alone_outside(values: NDArray[np.float64]) -> float:
    """The share of (n,) values that lie outside the range of the others."""
    if not len(values):
        return 0.0
    ends = {values.min(), values.max()}  # of one value alone there is but one
    return sum(int((values == end).sum() == 1) for end in ends) / len(values)


def _normal_quantiles(
    values: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distinct values, at most `MOST_KNOTS`, with the normal quantile of each one's mid-rank.

    Values closer than `CLOSEST_KNOTS`, as likelihoods that have underflowed, count as one.
    """
    from scipy.special import ndtri

    distinct, counts = np.unique(values, return_counts=True)
    first = np.flatnonzero(np.diff(distinct, prepend=-np.inf) > CLOSEST_KNOTS)
    distinct, counts = distinct[first], np.add.reduceat(counts, first)
    if len(distinct) < 2:
        return nothing(), nothing()
    ranks = (np.cumsum(counts) - counts / 2) / counts.sum()
    if len(distinct) > MOST_KNOTS:
        # Evenly spaced in rank, so that crowded regions keep their resolution.
        wanted = np.searchsorted(ranks, np.linspace(0, 1, MOST_KNOTS)).clip(0, len(ranks) - 1)
        kept = np.unique(np.concatenate([[0], wanted, [len(ranks) - 1]]))
        distinct, ranks = distinct[kept], ranks[kept]
    return distinct, ndtri(ranks.clip(OUTERMOST_QUANTILE, 1 - OUTERMOST_QUANTILE))


def _even_bins(values: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """Edges that part (n,) values into bins of about the same number; none if there is but one."""
    bins = min(most, len(values) // FEWEST_ROWS_A_BIN)
    if bins < 2:
        return nothing()
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1), method="inverted_cdf"))
    edges = edges[np.diff(edges, prepend=-np.inf) > NARROWEST_BIN]
    return edges if len(edges) > 2 else nothing()


def _fit_categorical(values: pa.Array) -> CategoricalColumn:
    counts = values.drop_null().value_counts().to_pylist()
    by_frequency = sorted(counts, key=lambda entry: (-entry["counts"], entry["values"]))
    frequent = sorted(entry["values"] for entry in by_frequency[:MOST_CATEGORIES])
    share = values.null_count / len(values) if len(values) else 0.0
    # A value that no other row has would be new if its own row were not there.
    rare = sum(e["counts"] for e in by_frequency[MOST_CATEGORIES:])
    alone = sum(e["counts"] == 1 for e in by_frequency[:MOST_CATEGORIES])
    new = (rare + alone) / max(1, len(values) - values.null_count)
    left_out = len(counts) - len(frequent)
    return CategoricalColumn(tuple(frequent), values.null_count > 0, share, new, left_out)


def _fit_dates(values: pa.Array) -> DateColumn:
    share = values.null_count / len(values) if len(values) else 0.0
    return DateColumn(tuple(learned_cycles(values)), values.null_count > 0, share)
