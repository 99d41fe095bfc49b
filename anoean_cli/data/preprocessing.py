"""From rows as users have them to the float32 rows that a graph takes.

Everything works element by element, so that a row's values never depend on its neighbours.
Fitted on training rows only; what was fitted is plain arrays, stored in the model file.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.dates import CYCLES, Cycle, as_seconds, phase
from anoean_cli.data.meaning import meaning
from anoean_cli.data.schema import TableSchema
from anoean_cli.data.shares import Share
from anoean_cli.errors import DataError, FileFormatError
from anoean_cli.examples import ExampleSpec, FloatRows

if TYPE_CHECKING:
    import pyarrow as pa

LARGEST = 1e150  # squares of it are still finite
CLIP = 10.0
FIRST_BIN = 2  # after a column's standardised value and its quantile
INPUTS = ("bins", "quantile", "standard")
INPUTS_HELP = "table columns: standardised values, normal quantiles beside them, bins of these too"
ARRAYS = {  # what files hold, and of what kind (numpy's)
    "knot_counts": "i",
    "knots": "f",
    "quantiles": "f",
    "bin_counts": "i",
    "bins": "f",
    "center": "f",
    "scale": "f",
    "fill": "f",
    "least": "f",
    "largest": "f",
    "tails": "b",
    "indicator": "b",
    "missing": "f",
    "new": "f",
    "category_counts": "i",
    "day": "b",
    "week": "b",
}


Surprise: TypeAlias = Literal["missing", "unseen", "out_of_range"]
SURPRISES: Mapping[Surprise, str] = {
    "missing": "are missing",
    "unseen": "are categories that training did not have",
    "out_of_range": "are smaller or larger than all of training",
}


@dataclass
class Census:
    """What a preprocessor met that training rows had not prepared it for.

    Attributes:
        rows: how many were looked at.
        missing: missing values by column.
        unseen: values that are none of a column's categories.
        out_of_range: numbers below the least or above the largest of training.
        empty: rows without a value in any column.
        hollow: others without at least half of the values, in columns of numbers and dates of
            which no training row lacked one.
    """

    rows: int = 0
    missing: dict[str, int] = field(default_factory=dict)
    unseen: dict[str, int] = field(default_factory=dict)
    out_of_range: dict[str, int] = field(default_factory=dict)
    empty: int = 0
    hollow: int = 0

    def add(self, kind: Surprise, column: str, count: int) -> None:
        """Count so many more cells."""
        if count:
            counts = getattr(self, kind)
            counts[column] = counts.get(column, 0) + count

    def merge(self, other: Census) -> None:
        """Add what was met in other rows."""
        self.rows += other.rows
        self.empty += other.empty
        self.hollow += other.hollow
        for kind in SURPRISES:
            for column, count in getattr(other, kind).items():
                self.add(kind, column, count)

    def count(self, kind: Surprise, column: str) -> int:
        """Cells counted so far."""
        return int(getattr(self, kind).get(column, 0))


class Preprocessor(Protocol):
    """What the rest of the tool knows of preprocessing."""

    @property
    def spec(self) -> ExampleSpec:
        """What its rows look like."""

    def transform(self, examples: Any, census: Census | None = None) -> FloatRows:
        """Rows for a graph, (n, *shape) float32, each by itself.

        Args:
            examples: a table of n rows with the fitted columns, or n uint8 images.
            census: where missing, unseen and unusual values are counted.

        Raises:
            DataError: images of another shape.
        """

    def shares(self, census: Census) -> dict[str, dict[Surprise, Share]]:
        """By column: how often its values were each kind of surprise, and how often expected."""

    def expecting(self, census: Census) -> Self:
        """The same, to which what was counted is usual from now on."""

    def arrays(self) -> dict[str, NDArray[Any] | list[str]]:
        """All that was fitted, as a model file holds it."""


# --------------------------------------------------------------------------- images


@dataclass(frozen=True)
class ImagePreprocessor:
    """Bytes 0..255 to 0..1."""

    shape: tuple[int, int, int]

    @property
    def spec(self) -> ExampleSpec:
        return ExampleSpec("image", self.shape)

    def transform(self, examples: NDArray[np.uint8], census: Census | None = None) -> FloatRows:
        """(n, channels, height, width) uint8 → float32 of the same shape."""
        if examples.shape[1:] != self.shape:
            raise DataError(
                f"images of shape {_shape(examples.shape[1:])} were given to a model of "
                f"{_shape(self.shape)} images (channels x height x width); resize them first"
            )
        if census is not None:
            census.rows += len(examples)
        return np.ascontiguousarray(examples, dtype=np.float32) / np.float32(255)

    def shares(self, census: Census) -> dict[str, dict[Surprise, Share]]:
        """Pixels never surprise."""
        return {}

    def expecting(self, census: Census) -> Self:
        return self

    def arrays(self) -> dict[str, NDArray[Any] | list[str]]:
        return {}


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


# --------------------------------------------------------------------------- tables


@dataclass(frozen=True)
class NumericColumn:
    """How one numeric column becomes features.

    Attributes:
        knots, quantiles: (k,) values and the normal quantiles they map to, linearly between;
            empty when the column is only standardised.
        bins: (m + 1,) rising edges of m bins of these quantiles, each of which has a feature that
            is 0 below the bin, 1 above it and rises linearly within; empty when there are none.
        center, scale: of the standardised feature, clipped at ±10.
        tails: whether it goes on by the logarithm beyond that, outside the range of training.
        fill: stands for a missing value.
        indicator: whether a feature of its own says that the value is missing.
        missing: the share of rows to expect without a value: that of training, or since then of
            calibration; NaN where a file does not tell.
        new: the same of values out of range.
        least, largest: the range of training; NaN where a file does not tell.
    """

    knots: NDArray[np.float64]
    quantiles: NDArray[np.float64]
    bins: NDArray[np.float64]
    center: float
    scale: float
    fill: float
    indicator: bool
    missing: float = 0.0
    new: float = 0.0
    least: float = np.nan
    largest: float = np.nan
    tails: bool = False

    @property
    def width(self) -> int:
        """Features: the number, its quantile, bins, whether it is missing."""
        return 1 + bool(len(self.knots)) + self.binned + self.indicator

    @property
    def binned(self) -> int:
        """How many of the features are bins."""
        return max(0, len(self.bins) - 1)

    def transform(
        self, values: NDArray[np.float64], out: FloatRows
    ) -> tuple[NDArray[np.bool_], int]:
        """Write the features of (n,) values into out (n, width); returns which are missing, and how
        many out of range."""
        missing = np.isnan(values)
        if missing.any():
            values = np.where(missing, self.fill, values)
        filled = values.clip(-LARGEST, LARGEST)
        out[:, 0] = self._standardised(filled)
        if len(self.knots):
            out[:, 1] = np.interp(filled, self.knots, self.quantiles)
        if len(self.bins):
            low, high = self.bins[:-1].astype(np.float32), self.bins[1:].astype(np.float32)
            within = out[:, 1:2] - low
            within /= high - low
            np.clip(within, 0, 1, out=out[:, FIRST_BIN : FIRST_BIN + len(low)])
        if self.indicator:
            out[:, -1] = missing
        beyond = (filled < self.least) | (filled > self.largest)
        if self.tails and beyond.any():
            out[beyond, 0] = self._in_tails(filled[beyond])
        return missing, int(beyond.sum())

    def _standardised(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        with np.errstate(over="ignore"):
            return ((values - self.center) / self.scale).clip(-CLIP, CLIP)

    def _in_tails(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Of values outside the range of training, whose own ends may be at the bounds already."""
        ends = values.clip(self.least, self.largest)
        with np.errstate(over="ignore"):
            far = self._standardised(ends) + (values - ends) / self.scale
        over = (np.abs(far) - CLIP).clip(0, LARGEST)
        in_tails: NDArray[np.float64] = far.clip(-CLIP, CLIP) + np.sign(far) * np.log1p(over)
        return in_tails


