"""``AnoEAN`` as scikit-learn's users know an outlier detector."""

from __future__ import annotations

import logging
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from anoean_plugins.detectors.anoean import AnoeanDetector
from joblib import Parallel, delayed, effective_n_jobs
from numpy.testing import assert_array_equal
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.metrics import average_precision_score
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from anoean_cli import AnoEAN, load_model
from anoean_cli.errors import DataError

X_NORMAL, X_ANOMALY = 300, 40


@pytest.fixture(scope="module")
def rows() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(X_NORMAL, 3)), rng.normal(5, 1, size=(X_ANOMALY, 3))])
    y = np.repeat([1, -1], [X_NORMAL, X_ANOMALY])
    order = rng.permutation(len(X))
    return X[order], y[order]


@pytest.fixture(scope="module")
def fitted(rows: tuple[NDArray[np.float64], NDArray[np.int64]]) -> AnoEAN:
    return AnoEAN(random_state=0).fit(*rows)


# Of a hundred trainings, none to a good end; and a detector that gives scores, not embeddings.
@parametrize_with_checks([AnoEAN(max_iter=3), AnoEAN(detector="pca")])
def test_scikit_learn_s_own_checks(estimator: Any, check: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of labels that are none, and few rows
        check(estimator)


def test_known_anomalies_are_learnt(fitted: AnoEAN, rows: Any) -> None:
    X, y = rows
    assert average_precision_score(y == -1, -fitted.score_samples(X)) > 0.99
    assert (fitted.predict(X) == y).mean() > 0.97
    assert_array_equal(fitted.decision_function(X), fitted.score_samples(X) - fitted.offset_)
    assert_array_equal(fitted.predict(X) == -1, fitted.decision_function(X) < 0)


def test_known_anomalies_are_learnt_in_fit_predict_too(fitted: AnoEAN, rows: Any) -> None:
    X, y = rows
    assert_array_equal(AnoEAN(random_state=0).fit_predict(X, y), fitted.predict(X))


def test_nan_is_a_missing_value(rows: Any) -> None:
    X, y = rows[0].copy(), rows[1]
    X[::7, 1] = np.nan
    X = np.column_stack([X, np.full(len(X), np.nan)])
    detector = AnoEAN(max_iter=20, random_state=0).fit(X, y)
    assert average_precision_score(y == -1, -detector.score_samples(X)) > 0.99
    assert detector.model_.schema.dropped.keys() == {"x3"}
    assert np.isfinite(detector.score_samples(np.full((1, 4), np.nan))).all()
    with pytest.raises(ValueError, match="NaN"):
        AnoEAN(image_shape=(1, 2, 2)).fit(X)


def test_the_model_scores_alike_from_a_file(fitted: AnoEAN, rows: Any, tmp_path: Any) -> None:
    fitted.model_.save(tmp_path / "m.h5")
    scores = load_model(tmp_path / "m.h5").anomaly_score(rows[0])
    assert_array_equal(scores, -fitted.score_samples(rows[0]))


def test_a_copy_scores_alike(fitted: AnoEAN, rows: Any) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    assert_array_equal(again.score_samples(rows[0]), fitted.score_samples(rows[0]))
    fresh = clone(fitted).fit(*rows)
    assert_array_equal(fresh.score_samples(rows[0]), fitted.score_samples(rows[0]))


def test_contamination_flags_that_share(rows: Any) -> None:
    X, y = rows
    detector = AnoEAN(contamination=0.2, max_iter=2, random_state=0).fit(X, y)
    assert (detector.predict(X) == -1).sum() == round(0.2 * len(X))
    for wrong in (0, 0.6, -1, "all"):
        with pytest.raises(DataError, match="contamination"):
            AnoEAN(contamination=wrong).fit(X, y)


def test_of_few_rows_the_offset_is_the_threshold_that_holds_for_new_ones(rows: Any) -> None:
    """Those that it learned from lie closer; of many some gave the threshold and are above it."""
    few = AnoEAN(max_iter=1, random_state=0).fit(rows[0][:50])
    assert few.offset_ == -few.model_.calibration.threshold
    assert few.score_samples(rows[0][:50]).min() > few.offset_


def test_few_normals_of_many_columns_raise_no_more_false_alarms_than_others() -> None:
    """In more dimensions than rows each row lies close to the Gaussian of its own. The rate, 1/13,
    holds on average: one threshold is the largest of twelve references."""

    def flagged(seed: int) -> float:
        rng = np.random.default_rng(seed)
        normals, new = rng.normal(size=(50, 40)), rng.normal(size=(200, 40))
        rows = np.concatenate([normals, rng.normal(1, 1, size=(5, 40))])
        detector = AnoEAN(max_iter=20, random_state=seed).fit(rows, np.repeat([1, -1], [50, 5]))
        return float((detector.predict(new) == -1).mean())

    assert np.mean([flagged(seed) for seed in range(3)]) < 1 / 13


def bars(n: int, rng: np.random.Generator) -> Any:
    """(n, 256) pixels of images with an upright bar each, of any place and width."""
    at, width = rng.uniform(5, 11, (n, 1, 1)), rng.uniform(1, 3, (n, 1, 1))
    inside = np.clip(width - np.abs(np.arange(16.0) - at), 0, 1)
    return (255 * (inside + rng.normal(0, 0.05, (n, 16, 16))).clip(0, 1)).round().reshape(n, -1)


@pytest.mark.parametrize("normals", [20, 60])
def test_few_normal_images_raise_no_more_false_alarms_than_others(normals: int) -> None:
    """Densities are lower where they were not fitted to an image. The rates are 1/21 and 1/16."""
    small = {"image_shape": (1, 16, 16), "parameters": {"encoder.width": 0.1}}

    def flagged(seed: int) -> float:
        rng = np.random.default_rng(seed)
        rows, new = np.concatenate([bars(normals, rng), 255 - bars(5, rng)]), bars(300, rng)
        detector = AnoEAN(max_iter=2, random_state=seed, **small)
        detector.fit(rows, np.repeat([1, -1], [normals, 5]))
        return float((detector.predict(new) == -1).mean())

    assert np.mean([flagged(seed) for seed in range(3)]) < 1 / normals


@pytest.mark.parametrize("equal", [20, 30, 33])
def test_normals_that_are_nearly_all_the_same_row_are_learnt(equal: int) -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([np.ones((equal, 3)), rng.normal(size=(33 - equal, 3)), [[5, 5, 5]] * 3])
    detector = AnoEAN(max_iter=5, random_state=0).fit(rows, np.repeat([1, -1], [33, 3]))
    np.testing.assert_array_equal(detector.predict(np.float64([[1, 1, 1], [9, 9, 9]])), [1, -1])


def test_one_column_and_known_anomalies_are_enough() -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(300, 1)), rng.normal(8, 1, size=(30, 1))])
    y = np.repeat([1, -1], [300, 30])
    for inputs in ("standard", "auto"):
        fitted = AnoEAN(max_iter=2, random_state=0, parameters={"inputs": inputs}).fit(rows, y)
        np.testing.assert_array_equal(fitted.predict(np.float64([[0], [9]])), [1, -1])


