"""The exported graph does what the model does, step by step, or is not written."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnxruntime as ort
import pyarrow as pa
import pytest
from full_config import CONFIG
from onnx import TensorProto, helper

from anoean_cli.calibration.conformal import Calibration
from anoean_cli.calibration.gaussian import Gaussian
from anoean_cli.data.fitting import fit_table
from anoean_cli.data.preprocessing import TablePreprocessor
from anoean_cli.data.schema import TableSchema, infer_schema
from anoean_cli.errors import AnoeanError, FileFormatError
from anoean_cli.inference.export import exported, feed
from anoean_cli.inference.model import Model
from anoean_cli.inference.onnx_scorer import input_names

N = 400


def table(seed: int = 0) -> pa.Table:
    rng = np.random.default_rng(seed)
    some_missing = rng.random(N) < 0.1
    return pa.table(
        {
            "many": pa.array(rng.lognormal(10, 3, N)),
            "colour": pa.array(rng.choice(["red", "grün", ""], N).tolist()),
            "few": pa.array(np.where(some_missing, np.nan, rng.integers(0, 4, N))),
            "code": pa.array(np.where(some_missing, None, rng.choice(["10", "20.5"], N)).tolist()),
            "flag": pa.array(rng.choice(["true", "false"], N).tolist()),
            "day": pa.array(rng.choice(["2020-01-03", "2020-01-04"], N).tolist()),
            "at": pa.array(
                np.where(some_missing, None, rng.integers(-(10**15), 10**16, N)).tolist(),
                pa.timestamp("us", "UTC"),
            ),
            "on": pa.array((rng.integers(0, 99, N) * 86_400 * 10**6).tolist(), pa.timestamp("us")),
        }
    )


def graph_of(operator: str, width: int, opset: int = 17) -> bytes:
    """A stored graph of one operator, from rows to rows of the same shape."""
    rows, out = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", width])
        for name in ("rows", "out")
    )
    inputs = ["rows"] if operator != "Sub" else ["rows", "mean"]
    nodes = [helper.make_node(operator, inputs, ["out"])]
    if operator == "Sub":  # of the mean of all rows: it looks at neighbours
        nodes.insert(0, helper.make_node("ReduceMean", ["rows"], ["mean"], axes=[0], keepdims=1))
    graph = helper.make_graph(nodes, "g", [rows], [out])
    sets = [helper.make_opsetid("", opset)]
    return helper.make_model(graph, opset_imports=sets, ir_version=8).SerializeToString()


def model_of(preprocessor: TablePreprocessor, schema: TableSchema, operator: str) -> Model:
    """A model whose embedding is the preprocessed row, every feature of which weighs otherwise."""
    width = preprocessor.spec.shape[0]
    gaussian = Gaussian(np.zeros(width), np.diag(np.arange(1.0, width + 1)))
    bare = Calibration(np.array([0.0]), 0.0, {"rule": "given"}, True)
    model = Model(
        CONFIG, schema, preprocessor, graph_of(operator, width), "embedding", gaussian, bare
    )
    if operator != "Identity":
        return model
    reference = np.sort(model.score(table(seed=1)).scores)
    return replace(model, calibration=Calibration(reference, reference[-20], {}, True))


def fitted(rows: pa.Table, inputs: str = "bins", operator: str = "Identity") -> Model:
    schema = infer_schema(rows, vouched=("day",))  # the user may call dates categories
    return model_of(fit_table(rows, np.zeros(N, bool), schema, inputs), schema, operator)


def run(model: Model, given: dict[str, Any]) -> list[Any]:
    session = ort.InferenceSession(exported(model).onnx)
    return session.run(["score", "p_value", "anomaly"], given)  # type: ignore[no-any-return]


@pytest.mark.parametrize("inputs", ["bins", "quantile", "standard"])
@pytest.mark.parametrize(
    "names",
    [table().column_names, ["many"], ["colour", "flag"], ["code"], ["at"], ["on"]],
    ids=["all", "a number", "texts", "missing", "moments", "days"],
)
def test_every_feature_is_where_it_belongs(names: list[str], inputs: str) -> None:
    model = fitted(table().select(names), inputs)
    for rows in (table(seed=1).select(names), table(seed=2).select(names)[:1]):
        expected = model.score(rows)
        score, p_value, anomaly = run(model, feed(model, rows))
        np.testing.assert_allclose(score, expected.scores, rtol=1e-12)
        np.testing.assert_array_equal(p_value, expected.p_values)
        np.testing.assert_array_equal(anomaly, expected.is_anomaly)


def scores_of_texts(model: Model, column: str, texts: list[str]) -> list[float]:
    rows = table()[:1]
    for name, kind in model.schema.columns.items():  # type: ignore[union-attr]
        if kind == "categorical" and name != column:
            rows = rows.set_column(rows.column_names.index(name), name, pa.array(["unseen"]))
    given = {name: np.repeat(values, len(texts), 0) for name, values in feed(model, rows).items()}
    given[column] = np.array(texts, object)[:, None]
    return run(model, given)[0].tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("column", "alike", "other"),
    [
        ("code", ["10", "10.0"], "20.5"),
        ("code", ["", "NA"], "10"),  # the marker of full_config.py
        ("code", ["x", "1e1", "010"], ""),
        ("flag", ["true", "True", "TRUE"], "false"),
        ("day", ["2020-01-03", "2020-01-03 00:00:00", "2020-01-03T00:00:00"], "2020-01-04"),
        ("colour", ["x", " red", "red ", "RED"], "red"),
    ],
)
def test_usual_spellings_are_known_and_no_others(column: str, alike: list[str], other: str) -> None:
    *same, different = scores_of_texts(fitted(table()), column, [*alike, other])
    assert same == pytest.approx([same[0]] * len(same), rel=1e-12)  # sines differ in last digits
    assert different != same[0]


def test_what_is_written_as_in_training_comes_before_what_means_the_same() -> None:
    rows = pa.table({"code": pa.array(["1", "1.0", "1e0", "NA"] * (N // 4))})
    model = fitted(rows)
    assert len(set(scores_of_texts(model, "code", ["1", "1.0", "1e0", "NA", ""]))) == 5
    # "NA" was a category, though it marks missing values elsewhere


def test_infinite_numbers_are_large_ones() -> None:
    model = fitted(table().select(["many"]))
    given = np.array([[np.inf], [1e300], [-np.inf], [-1e300]])
    score = run(model, {"many": given})[0]
    assert score[0] == score[1]
    assert score[2] == score[3]
    assert np.isfinite(score).all()


def test_columns_of_different_lengths_are_refused() -> None:
    model = fitted(table())
    given = feed(model, table())
    given["few"] = given["few"][: N // 2]
    with pytest.raises(Exception, match="Concat"):
        run(model, given)


def test_names_of_inputs_are_unique_and_not_empty() -> None:
    columns = ["score", "column_score", "", "anomaly", "x"]
    names = input_names(columns)
    assert names["x"] == "x"
    assert len({*names.values(), "score", "p_value", "anomaly", ""}) == len(columns) + 4


def test_a_graph_that_looks_at_neighbours_is_not_exported() -> None:
    with pytest.raises(AnoeanError, match="more than 1e-05 of it apart") as told:
        exported(fitted(table(), operator="Sub"))
    assert told.value.status == 1


def test_operators_of_long_ago_are_refused() -> None:
    model = fitted(table())
    old = graph_of("Identity", model.preprocessor.spec.shape[0], opset=11)
    with pytest.raises(FileFormatError, match="operator set 11"):
        exported(replace(model, graph=old))