@dataclass(frozen=True)
class CategoricalColumn:
    """One feature for each of the categories that training rows had; unseen ones have none.

    A category may be spelled otherwise than in training, as the same value is in other files.

    Attributes:
        indicator, missing: as of a numeric column.
        new: the share of values to expect that are none of the categories.
        left_out: how many rarer categories training rows had; files do not tell.
    """

    categories: tuple[str, ...]
    indicator: bool
    missing: float = 0.0
    new: float = 0.0
    left_out: int = field(default=0, compare=False)

    @property
    def width(self) -> int:
        """Features: one for each category, and whether it is missing."""
        return len(self.categories) + self.indicator

    def transform(
        self, values: pa.DictionaryArray, out: FloatRows
    ) -> tuple[NDArray[np.bool_], int]:
        """Write the features into out (n, width); returns which are missing, how many unseen."""
        codes = np.array([self._code(text) for text in values.dictionary.to_pylist()] + [-1])
        index = values.indices.to_numpy(zero_copy_only=False)  # with NaN where one is missing
        missing = np.isnan(index)
        code = codes[np.where(missing, -1, index).astype(np.int64)]
        out[:] = 0
        known = np.flatnonzero(code >= 0)
        out[known, code[known]] = 1
        if self.indicator:
            out[:, -1] = missing
        return missing, int(len(code) - len(known) - missing.sum())

    def _code(self, text: str) -> int:
        """The position of a category, -1 if training had none like it."""
        exact = self._positions.get(text)
        return self._positions.get(meaning(text), -1) if exact is None else exact

    @cached_property
    def _positions(self) -> Mapping[Hashable, int]:
        """Positions by meaning, and before that by what is written."""
        by_meaning: dict[Hashable, int] = {}
        for at, category in enumerate(self.categories):
            by_meaning.setdefault(meaning(category), at)
        return by_meaning | {category: at for at, category in enumerate(self.categories)}


