"""Tables that nobody tuned for: scikit-learn's labelled sets and made-up ones, of all sizes.

Of each, one class is normal: 60 % of its rows are to learn from, with a tenth as many of the other
classes; the rest is the test, a fifth of it anomalies or what there is. `anoean` and peers, through
the scikit-learn estimator, with and without the known anomalies. Cells are kept.

    python benchmarks/small_tables.py --jobs 2 --out docs/results/small-tables.md
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import Cells, parser, tell

DETECTORS = ("anoean", "random-forest", "knn", "isolation-forest")
WITHOUT = "anoean without anomalies"
LEAST = 0.02  # by how much AUC-PR may be below knn or the isolation forest


def sets() -> dict[str, dict[str, Any]]:
    """What makes each table: a loader of scikit-learn and its normal class, or sizes."""
    made: dict[str, dict[str, Any]] = {"breast_cancer": {"load": "breast_cancer", "normal": 1}}
    made |= {f"wine {k}": {"load": "wine", "normal": k} for k in range(3)}
    made |= {f"digits {k}": {"load": "digits", "normal": k} for k in (0, 3, 5, 8)}
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
        sizes = {"rows": rows, "width": width, "informative": informative, "clusters": clusters}
        made[f"made up {rows} x {width}"] = sizes
    return made


def table(about: Mapping[str, Any], seed: int) -> tuple[Any, ...]:
    """X and y to learn from (1 normal, -1 anomaly), X and is_anomaly of the test."""
    from sklearn import datasets

    if "load" in about:
        found = getattr(datasets, f"load_{about['load']}")()
        examples, is_anomaly = found.data.astype(float), found.target != about["normal"]
    else:
        examples, labels = datasets.make_classification(
            n_samples=about["rows"],
            n_features=about["width"],
            n_informative=about["informative"],
            n_redundant=0,
            n_clusters_per_class=about["clusters"],
            weights=[0.85],
            flip_y=0,
            random_state=1000 + seed,
        )
        is_anomaly = labels == 1
    rng = np.random.default_rng(seed)
    normals, anomalies = (rng.permutation(np.flatnonzero(c)) for c in (~is_anomaly, is_anomaly))
    known = round(0.6 * len(normals))
    shown = min(len(anomalies) // 2, max(1, known // 10))
    held = anomalies[shown:][: max(1, (len(normals) - known) // 4)]
    train = np.concatenate([normals[:known], anomalies[:shown]])
    test = np.concatenate([normals[known:], held])
    return examples[train], np.where(is_anomaly[train], -1, 1), examples[test], is_anomaly[test]


def cell(name: str, detector: str, seed: int) -> dict[str, Any]:
    """Fit and score one detector on one table."""
    from sklearn.metrics import average_precision_score

    from anoean_cli import AnoEAN

    examples, y, test, is_anomaly = table(sets()[name], seed)
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
    options = parser(__doc__ or "")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--detectors", default=",".join([*DETECTORS, WITHOUT]))
    options.add_argument("--cells", type=Path, default=Path(".reproduce/small-tables.jsonl"))
    options.add_argument("--so-far", action="store_true", help="the page of what is finished")
    options.add_argument("--jobs", type=int, default=1)
    given = options.parse_args()
    from joblib import Parallel, delayed

    names = given.detectors.split(",")
    kept = Cells(given.cells)
    asked = {
        f"{name}, {detector}, {seed}": (name, detector, seed)
        for seed in range(given.seeds)
        for name in sets()
        for detector in names
    }
    missing = [] if given.so_far else list(kept.missing(list(asked)))
    done = Parallel(n_jobs=given.jobs, backend="loky", return_as="generator_unordered")(
        delayed(_keyed)(key, asked[key]) for key in missing
    )
    for number, (key, values) in enumerate(done, start=1):
        kept.add(key, values)
        print(f"{number} of {len(missing)}: {key}: {values['auc_pr']:.3f}", file=sys.stderr)
    page(given.out, names, [kept.done[key] for key in asked if key in kept.done])


def _keyed(key: str, what: tuple[str, str, int]) -> tuple[str, dict[str, Any]]:
    return key, cell(*what)


def page(out: Path | None, names: Sequence[str], results: Sequence[Mapping[str, Any]]) -> None:
    rows = []
    means: dict[str, list[float]] = {name: [] for name in names}
    for about in sets():
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
        "anomalies. An embedding or score that collapses would be an error.",
    ]
    tell(out, "Small and odd tables", notes, ["table", *names, ""], rows, list(results))


if __name__ == "__main__":
    main()
