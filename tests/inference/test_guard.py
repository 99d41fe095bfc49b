"""Graphs from anywhere: what is refused before ONNX Runtime sees it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from anoean_plugins.encoders.conv import Conv
from anoean_plugins.encoders.mlp import Mlp
from onnx import TensorProto, helper, numpy_helper

from anoean_cli.errors import FileFormatError
from anoean_cli.inference.guard import check_graph
from anoean_cli.inference.runner import GraphRunner
from anoean_cli.interfaces import ExampleSpec
from anoean_cli.training.export import onnx_graph

ROWS = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 3])
OUT = helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", 3])
OPSET = helper.make_opsetid("", 18)
PLAIN = helper.make_node("Add", ["rows", "w"], ["out"])
WEIGHT = numpy_helper.from_array(np.ones(3, np.float32), "w")
TEXT = helper.make_tensor("t", TensorProto.STRING, [1], [b"text"])


def model(nodes=(PLAIN,), initializers=(WEIGHT,), opsets=(OPSET,), **parts) -> onnx.ModelProto:
    graph = helper.make_graph(list(nodes), "g", [ROWS], [OUT], list(initializers))
    return helper.make_model(graph, opset_imports=list(opsets), ir_version=9, **parts)


def external(tensor: onnx.TensorProto = WEIGHT) -> onnx.TensorProto:
    moved = onnx.TensorProto()
    moved.CopyFrom(tensor)
    moved.ClearField("raw_data")
    moved.data_location = TensorProto.EXTERNAL
    entry = moved.external_data.add()
    entry.key, entry.value = "location", "/etc/passwd"
    return moved


def branch() -> onnx.GraphProto:
    out = helper.make_tensor_value_info("b", TensorProto.FLOAT, None)
    return helper.make_graph([helper.make_node("Identity", ["rows"], ["b"])], "b", [], [out])


def sparse() -> onnx.SparseTensorProto:
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    return helper.make_sparse_tensor(values, numpy_helper.from_array(np.zeros(1, np.int64)), [3])


def with_location_only() -> onnx.ModelProto:
    made = model()
    made.graph.initializer[0].data_location = TensorProto.EXTERNAL
    return made


def with_sparse_initializer() -> onnx.ModelProto:
    made = model(initializers=())
    made.graph.sparse_initializer.append(sparse())
    return made


def with_function() -> onnx.ModelProto:
    function = helper.make_function("", "F", ["x"], ["y"], [PLAIN], [OPSET])
    return model(functions=[function])


def with_training() -> onnx.ModelProto:
    made = model()
    made.training_info.add()
    return made


def constant(name: str, value) -> onnx.NodeProto:
    return helper.make_node("Constant", [], ["w"], **{name: value})


REFUSED = {
    "external initializer": (lambda: model(initializers=[external()]), "other files"),
    "external location": (with_location_only, "other files"),
    "external constant": (
        lambda: model([constant("value", external()), PLAIN], ()),
        "other files",
    ),
    "external among tensors": (
        lambda: model([constant("values", [WEIGHT, external()]), PLAIN], ()),
        "other files",
    ),
    "custom operator": (
        lambda: model([helper.make_node("Add", ["rows", "w"], ["out"], domain="evil")]),
        "'evil'",
    ),
    "custom opset": (lambda: model(opsets=[OPSET, helper.make_opsetid("evil", 1)]), "'evil'"),
    "contributed operator": (
        lambda: model([helper.make_node("Gelu", ["rows"], ["out"], domain="com.microsoft")]),
        "com.microsoft",
    ),
    "if": (
        lambda: model(
            [helper.make_node("If", ["c"], ["out"], then_branch=branch(), else_branch=branch())]
        ),
        "loops or branches",
    ),
    "loop": (
        lambda: model([helper.make_node("Loop", ["m", "c"], ["out"], body=branch())]),
        "loops or branches",
    ),
    "scan": (
        lambda: model(
            [helper.make_node("Scan", ["rows"], ["out"], body=branch(), num_scan_inputs=1)]
        ),
        "loops or branches",
    ),
    "graphs": (
        lambda: model([helper.make_node("Add", ["rows", "w"], ["out"], inner=[branch()])]),
        "loops or branches",
    ),
    "function": (with_function, "functions"),
    "training": (with_training, "functions or training"),
    "sparse initializer": (with_sparse_initializer, "sparse"),
    "text among weights": (lambda: model(initializers=[WEIGHT, TEXT]), "text"),
    "text constant": (lambda: model([constant("value", TEXT), PLAIN], ()), "text"),
    "text as an attribute": (lambda: model([constant("value_string", "x"), PLAIN], ()), "text"),
    "numbers made text": (
        lambda: model([PLAIN, helper.make_node("Cast", ["out"], ["t"], to=TensorProto.STRING)]),
        "text",
    ),
    "sparse constant": (lambda: model([constant("sparse_value", sparse()), PLAIN], ()), "sparse"),
}


@pytest.mark.parametrize(("build", "told"), REFUSED.values(), ids=list(REFUSED))
def test_what_is_not_plain_is_refused(build, told):
    with pytest.raises(FileFormatError, match=told):
        check_graph(build().SerializeToString())


def test_a_plain_graph_is_accepted():
    check_graph(model().SerializeToString())
    found = GraphRunner(model().SerializeToString(), ExampleSpec("table", (3,)))
    assert found(np.zeros((2, 3), np.float32)).tolist() == [[1, 1, 1], [1, 1, 1]]


def test_the_operators_of_scikit_learn_models_are_accepted():
    made = model(
        [helper.make_node("Scaler", ["rows"], ["out"], domain="ai.onnx.ml", scale=[2.0])],
        (),
        (OPSET, helper.make_opsetid("ai.onnx.ml", 3)),
    )
    check_graph(made.SerializeToString())


@pytest.mark.parametrize("kind", ["table", "image"])
def test_our_own_graphs_are_accepted(kind):
    spec = ExampleSpec(kind, (7,) if kind == "table" else (1, 8, 8))
    plugin = Mlp() if kind == "table" else Conv()
    check_graph(onnx_graph(plugin.build(spec, 3, plugin.Parameters()), spec.shape, "embedding"))


# --------------------------------------------------------------------------- damaged bytes


def test_every_truncation_is_refused_or_is_an_empty_graph():
    whole = model().SerializeToString()
    spec = ExampleSpec("table", (3,))
    for end in range(len(whole)):
        with pytest.raises(FileFormatError):
            GraphRunner(whole[:end], spec)


def test_random_bytes_never_end_in_another_error():
    rng = np.random.default_rng(0)
    whole = bytearray(model(initializers=[WEIGHT]).SerializeToString())
    for _ in range(500):
        damaged = bytearray(whole)
        for at in rng.integers(len(damaged), size=rng.integers(1, 6)):
            damaged[at] = rng.integers(256)
        try:
            check_graph(bytes(damaged))
        except FileFormatError:
            continue


@pytest.mark.parametrize("garbage", [b"", b"\0", b"\xff" * 40, b"PK\x03\x04 not a graph", b"\x3a"])
def test_what_is_no_model_is_refused(garbage):
    with pytest.raises(FileFormatError, match="not an ONNX model"):
        check_graph(garbage)


def test_two_graphs_in_one_model_are_refused():
    # protobuf would merge them
    two = model().SerializeToString() + model([], ()).SerializeToString()
    with pytest.raises(FileFormatError, match="2 graphs"):
        check_graph(two)


# --------------------------------------------------------------------------- other encodings


def varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*parts, value])


def field(number: int, content: bytes, key_bits: int = 0) -> bytes:
    return varint((number << 3 | 2) | key_bits) + varint(len(content)) + content


@pytest.mark.parametrize("key_bits", [0, 1 << 32, 1 << 34])
def test_field_numbers_that_protobuf_would_cut_short_do_not_hide_fields(key_bits):
    """protobuf reads keys into 32 bits: with bit 32 set, field 13 is still field 13 to it."""
    tensor = WEIGHT.SerializeToString() + field(13, b"", key_bits)
    graph = model(initializers=()).graph.SerializeToString() + field(5, tensor)
    whole = field(8, OPSET.SerializeToString()) + field(7, graph)
    with pytest.raises(FileFormatError):
        check_graph(whole)


def test_a_long_form_of_a_number_is_read_as_protobuf_reads_it():
    tensor = WEIGHT.SerializeToString()
    key = bytes([(13 << 3 | 2) | 0x80, 0x80, 0x00])
    moved = tensor + key + b"\0"
    graph = model(initializers=()).graph.SerializeToString() + field(5, moved)
    with pytest.raises(FileFormatError, match="other files"):
        check_graph(field(8, OPSET.SerializeToString()) + field(7, graph))


def test_torch_modules_of_any_width_pass(tmp_path):
    wide = torch.nn.Sequential(torch.nn.Linear(3, 400), torch.nn.BatchNorm1d(400))
    check_graph(onnx_graph(wide, (3,), "embedding"))