@dataclass(frozen=True)
class DateColumn:
    """How dates become features: by where in the cycles that come again they are.

    The time itself is no feature. All rows to come lie beyond those of training, so that it would
    make anomalies of them.

    Attributes:
        cycles: each has two features, sine and cosine; both are 0 where the date is missing.
        indicator, missing: as of a numeric column.
    """

    cycles: tuple[Cycle, ...]
    indicator: bool
    missing: float = 0.0

    @property
    def width(self) -> int:
        """Features: sine and cosine of each cycle, and whether it is missing."""
        return 2 * len(self.cycles) + self.indicator

    def transform(self, seconds: NDArray[np.float64], out: FloatRows) -> NDArray[np.bool_]:
        """Write the features of (n,) seconds since 1970 into out (n, width); returns which are
        missing."""
        missing = np.isnan(seconds)
        known = np.where(missing, 0.0, seconds)
        for at, cycle in enumerate(self.cycles):
            angle = 2 * np.pi * phase(known, cycle)
            out[:, 2 * at] = np.where(missing, 0.0, np.sin(angle))
            out[:, 2 * at + 1] = np.where(missing, 0.0, np.cos(angle))
        if self.indicator:
            out[:, -1] = missing
        return missing


Column: TypeAlias = NumericColumn | CategoricalColumn | DateColumn


