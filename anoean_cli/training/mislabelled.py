"""Rows that are labelled normal and look like known anomalies.

One in a hundred ruins E, whose normals they are, the experts' references and Σ, while a forest
hardly minds. So a forest is asked for its opinion of each row by the trees grown without it, and
where most of them say anomaly, the row is left out: a filter as that of Brodley and Friedl (1999),
Identifying mislabeled training data, with out-of-bag votes instead of cross-validation.
"""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from anoean_cli.interfaces import Rows

TREES = 100
LEAF = 5  # rows at least; smaller leaves hold what single wrong labels say
MOST_ROWS = 20_000  # of a class; a forest of more takes longer than training E
# Of the normals: where fewer are doubtful, they are normals that are hard to tell, and training
# without these would call the next of them anomalies; where more are, there is little to go by.
SMALLEST_SHARE, LARGEST_SHARE = 0.002, 0.2


def doubtful(
    rows: Rows, features: NDArray[np.intp], least_vote: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(n,) whether a normal gets more votes than ``least_vote`` for an anomaly.

    None does where that would be no more than 1 in 500 normals, or more than a fifth; nor where as
    many get fewer votes but more than half, as where classes overlap.

    Args:
        rows: (n, features) of both classes.
        features: those which the forest sees.
    """
    normals, anomalies = (np.flatnonzero(rows.is_anomaly == c) for c in (False, True))
    nobody = np.zeros(len(rows.is_anomaly), np.bool_)
    if len(normals) == 0 or len(anomalies) == 0:
        return nobody
    from sklearn.ensemble import RandomForestClassifier

    chosen = [rng.permutation(some)[:MOST_ROWS] for some in (normals, anomalies)]
    learnt = np.sort(np.concatenate(chosen))
    examples = rows.examples[:, features]
    # Classes count the same: of rows like anomalies, more may be labelled normal than anomalous.
    forest = RandomForestClassifier(
        TREES,
        min_samples_leaf=LEAF,
        class_weight="balanced",
        oob_score=True,
        random_state=int(rng.integers(2**31)),
    )
    with warnings.catch_warnings():
        # Anomalies of few are in every tree, and have no votes, NaN; nobody asks for theirs.
        warnings.filterwarnings("ignore", "Some inputs do not have OOB scores")
        warnings.filterwarnings("ignore", "invalid value", RuntimeWarning)
        forest.fit(examples[learnt], rows.is_anomaly[learnt])
    votes = np.zeros(len(nobody))
    votes[learnt] = forest.oob_decision_function_[:, 1]
    others = np.setdiff1d(normals, learnt, assume_unique=True)
    if len(others):
        votes[others] = forest.predict_proba(examples[others])[:, 1]
    votes = np.nan_to_num(votes)
    found: NDArray[np.bool_] = ~rows.is_anomaly & (votes > least_vote)
    undecided = ~rows.is_anomaly & (votes > 0.5) & ~found
    share = found.sum() / len(normals)
    is_plain = found.sum() > undecided.sum() and SMALLEST_SHARE < share <= LARGEST_SHARE
    return found if is_plain else nobody
