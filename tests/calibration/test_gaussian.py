"""Mean, covariance and distance against scipy, scikit-learn and brute force."""

import warnings

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import EllipticEnvelope, EmpiricalCovariance, LedoitWolf

from anoean_cli.calibration.conformal import threshold_for_contamination
from anoean_cli.calibration.gaussian import Gaussian, leave_one_out
from anoean_cli.choices import COVARIANCES
from anoean_cli.errors import DataError, FileFormatError, TrainingError, UsageError

BLOCK = 256


def embeddings(n=200, d=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


# --------------------------------------------------------------------------- estimation


def test_empirical_is_the_sample_covariance():
    z = embeddings()
    gaussian = Gaussian.from_embeddings(z)
    np.testing.assert_allclose(gaussian.mean, z.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(gaussian.covariance, np.cov(z, rowvar=False), rtol=1e-12)
    assert gaussian.ridge == 0


def test_ledoit_wolf_is_that_of_sklearn():
    z = embeddings(n=30)
    expected = LedoitWolf().fit(z)
    gaussian = Gaussian.from_embeddings(z, "ledoit-wolf")
    np.testing.assert_allclose(gaussian.covariance, expected.covariance_, rtol=1e-12)
    assert not np.allclose(gaussian.covariance, EmpiricalCovariance().fit(z).covariance_)


def test_mcd_is_that_of_elliptic_envelope():
    z = embeddings()
    expected = EllipticEnvelope(random_state=3).fit(z)
    gaussian = Gaussian.from_embeddings(z, "mcd", seed=3)
    np.testing.assert_allclose(gaussian.mahalanobis(z) ** 2, expected.mahalanobis(z), rtol=1e-8)


@pytest.mark.parametrize("share", [0.05, 0.1, 0.25])
def test_mcd_flags_what_elliptic_envelope_flags(share):
    z = embeddings()
    expected = EllipticEnvelope(contamination=share, random_state=3).fit(z)
    gaussian = Gaussian.from_embeddings(z, "mcd", seed=3)
    threshold = threshold_for_contamination(gaussian.mahalanobis(z), share)
    for rows in (z, embeddings(seed=0, n=500)[200:]):
        is_anomaly = gaussian.mahalanobis(rows) > threshold
        # It sets the threshold between two rows, we at the lower of them: new rows may lie between.
        between = np.mean(is_anomaly != (expected.predict(rows) == -1))
        assert between <= (0 if rows is z else 0.01)


def test_mcd_withstands_outliers_among_the_normals():
    z = embeddings()
    spoilt = np.vstack([z, np.full((30, 4), 50.0)])
    clean, robust, naive = (
        Gaussian.from_embeddings(rows, estimator).mahalanobis(np.full((1, 4), 50.0))[0]
        for rows, estimator in ((z, "empirical"), (spoilt, "mcd"), (spoilt, "empirical"))
    )
    assert robust > 0.7 * clean
    assert naive < 0.1 * clean


def test_a_spherical_covariance_ranks_as_the_distance_from_0():
    z = embeddings()
    gaussian = Gaussian.from_embeddings(z, "spherical")
    distances = gaussian.mahalanobis(z)
    np.testing.assert_allclose(
        distances / distances[0], np.linalg.norm(z, axis=1) / np.linalg.norm(z[0])
    )
    assert np.square(distances).mean() == pytest.approx(z.shape[1])


@pytest.mark.parametrize("estimator", COVARIANCES)
@pytest.mark.parametrize("d", [1, 3])
def test_estimates_are_repeatable_and_survive_a_file(estimator, d):
    z = embeddings(n=50, d=d).astype(np.float32)
    gaussian = Gaussian.from_embeddings(z, estimator, seed=1)
    assert gaussian.mean.dtype == gaussian.covariance.dtype == np.float64
    again = Gaussian.from_embeddings(z, estimator, seed=1)
    stored = Gaussian.from_arrays(gaussian.mean, gaussian.covariance)
    for other in (again, stored):
        np.testing.assert_array_equal(other.mahalanobis(z), gaussian.mahalanobis(z))


@pytest.mark.parametrize("estimator", ["empirical", "mcd"])
def test_a_doubled_dimension_gets_a_small_ridge(estimator):
    z = embeddings(d=3)
    z = np.column_stack([z, z[:, 0]])
    gaussian = Gaussian.from_embeddings(z, estimator)
    assert 0 < gaussian.ridge <= 1e-9
    plain = Gaussian.from_embeddings(z[:, :3], estimator)
    if estimator == "empirical":
        np.testing.assert_allclose(gaussian.mahalanobis(z), plain.mahalanobis(z[:, :3]), rtol=1e-3)
    off = z[:1] + np.array([0, 0, 0, 0.1])
    assert gaussian.mahalanobis(off)[0] > 1000


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_singular_covariances_that_rounding_hides_get_a_ridge(dtype):
    for seed in range(30):
        z = embeddings(seed=seed)
        dependent = z @ np.random.default_rng(seed).normal(size=4)
        assert Gaussian.from_embeddings(np.column_stack([z, dependent]).astype(dtype)).ridge > 0


def test_the_seed_is_that_of_mcd():
    z = np.random.default_rng(0).normal(size=(40, 10))
    covariances = [Gaussian.from_embeddings(z, "mcd", seed).covariance for seed in (0, 1)]
    assert not np.array_equal(*covariances)


@pytest.mark.parametrize(("n", "d"), [(2, 1), (2, 5), (20, 32), (32, 32)])
def test_few_rows_still_give_a_distance(n, d):
    z = embeddings(n=n, d=d)
    gaussian = Gaussian.from_embeddings(z)
    assert (gaussian.ridge > 0) == (n <= d)
    assert np.isfinite(gaussian.mahalanobis(z)).all()


def test_scales_of_dimensions_alone_need_no_ridge():
    z = embeddings(d=3)
    scale = np.array([1e-9, 1, 1e9])
    gaussian = Gaussian.from_embeddings(z * scale)
    assert gaussian.ridge == 0
    expected = Gaussian.from_embeddings(z).mahalanobis(z)
    np.testing.assert_allclose(gaussian.mahalanobis(z * scale), expected, rtol=1e-6)


@pytest.mark.parametrize("estimator", COVARIANCES)
@pytest.mark.parametrize("value", [0.0, 0.1, -1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_collapsed_encoder_is_told(estimator, value, dtype):
    z = np.full((100, 3), value, dtype=dtype)
    z[::2] = np.nextafter(z[::2], dtype(np.inf)) if value else z[::2]
    with pytest.raises(TrainingError, match="collapsed"):
        Gaussian.from_embeddings(z, estimator)


def test_equal_rows_have_a_spread_about_0_where_they_may_coincide():
    z = np.full((100, 3), 2.0)
    gaussian = Gaussian.from_embeddings(z, "spherical", may_coincide=True)
    np.testing.assert_allclose(gaussian.covariance, 4 * np.eye(3))
    np.testing.assert_allclose(leave_one_out(z, "spherical", may_coincide=True), 3**0.5)
    with pytest.raises(DataError, match="positive definite"):
        Gaussian.from_embeddings(z, "empirical", may_coincide=True)


@pytest.mark.parametrize(
    ("z", "estimator", "error", "message"),
    [
        (np.zeros((1, 3)), "empirical", DataError, "at least 2"),
        (np.zeros(3), "empirical", DataError, "at least 2"),
        (np.zeros((5, 0)), "empirical", DataError, "at least 2"),
        ([[1.0, 2.0], [np.nan, 0.0]], "empirical", DataError, "row 1 is not finite"),
        (embeddings(n=8, d=4), "mcd", DataError, "more than 8 normals"),
        (embeddings(d=2) * (np.arange(200) > 140)[:, None], "mcd", DataError, "choose ledoit-wolf"),
        (np.eye(2), "shrunk", UsageError, "empirical, ledoit-wolf, mcd, spherical"),
    ],
)
def test_what_cannot_be_estimated_is_refused(z, estimator, error, message):
    with pytest.raises(error, match=message):
        Gaussian.from_embeddings(z, estimator)


@pytest.mark.parametrize("estimator", COVARIANCES)
@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_distances_do_not_depend_on_the_scale_of_the_embedding(estimator, scale):
    z = embeddings()
    expected = Gaussian.from_embeddings(z, estimator).mahalanobis(z)
    scaled = Gaussian.from_embeddings(scale * z, estimator).mahalanobis(scale * z)
    np.testing.assert_allclose(scaled, expected, rtol=1e-8)


def test_mcd_is_silent_about_determinants():
    z = embeddings(d=3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Gaussian.from_embeddings(np.column_stack([z, z[:, 0]]), "mcd")


@pytest.mark.parametrize(
    ("mean", "covariance", "message"),
    [
        ([0.0], np.eye(2), "belong together"),
        ([[0.0]], [[1.0]], "belong together"),
        ([], np.zeros((0, 0)), "belong together"),
        ([0.0, np.inf], np.eye(2), "finite"),
        ([0.0, 0.0], [[1.0, np.nan], [np.nan, 1.0]], "finite"),
        ([0.0, 0.0], [[1.0, 0.5], [0.0, 1.0]], "symmetric"),
        ([0.0, 0.0], [[1.0, 2.0], [2.0, 1.0]], "positive definite"),
        ([0.0, 0.0], [[1.0, 1.0], [1.0, 1.0]], "positive definite"),
    ],
)
def test_damaged_arrays_of_a_file_are_refused(mean, covariance, message):
    with pytest.raises(FileFormatError, match=message):
        Gaussian.from_arrays(mean, covariance)


# --------------------------------------------------------------------------- distance


def test_distance_is_that_of_scipy():
    z = embeddings(d=6)
    gaussian = Gaussian.from_embeddings(z[:150])
    inverse = np.linalg.inv(gaussian.covariance)
    expected = [mahalanobis(row, gaussian.mean, inverse) for row in z[150:]]
    np.testing.assert_allclose(gaussian.mahalanobis(z[150:]), expected, rtol=1e-10)


def test_distance_is_the_length_of_the_whitened_row():
    z = embeddings(d=6)
    gaussian = Gaussian.from_embeddings(z)
    white = (z - gaussian.mean) @ gaussian.whitener
    np.testing.assert_allclose(np.cov(white, rowvar=False), np.eye(6), atol=1e-10)
    np.testing.assert_allclose(np.linalg.norm(white, axis=1), gaussian.mahalanobis(z), rtol=1e-12)


def test_no_rows_have_no_distances():
    assert Gaussian.from_embeddings(embeddings()).mahalanobis(np.zeros((0, 4))).shape == (0,)


@pytest.mark.parametrize("d", [1, 2, 3, 5, 7, 8, 9, 16, 17, 31, 32, 33, 63, 64])
def test_a_distance_does_not_depend_on_the_other_rows(d):
    """Position in a block, size of the block, its neighbours and its memory order are moot."""
    z = embeddings(n=2 * BLOCK, d=d).astype(np.float32)
    gaussian = Gaussian.from_embeddings(z)
    row, others = z[0], z[BLOCK:]
    expected = gaussian.mahalanobis(z[:1])[0]
    for position in range(BLOCK):
        block = others.copy()
        block[position] = row
        assert gaussian.mahalanobis(block)[position] == expected
    for size in (2, 3, 17, 100, 255):
        assert gaussian.mahalanobis(z[:size])[0] == expected
        assert gaussian.mahalanobis(np.asfortranarray(z[:size]))[0] == expected


# --------------------------------------------------------------------------- leave one out


def brute_force(z, estimator="empirical"):
    keep = ~np.eye(len(z), dtype=bool)
    return np.array(
        [
            Gaussian.from_embeddings(z[others], estimator).mahalanobis(z[[i]])[0]
            for i, others in enumerate(keep)
        ]
    )


@pytest.mark.parametrize(("n", "d"), [(3, 1), (12, 4), (60, 8), (40, 32)])
def test_closed_form_is_brute_force(n, d):
    z = embeddings(n=n, d=d)
    np.testing.assert_allclose(leave_one_out(z), brute_force(z), rtol=1e-6)


def test_rows_fewer_than_dimensions_are_parted():
    z = embeddings(n=6, d=8)
    np.testing.assert_allclose(leave_one_out(z), leave_one_out(z, folds=6))
    assert np.isfinite(leave_one_out(z)).all()


def test_a_row_that_alone_fills_a_dimension_is_far_from_the_others():
    z = np.column_stack([embeddings(n=30, d=1), np.eye(30)[0]])
    distances = leave_one_out(z)
    assert np.argmax(distances) == 0
    assert 1000 < distances[0] < np.inf


def test_as_many_folds_as_rows_is_brute_force():
    z = embeddings(n=15, d=2)
    for estimator in ("empirical", "ledoit-wolf"):
        np.testing.assert_allclose(
            leave_one_out(z, estimator, folds=15), brute_force(z, estimator), rtol=1e-10
        )
    np.testing.assert_array_equal(
        leave_one_out(z, "ledoit-wolf"), leave_one_out(z, "ledoit-wolf", folds=15)
    )


def test_a_fold_is_scored_by_the_others_only():
    z = embeddings(n=100, d=3)
    z[7] = 1e4
    for estimator in COVARIANCES:
        assert leave_one_out(z, estimator, folds=5)[7] > 1000
    assert Gaussian.from_embeddings(z).mahalanobis(z)[7] < 10  # an outlier hides in its own Σ


@pytest.mark.parametrize(
    ("n", "folds", "error"), [(2, None, DataError), (10, 1, UsageError), (10, 11, UsageError)]
)
def test_rows_or_folds_that_cannot_be_parted(n, folds, error):
    with pytest.raises(error):
        leave_one_out(embeddings(n=n, d=1), folds=folds)