@dataclass(frozen=True)
class TablePreprocessor:
    """All columns of a schema, side by side in its order."""

    columns: Mapping[str, Column]

    @cached_property
    def spec(self) -> ExampleSpec:
        """How many features there are, what some of them are, and how many each column has."""
        at = 0
        bins: list[int] = []
        quantiles: list[int] = []
        gaps: list[int] = []
        categories: list[int] = []
        for column in self.columns.values():
            if isinstance(column, NumericColumn):
                quantiles += [at + 1] if len(column.knots) else []
                bins += range(at + FIRST_BIN, at + FIRST_BIN + column.binned)
            elif isinstance(column, CategoricalColumn):
                categories += range(at, at + len(column.categories))
            at += column.width
            gaps += [at - 1] if column.indicator else []
        widths = tuple(column.width for column in self.columns.values())
        return ExampleSpec(
            "table",
            (at,),
            tuple(bins),
            widths,
            tuple(quantiles),
            tuple(gaps),
            tuple(categories),
        )

    def transform(self, examples: pa.Table, census: Census | None = None) -> FloatRows:
        """Rows of the schema's columns → (n, features) float32."""
        census = census or Census()
        census.rows += len(examples)
        out = np.empty((len(examples), *self.spec.shape), dtype=np.float32)
        lacks, never_lacked = np.zeros((2, len(examples)), np.int64)
        at = 0
        for name, column in self.columns.items():
            into = out[:, at : at + column.width]
            at += column.width
            values = one_chunk(examples.column(name))
            if isinstance(column, DateColumn):
                missing = column.transform(as_seconds(values), into)
            else:
                missing, new = (
                    column.transform(floats(values), into)
                    if isinstance(column, NumericColumn)
                    else column.transform(_dictionary(values), into)
                )
                census.add(_kind_of_new(column), name, new)
            if missing.any():
                census.add("missing", name, int(missing.sum()))
                lacks += missing
                never_lacked += missing & _fills_in(column)
        empty = lacks == len(self.columns)
        census.empty += int(empty.sum())
        census.hollow += int((~empty & (2 * never_lacked >= len(self.columns))).sum())
        return out

    def shares(self, census: Census) -> dict[str, dict[Surprise, Share]]:
        """Return for each column what the rows of a census lacked and had anew, and what of it
        was to be expected."""
        shares: dict[str, dict[Surprise, Share]] = {}
        for name, column in self.columns.items():
            missing = census.count("missing", name)
            shares[name] = {"missing": Share(missing, census.rows, column.missing)}
            if not isinstance(column, DateColumn):
                kind, present = _kind_of_new(column), census.rows - missing
                shares[name][kind] = Share(census.count(kind, name), present, column.new)
        return shares

    def expecting(self, census: Census) -> Self:
        """Return the same, to which as much as in the rows of a census is no surprise."""
        columns = dict(self.columns)
        for name, shares in self.shares(census).items():
            missing, *new = (share.value for share in shares.values())
            column = replace(columns[name], missing=missing)
            columns[name] = (
                column if isinstance(column, DateColumn) else replace(column, new=new[0])
            )
        return replace(self, columns=columns)

    def arrays(self) -> dict[str, NDArray[Any] | list[str]]:
        numeric = [c for c in self.columns.values() if isinstance(c, NumericColumn)]
        categorical = [c for c in self.columns.values() if isinstance(c, CategoricalColumn)]
        dates = [c for c in self.columns.values() if isinstance(c, DateColumn)]
        both: list[NumericColumn | CategoricalColumn] = [*numeric, *categorical]
        every: list[Column] = [*both, *dates]
        return {
            "knot_counts": np.array([len(c.knots) for c in numeric], np.int64),
            "knots": _joined([c.knots for c in numeric]),
            "quantiles": _joined([c.quantiles for c in numeric]),
            "bin_counts": np.array([len(c.bins) for c in numeric], np.int64),
            "bins": _joined([c.bins for c in numeric]),
            "center": np.array([c.center for c in numeric], np.float64),
            "scale": np.array([c.scale for c in numeric], np.float64),
            "fill": np.array([c.fill for c in numeric], np.float64),
            "least": np.array([c.least for c in numeric], np.float64),
            "largest": np.array([c.largest for c in numeric], np.float64),
            "tails": np.array([c.tails for c in numeric], np.bool_),
            "indicator": np.array([c.indicator for c in every], np.bool_),
            "missing": np.array([c.missing for c in every], np.float64),
            "new": np.array([c.new for c in both], np.float64),
            "category_counts": np.array([len(c.categories) for c in categorical], np.int64),
            "categories": [value for c in categorical for value in c.categories],
            **{cycle: np.array([cycle in c.cycles for c in dates], np.bool_) for cycle in CYCLES},
        }

    @classmethod
    def from_arrays(cls, schema: TableSchema, arrays: Mapping[str, Any]) -> TablePreprocessor:
        """Raises FileFormatError where the arrays do not fit the schema."""
        try:
            return cls(dict(_columns_from(schema, arrays)))
        except (KeyError, ValueError, IndexError, TypeError, AttributeError) as error:
            raise FileFormatError(f"the preprocessing does not fit the schema: {error}") from error


