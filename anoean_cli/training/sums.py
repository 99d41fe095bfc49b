"""Sums along a row, written so that they do not depend on where in a block the row stands.

ONNX Runtime's ReduceSum and ReduceMean along the last axes begin with what stands before the next
address that is a multiple of 16 bytes: unless four numbers (two of float64) fill up a row, each
row adds in another order than the next. A matrix product with ones adds in the same order
everywhere. So do its other reductions, and sums along other axes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from anoean_cli.inference.guard import check_graph
from anoean_cli.inference.runner import BLOCK, MEMORY, session

SUMS = ("ReduceSum", "ReduceMean")
LEAST_OPERATOR_SET = 10  # of the Slice that is put in
FLOATS = (np.dtype(np.float32), np.dtype(np.float64))


def steady(graph: bytes) -> bytes:
    """Return the ONNX model with matrix products in place of sums along the last axes.

    Sums whose axes are no constants stay, and so does all of a graph of an older operator set than
    10, or that cannot be run; who runs it next will say why.
    """
    if not any(name.encode() in graph for name in SUMS):
        return graph
    try:
        check_graph(graph)
        model = onnx.load_model_from_string(graph)
        if _operator_set(model) < LEAST_OPERATOR_SET:
            return graph
        summed = _summed(model)
    except Exception:  # a plugin's bytes: protobuf and ONNX Runtime have errors of their own
        return graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    nodes: list[onnx.NodeProto] = []
    for at, node in enumerate(model.graph.node):
        if node.op_type == "Constant":
            constants[node.output[0]] = _array(node.attribute[0])
        axes = _axes(node, constants)
        if axes is None or not _are_last(axes, *summed[node.input[0]]):
            nodes.append(node)
            continue
        kind, rank = summed[node.input[0]]
        product, held = _product(node, f"sum {at}", rank - len(axes), len(axes), kind)
        nodes += product
        model.graph.initializer.extend(held)
    if len(nodes) == len(model.graph.node):
        return graph
    model.graph.ClearField("node")
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString(deterministic=True))


def _product(
    node: onnx.NodeProto, name: str, kept: int, lost: int, kind: np.dtype[Any]
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """Nodes that give what a sum over the last axes gives, and their constants.

    The ones are made when it runs: their number may follow from nothing but the rows, and stored
    ones would be packed for a product that is slower.

    Args:
        kept, lost: how many axes stay, and how many are summed.
        kind: of the numbers.
    """
    dtype = helper.np_dtype_to_tensor_dtype(kind)
    keeps = {each.name: each.i for each in node.attribute}.get("keepdims", 1)
    constants = {  # for Reshape 0 is the size that is there, −1 what is left
        "flat": [*[0] * kept, -1],
        "shape": [*[0] * kept, *[1] * lost * keeps],
        "from": [kept],
        "to": [kept + 1],
        "one": [1],
    }

    def make(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
        named = [f"{name} {each}" for each in inputs.split()]
        return helper.make_node(operator, named, [f"{name} {output}"], **attributes)

    filling = helper.make_tensor("one", dtype, [1], [1])
    nodes = [
        make("Reshape", "rows flat", "flattened"),
        make("Shape", "flattened", "sizes"),
        make("Slice", "sizes from to", "size"),
        make("Concat", "size one", "column", axis=0),
        make("ConstantOfShape", "column", "ones", value=filling),
        make("MatMul", "flattened ones", "sums"),
    ]
    if node.op_type == "ReduceMean":
        nodes += [
            make("Cast", "size", "divisor", to=dtype),
            make("Div", "sums divisor", "means"),
            make("Reshape", "means shape", "result"),
        ]
    else:
        nodes.append(make("Reshape", "sums shape", "result"))
    nodes[0].input[0] = node.input[0]
    nodes[-1].output[0] = node.output[0]
    held = [numpy_helper.from_array(np.array(v), f"{name} {key}") for key, v in constants.items()]
    return nodes, held


def _are_last(axes: Sequence[int], kind: np.dtype[Any], rank: int) -> bool:
    """Whether floats are summed over the last axes, but not over the rows."""
    last = list(range(rank - len(axes), rank))
    return kind in FLOATS and 0 < len(axes) < rank and sorted(axis % rank for axis in axes) == last


def _axes(node: onnx.NodeProto, constants: Mapping[str, Any]) -> list[int] | None:
    """Over which a node sums, from an attribute, as in older operator sets, or a constant."""
    if node.op_type not in SUMS:
        return None
    for attribute in node.attribute:
        if attribute.name == "axes":
            return list(attribute.ints)
    axes = constants.get(node.input[1]) if len(node.input) > 1 else None
    return None if axes is None else [int(axis) for axis in axes]


def _array(attribute: onnx.AttributeProto) -> Any:
    value = helper.get_attribute_value(attribute)
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value


def _operator_set(model: onnx.ModelProto) -> int:
    return max(int(each.version) for each in model.opset_import if each.domain in ("", "ai.onnx"))


def _rows_of(model: onnx.ModelProto) -> onnx.ValueInfoProto:
    """The input that is none of the weights, which older graphs count among their inputs."""
    weights = {tensor.name for tensor in model.graph.initializer}
    rows: onnx.ValueInfoProto
    (rows,) = (each for each in model.graph.input if each.name not in weights)
    return rows


def _summed(model: onnx.ModelProto) -> dict[str, tuple[np.dtype[Any], int]]:
    """Type and number of axes of each tensor that is summed, as two rows of zeros have them.

    onnx.shape_inference knows neither behind much that torch.onnx.export writes.
    """
    names = sorted({node.input[0] for node in model.graph.node if node.op_type in SUMS})
    probe = onnx.ModelProto.FromString(model.SerializeToString())
    probe.graph.ClearField("output")
    probe.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    rows = _rows_of(probe)
    shape = [size.dim_value or 2 for size in rows.type.tensor_type.shape.dim]
    content = probe.SerializeToString()
    running = session(content, MEMORY + BLOCK["table"] * len(content))
    found = running.run(names, {rows.name: np.zeros(shape, np.float32)})
    return {name: (each.dtype, each.ndim) for name, each in zip(names, found, strict=True)}
