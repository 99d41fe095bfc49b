"""What the numbers of a model rest on: a plain computation in float64, and the row alone."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pandas as pd
import pyarrow as pa
import pytest
import torch
from anoean_plugins.encoders.mlp import Mlp
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator
from test_scoring import SCHEMA, N, frame, images, untrained

from anoean_cli import AnoEAN
from anoean_cli.data.fitting import fit_table
from anoean_cli.data.preprocessing import ImagePreprocessor, NumericColumn
from anoean_cli.inference.drift import Incoming, drift_of
from anoean_cli.inference.model import Model, load_model

# The largest relative difference to float64 arithmetic throughout, of float32 inputs and layers.
BOUND = 1e-5


@pytest.fixture(scope="module")
def model() -> Model:
    rows = pa.Table.from_pandas(frame(), preserve_index=False)
    preprocessor = fit_table(rows, np.zeros(N, bool), SCHEMA)
    return untrained(preprocessor.spec, preprocessor.transform(rows), SCHEMA, preprocessor)


@pytest.fixture(scope="module")
def image_model() -> Model:
    preprocessor = ImagePreprocessor((1, 8, 12))
    return untrained(preprocessor.spec, preprocessor.transform(images(60)), None, preprocessor)


numbers = st.none() | st.integers(-4, 4).map(float) | st.floats(-1e12, 1e12, allow_subnormal=False)
some_rows = st.lists(
    st.tuples(numbers, st.sampled_from(["a", "b", "c", "d", None]), numbers), min_size=1
)


def as_frame(rows: list[tuple[float | None, str | None, float | None]]) -> pd.DataFrame:
    made = pd.DataFrame(rows, columns=["size", "kind", "speed"])
    return made.astype({"size": float, "kind": object, "speed": float})


# --------------------------------------------------------------------------- float64


def standardised(values: NDArray[np.float64], column: NumericColumn) -> NDArray[np.float64]:
    """Within the range of training at most 10 off the mean, and with a logarithm's tail beyond."""
    within = np.clip(values, column.least, column.largest)
    far = np.clip((within - column.center) / column.scale, -10, 10)
    far += (values - within) / column.scale
    tail = np.log(np.maximum(np.abs(far) - 9, 1))
    return np.clip(far, -10, 10) + np.sign(far) * tail


def features(model: Model, rows: pd.DataFrame) -> NDArray[np.float64]:
    """What the preprocessing is said to do, without float32."""
    made = []
    for name, column in model.preprocessor.columns.items():
        if isinstance(column, NumericColumn):
            values = rows[name].to_numpy(np.float64)
            filled = np.where(np.isnan(values), column.fill, values)
            made.append(standardised(filled, column))
            made.append(np.interp(filled, column.knots, column.quantiles))
        else:
            made += [(rows[name] == each).to_numpy(np.float64) for each in column.categories]
        if column.indicator:
            made.append(rows[name].isna().to_numpy(np.float64))
    return np.stack(made, axis=1)


@settings(deadline=None, max_examples=60)
@given(some_rows)
def test_scores_are_those_of_float64_within_the_bound(model, rows):
    X = as_frame(rows)
    torch.manual_seed(0)
    plugin = Mlp()
    encoder = plugin.build(model.preprocessor.spec, 4, plugin.Parameters()).double().eval()
    with torch.no_grad():
        z = encoder(torch.from_numpy(features(model, X))).numpy()
    centred = z - model.gaussian.mean
    squared = np.einsum(
        "ij,ij->i", centred, np.linalg.solve(model.gaussian.covariance, centred.T).T
    )
    # Near the mean a difference is lost in rounding: there the bound is on the distance itself.
    expected = np.sqrt(squared)
    np.testing.assert_allclose(model.anomaly_score(X), expected, rtol=BOUND, atol=10 * BOUND)


@pytest.fixture(scope="module")
def trained() -> Model:
    """Two numeric columns; all that the default adds, a forest and distances among it."""
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(300, 2)), rng.normal(4, 1, size=(40, 2))])
    return AnoEAN(max_iter=2, random_state=0).fit(X, np.repeat([1, -1], [300, 40])).model_


def in_float64(graph: bytes) -> ReferenceEvaluator:
    """The same graph with double precision throughout, as the authors of ONNX understand it."""
    model = onnx.load_from_string(graph)

    def widen(tensor: onnx.TensorProto) -> None:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            wide = numpy_helper.to_array(tensor).astype(np.float64)
            tensor.CopyFrom(numpy_helper.from_array(wide, tensor.name))

    for tensor in model.graph.initializer:
        widen(tensor)
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            value.type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    for attribute in (each for node in model.graph.node for each in node.attribute):
        if attribute.name == "to" and attribute.i == onnx.TensorProto.FLOAT:
            attribute.i = onnx.TensorProto.DOUBLE
        if attribute.type == onnx.AttributeProto.TENSOR:
            widen(attribute.t)
    return ReferenceEvaluator(model)


