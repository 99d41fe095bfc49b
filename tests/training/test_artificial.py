import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from anoean_cli.data.fitting import fit_table
from anoean_cli.data.preprocessing import FIRST_BIN
from anoean_cli.data.schema import infer_schema
from anoean_cli.interfaces import ExampleSpec, Rows
from anoean_cli.training import artificial
from anoean_cli.training.artificial import (
    beside_known,
    exchanged,
    recombined,
    resampled,
    selection_rows,
    training_rows,
)
from anoean_cli.training.density import log_density

TABLE = ExampleSpec("table", (3,))
IMAGE = ExampleSpec("image", (1, 12, 10))
IMAGE_FAMILIES = ("turned", "bent", "joined", "erased", "laid_over", "scribbled")


def normals(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def strokes(n: int = 40, channels: int = 1) -> np.ndarray:
    """Images of a vertical stroke each."""
    images = np.zeros((n, channels, 12, 10), np.float32)
    for image, column in zip(images, np.random.default_rng(0).integers(3, 7, n), strict=True):
        image[:, 3:9, column] = 0.9
    return images


class Far(nn.Module):
    """A density that is low everywhere but where the mean is below an edge."""

    def __init__(self, edge: float) -> None:
        super().__init__()
        self.edge = edge

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return (rows.flatten(1).mean(dim=1) > self.edge).float()


@pytest.mark.parametrize("family", [resampled, exchanged])
@pytest.mark.parametrize("shape", [(30, 5), (30, 1)])
def test_shapes_and_type_are_those_of_rows(family, shape):
    spec = ExampleSpec("table", shape[1:])
    drawn = family(normals(*shape), spec, 17, np.random.default_rng(1))
    assert drawn.shape == (17, *shape[1:])
    assert drawn.dtype == np.float32
    assert np.isfinite(drawn).all()


@pytest.mark.parametrize(("family", "left"), [(resampled, 0.5), (exchanged, 0.6)])
def test_dependence_between_features_is_broken(family, left):
    x = np.random.default_rng(0).normal(size=500).astype(np.float32)
    spec = ExampleSpec("table", (2,))
    drawn = family(np.stack([x, x], axis=1), spec, 2000, np.random.default_rng(1))
    assert np.corrcoef(drawn.T)[0, 1] < left


def test_one_feature_reaches_beyond_the_normals():
    rows = normals(400, 1)
    drawn = resampled(rows, ExampleSpec("table", (1,)), 400, np.random.default_rng(1))
    assert np.ptp(drawn) > 1.3 * np.ptp(rows)


def test_constant_features_stay_constant():
    drawn = resampled(np.full((20, 3), 2.5, np.float32), TABLE, 50, np.random.default_rng(0))
    assert (drawn == 2.5).all()


@pytest.mark.parametrize("name", IMAGE_FAMILIES)
@pytest.mark.parametrize("channels", [1, 3])
def test_families_of_images_break_images(name, channels):
    family = getattr(artificial, name)
    images = strokes(channels=channels)
    spec = ExampleSpec("image", images.shape[1:])
    made = family(images, spec, 300, np.random.default_rng(1))
    assert made.shape == (300, channels, 12, 10)
    assert made.dtype == np.float32
    assert made.min() >= 0
    assert made.max() <= 1
    nearest = np.abs(made[:, None] - images[None]).max(axis=(2, 3, 4)).min(axis=1)
    assert (nearest > 0.2).mean() > 0.5  # most are none of the normals
    np.testing.assert_array_equal(made, family(images, spec, 300, np.random.default_rng(1)))


@pytest.mark.parametrize("spec", [TABLE, IMAGE])
def test_normals_stay_and_known_anomalies_go(spec):
    examples = normals(40, 3) if spec is TABLE else strokes()
    rows = Rows(examples, np.arange(40) % 5 == 0)
    density = log_density(rows.normals, spec, np.random.default_rng(0))
    for made in (training_rows, selection_rows):
        mixed = made(rows, spec, density, np.random.default_rng(0))
        np.testing.assert_array_equal(mixed.normals, rows.normals)
        assert len(mixed.anomalies) > 0
        again = made(rows, spec, density, np.random.default_rng(0))
        np.testing.assert_array_equal(mixed.examples, again.examples)


@pytest.mark.parametrize("share", [0.25, 0.5, 0.7, 0.9])
def test_known_anomalies_have_their_share_beside_artificial_ones(share):
    different = (1 - strokes(3)) * np.float32([1, 0.9, 0.8]).reshape(-1, 1, 1, 1)
    known = Rows(np.concatenate([strokes(), different]), np.repeat([False, True], [40, 3]))
    density = log_density(known.normals, IMAGE, np.random.default_rng(0))
    made = training_rows(known, IMAGE, density, np.random.default_rng(0))
    mixed = beside_known(known, made, share, np.random.default_rng(1))
    np.testing.assert_array_equal(mixed.normals, known.normals)
    repeated, artificial = np.split(mixed.anomalies, [-len(made.anomalies)])
    np.testing.assert_array_equal(artificial, made.anomalies)
    assert len(repeated) == round(len(made.anomalies) * (1 - share) / share)
    each, times = np.unique(repeated, axis=0, return_counts=True)
    np.testing.assert_array_equal(each, np.unique(known.anomalies, axis=0)[: len(each)])
    assert np.ptp(times) <= 1


def test_what_lies_among_the_normals_is_no_anomaly():
    rows = Rows(normals(400, 3), np.zeros(400, bool))
    mixed = training_rows(rows, TABLE, Far(1.0), np.random.default_rng(0))
    assert 0 < len(mixed.anomalies) < 400
    assert (mixed.anomalies.mean(axis=1) > 1).all()


def test_where_all_lie_among_the_normals_all_are_kept():
    rows = Rows(normals(50, 3), np.zeros(50, bool))
    assert len(training_rows(rows, TABLE, Far(99), np.random.default_rng(0)).anomalies) == 50


def test_selection_sees_another_family_than_training(monkeypatch):
    asked: list[str] = []

    def named(name):
        return lambda rows, spec, count, rng: asked.append(name) or rows[:count]

    for name in ("resampled", "exchanged", *IMAGE_FAMILIES):
        monkeypatch.setattr(artificial, name, named(name))
    for spec, examples in ((TABLE, normals(40, 3)), (IMAGE, strokes())):
        rows = Rows(examples, np.zeros(40, bool))
        shown, withheld = [], []
        for seen, make in ((shown, training_rows), (withheld, selection_rows)):
            asked.clear()
            make(rows, spec, Far(0), np.random.default_rng(0))
            seen += asked
        assert shown
        assert withheld
        assert not set(shown) & set(withheld)


def test_columns_stay_whole_in_rows_put_together_of_them():
    x = np.random.default_rng(0).normal(size=(300, 2)).astype(np.float32)
    rows = np.column_stack([x[:, 0], x[:, 0] ** 2, x[:, 0] + x[:, 1] / 10])
    drawn = recombined(
        rows, ExampleSpec("table", (3,), widths=(2, 1)), 400, np.random.default_rng(1)
    )
    assert drawn.shape == (400, 3)
    assert drawn.dtype == np.float32
    np.testing.assert_array_equal(drawn[:, 1], drawn[:, 0] ** 2)
    assert abs(np.corrcoef(drawn[:, 0], drawn[:, 2])[0, 1]) < 0.2 < np.corrcoef(rows.T)[0, 2]


def test_without_widths_each_feature_is_a_column():
    rows = np.repeat(np.arange(50, dtype=np.float32)[:, None], 4, axis=1)
    drawn = recombined(rows, ExampleSpec("table", (4,)), 100, np.random.default_rng(0))
    assert max(len(set(row)) for row in drawn.tolist()) == 4


@pytest.mark.parametrize("family", [resampled, exchanged])
def test_made_up_rows_are_such_as_a_table_can_have(family):
    """Bins spell out their number, a row has one category, and a flag is 0 or 1."""
    rng = np.random.default_rng(0)
    columns = {"x": rng.lognormal(size=2000), "kind": rng.choice(["a", "b", "c"], 2000)}
    columns["y"] = np.where(rng.random(2000) < 0.1, np.nan, columns["x"] + rng.normal(size=2000))
    table = pa.table({**columns, "y": pa.array(columns["y"], from_pandas=True)})
    preprocessor = fit_table(table, np.zeros(2000, bool), infer_schema(table), "bins")
    rows, spec = preprocessor.transform(table), preprocessor.spec
    made = family(rows, spec, 500, rng)
    for name, at in zip(
        columns, np.split(np.arange(*spec.shape), np.cumsum(spec.widths)[:-1]), strict=True
    ):
        column, part = preprocessor.columns[name], made[:, at]
        if name == "kind":
            np.testing.assert_array_equal(part.sum(axis=1), 1)
            assert set(np.unique(part)) == {0, 1}
            continue
        low, high = column.bins[:-1], column.bins[1:]
        bins = part[:, FIRST_BIN : FIRST_BIN + column.binned]
        expected = ((part[:, 1:2] - low) / (high - low)).clip(0, 1)
        np.testing.assert_allclose(bins, expected, atol=0.05)
        if column.indicator:
            assert set(np.unique(part[:, -1])) == {0, 1}
