import numpy as np
import pytest

from anoean_cli.interfaces import Rows
from anoean_cli.training.artificial import resampled, with_artificial_anomalies


def normals(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("shape", [(30, 5), (30, 1), (12, 1, 8, 8)])
def test_shapes_and_type_are_those_of_rows(shape):
    drawn = resampled(normals(*shape), 17, np.random.default_rng(1))
    assert drawn.shape == (17, *shape[1:])
    assert drawn.dtype == np.float32
    assert np.isfinite(drawn).all()


def test_dependence_between_features_is_broken():
    x = np.random.default_rng(0).normal(size=500).astype(np.float32)
    drawn = resampled(np.stack([x, x], axis=1), 2000, np.random.default_rng(1))
    assert np.corrcoef(drawn.T)[0, 1] < 0.5


def test_one_feature_reaches_beyond_the_normals():
    rows = normals(400, 1)
    drawn = resampled(rows, 400, np.random.default_rng(1))
    assert np.ptp(drawn) > 1.3 * np.ptp(rows)


def test_constant_features_stay_constant():
    drawn = resampled(np.full((20, 3), 2.5, np.float32), 50, np.random.default_rng(0))
    assert (drawn == 2.5).all()


def test_as_many_as_normals_stand_beside_them_and_known_ones_go():
    rows = Rows(normals(20, 3), np.arange(20) % 5 == 0)
    mixed = with_artificial_anomalies(rows, np.random.default_rng(0))
    np.testing.assert_array_equal(mixed.normals, rows.normals)
    assert len(mixed.anomalies) == len(rows.normals) == 16
    again = with_artificial_anomalies(rows, np.random.default_rng(0))
    np.testing.assert_array_equal(mixed.examples, again.examples)
