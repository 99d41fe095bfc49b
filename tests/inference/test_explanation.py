"""Why a row has its score: what is said adds up, names the cause, and hangs on the row alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from anoean_plugins.encoders.conv import Conv
from anoean_plugins.encoders.mlp import Mlp
from full_config import CONFIG
from hypothesis import given, settings
from hypothesis import strategies as st

from anoean_cli.calibration.conformal import Calibration
from anoean_cli.calibration.gaussian import Gaussian
from anoean_cli.data.fitting import fit_table
from anoean_cli.data.preprocessing import ImagePreprocessor
from anoean_cli.data.schema import TableSchema
from anoean_cli.errors import FileFormatError
from anoean_cli.inference.explanation import QUESTIONS, Explainer, Explanation, patch_names
from anoean_cli.inference.model import KeptRows, Model, load_model
from anoean_cli.training.export import onnx_graph

N = 200
CALIBRATION = Calibration(np.arange(9.0), 8.0, {"rule": "fpr", "fpr": 0.1}, True)


class Plain(torch.nn.Module):
    """The features as they are for an embedding, so that distances are those of the rows."""

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.flatten(1)


class Weighted(torch.nn.Module):
    """A raw score to which every feature adds on its own."""

    def __init__(self, weights: np.ndarray) -> None:
        super().__init__()
        self.weights = torch.tensor(weights, dtype=torch.float32)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows.flatten(1) @ self.weights


def made(table: pa.Table | None, rows: np.ndarray, preprocessor, module, schema=None) -> Model:
    graph = onnx_graph(module, preprocessor.spec.shape, "embedding")
    output = "score" if isinstance(module, Weighted) else "embedding"
    model = Model(CONFIG, schema, preprocessor, graph, output, None, CALIBRATION)
    z = model.runner(rows)
    if output == "score":
        return replace(model, typical=rows[0])
    kept = {"selection": KeptRows(z, ["n"] * len(z), np.zeros(len(z), bool), np.arange(len(z)))}
    gaussian = Gaussian.from_embeddings(z, "ledoit-wolf")
    typical = rows[np.argmin(gaussian.mahalanobis(z))]
    return replace(model, gaussian=gaussian, typical=typical, kept=kept)


def numbers(columns: int) -> tuple[pa.Table, TableSchema]:
    rng = np.random.default_rng(0)
    names = [f"c{i}" for i in range(columns)]
    table = pa.table({name: rng.normal(size=N) for name in names})
    return table, TableSchema(dict.fromkeys(names, "numeric"), {}, tuple(names), None)


def numeric_model(columns: int, module=None) -> Model:
    table, schema = numbers(columns)
    preprocessor = fit_table(table, np.zeros(N, bool), schema, "standard")
    rows = preprocessor.transform(table)
    return made(table, rows, preprocessor, module or Plain(), schema)


@pytest.fixture(scope="module")
def mixed_model() -> Model:
    """Numbers, categories and missing values, behind a network."""
    rng = np.random.default_rng(0)
    table = pa.table(
        {
            "size": rng.normal(size=N),
            "kind": rng.choice(["a", "b", "c"], N, p=[0.9, 0.05, 0.05]).tolist(),
            "speed": [
                None if at % 20 == 3 else float(x) for at, x in enumerate(rng.normal(size=N))
            ],
        }
    )
    kinds = {"size": "numeric", "kind": "categorical", "speed": "numeric"}
    schema = TableSchema(kinds, {}, tuple(kinds), None)
    preprocessor = fit_table(table, np.zeros(N, bool), schema, "bins")
    torch.manual_seed(0)
    plugin = Mlp()
    module = plugin.build(preprocessor.spec, 4, plugin.Parameters())
    return made(table, preprocessor.transform(table), preprocessor, module, schema)


@pytest.fixture(scope="module")
def image_model() -> Model:
    rng = np.random.default_rng(0)
    preprocessor = ImagePreprocessor((3, 10, 8))
    images = rng.integers(0, 256, (40, 3, 10, 8), dtype=np.uint8)
    torch.manual_seed(0)
    plugin = Conv()
    module = plugin.build(preprocessor.spec, 3, plugin.Parameters())
    return made(None, preprocessor.transform(images), preprocessor, module)


def explained(model: Model, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Contributions, and what they should add up to."""
    scores = model.score_rows(rows).scores
    found = Explainer(model).explain_rows(rows, scores)
    return found.contributions, scores - found.baseline


