"""Tables that nobody tuned for: scikit-learn's labelled sets and made-up ones, of all sizes.

Of each, one class is normal: 60 % of its rows are to learn from, with a tenth as many of the other
classes; the rest is the test, a fifth of it anomalies or what there is. `anoean` and peers, through
the scikit-learn estimator, with and without the known anomalies. Cells are kept.

    python benchmarks/small_tables.py --jobs 2 --out docs/results/small-tables.md
"""

from __future__ import annotations

import statistics
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from common import Cells, parser, tell
from numpy.typing import NDArray

DETECTORS = ("anoean", "random-forest", "knn", "isolation-forest")
WITHOUT = "anoean without anomalies"
LEAST = 0.02  # by how much AUC-PR may be below knn or the isolation forest


Table: TypeAlias = tuple[NDArray[np.float64], NDArray[np.bool_]]
Maker: TypeAlias = Callable[[int], Table]


def tables() -> dict[str, Maker]:
    """By name, what gives a seed's rows and which of them are anomalies."""
    made = {"breast_cancer": partial(loaded, "breast_cancer", 1)}
    made |= {f"wine {k}": partial(loaded, "wine", k) for k in range(3)}
    made |= {f"digits {k}": partial(loaded, "digits", k) for k in (0, 3, 5, 8)}
    for rows, width, informative, clusters in (
        (50, 2, 2, 1),
        (50, 20, 5, 2),
        (200, 5, 3, 2),
        (200, 100, 10, 2),
        (500, 10, 5, 2),
        (500, 200, 10, 2),
        (1000, 20, 10, 2),
        (2000, 500, 20, 2),
        (5000, 10, 8, 3),
        (5000, 50, 10, 2),
        (20000, 30, 10, 4),
        (50000, 20, 10, 3),
    ):
        how = {"n_features": width, "n_informative": informative, "n_clusters_per_class": clusters}
        made[f"made up {rows} x {width}"] = partial(classes, n_samples=rows, **how)
    return made


def loaded(name: str, normal: int, seed: int) -> Table:
    """A set of scikit-learn's, of which one class is normal."""
    from sklearn import datasets

    found = getattr(datasets, f"load_{name}")()
    return found.data.astype(float), found.target != normal


def classes(seed: int, **how: Any) -> Table:
    """Two classes of `make_classification`, the rarer one anomalies."""
    from sklearn.datasets import make_classification

    usual: dict[str, Any] = {"n_redundant": 0, "weights": [0.85], "flip_y": 0}
    examples, labels = make_classification(**usual | how, random_state=1000 + seed)
    return examples, labels == 1


