"""The whole scorer as one ONNX graph: raw columns in; score, p-value and verdict out.

What `Model.score` does row by row, written with standard operators: preprocessing, the stored
graph, the distance under the Gaussian, the p-value and the threshold. Numbers stay float64 where
they are float64 in `Model.score`, and are rounded to float32 where they are there.

All numeric columns are worked on side by side, as one (n, columns) tensor: an operator a column
would cost more time than its arithmetic. Importing ``onnx`` takes a while, so it is done here only
when a graph is built.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli.calibration.conformal import Calibration
from anoean_cli.calibration.gaussian import Gaussian
from anoean_cli.data.dates import CYCLES, EPOCH_WEEKDAY, SECONDS
from anoean_cli.data.meaning import spellings
from anoean_cli.data.preprocessing import (
    CLIP,
    FIRST_BIN,
    LARGEST,
    CategoricalColumn,
    DateColumn,
    NumericColumn,
    Preprocessor,
    TablePreprocessor,
)
from anoean_cli.errors import FileFormatError, in_one_line
from anoean_cli.inference.model import Model

OUTPUTS = ("score", "p_value", "anomaly")
IMAGE_INPUT = "image"
ROWS = "n"
DATE_UNIT = "seconds since 1970-01-01T00:00:00"
TIED = 1e-9  # scores that differ by less, as a share of them, count as equal
OLDEST = 13  # operator set: since then Unsqueeze, ReduceSum and their like are as they are now
OLDEST_IR = 8
OLDEST_ML = 2  # since then LabelEncoder maps to any numbers; nothing else was changed in it


# --------------------------------------------------------------------------- columns


def input_names(columns: Sequence[str]) -> dict[str, str]:
    """What the input of each column is called: as the column, but where a graph cannot have that.

    Names in a graph are unique, among the outputs too, and not empty.
    """
    taken = {*columns, *OUTPUTS}
    names = {}
    for column in columns:
        name = column
        if column in ("", *OUTPUTS):
            name = f"column_{column}"
            while name in taken:
                name += "_"
        taken.add(name)
        names[column] = name
    return names


def codes(column: CategoricalColumn, nulls: Sequence[str]) -> dict[str, int]:
    """Return the positions of texts: a category's own, or one behind the last where one is missing.

    A graph compares texts letter by letter, so the usual other spellings of a category are among
    them; what is written as in training comes first, as in `CategoricalColumn`.

    Args:
        nulls: what stands for a missing value, beside the empty text.
    """
    known = {category: at for at, category in enumerate(column.categories)}
    for at, category in enumerate(column.categories):
        for text in spellings(category):
            known.setdefault(text, at)
    for text in ("", *nulls):
        known.setdefault(text, len(column.categories))
    return known


# --------------------------------------------------------------------------- the graph


@dataclass
class Parts:
    """The nodes and constants of a graph in the making.

    Attributes:
        prefix: what all names begin with that no one outside the graph uses.
    """

    prefix: str
    nodes: list[Any] = field(default_factory=list)
    constants: list[Any] = field(default_factory=list)

    def add(
        self,
        operator: str,
        *inputs: str | NDArray[Any] | np.generic,
        into: str = "",
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Add a node and return the name of its result: ``into``, or a new one.

        Args:
            inputs: names of results, or values, which become constants.
        """
        from onnx import helper

        names = [name if isinstance(name, str) else self.constant(name) for name in inputs]
        result = into or f"{self.prefix}{operator}_{len(self.nodes)}"
        node = helper.make_node(
            operator, names, [result], name=result, domain=domain or None, **attributes
        )
        self.nodes.append(node)
        return result

    def cast(self, value: str, dtype: Any, into: str = "") -> str:
        from onnx import helper

        to = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        return self.add("Cast", value, into=into, to=to)

    def constant(self, value: NDArray[Any] | np.generic) -> str:
        """Add a constant and return its name."""
        from onnx import numpy_helper

        name = f"{self.prefix}constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name