@settings(deadline=None, max_examples=20)
@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-9, 9)), min_size=1, max_size=40))
def test_a_trained_graph_gives_what_it_gives_in_float64_within_the_bound(trained, rows):
    table = pa.table(dict(zip(trained.schema.columns, np.array(rows).T, strict=True)))
    x = trained.preprocessor.transform(table)
    (z,) = in_float64(trained.graph).run(None, {"rows": x.astype(np.float64)})
    assert z.dtype == np.float64
    expected = trained.gaussian.mahalanobis(z)
    np.testing.assert_allclose(trained.score_rows(x).scores, expected, rtol=10 * BOUND, atol=BOUND)


# --------------------------------------------------------------------------- the row alone


@settings(deadline=None, max_examples=40)
@given(some_rows, st.randoms(), st.integers(1, 7))
def test_order_cuts_and_copies_change_no_bit_of_a_score(model, rows, random, size):
    X = as_frame(rows)
    expected = model.anomaly_score(X)
    order = [random.randrange(len(X)) for _ in range(2 * len(X))]  # some twice, some never
    shuffled = X.iloc[order]
    parts = [shuffled[at : at + size] for at in range(0, len(order), size)]
    np.testing.assert_array_equal(
        np.concatenate([model.anomaly_score(part) for part in parts]), expected[order]
    )
    np.testing.assert_array_equal(model.anomaly_score(shuffled), expected[order])


@settings(deadline=None, max_examples=40)
@given(some_rows, st.integers(1, 7))
def test_drift_is_the_same_however_rows_are_cut(model, rows, size):
    table = pa.Table.from_pandas(as_frame(rows), preserve_index=False)
    table = table.cast(pa.schema([("size", "f8"), ("kind", "string"), ("speed", "f8")]))
    whole, merged = Incoming.beside(model), Incoming.beside(model)
    whole.score(model, table)
    for at in reversed(range(0, len(table), size)):
        part = Incoming.beside(model)
        part.score(model, table.slice(at, size))
        merged.merge(part)
    assert drift_of(model, merged) == drift_of(model, whole)
    assert drift_of(model, merged).scores.rows == len(rows)


def test_eight_threads_on_one_loaded_model_give_the_bits_of_one(model, image_model, tmp_path):
    for each, X in ((model, frame(1)), (image_model, images(200, 1))):
        each.save(tmp_path / "m.h5", overwrite=True)
        expected = each.anomaly_score(X)
        for _ in range(3):
            loaded = load_model(tmp_path / "m.h5")  # none of its parts is built yet
            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(loaded.anomaly_score, [X] * 24))
            for scores in found:
                np.testing.assert_array_equal(scores, expected)


# --------------------------------------------------------------------------- layouts of arrays


def read_only(X: NDArray[np.generic]) -> NDArray[np.generic]:
    X = X.copy()
    X.setflags(write=False)
    return X


def strided(X: NDArray[np.generic]) -> NDArray[np.generic]:
    """Every other row and element of a larger array, backwards."""
    wide = np.zeros((2 * X.shape[0], *X.shape[1:-1], 2 * X.shape[-1]), X.dtype)
    wide[::-2, ..., ::2] = X
    return wide[::-2, ..., ::2]


LAYOUTS: dict[str, Callable[[NDArray[np.generic]], NDArray[np.generic]]] = {
    "C": np.ascontiguousarray,
    "Fortran": np.asfortranarray,
    "read-only": read_only,
    "strided": strided,
    "other byte order": lambda X: X.astype(X.dtype.newbyteorder()),
}


@pytest.fixture(scope="module")
def array_model() -> Model:
    """A model of three columns of numbers."""
    from anoean_cli.data.schema import TableSchema

    names = ("a", "b", "c")
    schema = TableSchema(dict.fromkeys(names, "numeric"), {}, names)
    rows = pa.table(dict(zip(names, np.random.default_rng(0).normal(size=(3, N)), strict=True)))
    preprocessor = fit_table(rows, np.zeros(N, bool), schema)
    return untrained(preprocessor.spec, preprocessor.transform(rows), schema, preprocessor)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_layout_of_an_array_makes_no_difference(array_model, image_model, layout, dtype):
    X = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    expected = array_model.anomaly_score(X.astype(np.float64))
    given_ = LAYOUTS[layout](X.astype(dtype))
    before = given_.copy()
    np.testing.assert_array_equal(array_model.anomaly_score(given_), expected)
    np.testing.assert_array_equal(given_, before)
    pixels = images(9, 1)
    for as_given in (pixels, pixels.astype(dtype)):
        np.testing.assert_array_equal(
            image_model.anomaly_score(LAYOUTS[layout](as_given)), image_model.anomaly_score(pixels)
        )


@pytest.mark.parametrize("layout", ["Fortran", "read-only", "strided"])
def test_the_layout_of_examples_makes_no_difference(image_model, layout):
    pixels = images(9, 1)
    np.testing.assert_array_equal(
        image_model.score(LAYOUTS[layout](pixels)).scores, image_model.score(pixels).scores
    )