@pytest.mark.parametrize(("rows_left", "share"), [(50, 0.01), (30, 0.001), (5, 0.1)])
def test_a_share_of_less_than_a_row_is_a_quantile_too(
    rows: Any, rows_left: int, share: float
) -> None:
    X = rows[0][:rows_left]
    detector = AnoEAN(contamination=share, max_iter=1, random_state=0).fit(X)
    assert detector.offset_ == np.percentile(detector.score_samples(X), 100 * share)
    assert (detector.predict(X) == -1).sum() == 1


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"contamination": None}, "contamination is None"),
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"latent_dim": -1}, "latent_dim is -1"),
        ({"latent_dim": 2.5}, "latent_dim is 2.5"),
        ({"latent_dim": "x"}, "latent_dim is 'x'"),
        ({"max_iter": 0}, "epochs is 0"),
        ({"batch_size": 1}, "batch_size is 1"),
        ({"learning_rate": 0}, "learning_rate is 0"),
        ({"preset": "nope"}, "no preset 'nope'"),
        ({"covariance": "nope"}, "no covariance 'nope'"),
        ({"parameters": "x"}, "parameters is 'x'"),
        ({"max_iter": 5, "parameters": {"detector.epochs": 5}}, "max_iter and detector.epochs"),
        ({"n_jobs": 0}, "n_jobs is 0"),
        ({"n_jobs": 1.5}, "n_jobs is 1.5"),
    ],
)
def test_a_parameter_that_cannot_be_is_a_value_error_before_training(
    rows: Any, monkeypatch: pytest.MonkeyPatch, wrong: dict[str, Any], told: str
) -> None:
    monkeypatch.setattr(AnoeanDetector, "fit", lambda *_: pytest.fail("it was trained"))
    with pytest.raises(ValueError, match=told):
        AnoEAN(**wrong).fit(*rows)