def _fills_in(column: Column) -> bool:
    """Whether nothing tells a missing value from a typical one, as it would have in training."""
    return not isinstance(column, CategoricalColumn) and not column.indicator


def _kind_of_new(column: NumericColumn | CategoricalColumn) -> Surprise:
    return "out_of_range" if isinstance(column, NumericColumn) else "unseen"


class _Shares(NamedTuple):
    """Of each column in the order of arrays: numeric, categorical, dates, which have no ``new``."""

    indicator: NDArray[np.bool_]
    missing: NDArray[np.float64]
    new: NDArray[np.float64]

    @classmethod
    def of(cls, schema: TableSchema, arrays: Mapping[str, Any]) -> _Shares:
        indicator, dates = arrays["indicator"], len(schema.dates)
        missing = arrays.get("missing", np.where(indicator, np.nan, 0.0))  # older files do not tell
        new = arrays.get("new", np.full(len(indicator) - dates, np.nan))
        if not len(indicator) == len(missing) == len(new) + dates == len(schema.columns):
            raise ValueError("one indicator and one share a column is needed")
        if any(((share < 0) | (share > 1)).any() for share in (missing, new)):
            raise ValueError("a share is not between 0 and 1")
        return cls(indicator, missing, new)


def _columns_from(schema: TableSchema, arrays: Mapping[str, Any]) -> list[tuple[str, Column]]:
    for array, kinds in ARRAYS.items():
        value = arrays.get(array)
        if value is not None and (value.ndim != 1 or value.dtype.kind not in kinds):
            raise ValueError(f"{array} is no list of numbers of its kind")
    shares = _Shares.of(schema, arrays)
    columns: list[Column] = [
        *_numeric_from(schema, arrays, shares),
        *_categorical_from(schema, arrays, shares),
        *_dates_from(schema, arrays, shares),
    ]
    names = (*schema.numeric, *schema.categorical, *schema.dates)
    built = dict(zip(names, columns, strict=True))
    return [(name, built[name]) for name in schema.columns]


def _numeric_from(
    schema: TableSchema, arrays: Mapping[str, Any], shares: _Shares
) -> Iterator[NumericColumn]:
    count = len(schema.numeric)
    knots = _parted(arrays["knots"], arrays["knot_counts"], count)
    quantiles = _parted(arrays["quantiles"], arrays["knot_counts"], count)
    none = np.zeros(count, np.int64)  # older files have no bins
    bins = _parted(arrays.get("bins", nothing()), arrays.get("bin_counts", none), count)
    for name in ("center", "scale", "fill"):
        if arrays[name].shape != (count,) or not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} is not one finite number a numeric column")
    center, scale, fill = arrays["center"], arrays["scale"], arrays["fill"]
    if not (scale > 0).all():
        raise ValueError("a scale is not positive")
    least, largest = _ranges_from(arrays, knots)
    tails = arrays.get("tails", np.zeros(count, np.bool_))  # older files have none
    if len(tails) != count:
        raise ValueError("tails is not one a numeric column")
    for i, name in enumerate(schema.numeric):
        if not np.isfinite(knots[i]).all() or (np.diff(knots[i]) <= 0).any():
            raise ValueError(f"the knots of {name} are not increasing")
        if not (np.abs(quantiles[i]) <= CLIP).all():
            raise ValueError(f"the quantiles of {name} are beyond ±{CLIP:g}")
        if not _are_bins(bins[i], knots[i]):
            raise ValueError(f"the bins of {name} do not increase within those quantiles")
        missing = float(shares.missing[i])
        yield NumericColumn(
            np.asarray(knots[i], np.float64),
            np.asarray(quantiles[i], np.float64),
            np.asarray(bins[i], np.float64),
            float(center[i]),
            float(scale[i]),
            float(fill[i]),
            bool(shares.indicator[i]),
            missing,
            float(np.nan if np.isnan(least[i]) and missing < 1 else shares.new[i]),
            float(least[i]),
            float(largest[i]),
            bool(tails[i]),
        )


