"""The rows that a detector learns from. Importing this module imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias, TypeVar

import numpy as np

from anoean_cli.errors import DataError
from anoean_cli.interfaces import FloatRows, Monitor, Rows, Scores
from anoean_cli.training.sampling import drawn

Model = TypeVar("Model")
Scoring: TypeAlias = Callable[[Model, FloatRows], Scores]


def flat(examples: FloatRows) -> FloatRows:
    """(n, *shape) → (n, features)."""
    return examples.reshape(len(examples), -1)


def of_both_classes(train: Rows, detector: str) -> Rows:
    """Return the rows as they are.

    Raises:
        DataError: no anomalies, without which a classifier has nothing to tell apart.
    """
    if not train.is_anomaly.any():
        raise DataError(
            f"the detector {detector} learns from known anomalies, and no training row is one: "
            "give some (--anomaly-fraction 0 takes none), or take a detector that needs none, "
            "such as knn or autoencoder"
        )
    return train


def at_most(train: Rows, most: int, rng: np.random.Generator, monitor: Monitor) -> Rows:
    """All rows, or a random sample of ``most`` of them: kernels grow with the square.

    Anomalies are all in it up to half of it, since they are few.
    """
    n = len(train.examples)
    if n <= most:
        return train
    monitor.warn(f"{most:,} of {n:,} training rows are drawn to learn from (max_rows)")
    normals, anomalies = (np.flatnonzero(train.is_anomaly == each) for each in (False, True))
    anomalies = drawn(anomalies, max(most // 2, most - len(normals)), rng)
    normals = drawn(normals, most - len(anomalies), rng)
    kept = np.sort(np.concatenate([normals, anomalies]))
    return Rows(train.examples[kept], train.is_anomaly[kept])


def only_normals(train: Rows) -> Rows:
    return Rows(train.normals, np.zeros(len(train.normals), np.bool_))


def best_by_auc_pr(models: Iterable[Model], scores: Scoring[Model], selection: Rows) -> Model:
    """The model of the highest AUC-PR on the selection rows, the first of those that tie.

    Without anomalies among them there is nothing to choose by, and it is the first of all.

    Args:
        models: fitted one by one.
        scores: from a model and (n, features) rows to their scores.
    """
    from anoean_cli.training.selection import auc_pr

    rows = flat(selection.examples)
    best: Model | None = None
    best_figure = -np.inf
    for model in models:
        if not selection.is_anomaly.any():
            return model
        figure = auc_pr(scores(model, rows), selection.is_anomaly)
        if best is None or figure > best_figure:
            best, best_figure = model, figure
    assert best is not None
    return best


def gammas(factors: Sequence[float], given: float | None, rows: FloatRows) -> list[float]:
    """The γ that was given, or multiples of scikit-learn's "scale", 1 / (features x variance)."""
    if given is not None:
        return [given]
    variance = float(rows.var()) or 1.0
    return [factor / (rows.shape[1] * variance) for factor in factors]