def parted(table: Table, seed: int, withheld: bool) -> tuple[Any, ...]:
    """X and y to learn from (1 normal, -1 anomaly), X and is_anomaly of the test.

    Args:
        withheld: whether the anomalies of the test are of other kinds than those to learn from.
    """
    examples, is_anomaly = table
    rng = np.random.default_rng(seed)
    normals, anomalies = (rng.permutation(np.flatnonzero(c)) for c in (~is_anomaly, is_anomaly))
    known = round(0.6 * len(normals))
    if withheld:
        first = is_of_first_kinds(examples[anomalies], examples[normals], seed)
        to_show, to_hold = anomalies[first], anomalies[~first]
        shown = min(len(to_show), max(1, known // 10))
    else:
        shown = min(len(anomalies) // 2, max(1, known // 10))
        to_show, to_hold = anomalies, anomalies[shown:]
    held = to_hold[: max(1, (len(normals) - known) // 4)]
    train = np.concatenate([normals[:known], to_show[:shown]])
    test = np.concatenate([normals[known:], held])
    return examples[train], np.where(is_anomaly[train], -1, 1), examples[test], is_anomaly[test]


def is_of_first_kinds(
    anomalies: NDArray[np.float64], normals: NDArray[np.float64], seed: int
) -> NDArray[np.bool_]:
    """(n,) whether an anomaly is in one of two of the four clusters that k-means makes of all."""
    from sklearn.cluster import KMeans
    from sklearn.preprocessing import StandardScaler

    scaled = StandardScaler().fit(normals).transform(anomalies)
    found: NDArray[np.bool_] = KMeans(4, random_state=seed).fit_predict(scaled) < 2
    return found


def cell(name: str, maker: Maker, detector: str, seed: int, withheld: bool) -> dict[str, Any]:
    """Fit and score one detector on one table."""
    from sklearn.metrics import average_precision_score

    from anoean_cli import AnoEAN

    examples, y, test, is_anomaly = parted(maker(seed), seed, withheld)
    plugin = "anoean" if detector == WITHOUT else detector
    if detector == WITHOUT:
        examples, y = examples[y == 1], None
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = AnoEAN(detector=plugin, random_state=seed, n_jobs=1).fit(examples, y)
    seconds = time.perf_counter() - began
    figure = average_precision_score(is_anomaly, -model.score_samples(test))
    about = {"table": name, "detector": detector, "seed": seed}
    return {**about, "auc_pr": float(figure), "fit_seconds": seconds}


def main() -> None:
    compared(__doc__ or "", "Small and odd tables", tables(), "small-tables")


def compared(about: str, title: str, makers: Mapping[str, Maker], kept_as: str) -> None:
    """Run what is missing of the tables' cells, and write the page."""
    options = parser(about)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--detectors", default=",".join([*DETECTORS, WITHOUT]))
    options.add_argument("--withheld", action="store_true", help="test on kinds not shown")
    options.add_argument("--cells", type=Path, default=Path(f".reproduce/{kept_as}.jsonl"))
    options.add_argument("--so-far", action="store_true", help="the page of what is finished")
    options.add_argument("--jobs", type=int, default=1)
    given = options.parse_args()
    names = given.detectors.split(",")
    kept = Cells(given.cells)
    kinds = ", withheld" if given.withheld else ""
    asked = {
        f"{table}, {detector}, {seed}{kinds}": (table, maker, detector, seed, given.withheld)
        for seed in range(given.seeds)
        for table, maker in makers.items()
        for detector in names
    }
    if not given.so_far:
        kept.run(asked, cell, given.jobs, lambda values: f"{values['auc_pr']:.3f}")
    results = [kept.done[key] for key in asked if key in kept.done]
    more = ", tested on kinds of anomalies not shown" if given.withheld else ""
    page(given.out, title + more, list(makers), names, results)


def page(
    out: Path | None,
    title: str,
    tables: Sequence[str],
    names: Sequence[str],
    results: Sequence[Mapping[str, Any]],
) -> None:
    rows = []
    means: dict[str, list[float]] = {name: [] for name in names}
    for about in tables:
        own = {
            name: [r["auc_pr"] for r in results if (r["table"], r["detector"]) == (about, name)]
            for name in names
        }
        if not all(own.values()):
            continue
        figures = {name: statistics.mean(values) for name, values in own.items()}
        for name, figure in figures.items():
            means[name].append(figure)
        plain = [figures[name] for name in ("knn", "isolation-forest") if name in figures]
        behind = max(plain) - figures[names[0]] if plain else 0.0
        told = [f"{100 * figure:.1f}" for figure in figures.values()]
        rows.append([about, *told, f"{100 * behind:.1f} behind" if behind > LEAST else ""])
    whole = [f"{100 * statistics.mean(some):.1f}" if some else "" for some in means.values()]
    rows.append(["**mean**", *whole, ""])
    notes = [
        "AUC-PR in %, mean over seeds. The last column says where the first detector is more than "
        f"{100 * LEAST:.0f} points behind the better of `knn` and `isolation-forest`, which use no "
        "anomalies. An embedding or score that collapses would be an error. Of kinds not shown: "
        "two of the four clusters that k-means makes of a table's anomalies, standardised by "
        "normals, are to learn from, and the other two to be found.",
    ]
    tell(out, title, notes, ["table", *names, ""], rows, list(results))


if __name__ == "__main__":
    main()
