"""Sums in graphs: the same numbers as before, wherever a row stands."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from anoean_cli.inference.runner import GraphRunner
from anoean_cli.interfaces import ExampleSpec
from anoean_cli.training.export import onnx_graph
from anoean_cli.training.sums import steady

SHAPES = {"table": (7,), "image": (3, 5, 7)}
node = helper.make_node


def graph(*nodes: onnx.NodeProto, shape: tuple[int, ...] = (7,), opset: int = 18, **constants):
    """An ONNX model from rows to (n,) or (n, k) numbers called out."""
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", *shape])
    out = helper.make_tensor_value_info("out", TensorProto.FLOAT, None)
    held = [numpy_helper.from_array(np.array(value), name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "g", [rows], [out], held)
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()


def module(function) -> bytes:
    class Module(nn.Module):
        def forward(self, rows):
            return function(rows)

    return onnx_graph(Module(), SHAPES["table"], "embedding")


def reduced(name: str, axes: list[int], **settings) -> bytes:
    """A sum over some axes of images, and what is left of them in a row."""
    left = [node("Flatten", ["sums"], ["out"], axis=1)]
    return graph(
        node(name, ["rows", "axes"], ["sums"], **settings), *left, shape=SHAPES["image"], axes=axes
    )


GRAPHS = {
    "a module's sum": module(lambda rows: rows.sum(dim=1)),
    "a module's mean": module(lambda rows: rows.mean(dim=1)),
    "as a column": module(lambda rows: rows.mean(dim=1, keepdim=True)),
    "of float64": module(lambda rows: rows.double().sum(dim=1)),
    "of float64 as a column": module(lambda rows: rows.double().mean(dim=1, keepdim=True)),
    "two": module(lambda rows: rows.sum(dim=1) / rows.abs().sum(dim=-1)),
    "older axes": graph(node("ReduceMean", ["rows"], ["out"], axes=[1], keepdims=0), opset=13),
    "a constant axis": graph(
        node("Constant", [], ["axes"], value_ints=[-1]),
        node("ReduceSum", ["rows", "axes"], ["out"], keepdims=0),
    ),
    "pixels": reduced("ReduceMean", [1, -1, 2]),
    "planes": reduced("ReduceSum", [2, 3]),
    "planes without their axes": reduced("ReduceSum", [-1, -2], keepdims=0),
    "lines": reduced("ReduceMean", [3], keepdims=0),
    "columns": reduced("ReduceSum", [2]),
    "colours": reduced("ReduceMean", [1]),
}


def check_places(before: GraphRunner, after: GraphRunner) -> None:
    """The latter gives what the former gives, to the last bit the same wherever a row stands."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(after.block, *after.shape)).astype(np.float32)
    found = after(rows)
    np.testing.assert_allclose(found, before(rows), rtol=1e-5, atol=1e-5)
    for positions in range(1, 9):
        moved = np.roll(rows, positions, axis=0)
        np.testing.assert_array_equal(after(moved), np.roll(found, positions, axis=0))


def runner_of(made: bytes) -> GraphRunner:
    dims = onnx.load_from_string(made).graph.input[0].type.tensor_type.shape.dim
    kind = "table" if len(dims) == 2 else "image"
    return GraphRunner(made, ExampleSpec(kind, SHAPES[kind]))


@pytest.mark.parametrize("made", GRAPHS.values(), ids=list(GRAPHS))
def test_a_sum_is_the_same_number_wherever_its_row_stands(made):
    check_places(runner_of(made), runner_of(steady(made)))


UNTOUCHED = {
    "no sum": module(lambda rows: rows.amax(dim=1)),
    "no graph": b"ReduceSum, but no graph",
    "nothing along the last axis": reduced("ReduceMean", [1]),
    "of whole numbers": graph(
        node("Cast", ["rows"], ["whole"], to=TensorProto.INT64),
        node("ReduceSum", ["whole", "axes"], ["sum"], keepdims=0),
        node("Cast", ["sum"], ["out"], to=TensorProto.FLOAT),
        axes=[1],
    ),
    "over all rows": graph(node("ReduceSum", ["rows"], ["out"], keepdims=0)),
}


@pytest.mark.parametrize("made", UNTOUCHED.values(), ids=list(UNTOUCHED))
def test_what_holds_no_sum_along_a_row_stays_as_it_is(made):
    assert steady(made) == made


OTHERS = ("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSumExp", "ReduceMax")


@pytest.mark.parametrize("name", OTHERS)
def test_other_reductions_need_no_change(name):
    for axes in ([3], [2, 3], [1, 2, 3]):
        run = runner_of(reduced(name, axes))
        check_places(run, run)


def test_the_same_graph_gives_the_same_bytes():
    made = GRAPHS["two"]
    assert steady(made) == steady(made)
    assert steady(steady(made)) == steady(made)


def test_a_graph_of_an_older_operator_set_stays_as_it_is():
    old = graph(node("ReduceMean", ["rows"], ["out"], axes=[1], keepdims=0), opset=9)
    assert steady(old) == old


def test_weights_may_be_inputs_too():
    model = onnx.load_model_from_string(
        graph(
            node("Mul", ["rows", "factor"], ["scaled"]),
            node("ReduceSum", ["scaled", "axes"], ["out"], keepdims=0),
            factor=np.float32(2),
            axes=[1],
        )
    )
    model.graph.input.append(helper.make_tensor_value_info("factor", TensorProto.FLOAT, []))
    assert steady(model.SerializeToString()) != model.SerializeToString()
