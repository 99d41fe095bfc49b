"""Split-conformal calibration: from reference scores to p-values and thresholds (section 6).

A threshold t makes a row anomalous when its score is *greater* than t.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from anoean_cli.errors import DataError, UsageError
from anoean_cli.interfaces import Json, Scores


@dataclass(frozen=True, eq=False)
class Calibration:
    """What turns raw scores into p-values and verdicts.

    Attributes:
        reference: (n,) float64, rising: the scores of calibration normals.
        threshold: a score above it is anomalous.
        rule: JSON: how the threshold was chosen.
        exact: whether the reference rows were untouched, so that p-values are exactly valid;
            cross-fitted references give approximate ones.
    """

    reference: Scores
    threshold: float
    rule: Mapping[str, Json]
    exact: bool


def p_values(reference: ArrayLike, scores: ArrayLike) -> Scores:
    """Return p = (1 + #{reference >= s}) / (n + 1) for each score s; never 0.

    Args:
        reference: (n,) finite and rising.
        scores: (m,).

    Returns:
        (m,) float64.

    Raises:
        DataError: scores that are not a number; references that are none, not finite or unsorted.
    """
    rising = _reference(reference)
    reached = len(rising) - np.searchsorted(rising, _scores(scores), side="left")
    p: Scores = (1 + reached) / (len(rising) + 1)
    return p


def default_rate(n: int) -> float:
    """Return the false-positive rate asked of n references by default: max(0.01, 1/(n + 1))."""
    return max(0.01, 1 / (n + 1))


def threshold_for_rate(reference: ArrayLike, rate: float) -> float:
    """Return the threshold with which a normal is called anomalous with at most probability rate.

    It is the k-th largest of n references, k = ⌊rate·(n + 1)⌋; score > threshold is the same as
    p <= rate.

    Raises:
        UsageError: a rate outside (0, 1), or finer than n references can give.
        DataError: references that are none, not finite or unsorted.
    """
    rising = _reference(reference)
    n = len(rising)
    k = _whole_part("rate", rate, n + 1)
    if k == 0:
        raise UsageError(
            f"a false-positive rate of {rate:g} is finer than {n} calibration rows can give: the "
            f"smallest is 1/({n} + 1) = {1 / (n + 1):.6g}; give at least "
            f"{np.ceil(1 / rate) - 1:.0f} calibration rows, or a larger rate"
        )
    return float(rising[n - k])


def threshold_for_contamination(scores: ArrayLike, contamination: float) -> float:
    """Return the threshold that calls a given share of these scores anomalous.

    ⌊contamination·n⌋ scores lie above it; fewer when equal scores stand at the border.

    Raises:
        UsageError: a share outside (0, 1), or less than one row.
        DataError: no scores, or some that are not a number.
    """
    rising = np.sort(_scores(scores))
    n = len(rising)
    k = _whole_part("contamination", contamination, n)
    if k == 0:
        raise UsageError(
            f"a contamination of {contamination:g} is less than one of {n} rows: "
            "give more rows or a larger share"
        )
    return float(rising[n - k - 1])


def threshold_for_f1(scores: ArrayLike, is_anomaly: ArrayLike) -> float:
    """Return the threshold with the best F1 on labelled rows; ties take the higher one.

    It is the largest score that is not flagged, or the next float below all scores when flagging
    every row is best.

    Args:
        scores: (n,).
        is_anomaly: (n,) bool.

    Raises:
        DataError: rows of one class only, arrays of different lengths, scores that are not a
            number.
    """
    values, labels = _scores(scores), np.asarray(is_anomaly, dtype=bool)
    if values.shape != labels.shape:
        raise DataError(f"{values.shape} scores, but {labels.shape} labels")
    if labels.all() or not labels.any():
        raise DataError("the best F1 needs normal and anomalous rows")
    levels, level = np.unique(-values, return_inverse=True)  # falling scores
    flagged = np.cumsum(np.bincount(level))
    hits = np.cumsum(np.bincount(level, weights=labels))
    best = int(np.argmax(2 * hits / (flagged + np.count_nonzero(labels))))
    if best + 1 < len(levels):
        return float(-levels[best + 1])
    return float(np.nextafter(-levels[best], -np.inf))


def _whole_part(name: str, share: float, n: int) -> int:
    """Return ⌊share·n⌋: the largest k with k/n <= share.

    The product may round to the wrong side of a whole number, k/n <= share does not: a decimal
    and the fraction that equals it round to the same float.
    """
    if not 0 < share < 1:
        raise UsageError(f"{name} {share:g} is not between 0 and 1")
    k = round(share * n)
    return k if k / n <= share else k - 1


def _scores(values: ArrayLike) -> Scores:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1:
        raise DataError(f"scores have shape {scores.shape}, not one dimension")
    missing = np.flatnonzero(np.isnan(scores))
    if len(missing):
        raise DataError(f"the score at position {missing[0]} is not a number")
    return scores


def _reference(values: ArrayLike) -> Scores:
    reference = _scores(values)
    if not len(reference):
        raise DataError("there are no reference scores: calibrate the model first")
    if not np.isfinite(reference[[0, -1]]).all() or (reference[1:] < reference[:-1]).any():
        raise DataError("reference scores must be finite and rising")
    return reference
