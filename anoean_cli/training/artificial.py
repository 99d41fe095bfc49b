"""Artificial anomalies for training without known ones. Experimental: simple and not learned."""

from __future__ import annotations

import numpy as np

from anoean_cli.interfaces import FloatRows, Rows

LARGEST_STRETCH = 3.0


def resampled(normals: FloatRows, count: int, rng: np.random.Generator) -> FloatRows:
    """Draw rows whose features come from independent normals, stretched away from the median.

    Resampling each feature on its own keeps the marginal distributions and breaks what binds
    the features together; the stretch (a factor from 1 to 3 a row, about the features' medians)
    reaches what lies outside the marginals, and is all there is when rows have one feature.

    Args:
        normals: (n, *shape) float32.
        count: how many rows to draw.
    """
    flat = normals.reshape(len(normals), -1)
    width = flat.shape[1]
    drawn = flat[rng.integers(len(flat), size=(count, width)), np.arange(width)]
    median = np.median(flat, axis=0).astype(np.float32)
    stretch = rng.uniform(1.0, LARGEST_STRETCH, size=(count, 1)).astype(np.float32)
    rows = median + stretch * (drawn - median)
    return rows.astype(np.float32).reshape(count, *normals.shape[1:])


def with_artificial_anomalies(rows: Rows, rng: np.random.Generator) -> Rows:
    """Return the normals of ``rows`` with as many artificial anomalies beside them."""
    normals = rows.normals
    anomalies = resampled(normals, len(normals), rng)
    return Rows(
        np.concatenate([normals, anomalies]),
        np.repeat([False, True], [len(normals), len(anomalies)]),
    )