def onnx_scorer(model: Model, nulls: Sequence[str]) -> bytes:
    """Return an ONNX model of a model that has a graph.

    Its inputs are, for tables, one of shape (n, 1) for each column of the schema, double or
    string; for images ``image``, uint8 (n, channels, height, width). Its outputs are ``score``,
    double (n,), ``p_value``, double (n,), and ``anomaly``, bool (n,).

    Args:
        nulls: what stands for a missing category, beside the empty text.

    Raises:
        FileFormatError: the stored graph is of an operator set that cannot be joined.
    """
    import onnx
    from onnx import TensorProto, compose, helper

    assert model.graph is not None
    names = input_names(list(model.schema.columns)) if model.schema is not None else {}
    parts = Parts(prefix="/")
    while any(name.startswith(parts.prefix) for name in names.values()):
        parts.prefix += "/"
    stored = compose.add_prefix(onnx.load_model_from_string(model.graph), f"{parts.prefix}graph/")
    constants = {constant.name for constant in stored.graph.initializer}
    (rows,) = [value.name for value in stored.graph.input if value.name not in constants]
    inputs = _preprocessing(parts, model.preprocessor, names, nulls, into=rows)
    parts.nodes += stored.graph.node
    parts.constants += stored.graph.initializer
    _verdict(parts, stored.graph.output[0].name, model.gaussian, model.calibration)
    kinds = (TensorProto.DOUBLE, TensorProto.DOUBLE, TensorProto.BOOL)
    outputs = [
        helper.make_tensor_value_info(name, kind, [ROWS])
        for name, kind in zip(OUTPUTS, kinds, strict=True)
    ]
    whole = helper.make_model(
        helper.make_graph(parts.nodes, "anoean", inputs, outputs, parts.constants),
        ir_version=max(stored.ir_version, OLDEST_IR),
        opset_imports=_operator_sets(stored),
        producer_name="anoean",
        producer_version=version("anoean"),
    )
    helper.set_model_props(whole, _metadata(model, names, nulls))
    try:
        onnx.checker.check_model(whole)
    except onnx.checker.ValidationError as error:
        raise FileFormatError(f"the graph is not valid ONNX: {in_one_line(error)}") from error
    return bytes(whole.SerializeToString(deterministic=True))


def _operator_sets(stored: Any) -> list[Any]:
    from onnx import helper

    sets = {"": 0, "ai.onnx.ml": OLDEST_ML}
    for one in stored.opset_import:
        domain = "" if one.domain == "ai.onnx" else one.domain
        sets[domain] = max(one.version, sets.get(domain, 0))
    if sets[""] < OLDEST:
        raise FileFormatError(
            f"the graph is of ONNX operator set {sets['']}, and only those from {OLDEST} can be "
            "exported; train the model anew, with a newer version of its detector"
        )
    return [helper.make_opsetid(domain, number) for domain, number in sets.items()]


def _metadata(model: Model, names: Mapping[str, str], nulls: Sequence[str]) -> dict[str, str]:
    """What a program can ask of the file, as JSON but for plain words."""
    calibration = model.calibration
    about = {
        "anoean_version": version("anoean"),
        "model_digest": model.digest,
        "detector": model.config["detector"]["name"],
        "threshold": json.dumps(calibration.threshold),
        "threshold_rule": json.dumps(dict(calibration.rule), sort_keys=True),
        "references": json.dumps(len(calibration.reference)),
        "p_values_exact": json.dumps(calibration.exact),
    }
    if isinstance(model.preprocessor, TablePreprocessor):
        columns = []
        for name, column in model.preprocessor.columns.items():
            entry: dict[str, Any] = {"name": name, "input": names[name]}
            if isinstance(column, NumericColumn):
                entry |= {"kind": "numeric"}
            elif isinstance(column, DateColumn):
                kind = model.schema.columns[name] if model.schema is not None else "datetime"
                entry |= {"kind": kind, "unit": DATE_UNIT}
            else:
                entry |= {"kind": "categorical", "categories": column.categories}
            columns.append(entry)
        about["columns"] = json.dumps(columns, ensure_ascii=False)
        about["missing"] = json.dumps(list(dict.fromkeys(("", *nulls))), ensure_ascii=False)
    return about


