"""The figures by which detectors are judged, with bootstrap intervals, and a test over seeds.

Sections 3 and 7 of the design name the figures. All of them are functions of the weights of true
and false positives above each distinct score; so rows are sorted once, and a resample is nothing
but another vector of weights for the same sorted rows.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anoean_cli.data.labels import among
from anoean_cli.errors import DataError, UsageError
from anoean_cli.examples import Scores

Figures: TypeAlias = dict[str, float]

# What people are shown, in this order, and what it is.
FIGURES = {
    "auc_pr": "average precision, the paper’s AUC",
    "auc_pr_trapezoid": "the same by the trapezoidal rule",
    "roc_auc": "area under the ROC curve",
    "f1_best": "at the best threshold in hindsight",
    "accuracy_at_f1_best": "at that threshold",
    "recall_at_fpr_0.01": "at the threshold that flags 1 % of these normals",
    "threshold": "the model’s; a greater score is anomalous",
    "precision": "anomalies among what is flagged",
    "recall": "what is flagged among anomalies",
    "f1": "harmonic mean of precision and recall",
    "accuracy": "right verdicts",
    "fpr": "what is flagged among normals",
}
CONFIDENCE = 0.95
_BLOCK = 1 << 17  # elements of one block of resamples: arrays of 1 MB stay in the processor's cache
_MANY_ROWS = 200_000
_RESAMPLES_OF_MANY_ROWS = 200


def parts_of(found: Mapping[str, Any]) -> dict[str, Mapping[str, float]]:
    """The figures of all rows, and of those parts of them that were judged for themselves."""
    return {"all": found} | {
        name: found[name] for name in ("seen", "unseen", "with_duplicates") if name in found
    }


def evaluate_scores(
    scores: ArrayLike,
    is_anomaly: ArrayLike,
    threshold: float | None,
    *,
    groups: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
    confidence: float = CONFIDENCE,
) -> Figures:
    """Return every figure of a detector on labelled rows, with percentile bootstrap intervals.

    ``f1_best`` and ``accuracy_at_f1_best`` belong to the best threshold t in hindsight (anomalous
    when score >= t; ties take the higher t). At a given ``threshold``, which is the k-th largest
    reference score, a row is anomalous when its score is greater; a precision of nothing is 0.

    Resamples are stratified by class and draw distinct rows (section 7): they cover the sampling
    of the test set only. Above 200,000 rows at most 200 resamples are drawn.

    Args:
        scores: (n,), high for anomalies.
        is_anomaly: (n,) bool.
        threshold: the calibrated threshold, or None.
        groups: (n,) identity of each row: equal rows of a class are resampled together. None
            takes all rows as distinct.
        weights: (n,) positive sample weights, such as multiplicities.
        bootstrap: number of resamples; 0 gives no intervals.
        seed: of the resamples.
        confidence: of the intervals.

    Returns:
        ``auc_pr``, ``auc_pr_trapezoid``, ``roc_auc``, ``f1_best``, ``accuracy_at_f1_best``,
        ``recall_at_fpr_0.01``, with a threshold also ``precision``, ``recall``, ``f1``,
        ``accuracy`` and ``fpr``, each with ``_low`` and ``_high``; ``threshold``; the numbers of
        rows ``n_normals`` and ``n_anomalies``.

    Raises:
        DataError: scores that are not finite, weights that are not positive, arrays of different
            lengths, rows of one class only.
        UsageError: a threshold, confidence or number of resamples that makes no sense.
    """
    if threshold is not None and np.isnan(threshold):
        raise UsageError("threshold is not a number")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence {confidence:g} is not between 0 and 1")
    if bootstrap < 0:
        raise UsageError(f"bootstrap {bootstrap} is negative")
    rows = _Rows.ranked(scores, is_anomaly, threshold, groups, weights)
    point = _figures(rows.weights[np.newaxis], rows)
    figures = {name: float(values[0]) for name, values in point.items()}
    if bootstrap:
        figures |= _intervals(rows, bootstrap, seed, confidence)
    if threshold is not None:
        figures["threshold"] = float(threshold)
    figures["n_anomalies"] = int(np.count_nonzero(rows.is_anomaly))
    figures["n_normals"] = len(rows.is_anomaly) - figures["n_anomalies"]
    return figures


def evaluate_with_types(
    scores: ArrayLike,
    is_anomaly: ArrayLike,
    types: ArrayLike,
    seen: Collection[str],
    threshold: float | None,
    *,
    groups: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    bootstrap: int = 1000,
) -> dict[str, float | Figures]:
    """Return the figures of all rows and, under ``seen`` and ``unseen``, those by anomaly type.

    Each of the two holds all normals against the anomalies whose type training saw, or did not
    see; it is left out when there are no such anomalies.

    Args:
        types: (n,) the type of each row; those of normals do not matter.
        seen: the anomaly types that training saw.

    The other arguments, and the errors, are those of :func:`evaluate_scores`.
    """
    scores, is_anomaly = np.asarray(scores), np.asarray(is_anomaly, dtype=bool)
    optional = [None if each is None else np.asarray(each) for each in (groups, weights)]
    was_seen = among(types, seen)
    _check_lengths(scores, is_anomaly, was_seen, *optional)

    def figures(chosen: Any) -> Figures:
        of_groups, of_weights = (None if each is None else each[chosen] for each in optional)
        return evaluate_scores(
            scores[chosen],
            is_anomaly[chosen],
            threshold,
            groups=of_groups,
            weights=of_weights,
            bootstrap=bootstrap,
        )

    result: dict[str, float | Figures] = dict(figures(slice(None)))
    for name, anomalies in (("seen", is_anomaly & was_seen), ("unseen", is_anomaly & ~was_seen)):
        if anomalies.any():
            result[name] = figures(anomalies | ~is_anomaly)
    return result


def counts_down_the_ranking(
    scores: ArrayLike,
    is_anomaly: ArrayLike,
    *,
    groups: ArrayLike | None = None,
    bootstrap: int = 1000,
) -> Iterator[tuple[Scores, Scores]]:
    """Yield true and false positives of the k highest distinct scores, k from 0 to all m of them.

    First come those of the rows themselves, then those of the resamples that
    :func:`evaluate_scores` takes its intervals from by default, block by block.

    Yields:
        Two arrays (b, m + 1): true and false positives; b is 1 for the rows themselves.

    Raises:
        DataError: as :func:`evaluate_scores`.
    """
    rows = _Rows.ranked(scores, is_anomaly, None, groups, None)
    resamples = _resamples(rows, _affordable(bootstrap, rows), seed=0) if bootstrap else ()
    for weights in chain([rows.weights[np.newaxis]], resamples):
        yield (
            _cumulated(weights * rows.is_anomaly, rows.ends),
            _cumulated(weights * ~rows.is_anomaly, rows.ends),
        )


class PairedDifference(NamedTuple):
    """A mean difference over seeds, its interval, and the p-value of "there is none"."""

    mean: float
    low: float
    high: float
    p_value: float


def nadeau_bengio(differences: ArrayLike, test_share: float) -> PairedDifference:
    """Return the corrected resampled t-test of paired differences over J seeds.

    Splits of one data set share rows, so their differences are not independent; the variance of
    the mean is taken as (1/J + n_test/n_train) · s² in place of s²/J, with J − 1 degrees of
    freedom (C. Nadeau and Y. Bengio, "Inference for the Generalization Error", Machine Learning
    52, 2003, 239–281). The test is two-sided.

    Args:
        differences: (J,), one for each seed.
        test_share: n_test / n_train; 0 when the splits are disjoint, as for independent samples.

    Returns:
        The interval has a confidence of 95 %. Interval and p-value are NaN for a single seed.

    Raises:
        DataError: no differences, or some that are not finite.
        UsageError: a negative test share.
    """
    from scipy import stats

    values = np.asarray(differences, dtype=np.float64).ravel()
    if not len(values) or not np.isfinite(values).all():
        raise DataError("paired differences must be finite, and at least one")
    if not test_share >= 0:
        raise UsageError(f"test share {test_share:g} is negative")
    mean, seeds = float(values.mean()), len(values)
    if seeds == 1:
        return PairedDifference(mean, np.nan, np.nan, np.nan)
    error = float(np.sqrt((1 / seeds + test_share) * values.var(ddof=1)))
    if error == 0:
        return PairedDifference(mean, mean, mean, float(mean == 0))
    student = stats.t(seeds - 1)
    half = float(student.ppf((1 + CONFIDENCE) / 2)) * error
    p_value = 2 * float(student.sf(abs(mean) / error))
    return PairedDifference(mean, mean - half, mean + half, p_value)


# --------------------------------------------------------------------------- figures


@dataclass(frozen=True)
class _Rows:
    """Rows by falling score.

    Attributes:
        is_anomaly: (n,) bool.
        weights: (n,) positive.
        groups: (n,) integers.
        ends: (m,) position of the last row of each of the m distinct scores.
        above: how many distinct scores are greater than the threshold; None without one.
    """

    is_anomaly: NDArray[np.bool_]
    weights: Scores
    groups: NDArray[np.intp]
    ends: NDArray[np.intp]
    above: int | None

    @classmethod
    def ranked(
        cls,
        scores: ArrayLike,
        is_anomaly: ArrayLike,
        threshold: float | None,
        groups: ArrayLike | None,
        weights: ArrayLike | None,
    ) -> _Rows:
        values = np.asarray(scores, dtype=np.float64)
        labels = np.asarray(is_anomaly, dtype=bool)
        identity = np.arange(len(values)) if groups is None else np.asarray(groups)
        mass = np.ones(len(values)) if weights is None else np.asarray(weights, dtype=np.float64)
        _check_lengths(values, labels, identity, mass)
        _check_values(values, labels, mass)
        order = np.argsort(-values, kind="stable")
        falling = values[order]
        ends = np.append(np.flatnonzero(np.diff(falling)), len(falling) - 1)
        above = None if threshold is None else int(np.count_nonzero(falling[ends] > threshold))
        numbered = np.unique(identity, return_inverse=True)[1]
        return cls(labels[order], mass[order], numbered[order], ends, above)


def _check_lengths(*arrays: NDArray[Any] | None) -> None:
    shapes = {each.shape for each in arrays if each is not None}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1:
        listed = ", ".join(sorted(map(str, shapes)))
        raise DataError(f"scores and what is known of their rows differ in shape: {listed}")


def _check_values(scores: Scores, is_anomaly: NDArray[np.bool_], weights: Scores) -> None:
    broken = np.flatnonzero(~np.isfinite(scores))
    if len(broken):
        raise DataError(
            f"score {scores[broken[0]]} at position {broken[0]} is not finite "
            f"({len(broken)} of {len(scores)} are not)"
        )
    if not (np.isfinite(weights) & (weights > 0)).all():
        raise DataError("weights must be finite and greater than 0")
    anomalies = int(np.count_nonzero(is_anomaly))
    if anomalies in (0, len(scores)):
        kind, missing = ("anomalous", "normal") if anomalies else ("normal", "anomalous")
        raise DataError(
            f"all {len(scores)} rows are {kind}: figures need at least one {missing} row"
        )


def _figures(weights: Scores, rows: _Rows) -> dict[str, Scores]:
    """Return each figure for each of b vectors of weights.

    Args:
        weights: (b, n), at least 0, with positive sums of both classes.

    Returns:
        Name to (b,) values.
    """
    tp = _cumulated(weights * rows.is_anomaly, rows.ends)  # column k: k highest scores flagged
    fp = _cumulated(weights * ~rows.is_anomaly, rows.ends)
    positives, negatives = tp[:, -1:], fp[:, -1:]
    flagged = tp + fp
    recall, fpr = tp / positives, fp / negatives
    precision = np.divide(tp, flagged, out=np.ones_like(tp), where=flagged > 0)
    f1 = 2 * tp / (flagged + positives)
    accuracy = (tp + negatives - fp) / (positives + negatives)
    steps = np.diff(recall, axis=1)
    best = np.argmax(f1, axis=1)[:, np.newaxis]  # the first of equals: the higher threshold
    within = np.count_nonzero(fpr <= 0.01, axis=1)[:, np.newaxis] - 1
    figures = {
        "auc_pr": (steps * precision[:, 1:]).sum(axis=1),
        "auc_pr_trapezoid": (steps * _middles(precision)).sum(axis=1),
        "roc_auc": (np.diff(fpr, axis=1) * _middles(recall)).sum(axis=1),
        "f1_best": np.take_along_axis(f1, best, axis=1)[:, 0],
        "accuracy_at_f1_best": np.take_along_axis(accuracy, best, axis=1)[:, 0],
        "recall_at_fpr_0.01": np.take_along_axis(recall, within, axis=1)[:, 0],
    }
    if rows.above is not None:
        at = rows.above  # take() copies: a view would keep the whole curve in memory
        figures |= {
            "precision": np.where(flagged[:, at] > 0, precision[:, at], 0.0),
            "recall": recall.take(at, axis=1),
            "f1": f1.take(at, axis=1),
            "accuracy": accuracy.take(at, axis=1),
            "fpr": fpr.take(at, axis=1),
        }
    return figures


def _cumulated(weights: Scores, ends: NDArray[np.intp]) -> Scores:
    """Return (b, m + 1) sums of (b, n) weights down to each distinct score, from none to all."""
    sums = np.zeros((len(weights), len(ends) + 1))
    sums[:, 1:] = np.cumsum(weights, axis=1)[:, ends]
    return sums


def _middles(curve: Scores) -> Scores:
    return (curve[:, 1:] + curve[:, :-1]) / 2


# --------------------------------------------------------------------------- bootstrap


def _intervals(rows: _Rows, bootstrap: int, seed: int, confidence: float) -> Figures:
    """Return ``<name>_low`` and ``<name>_high`` of each figure, by the percentile bootstrap."""
    resamples = _resamples(rows, _affordable(bootstrap, rows), seed)
    blocks = [_figures(weights, rows) for weights in resamples]
    tails = ((1 - confidence) / 2, (1 + confidence) / 2)
    intervals: Figures = {}
    for name in blocks[0]:
        low, high = np.quantile(np.concatenate([block[name] for block in blocks]), tails)
        intervals |= {f"{name}_low": float(low), f"{name}_high": float(high)}
    return intervals


def _affordable(bootstrap: int, rows: _Rows) -> int:
    many = len(rows.weights) > _MANY_ROWS
    return min(bootstrap, _RESAMPLES_OF_MANY_ROWS) if many else bootstrap


def _resamples(rows: _Rows, bootstrap: int, seed: int) -> Iterator[Scores]:
    """Yield blocks of (b, n) weights: how often each row was drawn, times its own weight."""
    classes = [np.flatnonzero(~rows.is_anomaly), np.flatnonzero(rows.is_anomaly)]
    units = [np.unique(rows.groups[members], return_inverse=True)[1] for members in classes]
    generators = np.random.default_rng(seed).spawn(2)
    size = max(1, _BLOCK // len(rows.weights))
    for start in range(0, bootstrap, size):
        weights = np.empty((min(size, bootstrap - start), len(rows.weights)))
        for members, unit, rng in zip(classes, units, generators, strict=True):
            weights[:, members] = _draws(rng, len(weights), int(unit.max()) + 1)[:, unit]
        yield weights * rows.weights


def _draws(rng: np.random.Generator, resamples: int, units: int) -> NDArray[np.intp]:
    """Return (resamples, units): how often each unit comes in as many draws with replacement."""
    drawn = rng.integers(units, size=(resamples, units))
    drawn += units * np.arange(resamples)[:, np.newaxis]
    return np.bincount(drawn.ravel(), minlength=resamples * units).reshape(resamples, units)
