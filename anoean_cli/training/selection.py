"""Figures on the selection rows, by which the best epoch is picked. Higher is better.

``auc_pr`` is the paper's (section 4.1). With some fifty anomalies of seen types it reaches 1.0
early and then tells epochs no longer apart; ``ranking`` keeps doing so. Both need rows of both
classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anoean_cli.examples import Scores

TEMPERATURE = 0.1
# By how much figures may differ without telling epochs apart: of the pairs of 500 normals and 50
# anomalies, the paper's protocol, some three more or less in the wrong order.
NEGLIGIBLE = {"ranking": 1e-4}
MOST_ROWS = 2000


def of_distances(scores: Scores, is_anomaly: NDArray[np.bool_]) -> dict[str, float]:
    """Both figures of positive scores, whose ratios count; none where a class is lacking."""
    if is_anomaly.all() or not is_anomaly.any():
        return {}
    return {"auc_pr": auc_pr(scores, is_anomaly), "ranking": ranking(scores, is_anomaly)}


def of_logits(scores: Scores, is_anomaly: NDArray[np.bool_]) -> dict[str, float]:
    """Both figures of scores whose differences count; none where a class is lacking.

    Log odds and deviations have a unit of their own, so their ranking has τ = 1.
    """
    if is_anomaly.all() or not is_anomaly.any():
        return {}
    return {"auc_pr": auc_pr(scores, is_anomaly), "ranking": _surrogate(scores, is_anomaly, 1.0)}


def ranking(scores: Scores, is_anomaly: NDArray[np.bool_]) -> float:
    """Minus the mean of softplus((log s_n − log s_a)/τ) over all pairs, τ = 0.1.

    This logistic surrogate of the ROC AUC (as in RankNet) is below 0 however well the classes
    are parted, and dominated by the pairs that are parted least.
    """
    logs = np.log(np.maximum(scores, np.finfo(np.float64).tiny))
    return _surrogate(logs, is_anomaly, TEMPERATURE)


def _surrogate(values: Scores, is_anomaly: NDArray[np.bool_], temperature: float) -> float:
    normals, anomalies = _thinned(values[~is_anomaly]), _thinned(values[is_anomaly])
    gaps = (normals[:, None] - anomalies[None, :]) / temperature
    return -float(np.logaddexp(0.0, gaps).mean())


def auc_pr(scores: Scores, is_anomaly: NDArray[np.bool_]) -> float:
    """Average precision."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(is_anomaly, scores))


def _thinned(values: Scores) -> Scores:
    """At most ``MOST_ROWS`` evenly spaced order statistics: pairs grow with the square."""
    if len(values) <= MOST_ROWS:
        return values
    positions = np.linspace(0, len(values) - 1, MOST_ROWS).round().astype(np.intp)
    return np.sort(values)[positions]