# --------------------------------------------------------------------------- preprocessing


@dataclass
class Features:
    """Features that are computed together, and where each of them belongs in a row.

    Attributes:
        value: name of the (n, k) float32 result.
        at: (k,) positions in the row that the stored graph takes.
    """

    value: str
    at: list[int]


def _preprocessing(
    parts: Parts,
    preprocessor: Preprocessor,
    names: Mapping[str, str],
    nulls: Sequence[str],
    into: str,
) -> list[Any]:
    """Add what `Preprocessor.transform` does; returns the inputs of the graph."""
    from onnx import TensorProto, helper

    if not isinstance(preprocessor, TablePreprocessor):
        parts.add("Div", parts.cast(IMAGE_INPUT, np.float32), np.float32(255), into=into)
        shape: list[str | int | None] = [ROWS, *preprocessor.spec.shape]
        return [helper.make_tensor_value_info(IMAGE_INPUT, TensorProto.UINT8, shape)]
    _table(parts, preprocessor, names, nulls, into)
    inputs = []
    for name, column in preprocessor.columns.items():
        is_text = isinstance(column, CategoricalColumn)
        kind = TensorProto.STRING if is_text else TensorProto.DOUBLE
        inputs.append(helper.make_tensor_value_info(names[name], kind, (ROWS, 1)))
    return inputs


def _table(
    parts: Parts,
    table: TablePreprocessor,
    names: Mapping[str, str],
    nulls: Sequence[str],
    into: str,
) -> None:
    """Raw columns → (n, features) float32 in the order of `TablePreprocessor.transform`."""
    numeric: dict[str, tuple[NumericColumn, int]] = {}
    categorical: dict[str, tuple[CategoricalColumn, int]] = {}
    features = []
    start = 0
    for name, column in table.columns.items():
        if isinstance(column, NumericColumn):
            numeric[names[name]] = (column, start)
        elif isinstance(column, DateColumn):
            features.append(_dates(parts, names[name], column, start))
        else:
            categorical[names[name]] = (column, start)
        start += column.width
    if numeric:
        features += _numeric(parts, numeric)
    if categorical:
        features.append(_categorical(parts, categorical, nulls))
    order = np.argsort([at for some in features for at in some.at])
    side_by_side = parts.add("Concat", *(some.value for some in features), axis=1)
    parts.add("Gather", side_by_side, order, axis=1, into=into)


def _numeric(parts: Parts, columns: Mapping[str, tuple[NumericColumn, int]]) -> list[Features]:
    """The features of `NumericColumn.transform`, of all columns together."""
    own = [column for column, _ in columns.values()]
    starts = [start for _, start in columns.values()]
    given = parts.add("Concat", *columns, axis=1)
    missing = parts.add("IsNaN", given)
    values = parts.add("Where", missing, np.array([c.fill for c in own]), given)
    values = parts.add("Clip", values, np.float64(-LARGEST), np.float64(LARGEST))
    features = [Features(parts.cast(_standardised(parts, values, own), np.float32), starts)]
    with_knots = [i for i, column in enumerate(own) if len(column.knots)]
    if with_knots:
        some = [own[i] for i in with_knots]
        at = [starts[i] for i in with_knots]
        values = parts.add("Gather", values, np.array(with_knots), axis=1)
        quantiles = parts.cast(_interpolated(parts, values, some), np.float32)
        features.append(Features(quantiles, [start + 1 for start in at]))
        if any(column.binned for column in some):
            features.append(_bins(parts, quantiles, some, at))
    marked = [i for i, column in enumerate(own) if column.indicator]
    if marked:
        flags = parts.cast(parts.add("Gather", missing, np.array(marked), axis=1), np.float32)
        features.append(Features(flags, [starts[i] + own[i].width - 1 for i in marked]))
    return features


