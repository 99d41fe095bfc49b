"""Model files with valid checksums that lack or garble a part: refused as such, and by its name."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest
from full_config import CONFIG
from onnx import TensorProto, helper, numpy_helper

from anoean_cli.calibration.conformal import Calibration
from anoean_cli.calibration.gaussian import Gaussian
from anoean_cli.commands.summary import show_model
from anoean_cli.console import Console
from anoean_cli.data.preprocessing import ImagePreprocessor
from anoean_cli.errors import FileFormatError
from anoean_cli.inference.contents import ROLES, Sizes
from anoean_cli.inference.model import KeptRows, Model, load_model
from anoean_cli.storage import hdf5
from anoean_cli.storage.model import FORMAT, VERSION, VOLATILE
from anoean_cli.storage.values import Json

SETTINGS = {
    "threshold": 1.5,
    "rule": {"rule": "fpr", "fpr": 0.1, "covariance": "empirical"},
    "exact": True,
    "output": "embedding",
}
# What may be missing, and what may be null.
READING = ("dataset", "reload", "reading")
OPTIONAL = {(*READING, name) for name in CONFIG["dataset"]["reload"]["reading"]}
OPTIONAL |= {("dataset", "reload"), ("dataset", "label_ending")}
OPTIONAL |= {("unlabeled",), ("recalibration",), ("versions",), ("versions", "torch")}
OF_RULE = {("rule", "fpr"), ("rule", "covariance")}
NULLABLE = {(*READING, name) for name in ("header", "delimiter", "null_values", "label")}
NULLABLE |= {("encoder",)}
GARBAGE = (None, "x", -1, 1.5, True, [], {}, [["a", "b", "c"]])


@pytest.fixture(scope="module")
def values() -> dict[str, Any]:
    """A whole model file, by name, JSON as it is."""
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 1, 1, 2])
    out = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["n", 2])
    shape = numpy_helper.from_array(np.array([-1, 2]), "shape")
    node = helper.make_node("Reshape", ["rows", "shape"], ["z"])
    graph = helper.make_graph([node], "g", [rows], [out], [shape])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    z = np.random.default_rng(0).normal(size=(9, 2)).astype(np.float32)
    kept = KeptRows(z, ["n"] * 9, np.zeros(9, bool), np.arange(9))
    gaussian = Gaussian(np.zeros(2), np.eye(2))
    model = Model(
        config=CONFIG,
        schema=None,
        preprocessor=ImagePreprocessor((1, 1, 2)),
        graph=content.SerializeToString(),
        output="embedding",
        gaussian=gaussian,
        calibration=Calibration(np.sort(gaussian.mahalanobis(z)), 1.5, SETTINGS["rule"], True),
        kept={"selection": kept, "calibration": kept},
        split={role: np.arange(3) for role in (*ROLES, "test_multiplicity")}
        | {"test_multiplicity": np.ones(3, np.int64)},
        history={"epoch": np.arange(2.0)},
        timing={"fit_seconds": 1.0},
    )
    path = Path("whole.h5")
    model.save(path)
    return hdf5.read(path, format=FORMAT, version=VERSION, volatile=VOLATILE).values


@pytest.fixture(scope="module", autouse=True)
def _here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("models"))
        yield


def loaded(values: dict[str, Any]) -> Model:
    stored = {name: Json(v) if isinstance(v, dict) else v for name, v in values.items()}
    hdf5.write(Path("m.h5"), format=FORMAT, version=VERSION, values=stored, volatile=VOLATILE)
    return load_model("m.h5")


def refusal(values: dict[str, Any]) -> str:
    with pytest.raises(FileFormatError) as caught:
        loaded(values)
    return str(caught.value)


def paths(value: Any, at: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for key, inner in value.items():
        yield (*at, key)
        if isinstance(inner, dict):
            yield from paths(inner, (*at, key))


def altered(whole: dict[str, Any], path: tuple[str, ...], *put: Any) -> dict[str, Any]:
    """A copy without what the path names, or with another value in its place."""
    changed = copy.deepcopy(whole)
    place = changed
    for key in path[:-1]:
        place = place[key]
    place.pop(path[-1], None)
    for value in put:
        place[path[-1]] = value
    return changed


def test_a_whole_model_is_shown(values: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    for as_json in (False, True):
        show_model(Console(), loaded(values), Path("m.h5"), as_json)
        assert "table.csv" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "whole"), [("config", CONFIG), ("calibration/settings", SETTINGS)]
)
def test_every_part_of_its_json_is_needed_and_of_its_type(
    values: dict[str, Any], name: str, whole: dict[str, Any]
) -> None:
    for path in paths(whole):
        if path not in OPTIONAL | OF_RULE:
            assert ".".join(path) in refusal({**values, name: altered(whole, path)})
        kind = type(reduce(dict.__getitem__, path, whole))
        for garbage in GARBAGE:
            fits = type(garbage) is kind or (kind is float and type(garbage) is int)
            if not fits and not (garbage is None and path in NULLABLE):
                assert path[0] in refusal({**values, name: altered(whole, path, garbage)})


@pytest.mark.parametrize(
    ("name", "path", "garbage"),
    [
        ("config", ("normal",), [["a", "b", "c"]]),
        ("config", ("unlabeled",), "kept"),
        ("config", ("seen_types",), [1]),
        ("config", READING, {"zzz": 1}),
        ("config", (*READING, "ignore"), [None]),
        ("config", ("recalibration", "more"), "x"),
        ("calibration/settings", ("output",), "x"),
        ("calibration/settings", ("rule", "covariance"), "x"),
        ("timing", ("fit_seconds",), "long"),
    ],
)
def test_values_of_the_right_type_are_judged_too(
    values: dict[str, Any], name: str, path: tuple[str, ...], garbage: Any
) -> None:
    told = refusal({**values, name: altered(values[name], path, garbage)})
    assert path[0] in told


def test_what_may_be_missing_or_null(values: dict[str, Any]) -> None:
    for path in OPTIONAL:
        loaded({**values, "config": altered(CONFIG, path)})
    for path in NULLABLE:
        loaded({**values, "config": altered(CONFIG, path, None)})


@pytest.mark.parametrize("name", ["config", "schema", "calibration/settings", "timing"])
@pytest.mark.parametrize("garbage", [Json(None), Json([]), Json("x"), np.zeros(3), ["x"], b"x"])
def test_json_that_is_something_else(values: dict[str, Any], name: str, garbage: Any) -> None:
    refusal({**values, name: garbage})


NEEDED = {
    "graph",
    "calibration/reference",
    "gaussian/mean",
    "gaussian/covariance",
    "embeddings/selection/embedding",
    "embeddings/selection/label",
    "embeddings/selection/is_anomaly",
    "embeddings/selection/row",
    "split/test",
}


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_every_array_is_needed(values: dict[str, Any], name: str) -> None:
    refusal({other: value for other, value in values.items() if other != name})


def test_the_rows_behind_the_gaussian_are_needed(values: dict[str, Any]) -> None:
    without = {n: v for n, v in values.items() if not n.startswith("embeddings/selection")}
    assert "selection" in refusal(without)


@pytest.mark.parametrize(
    ("name", "garbage"),
    [
        ("embeddings/selection/embedding", np.full((9, 2), np.nan, np.float32)),
        ("embeddings/selection/embedding", np.zeros((9, 3), np.float32)),
        ("embeddings/selection/embedding", np.zeros((9, 2), np.int8)),
        ("embeddings/selection/embedding", ["x"] * 9),
        ("embeddings/selection/is_anomaly", np.zeros((9, 1), bool)),
        ("embeddings/selection/label", np.zeros(9)),
        ("embeddings/selection/row", -np.arange(9)),
        ("split/test", -np.arange(3) - 1),
        ("split/test", np.zeros((3, 3), np.int64)),
        ("split/test", np.zeros(3)),
        ("split/test_multiplicity", np.zeros(3, np.int64)),
        ("split/test_multiplicity", np.ones(2, np.int64)),
        ("history/epoch", np.zeros((2, 2))),
        ("history/epoch", ["x"]),
        ("graph", np.zeros(3)),
    ],
)
def test_arrays_are_of_their_kind(values: dict[str, Any], name: str, garbage: Any) -> None:
    refusal({**values, name: garbage})


def test_roles_are_those_of_the_rest() -> None:
    assert tuple(get_type_hints(Sizes)) == ROLES
