"""Files that an attacker would write: real ones, altered so that every checksum fits again.

``STRUCTURES`` change what HDF5 holds; ``CONTENTS`` change the values of a model file. Used by the
suite and by benchmarks/hostile.py.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import onnx
from h5py import h5p
from onnx import TensorProto, helper, numpy_helper

from anoean_cli.storage import hdf5, values
from anoean_cli.storage.model import FORMAT, VERSION, VOLATILE
from anoean_cli.storage.values import Json

# --------------------------------------------------------------------------- structure


def soft_link(file: h5py.File) -> None:
    file["bad"] = h5py.SoftLink("/config")


def external_link(file: h5py.File) -> None:
    file["bad"] = h5py.ExternalLink("secret.h5", "/config")


def external_storage(file: h5py.File) -> None:
    file.create_dataset("bad", (8,), "u1", external=[("secret", 0, 8)])


def virtual_dataset(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2,), "u1")
    layout[:] = h5py.VirtualSource("secret.h5", "bytes", (2,))
    file.create_virtual_dataset("bad", layout)


def object_reference(file: h5py.File) -> None:
    file.create_dataset("bad", data=file["/"].ref, dtype=h5py.ref_dtype)


def unknown_filter(file: h5py.File) -> None:
    plan = h5p.create(h5p.DATASET_CREATE)
    plan.set_chunk((10,))
    plan.set_filter(32_768, h5py.h5z.FLAG_OPTIONAL, (1, 2))
    space = h5py.h5s.create_simple((100,))
    h5py.h5d.create(file.id, b"bad", h5py.h5t.STD_U8LE, space, plan)


def attribute_of_100_mb(file: h5py.File) -> None:
    file["/"].attrs.create("bad", np.zeros(100 * 2**20, np.uint8))


def chunked_terabyte(file: h5py.File) -> None:
    file.create_dataset("bad", (2**37,), "f8", chunks=(1024,))


def packed_terabyte(file: h5py.File) -> None:
    file.create_dataset("bad", (2**37,), "f8", chunks=(2**20,), compression="gzip", fillvalue=1.0)


def nested_groups(file: h5py.File) -> None:
    file.create_group("/".join("a" * 5000))


def many_groups(file: h5py.File) -> None:
    for number in range(20_000):
        file.create_group(f"g{number}")


def group_within_itself(file: h5py.File) -> None:
    file.create_group("bad")["again"] = file["/"]


STRUCTURES: list[Callable[[h5py.File], None]] = [
    soft_link,
    external_link,
    external_storage,
    virtual_dataset,
    object_reference,
    unknown_filter,
    attribute_of_100_mb,
    chunked_terabyte,
    packed_terabyte,
    nested_groups,
    many_groups,
    group_within_itself,
]


def restructured(source: Path, target: Path, attack: Callable[[h5py.File], None]) -> None:
    """A copy of the file, attacked."""
    target.write_bytes(source.read_bytes())
    with h5py.File(target, "r+", libver="latest") as file:
        attack(file)


# --------------------------------------------------------------------------- values of a model

Values = dict[str, Any]


def _json_bomb(text: bytes) -> Callable[[Values], None]:
    def attack(model: Values) -> None:
        model["config"] = _Forged("json", (np.frombuffer(text, np.uint8),))

    return attack


def _named(part: str, name: str) -> Callable[[Values], None]:
    def attack(model: Values) -> None:
        del model["graph"]  # so that the detector has to be looked up
        model["calibration/settings"]["output"] = "score"
        model["detector/weights"] = np.zeros(3)
        for key in [key for key in model if key.endswith("/embedding")]:
            model[key] = model[key][:, :1]
        model["config"][part]["name"] = name

    return attack


def nan_in_the_covariance(model: Values) -> None:
    model["gaussian/covariance"] = np.full_like(model["gaussian/covariance"], np.nan)


def not_positive_definite(model: Values) -> None:
    model["gaussian/covariance"] = -model["gaussian/covariance"]


def of_no_rank(model: Values) -> None:
    model["gaussian/covariance"] = np.ones_like(model["gaussian/covariance"])


def covariance_of_another_size(model: Values) -> None:
    model["gaussian/covariance"] = np.eye(len(model["gaussian/mean"]) + 1)


def infinite_threshold(model: Values) -> None:
    model["calibration/reference"] = np.array([0.0, np.inf])


def external_data(model: Values) -> None:
    def change(made: onnx.ModelProto) -> None:
        tensor = made.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        entry = tensor.external_data.add()
        entry.key, entry.value = "location", "secret"

    _regraphed(model, change)


def custom_operator(model: Values) -> None:
    def change(made: onnx.ModelProto) -> None:
        made.graph.node[0].domain = "evil"
        made.opset_import.append(helper.make_opsetid("evil", 1))

    _regraphed(model, change)


def endless_loop(model: Values) -> None:
    def change(made: onnx.ModelProto) -> None:
        go_on = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
        turn = helper.make_tensor_value_info("turn", TensorProto.INT64, [])
        true = helper.make_node("Identity", ["go"], ["on"])
        on = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
        body = helper.make_graph([true], "body", [turn, go_on], [on])
        made.graph.initializer.append(numpy_helper.from_array(np.array(True), "yes"))
        made.graph.node.append(helper.make_node("Loop", ["", "yes"], [], body=body))

    _regraphed(model, change)


def memory_bomb(model: Values) -> None:
    def change(made: onnx.ModelProto) -> None:
        size = numpy_helper.from_array(np.array([10**11]), "size")
        made.graph.initializer.append(size)
        big = helper.make_node("ConstantOfShape", ["size"], ["big"])
        total = helper.make_node("ReduceSum", ["big"], ["total"], keepdims=0)
        out = made.graph.output[0].name
        last = next(node for node in made.graph.node if out in node.output)
        last.output[list(last.output).index(out)] = "before"
        made.graph.node.extend([big, total, helper.make_node("Add", ["before", "total"], [out])])

    _regraphed(model, change)


def garbage_for_a_graph(model: Values) -> None:
    model["graph"] = b"\xff" * 1000


def image_without_end(model: Values) -> None:
    model["schema"] = {"kind": "image", "shape": [2**20, 2**20, 2**20]}


CONTENTS: dict[str, Callable[[Values], None]] = {
    "JSON of 100,000 brackets": _json_bomb(b"[" * 100_000 + b"]" * 100_000),
    "JSON that is cut off": _json_bomb(b'{"a":' * 50_000),
    "JSON of 65 MB": _json_bomb(b'"' + b"a" * (65 * 2**20) + b'"'),
    "JSON with a number of a million digits": _json_bomb(b"9" * 1_000_000),
    "JSON with NaN": _json_bomb(b'{"a": NaN}'),
    "detector from outside the registry": _named("detector", "os.system"),
    "detector that is a path": _named("detector", "../../../../tmp/evil:Detector"),
    "encoder in the place of the detector": _named("detector", "mlp"),
    "NaN in the covariance": nan_in_the_covariance,
    "covariance that is not positive definite": not_positive_definite,
    "covariance without full rank": of_no_rank,
    "covariance of another size": covariance_of_another_size,
    "infinite reference score": infinite_threshold,
    "graph with external data": external_data,
    "graph with a custom operator": custom_operator,
    "graph with an endless loop": endless_loop,
    "graph that asks for 400 GB": memory_bomb,
    "graph that is none": garbage_for_a_graph,
    "images of 10^18 pixels": image_without_end,
}


class _Forged:
    """A value as it is stored, which no encoder would give."""

    def __init__(self, kind: str, parts: tuple[Any, ...]) -> None:
        self.stored = kind, parts


def rewritten(source: Path, target: Path, attack: Callable[[Values], None]) -> None:
    """A model file with other values, whose digest and checksum fit."""
    model = copy.deepcopy(
        hdf5.read(source, format=FORMAT, version=VERSION, volatile=VOLATILE).values
    )
    attack(model)
    stored = {name: Json(v) if isinstance(v, dict) else v for name, v in model.items()}
    with _forging():
        hdf5.write(target, format=FORMAT, version=VERSION, values=stored, volatile=VOLATILE)


@contextmanager
def _forging() -> Iterator[None]:
    plain = hdf5.encode

    def encode(value: Any) -> tuple[str, Any]:
        return value.stored if isinstance(value, _Forged) else plain(value)

    hdf5.encode = values.encode = encode
    try:
        yield
    finally:
        hdf5.encode = values.encode = plain


def _regraphed(model: Values, change: Callable[[onnx.ModelProto], None]) -> None:
    made = onnx.load_from_string(model["graph"])
    change(made)
    model["graph"] = made.SerializeToString()
