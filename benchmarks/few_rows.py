"""False alarms of few rows: how many new normals lie above a threshold that few normals gave.

Normals are drawn from one of three laws, and new ones that tell the rate; known anomalies, if any,
lie beside them. The threshold is that of training, by the default rate. Cells are kept.

    python benchmarks/few_rows.py --out docs/results/few-rows.md
"""

from __future__ import annotations

import statistics
import warnings
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
from common import Cells, parser, tell
from numpy.typing import NDArray

from anoean_cli import AnoEAN

LAWS: dict[str, Callable[[np.random.Generator, int], NDArray[np.float64]]] = {
    "4 normal columns": lambda rng, n: rng.normal(size=(n, 4)),
    "40 normal columns": lambda rng, n: rng.normal(size=(n, 40)),
    "10 skewed columns": lambda rng, n: np.exp(rng.normal(size=(n, 10)) @ np.tri(10) / 3),
}
NORMALS = (5, 10, 20, 50, 90, 200)
ANOMALIES = (0, 5)
NEW = 2000
NOTES = (
    f"Share in % of {NEW:,} new normals above the threshold, mean over seeds (largest); *rate*: "
    "what the threshold was chosen for, in %, as fine as the references allow. That of a single "
    "training is not exact: the largest of n references lets 1/(n + 1) through on average.",
)


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--detectors", default="anoean,knn,isolation-forest")
    options.add_argument("--cells", type=Path, default=Path(".reproduce/few-rows.jsonl"))
    given = options.parse_args()
    warnings.simplefilter("ignore")  # of few rows, which is the point
    names = given.detectors.split(",")
    kept, table = Cells(given.cells), []
    for law, normals, anomalies in product(LAWS, NORMALS, ANOMALIES):
        row = [law, normals, anomalies]
        for name in names:
            keys = {f"{law}, {normals}, {anomalies}, {name}, {s}": s for s in range(given.seeds)}
            for key in kept.missing(list(keys)):
                kept.add(key, flagged(law, normals, anomalies, name, keys[key]))
            cells = [kept.done[key] for key in keys]
            shares = [100 * cell["flagged"] for cell in cells]
            row += [
                f"{100 * statistics.mean(cell['rate'] for cell in cells):.1f}",
                f"{statistics.mean(shares):.1f} ({max(shares):.1f})",
            ]
        table.append(row)
    head = [
        "normals are of",
        "normals",
        "anomalies",
        *(h for name in names for h in ("rate", name)),
    ]
    tell(given.out, "False alarms of few rows", NOTES, head, table, kept.done)


def flagged(law: str, normals: int, anomalies: int, detector: str, seed: int) -> dict[str, float]:
    """The rate asked for, and the share of new normals above the threshold."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([LAWS[law](rng, normals), 3 + LAWS[law](rng, anomalies)])
    labels = np.repeat([1, -1], [normals, anomalies])
    fitted = AnoEAN(detector=detector, random_state=seed, n_jobs=1).fit(rows, labels)
    rate = fitted.model_.calibration.rule["fpr"]
    above = fitted.predict(LAWS[law](rng, NEW)) == -1
    return {"rate": float(rate), "flagged": float(above.mean())}


if __name__ == "__main__":
    main()
