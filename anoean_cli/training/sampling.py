"""Rows drawn at random where there are more than a model of them needs."""

from __future__ import annotations

import numpy as np

from anoean_cli.interfaces import Rows

MOST_ROWS = 20_000  # of a class, for a forest or a density: more take longer than training E


def at_most_of_each(rows: Rows, most: int, rng: np.random.Generator) -> Rows:
    """As many rows of each class, drawn without replacement; all where there are no more."""
    kept = [
        rng.choice(each, most, replace=False) if len(each) > most else each
        for each in (np.flatnonzero(rows.is_anomaly), np.flatnonzero(~rows.is_anomaly))
    ]
    at = np.sort(np.concatenate(kept))
    return Rows(rows.examples[at], rows.is_anomaly[at])


def random_state(rng: np.random.Generator) -> int:
    """A seed for scikit-learn, which takes no Generator."""
    return int(rng.integers(2**31))
