"""The figures that pick the epoch."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from anoean_cli.training import selection
from anoean_cli.training.selection import auc_pr, ranking

IS_ANOMALY = np.repeat([False, True], [40, 10])


def scores(gap: float, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.exp(rng.normal(size=50) + gap * IS_ANOMALY)


@pytest.mark.parametrize("gap", [0.0, 1.0, 3.0])
def test_auc_pr_is_average_precision(gap):
    s = scores(gap)
    assert auc_pr(s, IS_ANOMALY) == average_precision_score(IS_ANOMALY, s)


def test_ranking_is_the_mean_over_all_pairs():
    s = scores(1.0)
    pairs = [
        np.log1p(np.exp((np.log(n) - np.log(a)) / 0.1))
        for n in s[~IS_ANOMALY]
        for a in s[IS_ANOMALY]
    ]
    assert ranking(s, IS_ANOMALY) == pytest.approx(-np.mean(pairs), rel=1e-12)


def test_ranking_goes_on_improving_where_auc_pr_stands_still():
    parted = [np.where(IS_ANOMALY, 1.0 + gap, 1.0) for gap in (0.5, 1.0, 2.0, 4.0)]
    assert [auc_pr(s, IS_ANOMALY) for s in parted] == [1.0] * 4
    figures = [ranking(s, IS_ANOMALY) for s in parted]
    assert figures == sorted(figures)
    assert len(set(figures)) == 4
    assert all(figure < 0 for figure in figures)


def test_ranking_does_not_depend_on_the_unit_of_the_scores():
    s = scores(1.0)
    assert ranking(1e6 * s, IS_ANOMALY) == pytest.approx(ranking(s, IS_ANOMALY), rel=1e-9)


def test_scores_of_zero_and_of_enormous_size_have_a_ranking():
    s = np.where(IS_ANOMALY, 1e300, 0.0)
    assert np.isfinite(ranking(s, IS_ANOMALY))
    assert ranking(s[::-1].copy(), IS_ANOMALY) < -1000


def test_thinning_many_rows_keeps_the_figure(monkeypatch):
    rng = np.random.default_rng(0)
    flags = np.repeat([False, True], [1500, 900])
    s = np.exp(rng.normal(size=2400) + 2 * flags)
    exact = ranking(s, flags)
    monkeypatch.setattr(selection, "MOST_ROWS", 300)
    assert ranking(s, flags) == pytest.approx(exact, rel=0.1)
