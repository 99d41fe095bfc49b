"""Tables by which experts are weighed: scikit-learn's generators, and anomalies of several kinds.

How much is heard of a forest that tells known anomalies badly, and how one of few rows is grown,
were chosen on two other draws of tables of these kinds, whose anomalies lie around, between, among
and within normals. Parted, trained and told as small_tables.py does; cells are kept.

    python benchmarks/made_tables.py --jobs 2 --out docs/results/made-tables.md
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from small_tables import Maker, Table, classes, compared, loaded

Rng = np.random.Generator
Values = NDArray[np.float64]


def tables() -> dict[str, Maker]:
    made: dict[str, Maker] = {f"iris {k}": partial(loaded, "iris", k) for k in range(3)}
    made["breast_cancer 0"] = partial(loaded, "breast_cancer", 0)
    made |= {f"diabetes {q}": partial(tail, "diabetes", q) for q in (0.15, 0.85)}
    made |= {f"digits {k}": partial(loaded, "digits", k) for k in (1, 2, 4, 6, 7, 9)}
    for rows, width, clumps, spread in ((300, 2, 3, 1), (1000, 10, 5, 4), (500, 50, 4, 6)):
        made[f"blobs {rows} x {width}"] = partial(blobs, rows, width, clumps, spread)
    for name, rows, normal, how in (
        ("moons", 600, 0, {"noise": 0.1}),
        ("moons", 600, 0, {"noise": 0.3}),
        ("circles", 600, 0, {"noise": 0.1, "factor": 0.5}),
        ("circles", 600, 1, {"noise": 0.1, "factor": 0.5}),
        ("gaussian_quantiles", 600, 0, {"n_features": 2}),
        ("gaussian_quantiles", 2000, 0, {"n_features": 8}),
        ("hastie_10_2", 2000, 1, {}),
    ):
        told = " ".join(str(value) for value in how.values())
        made[f"{name} {rows} {told} normal {normal}"] = partial(generated, name, rows, normal, how)
    made |= {f"friedman{k}": partial(tail, f"friedman{k}", 0.85) for k in (1, 2, 3)}
    for rows, width, informative, clusters, more in (
        (100, 5, 3, 1, {}),
        (100, 40, 6, 1, {"class_sep": 2}),
        (300, 8, 4, 2, {"class_sep": 2}),
        (300, 30, 5, 2, {"n_redundant": 15}),
        (800, 60, 15, 3, {"hypercube": False}),
        (800, 12, 6, 2, {"n_redundant": 2, "flip_y": 0.05}),
        (3000, 15, 6, 3, {"class_sep": 0.7, "weights": [0.5]}),
        (3000, 100, 12, 2, {}),
        (1000, 300, 15, 2, {"class_sep": 1.5}),
    ):
        how = {"n_features": width, "n_informative": informative, "n_clusters_per_class": clusters}
        made[f"classes {rows} x {width}"] = partial(classes, n_samples=rows, **how, **more)
    for rows, width in ((200, 4), (1000, 12), (1500, 40)):
        for kind in ("local", "global", "cluster", "dependency"):
            made[f"{kind} {rows} x {width}"] = partial(around_gaussians, kind, rows, width)
    for name, draw in (
        ("lognormal", lambda rng, size: rng.lognormal(size=size)),
        ("cauchy", lambda rng, size: rng.standard_cauchy(size)),
        ("t", lambda rng, size: rng.standard_t(3, size)),
        ("pareto", lambda rng, size: rng.pareto(1.5, size)),
    ):
        made[f"{name} 500 x 6"] = partial(heavy_tails, draw, 500, 6)
    made["counts 1500 x 60"] = partial(counts, 1500, 60)
    made["flags 1000 x 80"] = partial(flags, 1000, 80)
    made |= {
        f"waves {n} x {width}": partial(waves, n, width) for n, width in ((500, 32), (1500, 64))
    }
    made |= {f"doubles {n} x {k}": partial(doubles, n, k) for n, k in ((300, 6), (1000, 20))}
    return made


def with_anomalies(normals: Values, anomalies: Values) -> Table:
    is_anomaly = np.repeat([False, True], [len(normals), len(anomalies)])
    return np.concatenate([normals, anomalies]), is_anomaly


def tail(name: str, quantile: float, seed: int) -> Table:
    """Rows whose target is beyond a quantile, as far from the middle, are anomalies."""
    from sklearn import datasets

    if hasattr(datasets, f"load_{name}"):
        examples, target = getattr(datasets, f"load_{name}")(return_X_y=True)
    else:
        examples, target = getattr(datasets, f"make_{name}")(1000, noise=0.5, random_state=seed)
    edge = np.quantile(target, quantile)
    return examples, target > edge if quantile > 0.5 else target < edge


def blobs(rows: int, width: int, clumps: int, spread: float, seed: int) -> Table:
    """Two clumps more than those of normals."""
    from sklearn.datasets import make_blobs

    examples, clump = make_blobs(
        rows, width, centers=clumps + 2, cluster_std=spread, random_state=seed
    )
    return examples, clump >= clumps


def generated(name: str, rows: int, normal: int, how: dict[str, Any], seed: int) -> Table:
    from sklearn import datasets

    made = getattr(datasets, f"make_{name}")
    examples, label = made(n_samples=rows, random_state=seed, **how)
    return examples, label != normal


def around_gaussians(kind: str, rows: int, width: int, seed: int) -> Table:
    """Anomalies three times as far from their own Gaussian, anywhere, close together elsewhere, or
    with each column as normals have it and no column as beside the others."""
    rng = np.random.default_rng(seed)
    clumps, fewer = 4, rows // 5
    centres = rng.normal(0, 3, (clumps, width))
    shapes = rng.normal(0, 1, (clumps, width, width)) / np.sqrt(width)

    def drawn(count: int, stretched: float, moved: float = 1.0) -> Values:
        clump = rng.integers(clumps, size=count)
        off = np.einsum("nij,nj->ni", shapes[clump], rng.normal(size=(count, width)))
        drawn: Values = moved * centres[clump] + stretched * off
        return drawn

    normals = drawn(rows, 1)
    low, high = 1.1 * normals.min(axis=0), 1.1 * normals.max(axis=0)
    anomalies = {
        "local": lambda: drawn(fewer, 3),
        "global": lambda: rng.uniform(low, high, (fewer, width)),
        "cluster": lambda: drawn(fewer, 0.3, 1.6),
        "dependency": lambda: rng.permuted(normals, axis=0)[:fewer],
    }
    return with_anomalies(normals, anomalies[kind]())


def heavy_tails(
    draw: Callable[[Rng, tuple[int, int]], Values], rows: int, width: int, seed: int
) -> Table:
    """Three columns in ten of an anomaly are three times as large, and 1 more."""
    rng = np.random.default_rng(seed)
    normals, anomalies = (draw(rng, (count, width)) for count in (rows, rows // 5))
    odd = rng.random(anomalies.shape) < 0.3
    return with_anomalies(normals, np.where(odd, 3 * anomalies + 1, anomalies))


def counts(rows: int, width: int, seed: int) -> Table:
    """Three in ten of the rates are fourfold."""
    rng = np.random.default_rng(seed)
    rates = rng.gamma(0.5, 2, width)
    more = rates * rng.choice([1, 4], width, p=[0.7, 0.3])
    normals, anomalies = (
        rng.poisson(each, (count, width)).astype(float)
        for each, count in ((rates, rows), (more, rows // 5))
    )
    return with_anomalies(normals, anomalies)


def flags(rows: int, width: int, seed: int) -> Table:
    """Three in ten of the flags are the other way round."""
    rng = np.random.default_rng(seed)
    share = rng.beta(0.5, 0.5, width)
    other = np.where(rng.random(width) < 0.3, 1 - share, share)
    normals, anomalies = (
        (rng.random((count, width)) < each).astype(float)
        for each, count in ((share, rows), (other, rows // 5))
    )
    return with_anomalies(normals, anomalies)


def waves(rows: int, width: int, seed: int) -> Table:
    """Sines of any phase, which stand still for eight steps in anomalies."""
    rng = np.random.default_rng(seed)
    count = rows + rows // 5
    phase, pace = rng.uniform(0, 2 * np.pi, (count, 1)), rng.uniform(0.2, 0.3, (count, 1))
    found = np.sin(pace * np.arange(width) + phase) + 0.1 * rng.normal(size=(count, width))
    for row in found[rows:]:
        at = rng.integers(width - 8)
        row[at : at + 8] = row[at] + 0.1 * rng.normal(size=8)
    return with_anomalies(found[:rows], found[rows:])


def doubles(rows: int, width: int, seed: int) -> Table:
    """Nine normals in ten are one of five rows; anomalies are one of them but for one step."""
    rng = np.random.default_rng(seed)
    kinds = rng.integers(0, 3, (5, width)).astype(float)
    normals, anomalies = (kinds[rng.integers(5, size=n)] for n in (rows, rows // 5))
    noisy = rng.random(rows) < 0.1
    normals[noisy] += rng.normal(0, 0.5, (noisy.sum(), width))
    at = np.arange(len(anomalies)), rng.integers(width, size=len(anomalies))
    anomalies[at] += rng.choice([-1, 1], len(anomalies))
    return with_anomalies(normals, anomalies)


def main() -> None:
    compared(__doc__ or "", "Tables of many kinds", tables(), "made-tables")


if __name__ == "__main__":
    main()