def test_all_cores_are_minus_one_job(rows: Any) -> None:
    detector = AnoEAN(n_jobs=-1, max_iter=1, random_state=0).fit(*rows)
    assert detector.model_.config["threads"] == effective_n_jobs(-1)


@pytest.mark.parametrize("odd", [None, "a", (1,)])
def test_labels_of_several_types_are_refused(rows: Any, odd: Any) -> None:
    y = np.empty(len(rows[0]), object)
    y[:] = 1
    y[3] = odd
    with pytest.raises(ValueError, match=rf"y holds values of the types .*{type(odd).__name__}"):
        AnoEAN().fit(rows[0], y)


def test_the_columns_of_a_frame_keep_their_names(rows: Any, tmp_path: Any) -> None:
    frame = pd.DataFrame(rows[0], columns=list("cba"))
    detector = AnoEAN(max_iter=1, random_state=0).fit(frame, rows[1])
    detector.model_.save(tmp_path / "m.h5")
    scores = load_model(tmp_path / "m.h5").anomaly_score(frame[list("abc")])
    assert_array_equal(scores, -detector.score_samples(frame))


def test_numbers_near_the_largest_raise_no_warning(rows: Any) -> None:
    X = np.concatenate([rows[0], [[1.7e308] * 3, [-1.7e308] * 3]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        detector = AnoEAN(max_iter=1, random_state=0).fit(X, np.append(rows[1], [1, 1]))
        assert np.isfinite(detector.score_samples(X)).all()


def test_rows_whose_labels_look_wrong_are_told_of() -> None:
    rng = np.random.default_rng(0)
    X = np.concatenate([rng.normal(size=(400, 2)), rng.normal(8, 1, size=(120, 2))])
    y = np.repeat([1, -1], [420, 100])  # twenty of the second kind are called normal
    with pytest.warns(UserWarning, match=r"^\d\d rows labelled normal .*label_filter"):
        detector = AnoEAN(max_iter=1, random_state=0).fit(X, y)
    assert set(detector.model_.split["doubtful"]) <= set(range(400, 420))


def test_without_labels_rows_far_away_score_low(rows: Any) -> None:
    X, y = rows
    detector = AnoEAN(max_iter=5, random_state=0).fit(X[y == 1])
    far = detector.score_samples(np.full((1, 3), 20.0))
    assert far < np.median(detector.score_samples(X[y == 1]))


def test_labels_of_another_kind_are_ignored_and_told(rows: Any) -> None:
    X, _ = rows
    with pytest.warns(UserWarning, match="y is ignored: its values are 0, 7"):
        AnoEAN(max_iter=1, random_state=0).fit(X, np.arange(len(X)) % 2 * 7)
    with pytest.raises(DataError, match="no normal rows"):
        AnoEAN(max_iter=1).fit(X, np.full(len(X), -1))


def test_in_a_pipeline_and_a_grid_search(rows: Any) -> None:
    X, y = rows

    def auc_pr(estimator: Any, X: Any, y: Any) -> float:
        return float(average_precision_score(y == -1, -estimator.score_samples(X)))

    pipeline = make_pipeline(StandardScaler(), AnoEAN(max_iter=2, random_state=0))
    search = GridSearchCV(pipeline, {"anoean__latent_dim": [2, 3]}, scoring=auc_pr, cv=2, n_jobs=2)
    search.fit(X, y)
    assert search.best_score_ > 0.9
    assert set(search.best_estimator_.predict(X)) == {1, -1}


@pytest.mark.parametrize("backend", ["loky", "threading"])
def test_workers_of_joblib_score_alike(fitted: AnoEAN, rows: Any, backend: str) -> None:
    parts = np.array_split(rows[0], 4)
    scores = Parallel(n_jobs=2, backend=backend)(delayed(fitted.score_samples)(p) for p in parts)
    assert_array_equal(np.concatenate(scores), fitted.score_samples(rows[0]))


def test_eight_threads_score_alike(fitted: AnoEAN, rows: Any) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(again.score_samples, [rows[0]] * 16))
    for scores in found:
        assert_array_equal(scores, fitted.score_samples(rows[0]))


@pytest.fixture(scope="module")
def plain(rows: Any) -> AnoEAN:
    """Of values that float32 holds too, one after the other in memory."""
    return AnoEAN(max_iter=1, random_state=0).fit(rows[0].astype(np.float32).astype(float), rows[1])


@pytest.mark.parametrize(
    ("dtype", "order"), [("f4", "C"), ("f8", "F"), ("f4", "strided"), (">f8", "C")]
)
def test_layouts_of_arrays_are_learnt_and_scored_alike(
    plain: AnoEAN, rows: Any, dtype: str, order: Any
) -> None:
    X, y = rows[0].astype(np.float32), rows[1].copy()
    if order == "strided":
        wide = np.zeros((2 * len(X), 6), dtype)
        wide[::2, ::-2] = X
        given, y = wide[::2, ::-2], np.repeat(y, 2)[::2]
    else:
        given = np.array(X, dtype, order=order)
    for array in (given, y):
        array.setflags(write=False)
    fitted = AnoEAN(max_iter=1, random_state=0).fit(given, y)
    assert_array_equal(fitted.score_samples(given), plain.score_samples(X.astype(float)))
    assert_array_equal(fitted.predict(given), plain.predict(X))


def test_fits_in_threads_are_those_one_after_another(rows: Any) -> None:
    def scores(seed: int) -> NDArray[np.float64]:
        return AnoEAN(max_iter=2, random_state=seed).fit(*rows).score_samples(rows[0])

    def state_of_the_process() -> tuple[Any, ...]:
        generator = torch.get_rng_state().numpy().tobytes()
        return generator, torch.get_num_threads(), logging.root.manager.disable, warnings.filters[:]

    alone = [scores(seed) for seed in range(2)]
    before = state_of_the_process()
    with ThreadPoolExecutor(2) as pool:
        together = list(pool.map(scores, range(2)))
    assert_array_equal(together, alone)
    assert state_of_the_process() == before


def test_images_in_rows() -> None:
    rng = np.random.default_rng(0)
    dark, light = rng.integers(0, 90, (80, 64)), rng.integers(160, 256, (20, 64))
    X, y = np.concatenate([dark, light]), np.repeat([1, -1], [80, 20])
    detector = AnoEAN(image_shape=(1, 8, 8), max_iter=3, random_state=0, n_jobs=1).fit(X, y)
    assert detector.model_.config["encoder"]["name"] == "conv"
    assert detector.score_samples(light).mean() < detector.score_samples(dark).mean()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for wrong in (np.full((1, 64), "a"), np.full((1, 64), None), [[1], [1, 2]]):
            with pytest.raises(DataError):
                detector.model_.anomaly_score(wrong)
        with pytest.raises(DataError, match="whole numbers from 0 to 255"):
            detector.model_.anomaly_score(np.full((1, 64), np.nan))
