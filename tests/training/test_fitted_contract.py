"""What a detector's ``fit`` may give; all else is blamed on its plugin and leaves no model."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from anoean_plugins.datasets.toy import Toy
from anoean_plugins.detectors.anoean import AnoeanDetector
from onnx import TensorProto, helper, numpy_helper

from anoean_cli.data.splits import SplitRequest
from anoean_cli.errors import FileFormatError, PluginError
from anoean_cli.inference.runner import GraphRunner
from anoean_cli.interfaces import ExampleSpec, Fitted, FloatRows, LoadRequest
from anoean_cli.training.contract import check_held_out, checked, try_graph
from anoean_cli.training.request import TrainRequest
from anoean_cli.training.run import train_model

FEATURES = 4
SPEC = ExampleSpec("table", (FEATURES,))


def graph(*nodes: Any) -> bytes:
    """A graph from ``rows`` to ``out``, with some constants."""
    axes = {"first": np.array(0), "ax0": np.array([0]), "ax1": np.array([1])}
    constants = {**axes, "zero": np.float32(0)}
    used = {name for node in nodes for name in node.input}
    built = helper.make_graph(
        list(nodes),
        "g",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", FEATURES])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(v, k) for k, v in constants.items() if k in used],
    )
    opsets = [helper.make_opsetid("", 18)]
    model = helper.make_model(built, opset_imports=opsets, ir_version=10)
    return bytes(model.SerializeToString())


def node(kind: str, *inputs: str, out: str = "out", **attributes: Any) -> Any:
    return helper.make_node(kind, inputs, [out], **attributes)


SUM = graph(node("ReduceSum", "rows", "ax1", keepdims=0))
COLUMN = graph(node("ReduceSum", "rows", "ax1", keepdims=1))
SAME = graph(node("Abs", "rows"))


def rows(n: int = 50) -> FloatRows:
    return np.random.default_rng(0).normal(size=(n, FEATURES)).astype(np.float32)


@pytest.mark.parametrize(
    "fitted",
    [
        Fitted(SUM, "score"),
        Fitted(
            SUM,
            weights={"0.weight": np.zeros(3, np.float32)},
            metadata=MappingProxyType({"a": [1, None]}),
            history=[{"loss": np.float32(1)}, {"loss": math.nan, "epoch": 2}],
        ),
    ],
)
def test_what_fulfils_the_contract_passes(fitted: Fitted) -> None:
    assert checked(fitted, "x") is fitted


@pytest.mark.parametrize("given", [None, {"graph": SUM}])
def test_what_is_no_fitted_is_told(given: Any) -> None:
    with pytest.raises(PluginError, match=f"its fit returns a {type(given).__name__}, not a Fit"):
        checked(given, "detector plugin 'x'")


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("graph", "text", "its graph is a str, not bytes"),
        ("output", "banana", "its output is 'banana', not one of embedding, score"),
        ("covariance", "wide", "its covariance is 'wide'"),
        ("metadata", [1], "its metadata is no JSON object"),
        ("metadata", {"a": np.float32(1)}, "its metadata is no JSON object"),
        ("metadata", {"a": math.nan}, "its metadata is no JSON object"),
        ("history", None, "its history is no list"),
        ("history", [{"loss": "text"}], "its history is no list"),
        ("history", [{"a/b": 1.0, "a": 2.0}], "its history is no list"),
        ("weights", {"w": np.array([object()])}, "its weights are no mapping"),
        ("weights", {"w": [1, 2]}, "its weights are no mapping"),
        ("weights", {"": np.zeros(1)}, "its weights are no mapping"),
        ("weights", {"a": np.zeros(1), "a/b": np.zeros(1)}, "its weights are no mapping"),
    ],
)
def test_what_breaks_the_contract_is_told(field: str, value: Any, told: str) -> None:
    fitted = replace(Fitted(SUM), **{field: value})
    with pytest.raises(PluginError, match=rf"^detector plugin 'x' breaks its contract: {told}"):
        checked(fitted, "detector plugin 'x'")


@pytest.mark.parametrize(
    ("bytes_of_graph", "output"), [(SUM, "score"), (COLUMN, "score"), (SAME, "embedding")]
)
@pytest.mark.parametrize("n", [1, 2, 50, 1500])
def test_a_graph_that_takes_each_row_by_itself_passes(bytes_of_graph, output, n) -> None:
    try_graph(GraphRunner(bytes_of_graph, SPEC), rows(n), output)


@pytest.mark.parametrize(
    ("bytes_of_graph", "output", "told"),
    [
        (SAME, "score", r"gives \(4,\) numbers a row, not one score"),
        (SUM, "embedding", "not an embedding"),
        (graph(node("Unsqueeze", "rows", "ax1")), "embedding", r"shape \(256, 1, 4\)"),
        (graph(node("ReduceSum", "rows", "ax0", keepdims=0)), "score", r"shape \(4,\)"),
        (graph(node("Div", "rows", "zero")), "embedding", "not finite"),
        (
            graph(
                node("ReduceMean", "rows", "ax0", out="mean", keepdims=1),
                node("Sub", "rows", "mean"),
            ),
            "embedding",
            "a row alone another result",
        ),
        (graph(node("CumSum", "rows", "first")), "embedding", "a row alone another result"),
    ],
)
def test_a_graph_that_gives_something_else_is_refused(bytes_of_graph, output, told) -> None:
    with pytest.raises(FileFormatError, match=told):
        try_graph(GraphRunner(bytes_of_graph, SPEC), rows(), output)


@pytest.mark.parametrize(
    ("held_out", "told"),
    [
        ("none", r"its held_out is str, not the \(3, 2\)"),
        (np.zeros((1, 2)), r"its held_out is \(1, 2\), not the \(3, 2\)"),
        (np.full((3, 2), np.nan), "are not finite"),
        (np.zeros((3, 2), np.int64), "are not finite"),
    ],
)
def test_held_out_embeddings_of_other_shape_or_kind_are_refused(held_out, told: str) -> None:
    with pytest.raises(FileFormatError, match=told):
        check_held_out(held_out, np.zeros((3, 2), np.float32))


@pytest.mark.parametrize(
    ("fit", "told"),
    [
        (lambda *_: None, "returns a NoneType"),
        (lambda *_: Fitted(b"junk", "score"), "not an ONNX model"),
        (lambda *_: Fitted(SAME, "score"), "takes tensor"),
    ],
)
def test_training_blames_the_plugin(monkeypatch, fit: Callable[..., Any], told: str) -> None:
    monkeypatch.setattr(AnoeanDetector, "fit", fit)
    toy = Toy().load(LoadRequest())
    wanted = TrainRequest(SplitRequest(toy.normal, toy.apportionment), preset="paper", threads=1)
    with pytest.raises(PluginError, match=rf"^detector plugin 'anoean' breaks .*{told}"):
        train_model(toy, wanted)
