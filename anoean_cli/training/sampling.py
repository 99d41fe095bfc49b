"""Rows drawn at random where there are more than a model of them needs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from anoean_cli.interfaces import Rows

MOST_ROWS = 20_000  # of a class, for a forest or a density: more take longer than training E


def at_most_of_each(rows: Rows, most: int, rng: np.random.Generator) -> Rows:
    """As many rows of each class, drawn without replacement; all where there are no more."""
    classes = np.flatnonzero(rows.is_anomaly), np.flatnonzero(~rows.is_anomaly)
    at = np.sort(np.concatenate([drawn(each, most, rng) for each in classes]))
    return Rows(rows.examples[at], rows.is_anomaly[at])


def drawn(positions: NDArray[np.intp], most: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """As many of the positions, drawn without replacement; all where there are no more."""
    return rng.choice(positions, most, replace=False) if len(positions) > most else positions


def random_state(rng: np.random.Generator) -> int:
    """A seed for scikit-learn, which takes no Generator."""
    return int(rng.integers(2**31))