def _standardised(parts: Parts, values: str, columns: Sequence[NumericColumn]) -> str:
    """(n, c) values → (n, c) float64, beyond the range of training with tails that have no end."""
    scale, bounds = np.array([c.scale for c in columns]), (np.float64(-CLIP), np.float64(CLIP))
    known = [c.tails and not np.isnan(c.least) for c in columns]
    ends = values
    if any(known):
        least = [c.least if has else -np.inf for c, has in zip(columns, known, strict=True)]
        largest = [c.largest if has else np.inf for c, has in zip(columns, known, strict=True)]
        ends = parts.add("Min", parts.add("Max", values, np.array(least)), np.array(largest))
    standard = parts.add(
        "Div", parts.add("Sub", ends, np.array([c.center for c in columns])), scale
    )
    standard = parts.add("Clip", standard, *bounds)
    if not any(known):
        return standard
    far = parts.add("Add", standard, parts.add("Div", parts.add("Sub", values, ends), scale))
    over = parts.add("Sub", parts.add("Abs", far), np.float64(CLIP))
    over = parts.add("Clip", over, np.float64(0), np.float64(LARGEST))
    more = parts.add("Log", parts.add("Add", over, np.float64(1)))
    return parts.add(
        "Add", parts.add("Clip", far, *bounds), parts.add("Mul", parts.add("Sign", far), more)
    )


def _interpolated(parts: Parts, values: str, columns: Sequence[NumericColumn]) -> str:
    """(n, c) values → (n, c) float64 quantiles, as `np.interp` gives them."""
    knots = _padded([column.knots for column in columns], np.inf)
    quantiles = _padded([column.quantiles for column in columns], 0.0)
    slopes = _padded([_slopes(column) for column in columns], 0.0)
    within = parts.add("Max", values, np.array([column.knots[0] for column in columns]))
    within = parts.add("Min", within, np.array([column.knots[-1] for column in columns]))
    at = _located(parts, within, knots)
    knot, quantile, slope = (
        parts.add("Gather", table.reshape(-1), at) for table in (knots, quantiles, slopes)
    )
    rise = parts.add("Mul", slope, parts.add("Sub", within, knot))
    return parts.add("Add", rise, quantile)


def _slopes(column: NumericColumn) -> NDArray[np.float64]:
    """(k,): how the quantiles rise from each knot to the next; behind the last they do not."""
    with np.errstate(over="ignore"):
        slopes = np.diff(column.quantiles) / np.diff(column.knots)
    # Between knots of the smallest numbers there are even steeper ones, but no value.
    return np.append(np.nan_to_num(slopes), 0.0)


def _bins(
    parts: Parts, quantiles: str, columns: Sequence[NumericColumn], starts: Sequence[int]
) -> Features:
    """(n, c) float32 quantiles → (n, all bins), each rising from 0 to 1 within its bin."""
    owner = np.repeat(np.arange(len(columns)), [column.binned for column in columns])
    edges = [column.bins.astype(np.float32) for column in columns if column.binned]
    low, high = (np.concatenate([e[part] for e in edges]) for part in (np.s_[:-1], np.s_[1:]))
    within = parts.add("Sub", parts.add("Gather", quantiles, owner, axis=1), low)
    within = parts.add("Div", within, high - low)
    within = parts.add("Clip", within, np.float32(0), np.float32(1))
    at = [
        start + FIRST_BIN + bin
        for column, start in zip(columns, starts, strict=True)
        for bin in range(column.binned)
    ]
    return Features(within, at)


def _categorical(
    parts: Parts, columns: Mapping[str, tuple[CategoricalColumn, int]], nulls: Sequence[str]
) -> Features:
    """The features of `CategoricalColumn.transform`, of all columns together."""
    codes_of = []
    for name, (column, _) in columns.items():
        known = codes(column, nulls)
        codes_of.append(
            parts.add(
                "LabelEncoder",
                name,
                domain="ai.onnx.ml",
                keys_strings=list(known),
                values_int64s=list(known.values()),
                default_int64=-1,
            )
        )
    together = parts.add("Concat", *codes_of, axis=1)
    widths = [column.width for column, _ in columns.values()]
    owner = np.repeat(np.arange(len(widths)), widths)
    which = np.concatenate([np.arange(width) for width in widths])
    is_it = parts.add("Equal", parts.add("Gather", together, owner, axis=1), which)
    starts = [start for _, start in columns.values()]
    at = [start + i for start, width in zip(starts, widths, strict=True) for i in range(width)]
    return Features(parts.cast(is_it, np.float32), at)


