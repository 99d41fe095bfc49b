"""What an ONNX graph may hold before ONNX Runtime is given it.

A model file may come from anywhere. ONNX Runtime would open the files that a graph's external
data names, load custom operators and run loops without end, so all of that is refused first. Text
is refused too: a scoring graph has no use for it, and what strings take is in no tensor, where the
runner bounds memory.
The walk over the protobuf wire format is written out here because importing ``onnx`` would take
a third of the time that scoring one row may take. Field numbers are those of ``onnx.proto``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from anoean_cli.errors import FileFormatError

STANDARD_DOMAINS = (b"", b"ai.onnx", b"ai.onnx.ml")
VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5

MODEL_GRAPH, MODEL_OPSET, MODEL_FUNCTIONS, MODEL_TRAINING = 7, 8, 25, 20
OPSET_DOMAIN = 1
GRAPH_NODE, GRAPH_INITIALIZER, GRAPH_SPARSE = 1, 5, 15
NODE_ATTRIBUTE, NODE_DOMAIN = 5, 7
ATTRIBUTE_NAME, ATTRIBUTE_INT = 1, 3
ATTRIBUTE_TENSOR, ATTRIBUTE_GRAPH, ATTRIBUTE_TENSORS, ATTRIBUTE_GRAPHS = 5, 6, 10, 11
ATTRIBUTE_SPARSE, ATTRIBUTE_SPARSES = 22, 23
TENSOR_TYPE, TENSOR_EXTERNAL, TENSOR_LOCATION = 2, 13, 14
TEXT = 8
# A forest's attributes hold some hundred thousand integers, a field each: number 8, a varint.
# No check looks at them, so a run of them is passed over at once.
INTEGERS = 0x40
RUN_OF_INTEGERS = re.compile(rb"(?:\x40[\x80-\xff]{0,9}[\x00-\x7f])+")


def check_graph(graph: bytes) -> None:
    """Raise FileFormatError unless the graph is plain: standard operators and inline data only."""
    try:
        _check_model(memoryview(graph))
    except (IndexError, ValueError) as error:
        raise FileFormatError(f"the graph is not an ONNX model: {error}") from error


def _check_model(model: memoryview) -> None:
    graphs = 0
    for number, value in _fields(model):
        if number in (MODEL_FUNCTIONS, MODEL_TRAINING):
            raise FileFormatError("the graph defines functions or training, which is refused")
        if number == MODEL_OPSET:
            for inner, domain in _fields(value):
                if inner == OPSET_DOMAIN:
                    _check_domain(domain)
        if number == MODEL_GRAPH:
            graphs += 1
            _check_inner_graph(value)
    if graphs != 1:
        raise ValueError(f"{graphs} graphs")


def _check_inner_graph(graph: memoryview) -> None:
    for number, value in _fields(graph):
        if number == GRAPH_NODE:
            _check_node(value)
        elif number == GRAPH_INITIALIZER:
            _check_tensor(value)
        elif number == GRAPH_SPARSE:
            raise FileFormatError("the graph holds sparse tensors, which is refused")


def _check_node(node: memoryview) -> None:
    for number, value in _fields(node):
        if number == NODE_DOMAIN:
            _check_domain(value)
        elif number == NODE_ATTRIBUTE:
            _check_attribute(value)


def _check_attribute(attribute: memoryview) -> None:
    name, number = b"", 0
    for inner, part in _fields(attribute):
        if inner in (ATTRIBUTE_GRAPH, ATTRIBUTE_GRAPHS):
            raise FileFormatError("the graph holds loops or branches, which is refused")
        if inner in (ATTRIBUTE_SPARSE, ATTRIBUTE_SPARSES):
            raise FileFormatError("the graph holds sparse tensors, which is refused")
        if inner in (ATTRIBUTE_TENSOR, ATTRIBUTE_TENSORS):
            _check_tensor(part)
        if inner == ATTRIBUTE_NAME:
            name = bytes(part)
        if inner == ATTRIBUTE_INT:
            number = _integer(part)
    # value_string, classlabels_strings and their like; the type that Cast makes
    if b"string" in name or (name == b"to" and number == TEXT):
        raise FileFormatError("the graph handles text, which is refused")


def _check_tensor(tensor: memoryview) -> None:
    for number, value in _fields(tensor):
        if number == TENSOR_TYPE and _integer(value) == TEXT:
            raise FileFormatError("the graph handles text, which is refused")
        if number == TENSOR_EXTERNAL or (number == TENSOR_LOCATION and bytes(value) != b"\0"):
            raise FileFormatError("the graph keeps data in other files, which is refused")


def _check_domain(domain: memoryview) -> None:
    if bytes(domain) not in STANDARD_DOMAINS:
        raise FileFormatError(
            f"the graph uses operators of {bytes(domain)[:60]!r}; only standard ones are run"
        )


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The fields of one message: number and raw value."""
    at = 0
    while at < len(message):
        if message[at] == INTEGERS and (run := RUN_OF_INTEGERS.match(message, at)):
            at = run.end()
            continue
        key, at = _varint(message, at)
        if key >> 32:  # protobuf would drop these bits and see another field than we do
            raise ValueError("a field number is too large")
        number, wire = key >> 3, key & 7
        start = at
        if wire == VARINT:
            _, at = _varint(message, at)
        elif wire == FIXED64:
            at += 8
        elif wire == FIXED32:
            at += 4
        elif wire == LENGTH:
            size, start = _varint(message, at)
            at = start + size
        else:
            raise ValueError(f"wire type {wire}")
        if at > len(message):
            raise ValueError("it is cut off")
        yield number, message[start:at]


def _integer(value: memoryview) -> int:
    """The value of a VARINT field as protobuf reads it into 32 bits."""
    return _varint(value, 0)[0] & 0xFFFFFFFF


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = message[at]
    if value < 0x80:  # as nearly all are
        return value, at + 1
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
