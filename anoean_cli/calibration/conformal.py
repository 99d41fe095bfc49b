"""Split-conformal calibration: from reference scores to p-values and thresholds (section 6).

A threshold t makes a row anomalous when its score is *greater* than t.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from anoean_cli.errors import DataError, UsageError
from anoean_cli.examples import Json, Scores
from anoean_cli.wording import counted

ROUNDING = 1e-12


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
    rising = checked_reference(reference)
    reached = len(rising) - np.searchsorted(rising, checked_scores(scores), side="left")
    p: Scores = (1 + reached) / (len(rising) + 1)
    return p


def default_rate(n: int, confidence: float | None = None) -> float:
    """Return the false-positive rate asked of n references by default: 1 %, or the finest."""
    return max(0.01, finest_rate(n, confidence))


def finest_rate(n: int, confidence: float | None = None) -> float:
    """Return the smallest rate that n references can give: 1/(n + 1), and with a confidence c
    1 − (1 − c)^(1/n), the rate of normals above the largest reference with that probability.

    Raises:
        UsageError: a confidence outside (0, 1).
    """
    if confidence is None:
        return 1 / (n + 1)
    if not 0 < confidence < 1:
        raise UsageError(f"confidence {confidence:g} is not between 0 and 1")
    return -math.expm1(math.log1p(-confidence) / n)


def threshold_for_rate(reference: ArrayLike, rate: float, confidence: float | None = None) -> float:
    """Return the threshold with which a normal is called anomalous with at most probability rate.

    It is the k-th largest of n references, k = ⌊rate·(n + 1)⌋; score > threshold is the same as
    p <= rate. The probability is that over calibrations. Of one calibration the rate follows,
    without ties, Beta(k, n + 1 − k); with a confidence k is the largest for which that stays
    within the rate with this probability.

    Raises:
        UsageError: a rate or a confidence outside (0, 1), or finer than n references can give.
        DataError: references that are none, not finite or unsorted.
    """
    rising = checked_reference(reference)
    n = len(rising)
    k = _whole_part("rate", rate, n + 1)
    if confidence is not None:
        k = _confident_part(n, rate, confidence)
    if k == 0:
        raise UsageError(_too_fine(n, rate, confidence))
    return float(rising[n - k])


def _confident_part(n: int, rate: float, confidence: float) -> int:
    """Return the largest k with P(Beta(k, n + 1 − k) <= rate) >= confidence, 0 if there is none."""
    from scipy.special import betainc  # only here: its import takes longer than calibrating

    if rate < finest_rate(n, confidence) * (1 - ROUNDING):
        return 0
    k = np.arange(1, n + 1)
    return int(np.count_nonzero(betainc(k, n + 1 - k, rate) >= confidence * (1 - ROUNDING)))


def _too_fine(n: int, rate: float, confidence: float | None) -> str:
    finest = f"{finest_rate(n, confidence):.6g}"
    if confidence is None:
        asked, smallest = f"{rate:g}", f"1/({n} + 1) = {finest}"
        needed = np.ceil(1 / rate) - 1
    else:
        asked, smallest = f"{rate:g} with confidence {confidence:g}", finest
        needed = np.ceil(math.log1p(-confidence) / math.log1p(-rate))
    return (
        f"a false-positive rate of {asked} is finer than {counted(n, 'calibration row')} can give: "
        f"the smallest is {smallest}; give at least {needed:.0f} calibration rows, or a larger rate"
    )


def threshold_for_contamination(scores: ArrayLike, contamination: float) -> float:
    """Return the threshold that calls a given share of these scores anomalous.

    ⌊contamination·n⌋ scores lie above it; fewer when equal scores stand at the border.

    Raises:
        UsageError: a share outside (0, 1), or less than one row.
        DataError: no scores, or some that are not a number.
    """
    rising = np.sort(checked_scores(scores))
    n = len(rising)
    k = _whole_part("contamination", contamination, n)
    if k == 0:
        raise UsageError(
            f"a contamination of {contamination:g} is less than one of {counted(n, 'row')}: "
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
    values, labels = checked_scores(scores), np.asarray(is_anomaly, dtype=bool)
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


def checked_scores(values: ArrayLike) -> Scores:
    """Return (n,) float64; raises DataError for what is not one dimension of numbers."""
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1:
        raise DataError(f"scores have shape {scores.shape}, not one dimension")
    missing = np.flatnonzero(np.isnan(scores))
    if len(missing):
        raise DataError(f"the score at position {missing[0]} is not a number")
    return scores


def checked_reference(values: ArrayLike) -> Scores:
    """Return (n,) float64; raises DataError for none, and what is not finite and rising."""
    reference = checked_scores(values)
    if not len(reference):
        raise DataError("there are no reference scores: calibrate the model first")
    if not np.isfinite(reference[[0, -1]]).all() or (reference[1:] < reference[:-1]).any():
        raise DataError("reference scores must be finite and rising")
    return reference