def _ranges_from(
    arrays: Mapping[str, Any], knots: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least and the largest value of each numeric column."""
    ends = [_ends_of(values) for values in knots]  # older files do not tell more
    least = arrays.get("least", np.array([first for first, _ in ends]))
    largest = arrays.get("largest", np.array([last for _, last in ends]))
    if ("least" in arrays) != ("largest" in arrays) or not _are_ranges(least, largest, len(knots)):
        raise ValueError("one range a numeric column is needed")
    return least, largest


def _categorical_from(
    schema: TableSchema, arrays: Mapping[str, Any], shares: _Shares
) -> Iterator[CategoricalColumn]:
    if not all(isinstance(value, str) for value in arrays["categories"]):
        raise ValueError("categories are not text")
    count = len(schema.categorical)
    categories = _parted(arrays["categories"], arrays["category_counts"], count)
    for i, own in enumerate(categories, start=len(schema.numeric)):
        indicator, missing, new = (each[i] for each in shares)
        yield CategoricalColumn(tuple(own), bool(indicator), float(missing), float(new))


def _dates_from(
    schema: TableSchema, arrays: Mapping[str, Any], shares: _Shares
) -> Iterator[DateColumn]:
    count = len(schema.dates)
    cycles = {cycle: arrays.get(cycle, np.zeros(0, np.bool_)) for cycle in CYCLES}
    if any(len(has) != count for has in cycles.values()):
        raise ValueError("the cycles of each column of dates are needed")
    first = len(schema.columns) - count
    for i in range(count):
        own = tuple(cycle for cycle, has in cycles.items() if has[i])
        at = first + i
        yield DateColumn(own, bool(shares.indicator[at]), float(shares.missing[at]))


def _ends_of(knots: NDArray[np.float64]) -> tuple[float, float]:
    return (float(knots[0]), float(knots[-1])) if len(knots) else (np.nan, np.nan)


def _are_bins(edges: NDArray[np.float64], knots: NDArray[np.float64]) -> bool:
    if len(edges) == 0:
        return True
    if not (np.abs(edges) <= CLIP).all():
        return False
    widths = np.diff(edges.astype(np.float32))
    return bool(len(knots) and len(widths) and (widths > 0).all())


def _are_ranges(least: NDArray[np.float64], largest: NDArray[np.float64], count: int) -> bool:
    """Whether each of ``count`` is a range, or two NaN where nothing is known."""
    if not len(least) == len(largest) == count:
        return False
    unknown = np.isnan(least) & np.isnan(largest)
    return bool((unknown | (np.isfinite(least) & np.isfinite(largest) & (least <= largest))).all())


def nothing() -> NDArray[np.float64]:
    """No numbers: the knots of a column without any."""
    return np.empty(0, np.float64)


def one_chunk(column: Any) -> pa.Array:
    """The column as one array."""
    import pyarrow as pa

    if isinstance(column, pa.ChunkedArray):
        return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return column


def floats(values: pa.Array) -> NDArray[np.float64]:
    """Float64 with NaN for missing."""
    import pyarrow as pa

    if values.type != pa.float64():
        values = values.cast(pa.float64())
    return values.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def strings(values: pa.Array) -> pa.Array:
    """The values as text."""
    import pyarrow as pa

    return values if pa.types.is_string(values.type) else values.cast(pa.string())


def _dictionary(values: pa.Array) -> pa.DictionaryArray:
    import pyarrow as pa

    if pa.types.is_dictionary(values.type):
        return values
    return strings(values).dictionary_encode()


def _joined(parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    return np.concatenate([nothing(), *parts])


def _parted(values: Any, counts: NDArray[np.int64], expected: int) -> list[Any]:
    if len(counts) != expected or (counts < 0).any() or counts.sum() != len(values):
        raise ValueError("counts do not fit")
    ends = np.cumsum(counts)
    return [values[end - count : end] for end, count in zip(ends, counts, strict=True)]