def _dates(parts: Parts, seconds: str, column: DateColumn, start: int) -> Features:
    """The features of `DateColumn.transform`, of one column."""
    missing = parts.add("IsNaN", seconds)
    known = parts.add("Where", missing, np.float64(0), seconds)
    days = parts.add("Div", known, np.float64(SECONDS))
    features = []
    for cycle in column.cycles:
        turns = days
        if cycle == "week":
            weekday = parts.add("Add", parts.add("Floor", days), np.float64(EPOCH_WEEKDAY))
            turns = parts.add("Div", weekday, np.float64(CYCLES["week"]))
        phase = parts.add("Sub", turns, parts.add("Floor", turns))
        angle = parts.add("Mul", phase, np.float64(2 * np.pi))
        features += [
            parts.add("Where", missing, np.float64(0), parts.add(operator, angle))
            for operator in ("Sin", "Cos")
        ]
    if column.indicator:
        features.append(parts.cast(missing, np.float64))
    together = parts.add("Concat", *features, axis=1)
    return Features(parts.cast(together, np.float32), [*range(start, start + column.width)])


# --------------------------------------------------------------------------- search


def _located(parts: Parts, values: str, table: NDArray[np.float64]) -> str:
    """Return the position, in the flattened table, of the last entry that a value reaches.

    A binary search of as many steps as are needed, of each column in its own row of the table.

    Args:
        values: name of the (n, c), or with c = 1 (n,), values; each at least its row's first entry.
        table: (c, 2^steps), rising along each row.
    """
    c, size = table.shape
    entries = parts.constant(table.reshape(-1))
    at = parts.constant(np.arange(c) * size)
    step = size // 2
    while step:
        further = parts.add("Add", at, np.int64(step))
        entry = parts.add("Gather", entries, further)
        at = parts.add("Where", parts.add("GreaterOrEqual", values, entry), further, at)
        step //= 2
    return at


def _padded(rows: Sequence[NDArray[np.float64]], by: float) -> NDArray[np.float64]:
    """Rows of different lengths as a table whose width is a power of two."""
    width = 1 << (max(len(row) for row in rows) - 1).bit_length()
    table = np.full((len(rows), width), by)
    for at, row in enumerate(rows):
        table[at, : len(row)] = row
    return table


# --------------------------------------------------------------------------- verdict


def _verdict(
    parts: Parts, output: str, gaussian: Gaussian | None, calibration: Calibration
) -> None:
    """(n, d) embeddings, or (n,) or (n, 1) scores → score, p-value and verdict, each (n,)."""
    score, p_value, anomaly = OUTPUTS
    if gaussian is None:
        first = parts.add("Gather", parts.add("Flatten", output, axis=1), np.int64(0), axis=1)
        parts.cast(first, np.float64, into=score)
    else:
        centred = parts.add("Sub", parts.cast(output, np.float64), gaussian.mean)
        white = parts.add("MatMul", centred, gaussian.whitener)
        squares = parts.add("Mul", white, white)
        total = parts.add("ReduceSum", squares, np.array([1]), keepdims=0)
        parts.add("Sqrt", total, into=score)
    # A row that is a reference has its score but for the last digits, and is to have its p-value.
    spared = parts.add("Mul", parts.add("Abs", score), np.float64(TIED))
    lowered = parts.add("Sub", score, spared)
    # reference >= s is the same as -s >= -reference, and -references in rising order are a table
    reference = calibration.reference
    falling = _padded([np.concatenate([[-np.inf], -reference[::-1]])], np.inf)
    reached = _located(parts, parts.add("Neg", lowered), falling)
    one_more = parts.add("Add", parts.cast(reached, np.float64), np.float64(1))
    parts.add("Div", one_more, np.float64(len(reference) + 1), into=p_value)
    parts.add("Greater", lowered, np.float64(calibration.threshold), into=anomaly)
