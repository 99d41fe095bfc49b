"""The numbers behind the pictures of a report: curves with bands, counts, bins, projections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from anoean_cli.evaluation.metrics import counts_down_the_ranking
from anoean_cli.examples import Scores

# Finer where rates are small: that is where a threshold lies.
RATES = np.unique(np.concatenate([np.linspace(0, 1, 101), np.geomspace(1e-3, 1, 60)]))
STOPS = 1000
BINS = 50  # of a histogram
ALPHAS = (0.01, 0.05, 0.1, 0.2, 0.5)


class Curve(NamedTuple):
    """A curve at given places, with a band around it; all (k,)."""

    x: Scores
    y: Scores
    low: Scores
    high: Scores


@dataclass(frozen=True)
class Curves:
    """Precision by recall, and recall by false-positive rate, each with 95 % bootstrap bands."""

    precision_recall: Curve
    roc: Curve


def curves(
    scores: Scores,
    is_anomaly: NDArray[np.bool_],
    bootstrap: int = 1000,
    groups: NDArray[np.uint64] | None = None,
) -> Curves:
    """Return both curves of (n,) scores.

    Bands are pointwise percentiles of the resamples that the intervals of the figures are from,
    which draw rows of a group together.

    Raises:
        DataError: rows of one class only.
    """
    precisions, recalls = [], []
    for tp, fp in counts_down_the_ranking(scores, is_anomaly, groups=groups, bootstrap=bootstrap):
        for hits, alarms in zip(tp, fp, strict=True):
            precision, recall = _at_rates(hits, alarms)
            precisions.append(precision)
            recalls.append(recall)
    return Curves(_banded(precisions), _banded(recalls))


def _at_rates(tp: Scores, fp: Scores) -> tuple[Scores, Scores]:
    """Precision where recall reaches each rate first, and recall where that rate of false
    positives is not yet exceeded."""
    recall, fpr = tp / tp[-1], fp / fp[-1]
    first = np.maximum(np.searchsorted(recall, RATES, side="left"), 1)  # none flagged: no precision
    flagged = tp[first] + fp[first]
    precision = np.divide(tp[first], flagged, out=np.ones_like(flagged), where=flagged > 0)
    last = np.searchsorted(fpr, RATES, side="right") - 1
    return precision, recall[last]


def _banded(values: list[Scores]) -> Curve:
    """The first is the curve; the others are resamples."""
    if len(values) == 1:
        return Curve(RATES, values[0], values[0], values[0])
    low, high = np.quantile(np.array(values[1:]), (0.025, 0.975), axis=0)
    return Curve(RATES, values[0], low, high)


# --------------------------------------------------------------------------- the threshold


def above(values: Scores, thresholds: Scores) -> NDArray[np.intp]:
    """(k,) how many of (n,) values are greater than each of (k,) thresholds."""
    return len(values) - np.searchsorted(np.sort(values), thresholds, side="right")


def stops(scores: Scores, is_anomaly: NDArray[np.bool_], threshold: float) -> Scores:
    """(k,) rising thresholds at which a reader may count: at most some thousand.

    They are scores of rows, one below all of them, and the calibrated threshold. Of many rows
    only some scores are taken, evenly by rank among normals and among anomalies, and more among
    the highest normals, so that small rates of false positives are told apart.
    """
    distinct = np.unique(scores)
    if len(distinct) > STOPS:
        distinct = np.unique(
            np.concatenate(
                [
                    _evenly(scores[~is_anomaly], STOPS // 3),
                    _evenly(scores[is_anomaly], STOPS // 3),
                    _highest(scores[~is_anomaly], STOPS // 3),
                    distinct[[0, -1]],
                ]
            )
        )
    all_flagged = np.nextafter(distinct[0], -np.inf)
    return np.unique(np.concatenate([[all_flagged, threshold], distinct]))


def _evenly(values: Scores, most: int) -> Scores:
    at = np.linspace(0, len(values) - 1, min(most, len(values))).astype(int)
    return np.asarray(np.sort(values)[at])


def _highest(values: Scores, most: int) -> Scores:
    falling = np.sort(values)[::-1]
    at = np.unique(np.geomspace(1, len(values), most).astype(int)) - 1
    return np.asarray(falling[at])


# --------------------------------------------------------------------------- histograms


def is_skewed(scores: Scores) -> bool:
    """Whether scores are better shown on a logarithmic axis."""
    return bool(scores.min() > 0 and scores.max() > 20 * scores.min())


def edges(scores: Scores) -> Scores:
    """(BINS + 1,) rising edges of bins of equal width on the axis that suits the scores."""
    low, high = float(scores.min()), float(scores.max())
    if high - low <= abs(high) * 1e-9:
        half = max(0.5, abs(low) * 1e-6)
        return np.linspace(low - half, high + half, BINS + 1)
    if is_skewed(scores):
        return np.geomspace(low, high, BINS + 1)
    return np.linspace(low, high, BINS + 1)


def shares(scores: Scores, bounds: Scores) -> Scores:
    """(bins,) the share of (n,) scores in each bin; the outermost take what rounding left out."""
    counts, _ = np.histogram(np.clip(scores, bounds[0], bounds[-1]), bounds)
    return np.asarray(counts / max(1, len(scores)))


# --------------------------------------------------------------------------- p-values


class Uniformity(NamedTuple):
    """Of how many normals p is at most each of (k,) levels, as a share; what may be by chance."""

    level: Scores
    found: Scores
    low: Scores
    high: Scores


def uniformity(p_values: Scores, references: int, levels: Scores) -> Uniformity:
    """Compare p-values of m test normals with what valid ones give.

    Where m normals and n references are drawn alike, the number of p-values up to k/(n + 1) is
    beta-binomial with parameters m, k and n + 1 − k; the limits are its 2.5 % and 97.5 % points.

    Args:
        p_values: (m,) of normals.
        references: n, how many reference scores they are from.
        levels: (k,) in (0, 1).
    """
    from scipy.stats import betabinom

    m = len(p_values)
    rank = np.floor(levels * (references + 1) + 1e-9)
    found = np.searchsorted(np.sort(p_values), levels + 1e-12, side="right") / m
    low, high = np.zeros(len(levels)), np.zeros(len(levels))
    some = (rank >= 1) & (rank <= references)
    for limits, tail in ((low, 0.025), (high, 0.975)):
        limits[some] = betabinom.ppf(tail, m, rank[some], references + 1 - rank[some]) / m
        limits[rank > references] = 1
    return Uniformity(levels, found, low, high)


# --------------------------------------------------------------------------- decision space


class Plane(NamedTuple):
    """A projection to two dimensions, and the shares of variance that they have."""

    mean: Scores
    axes: Scores
    shares: Scores

    def project(self, embedding: NDArray[np.floating]) -> Scores:
        """(n, d) → (n, 2)."""
        return np.asarray((embedding - self.mean) @ self.axes.T, dtype=np.float64)


def principal_plane(embedding: NDArray[np.floating]) -> Plane | None:
    """Return the first two principal components of (n, d); None where there are no two."""
    values = embedding.astype(np.float64)
    if min(values.shape) < 2:
        return None
    mean = values.mean(axis=0)
    variances, vectors = np.linalg.eigh(np.cov(values - mean, rowvar=False))
    total = variances.sum()
    if not total > 0:
        return None
    axes = vectors[:, ::-1][:, :2].T
    # The sign of an eigenvector is arbitrary: its largest part is made positive.
    largest = np.take_along_axis(axes, np.abs(axes).argmax(axis=1)[:, None], axis=1)
    return Plane(mean, axes * np.sign(largest), variances[::-1][:2] / total)


def thinned(members: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """At most so many of (n,) positions, evenly chosen."""
    if len(members) <= most:
        return members
    return np.asarray(members[np.linspace(0, len(members) - 1, most).astype(int)])
