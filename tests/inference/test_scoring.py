"""A model in a library user's hands: every form of the same rows has the same scores."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch
from anoean_plugins.encoders.conv import Conv
from anoean_plugins.encoders.mlp import Mlp
from full_config import CONFIG

from anoean_cli.calibration.conformal import Calibration
from anoean_cli.calibration.gaussian import Gaussian
from anoean_cli.data.fitting import fit_table
from anoean_cli.data.preprocessing import ImagePreprocessor
from anoean_cli.data.schema import TableSchema
from anoean_cli.errors import DataError, FileFormatError, OutputError
from anoean_cli.inference.model import KeptRows, Model, load_model
from anoean_cli.interfaces import ExampleSpec
from anoean_cli.training.export import onnx_graph

N = 300
FIELDS = ("size", "label", "kind", "unused", "speed")
SCHEMA = TableSchema(
    {"size": "numeric", "kind": "categorical", "speed": "numeric"}, {}, FIELDS, "label"
)


def untrained(spec: ExampleSpec, rows: np.ndarray, schema, preprocessor) -> Model:
    """A whole model but for the training."""
    torch.manual_seed(0)
    plugin = Conv() if spec.kind == "image" else Mlp()
    graph = onnx_graph(plugin.build(spec, 4, plugin.Parameters()), spec.shape, "embedding")
    bare = Model(CONFIG, schema, preprocessor, graph, "embedding", None, None)
    z = bare.runner(rows)
    half = len(rows) // 2
    gaussian = Gaussian.from_embeddings(z[:half])
    reference = np.sort(gaussian.mahalanobis(z[half:]))
    calibration = Calibration(reference, float(reference[-3]), {"rule": "fpr", "fpr": 0.02}, True)
    flags = np.zeros(half, bool)
    kept = {"selection": KeptRows(z[:half], ["n"] * half, flags, np.arange(half))}
    return replace(bare, gaussian=gaussian, calibration=calibration, kept=kept)


def frame(seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "size": rng.normal(size=N),
            "kind": rng.choice(["a", "b", "c"], size=N),
            "speed": np.where(rng.random(N) < 0.1, np.nan, rng.normal(size=N)),
        }
    )


@pytest.fixture(scope="module")
def table_model() -> Model:
    rows = pa.Table.from_pandas(frame(), preserve_index=False)
    preprocessor = fit_table(rows, np.zeros(N, bool), SCHEMA)
    return untrained(preprocessor.spec, preprocessor.transform(rows), SCHEMA, preprocessor)


def images(n: int = 40, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, 1, 8, 12), np.uint8)


@pytest.fixture(scope="module")
def image_model() -> Model:
    preprocessor = ImagePreprocessor((1, 8, 12))
    return untrained(preprocessor.spec, preprocessor.transform(images(60)), None, preprocessor)


# --------------------------------------------------------------------------- tables


def test_a_frame_a_table_and_an_array_have_the_same_scores(table_model):
    X = frame(seed=1)
    expected = table_model.anomaly_score(X)
    assert expected.shape == (N,)
    assert expected.dtype == np.float64
    arrow = pa.Table.from_pandas(X, preserve_index=False)
    forms = {
        "arrow": arrow,
        "batch": arrow.combine_chunks().to_batches()[0],
        "reordered": X[["speed", "size", "kind"]],
        "more columns": X.assign(more="x"),
        "columns of anything": X.assign(more=[{1}, "x"] * (N // 2)),
        "an index": X.set_index(np.arange(N) * 7),
        "categories": X.assign(kind=X["kind"].astype("category")),
        "float32 that is exact": X.assign(size=X["size"]),
        "all fields as an array": X.assign(label="n", unused=0)[[*FIELDS]].to_numpy(object),
        "without the label": X.assign(unused=0)[[f for f in FIELDS if f != "label"]].to_numpy(
            object
        ),
    }
    for form, value in forms.items():
        np.testing.assert_array_equal(table_model.anomaly_score(value), expected, err_msg=form)


def test_an_array_of_all_columns_of_training_has_the_same_scores(table_model):
    """Columns behind the last one that is needed are known."""
    model = replace(table_model, schema=SCHEMA._replace(rest=("const",)))
    X = frame(seed=1).assign(label="n", unused=0, const=1)
    expected = table_model.anomaly_score(X)
    for names in ([*FIELDS, "const"], [f for f in FIELDS if f != "label"]):
        found = model.anomaly_score(X[[*names]].to_numpy(object))
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(DataError, match=r"5 columns, which may be size, label, .* or size, kind"):
        model.anomaly_score(X[[*FIELDS]].to_numpy(object))
    with pytest.raises(DataError, match="6 columns"):
        table_model.anomaly_score(X[[*FIELDS, "const"]].to_numpy(object))


@pytest.mark.parametrize("X", [frame()["size"], frame().iloc[0]], ids=["column", "row"])
def test_what_is_no_table_is_refused(table_model, X):
    with pytest.raises(DataError):
        table_model.anomaly_score(X)


def test_rows_alone_have_the_scores_they_have_together(table_model, image_model):
    for model, X in ((table_model, frame(1)), (image_model, images(40, 1))):
        whole = model.anomaly_score(X)
        for at in (0, 13, 39):
            assert model.anomaly_score(X[at : at + 1])[0] == whole[at]


def test_p_values_and_verdicts_follow_from_the_scores(table_model):
    X = pa.Table.from_pandas(frame(seed=2), preserve_index=False)
    scored = table_model.score(X)
    reference = table_model.calibration.reference
    counted = [(1 + (reference >= s).sum()) / (len(reference) + 1) for s in scored.scores]
    np.testing.assert_allclose(scored.p_values, counted)
    np.testing.assert_array_equal(table_model.p_value(X), scored.p_values)
    np.testing.assert_array_equal(
        scored.is_anomaly, scored.scores > table_model.calibration.threshold
    )


@pytest.mark.parametrize(
    ("X", "told"),
    [
        (frame().drop(columns="speed"), "speed"),
        (frame().assign(size="long"), "size"),
        (frame().assign(size=np.inf), "size"),
        (np.zeros((3, 2)), "2 columns"),
        (np.zeros((3, 9)), "9 columns"),
        (np.zeros(3), "shape"),
        (np.zeros((3, 4, 5)), "shape"),
        (pd.concat([frame(), frame()[["size"]]], axis=1), "size"),
        (frame().assign(size=[1.0, "x"] * (N // 2)), "size"),
        (frame().assign(size=[[1]] * N), "size"),
    ],
    ids=[
        "missing",
        "text",
        "infinite",
        "narrow",
        "wide",
        "flat",
        "deep",
        "twice",
        "mixed",
        "nested",
    ],
)
def test_rows_that_do_not_fit_are_refused_by_name(table_model, X, told):
    with pytest.raises(DataError, match=told):
        table_model.anomaly_score(X)


def test_no_rows_have_no_scores(table_model, image_model):
    assert table_model.anomaly_score(frame()[:0]).shape == (0,)
    assert image_model.anomaly_score(images()[:0]).shape == (0,)


# --------------------------------------------------------------------------- images


def test_images_in_every_form_have_the_same_scores(image_model):
    X = images(seed=1)
    expected = image_model.anomaly_score(X)
    for form in (
        X.reshape(40, 8, 12),
        X.reshape(40, 96),
        X.astype(float),
        X.astype(np.int64),
        X.tolist(),
    ):
        np.testing.assert_array_equal(image_model.anomaly_score(form), expected)


def test_a_colour_image_is_no_list_of_grey_ones():
    preprocessor = ImagePreprocessor((3, 8, 8))
    pixels = np.random.default_rng(0).integers(0, 256, (30, 3, 8, 8), np.uint8)
    model = untrained(preprocessor.spec, preprocessor.transform(pixels), None, preprocessor)
    np.testing.assert_array_equal(
        model.anomaly_score(pixels), model.anomaly_score(pixels.reshape(30, 192))
    )
    with pytest.raises(DataError, match=r"\(30, 8, 8, 3\)"):
        model.anomaly_score(pixels.transpose(0, 2, 3, 1))


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast:RuntimeWarning")
@pytest.mark.parametrize(
    "X",
    [
        np.full((2, 96), 256.0),
        np.full((2, 96), -1),
        np.full((2, 96), 0.5),
        np.full((2, 96), np.nan),
        np.full((2, 96), 1e300),
        np.zeros((2, 95), np.uint8),
        np.zeros((2, 12, 8), np.uint8),
        np.zeros(96, np.uint8),
        np.uint8(3),
    ],
)
def test_what_is_no_image_of_bytes_is_refused(image_model, X):
    with pytest.raises(DataError, match=r"0 to 255|shape"):
        image_model.anomaly_score(X)


# --------------------------------------------------------------------------- the file


def test_a_model_of_either_kind_survives_its_file(table_model, image_model, tmp_path):
    for model, X in ((table_model, frame(3)), (image_model, images(9, 3))):
        path = tmp_path / f"{model.preprocessor.spec.kind}.h5"
        digest = model.save(path)
        loaded = load_model(path)
        assert loaded.digest == digest
        assert loaded.schema == model.schema
        np.testing.assert_array_equal(loaded.anomaly_score(X), model.anomaly_score(X))
        np.testing.assert_array_equal(loaded.p_value(X), model.p_value(X))
        np.testing.assert_array_equal(
            loaded.kept["selection"].output, model.kept["selection"].output
        )
        with pytest.raises(OutputError):
            model.save(path)
        assert model.save(path, overwrite=True) == digest


def test_a_detector_that_gives_scores_needs_no_gaussian(table_model, tmp_path):
    from onnx import TensorProto, helper

    width = table_model.preprocessor.spec.shape[0]
    rows = helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", width])
    out = helper.make_tensor_value_info("s", TensorProto.FLOAT, ["n"])
    node = helper.make_node("ReduceMax", ["rows", "axes"], ["s"], keepdims=0)
    axes = helper.make_tensor("axes", TensorProto.INT64, [1], [1])
    graph = helper.make_graph([node], "g", [rows], [out], [axes])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    model = replace(
        table_model,
        graph=content.SerializeToString(),
        output="score",
        gaussian=None,
        kept={},
    )
    model.save(tmp_path / "score.h5")
    loaded = load_model(tmp_path / "score.h5")
    arrow = pa.Table.from_pandas(frame(), preserve_index=False)
    expected = model.preprocessor.transform(arrow).max(axis=1)
    np.testing.assert_array_equal(loaded.anomaly_score(frame()), expected)


def test_a_gaussian_of_another_dimension_is_refused(table_model):
    gaussian = Gaussian(np.zeros(3), np.eye(3))
    with pytest.raises(FileFormatError, match=r"4 dimensions.*3"):
        replace(table_model, gaussian=gaussian).anomaly_score(frame())


def test_what_could_not_be_loaded_again_is_not_left_behind(table_model, tmp_path):
    with pytest.raises(FileFormatError, match="gaussian/mean"):
        replace(table_model, gaussian=None).save(tmp_path / "m.h5")
    assert list(tmp_path.iterdir()) == []
