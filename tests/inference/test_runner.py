"""A row's result is its own: alone, anywhere, beside any others, on any thread."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import onnx
import pytest
import torch
from anoean_plugins.encoders.conv import Conv
from anoean_plugins.encoders.mlp import Mlp
from onnx import TensorProto, helper, numpy_helper

from anoean_cli.calibration.gaussian import Gaussian
from anoean_cli.errors import FileFormatError
from anoean_cli.inference import runner as runner_module
from anoean_cli.inference.runner import GraphRunner
from anoean_cli.interfaces import ExampleSpec
from anoean_cli.training.export import onnx_graph

SPECS = {
    "mlp": ExampleSpec("table", (41,)),
    "narrow": ExampleSpec("table", (1,)),
    "conv": ExampleSpec("image", (1, 28, 28)),
}


@pytest.fixture(scope="module", params=list(SPECS))
def runner(request) -> GraphRunner:
    spec = SPECS[request.param]
    torch.manual_seed(0)
    plugin = Conv() if spec.kind == "image" else Mlp()
    return GraphRunner(
        onnx_graph(plugin.build(spec, 32, plugin.Parameters()), spec.shape, "embedding"), spec
    )


def rows_of(runner: GraphRunner, n: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, *runner.shape)).astype(np.float32)


def test_a_row_alone_gives_what_it_gives_in_a_batch(runner):
    rows = rows_of(runner, 150)
    whole = runner(rows)
    assert whole.shape == (150, 32)
    for at in range(0, 150, 7):
        np.testing.assert_array_equal(runner(rows[at : at + 1]), whole[at : at + 1])


def test_position_makes_no_difference(runner):
    block = runner.block
    row = rows_of(runner, 1)
    same = runner(np.repeat(row, block + 3, axis=0))
    np.testing.assert_array_equal(same, np.repeat(same[:1], block + 3, axis=0))
    others = rows_of(runner, block)
    expected = runner(others)
    order = np.random.default_rng(1).permutation(block)
    np.testing.assert_array_equal(runner(others[order]), expected[order])


@pytest.mark.parametrize("step", [1, 2, 3, 16, 63, 64, 65])
def test_the_size_of_a_batch_makes_no_difference(runner, step):
    rows = rows_of(runner, 131)
    parts = [runner(rows[at : at + step]) for at in range(0, 131, step)]
    np.testing.assert_array_equal(np.concatenate(parts), runner(rows))


def test_a_boundary_of_blocks_makes_no_difference(runner):
    rows = rows_of(runner, 2 * runner.block + 1)
    whole = runner(rows)
    np.testing.assert_array_equal(runner(rows[5:]), whole[5:])


def test_eight_threads_at_once_give_the_same(runner):
    rows = rows_of(runner, 300)
    whole = runner(rows)
    spans = [(at, at + 1 + at % 40) for at in range(0, 260, 5)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda span: runner(rows[span[0] : span[1]]), spans * 3))
    for (start, end), part in zip(spans * 3, found, strict=True):
        np.testing.assert_array_equal(part, whole[start:end])


def test_what_stands_beside_a_row_makes_no_difference(runner):
    rows = rows_of(runner, 5)
    beside = rows.copy()
    beside[1:] = 1e30
    np.testing.assert_array_equal(runner(beside)[0], runner(rows)[0])


def test_rows_in_any_memory_order_give_the_same(runner):
    rows = rows_of(runner, runner.block)
    fortran = np.asfortranarray(rows)
    np.testing.assert_array_equal(runner(fortran), runner(rows))
    np.testing.assert_array_equal(runner(rows[::-1]), runner(rows)[::-1])


def test_no_rows_give_no_results_of_the_right_width(runner):
    assert runner(rows_of(runner, 0)).shape == (0, 32)


def test_scores_depend_on_their_row_alone(runner):
    rows = rows_of(runner, 200)
    gaussian = Gaussian.from_embeddings(runner(rows), "ledoit-wolf")
    whole = gaussian.mahalanobis(runner(rows))
    for at in range(0, 200, 11):
        assert gaussian.mahalanobis(runner(rows[at : at + 1]))[0] == whole[at]


# --------------------------------------------------------------------------- graphs that do not fit


def graph(node, shape=("n", 3), out=("n", 3), kinds=(1, 1), more=()) -> bytes:
    rows = helper.make_tensor_value_info("rows", kinds[0], shape)
    output = helper.make_tensor_value_info("out", kinds[1], out)
    made = helper.make_graph([node, *more], "g", [rows], [output])
    opset = helper.make_opsetid("", 18)
    return helper.make_model(made, opset_imports=[opset], ir_version=9).SerializeToString()


SPEC = ExampleSpec("table", (3,))
SAME = helper.make_node("Identity", ["rows"], ["out"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (graph(SAME, ("n", 4), ("n", 4)), "shape"),
        (graph(SAME, ("n", 3, 1), ("n", 3, 1)), "shape"),
        (graph(SAME, kinds=(TensorProto.DOUBLE, TensorProto.DOUBLE)), "double"),
        (
            graph(
                helper.make_node("Cast", ["rows"], ["out"], to=TensorProto.STRING),
                kinds=(1, TensorProto.STRING),
            ),
            "text",
        ),
        (graph(helper.make_node("NoSuchOperator", ["rows"], ["out"])), "cannot be loaded"),
        (graph(helper.make_node("Identity", ["nothing"], ["out"])), "cannot be loaded"),
    ],
)
def test_graphs_that_do_not_fit_are_refused(content, told):
    with pytest.raises(FileFormatError, match=told):
        GraphRunner(content, SPEC)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (graph(SAME, (2, 3), (2, 3)), "cannot be run"),
        (graph(helper.make_node("Transpose", ["rows"], ["out"]), out=(3, "n")), "gives shape"),
        (
            graph(helper.make_node("ReduceSum", ["rows"], ["out"], keepdims=0), out=()),
            "gives shape",
        ),
    ],
)
def test_graphs_that_do_not_give_a_result_for_each_row_are_refused(content, told):
    with pytest.raises(FileFormatError, match=told):
        GraphRunner(content, SPEC)(np.zeros((2, 3), np.float32))


# --------------------------------------------------------------------------- memory


def hungry(*nodes: onnx.NodeProto, **weights: np.ndarray) -> bytes:
    """A graph that adds up what its nodes call big, and rows."""
    total = helper.make_node("ReduceSum", ["big"], ["total"], keepdims=0)
    add = helper.make_node("Add", ["rows", "total"], ["out"])
    made = onnx.load_from_string(graph(nodes[0], more=[*nodes[1:], total, add]))
    made.graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in weights.items())
    return made.SerializeToString()


def filled(name: str, value: float) -> onnx.NodeProto:
    one = helper.make_tensor("v", TensorProto.FLOAT, [1], [value])
    return helper.make_node("ConstantOfShape", ["size"], [name], value=one)


def sizes(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


MANY = [f"part{index}" for index in range(20)]
HUNGRY = {
    "from a value": hungry(filled("big", 1), size=sizes(10**8)),
    "expanded": hungry(
        helper.make_node("Expand", ["rows", "size"], ["big"]), size=sizes(50, 1024, 1024, 3)
    ),
    "repeated": hungry(
        helper.make_node("Tile", ["w", "size"], ["big"]),
        w=np.ones(100, np.float32),
        size=sizes(10**6),
    ),
    "broadcast": hungry(
        helper.make_node("Add", ["a", "b"], ["big"]),
        a=np.ones((10_000, 1), np.float32),
        b=np.ones((1, 10_000), np.float32),
    ),
    "padded": hungry(
        helper.make_node("Pad", ["w", "size"], ["big"]),
        w=np.ones(1, np.float32),
        size=sizes(0, 10**8),
    ),
    "many constants that could be folded": hungry(
        *[filled(name, index) for index, name in enumerate(MANY)],
        helper.make_node("Sum", MANY, ["big"]),
        size=sizes(2 * 10**6),
    ),
}


@pytest.mark.parametrize("content", HUNGRY.values(), ids=list(HUNGRY))
def test_a_graph_that_asks_for_much_memory_is_refused(monkeypatch, content):
    monkeypatch.setattr(runner_module, "MEMORY", 2**26)
    with pytest.raises(FileFormatError, match="cannot be run"):
        GraphRunner(content, SPEC)(np.zeros((2, 3), np.float32))


def test_what_one_graph_takes_another_has_as_well(monkeypatch):
    monkeypatch.setattr(runner_module, "MEMORY", 2**26)
    content = hungry(filled("big", 1), size=sizes(10**7))
    runners = [GraphRunner(content, SPEC) for _ in range(3)]
    for each in runners:
        assert each(np.zeros((2, 3), np.float32)).tolist() == [[1e7] * 3] * 2
