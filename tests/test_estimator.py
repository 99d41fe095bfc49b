"""``AnoEAN`` as scikit-learn's users know an outlier detector."""

from __future__ import annotations

import logging
import pickle
import warnings
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch
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


@parametrize_with_checks([AnoEAN()])
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


def test_fits_in_threads_are_those_one_after_another(rows: Any) -> None:
    def scores(seed: int) -> NDArray[np.float64]:
        return AnoEAN(max_iter=2, random_state=seed).fit(*rows).score_samples(rows[0])

    def state_of_the_process() -> tuple[Any, ...]:
        generator = torch.get_rng_state().numpy().tobytes()
        return generator, torch.get_num_threads(), logging.root.manager.disable, warnings.filters[:]

    alone = [scores(seed) for seed in range(4)]
    before = state_of_the_process()
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(scores, range(4)))
    assert_array_equal(together, alone)
    assert state_of_the_process() == before


def test_images_in_rows() -> None:
    rng = np.random.default_rng(0)
    dark, light = rng.integers(0, 90, (80, 64)), rng.integers(160, 256, (20, 64))
    X, y = np.concatenate([dark, light]), np.repeat([1, -1], [80, 20])
    detector = AnoEAN(image_shape=(1, 8, 8), max_iter=3, random_state=0).fit(X, y)
    assert detector.model_.config["encoder"]["name"] == "conv"
    assert detector.score_samples(light).mean() < detector.score_samples(dark).mean()
