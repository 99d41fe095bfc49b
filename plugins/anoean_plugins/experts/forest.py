"""The forest of known anomalies, grown so that it has votes on rows by trees without them."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np

from anoean_cli.interfaces import ExampleSpec, Rows
from anoean_cli.training.sampling import random_state
from anoean_plugins.experts.weights import ENOUGH_ANOMALIES
from anoean_plugins.scorers.trees import Grown, plain_trees, weighted_trees

TREES = 64  # no other part takes longer to score; more tell hardly more
TREES_BEGUN, TREES_OF_FEW = 100, 300  # which are small where rows are few
FEATURES_TRIED = ("sqrt", 0.3)  # share of them, a split: more where few of many tell anything
MOST_TRIED = 100  # features a split: more take long in wide tables and tell no more
LEAVES_OF_FEW = (1, 3)  # rows at least in a leaf: more where classes overlap
LEAF = 3  # the same of many rows, where classes are weighted
CLEARLY = 0.02  # of AUC-PR


def forest_of(known: Rows, spec: ExampleSpec, rng: np.random.Generator, few: bool) -> Grown:
    """The forest whose votes are heard.

    Of few rows, trees whose classes are weighted are begun in four ways, with fewer or more
    features tried a split and smaller or larger leaves, and are grown in the one that ranks the
    known anomalies highest. Of many, plain trees cost least on what is new, and the others take
    their place only where they rank the known ones clearly higher.
    """
    rows = known.examples[:, spec.plain]
    seed = random_state(rng)
    most = MOST_TRIED / rows.shape[1]
    shares = [share if share == "sqrt" else min(share, most) for share in FEATURES_TRIED]
    grown = partial(weighted_trees, rows, known.is_anomaly, random_state=seed)
    if few:
        ways = [
            {"max_features": share, "min_samples_leaf": leaf}
            for share, leaf in product(shares, LEAVES_OF_FEW)
        ]
        best = max(ways, key=lambda way: _rank(grown(TREES_BEGUN, **way), known))
        return grown(TREES_OF_FEW, **best)
    plain = plain_trees(rows, known.is_anomaly, TREES, seed)
    if known.is_anomaly.sum() < ENOUGH_ANOMALIES:
        return plain
    to_beat = _rank(plain, known) + CLEARLY
    others = [grown(TREES, max_features=share, min_samples_leaf=LEAF) for share in shares]
    rank, best_of_them = max((_rank(other, known), at) for at, other in enumerate(others))
    return others[best_of_them] if rank > to_beat else plain


def _rank(forest: Grown, known: Rows) -> float:
    """AUC-PR of votes by trees grown without a row."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(known.is_anomaly, forest.votes))