def of(model: Model, **columns: list) -> np.ndarray:
    whole = {name: columns[name] for name in model.schema.columns}
    types = {"numeric": pa.float64(), "categorical": pa.string()}
    arrays = {n: pa.array(v, types[model.schema.columns[n]]) for n, v in whole.items()}
    return model.preprocessor.transform(pa.table(arrays))


# --------------------------------------------------------------------------- adding up


@settings(max_examples=30, deadline=None)
@given(
    size=st.none() | st.floats(-1e6, 1e6),
    speed=st.none() | st.floats(-1e6, 1e6),
    kind=st.none() | st.sampled_from(["a", "b", "c", "new"]),
)
def test_contributions_add_up_to_the_excess(mixed_model, size, speed, kind):
    found, excess = explained(mixed_model, of(mixed_model, size=[size], speed=[speed], kind=[kind]))
    assert found.sum(axis=1) == pytest.approx(excess, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize("columns", [1, 2, QUESTIONS, QUESTIONS + 1, 100])
def test_contributions_add_up_in_tables_of_any_width(columns):
    model = numeric_model(columns)
    rows = np.random.default_rng(1).normal(scale=3, size=(20, columns)).astype(np.float32)
    found, excess = explained(model, rows)
    assert found.shape == (20, columns)
    assert found.sum(axis=1) == pytest.approx(excess)


def test_columns_that_add_on_their_own_get_exactly_that():
    weights = np.array([2.0, -1.0, 0.0, 5.0])
    model = numeric_model(4, Weighted(weights))
    rows = np.random.default_rng(1).normal(size=(10, 4)).astype(np.float32)
    found, _ = explained(model, rows)
    assert found == pytest.approx((rows - model.typical) * weights, abs=1e-5)


def test_the_typical_row_itself_needs_no_reason(mixed_model):
    found, excess = explained(mixed_model, mixed_model.typical[None])
    assert not found.any()
    assert not excess.any()


def test_pixels_of_images_add_up_and_so_do_patches(image_model):
    rows = np.random.default_rng(2).random((5, 3, 10, 8)).astype(np.float32)
    found, excess = explained(image_model, rows)
    assert found.shape == (5, 80)
    assert found.sum(axis=1) == pytest.approx(excess)
    explainer = Explainer(image_model)
    patches = explainer.named(explainer.explain_rows(rows, excess + explainer.baseline))
    assert patches.contributions.shape == (5, len(explainer.columns))
    assert patches.contributions.sum(axis=1) == pytest.approx(excess)


# --------------------------------------------------------------------------- causes


@pytest.mark.parametrize("columns", [5, 60])
@pytest.mark.parametrize("cause", [0, 4])
def test_the_column_that_was_pushed_out_comes_first(columns, cause):
    model = numeric_model(columns)
    rows = np.random.default_rng(3).normal(size=(30, columns)).astype(np.float32)
    rows[:, cause] = 9
    found, _ = explained(model, rows)
    assert (found.argmax(axis=1) == cause).all()
    assert (found[:, cause] > 0).all()


def test_unseen_categories_and_missing_values_are_causes():
    rng = np.random.default_rng(0)
    speeds = [None if at == 7 else float(x) for at, x in enumerate(rng.normal(size=N))]
    kinds = [["a", "b"][at % 40 == 1] for at in range(N)]
    table = pa.table({"size": rng.normal(size=N), "kind": kinds, "speed": speeds})
    schema = TableSchema(
        {"size": "numeric", "kind": "categorical", "speed": "numeric"}, {}, (), None
    )
    preprocessor = fit_table(table, np.zeros(N, bool), schema, "standard")
    rows = preprocessor.transform(table)
    model = made(table, rows, preprocessor, Plain(), schema)
    strange = of(model, size=[0.1, 0.1], kind=["zebra", "a"], speed=[0.0, None])
    found, _ = explained(model, strange)
    names = list(schema.columns)
    assert [names[at] for at in found.argmax(axis=1)] == ["kind", "speed"]


def test_a_spot_in_an_image_is_where_it_is():
    preprocessor = ImagePreprocessor((1, 9, 9))
    images = np.random.default_rng(0).integers(90, 110, (300, 1, 9, 9), dtype=np.uint8)
    model = made(None, preprocessor.transform(images), preprocessor, Plain())
    images[0, 0, 7, 1] = 255
    found, _ = explained(model, preprocessor.transform(images[:1]))
    assert divmod(int(found[0].argmax()), 9) == (7, 1)


@pytest.mark.parametrize("shape", [(1, 1), (2, 5), (28, 28)])
def test_patches_cover_every_pixel_once(shape):
    covered = np.zeros(shape, int)
    for name in patch_names(*shape):
        (top, bottom), (left, right) = (map(int, s[1:].split("-")) for s in name.split("/"))
        covered[top : bottom + 1, left : right + 1] += 1
    assert (covered == 1).all()


def test_what_adds_nothing_comes_behind_what_speaks_for_a_row():
    order, values = Explanation(np.array([[0.0, -2.0, 3.0, 0.0]]), 1.0).largest(4)
    assert order.tolist() == [[2, 1, 0, 3]]
    assert values.tolist() == [[3, -2, 0, 0]]


# --------------------------------------------------------------------------- a row alone


@pytest.mark.parametrize("kind", ["mixed", "image", "wide"])
def test_a_row_is_explained_the_same_in_every_company(kind, request):
    model = numeric_model(50) if kind == "wide" else request.getfixturevalue(f"{kind}_model")
    shape = (1500 if kind == "wide" else 90, *model.preprocessor.spec.shape)
    rows = np.random.default_rng(4).random(shape).astype(np.float32)
    together, _ = explained(model, rows)
    backwards, _ = explained(model, rows[::-1])
    assert (together == backwards[::-1]).all()
    for at in (0, 7, len(rows) - 1):
        alone, _ = explained(model, rows[at : at + 1])
        assert (alone == together[at]).all()


@pytest.mark.parametrize("kind", ["mixed_model", "image_model"])
def test_no_rows_have_no_explanation(kind, request):
    model = request.getfixturevalue(kind)
    found, _ = explained(model, np.empty((0, *model.typical.shape), np.float32))
    assert len(found) == 0


# --------------------------------------------------------------------------- files


def test_a_loaded_model_explains_as_the_saved_one(mixed_model, tmp_path):
    mixed_model.save(tmp_path / "model.h5")
    rows = of(mixed_model, size=[3.0], speed=[None], kind=["b"])
    before, _ = explained(mixed_model, rows)
    after, _ = explained(load_model(tmp_path / "model.h5"), rows)
    assert (before == after).all()


def test_an_older_model_scores_but_is_not_explained(mixed_model, tmp_path):
    replace(mixed_model, typical=None).save(tmp_path / "old.h5")
    old = load_model(tmp_path / "old.h5")
    rows = of(mixed_model, size=[3.0], speed=[None], kind=["b"])
    assert (old.score_rows(rows).scores == mixed_model.score_rows(rows).scores).all()
    with pytest.raises(FileFormatError, match=r"no typical normal row.*train it anew"):
        Explainer(old)


@pytest.mark.parametrize(
    "typical",
    [np.zeros(2, np.float32), np.zeros(3), np.full(3, np.nan, np.float32), np.zeros((1, 3), "f")],
    ids=["short", "float64", "nan", "matrix"],
)
def test_a_typical_row_that_is_none_is_refused(typical, tmp_path):
    model = replace(numeric_model(3), typical=typical)
    with pytest.raises(FileFormatError, match="explanation/typical"):
        model.save(tmp_path / "model.h5")
