"""Dirty labels: some of the training rows that are labelled normal are anomalies.

Rows of NSL-KDD's training file outside every reported test, as in `ablation.py`; the test is clean.
Cells are kept, and the page of those that are finished is written with --so-far.

    python benchmarks/dirty_labels.py --jobs 2 --out docs/results/dirty-labels.md
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from ablation import page, publisher, rows_of
from common import parser, ran

from anoean_cli.evaluation import comparison
from anoean_cli.interfaces import Dataset
from anoean_cli.training.run import TrainRequest

SHARES = (0.0, 0.01, 0.05, 0.1)
DETECTORS = "anoean,random-forest,hist-gradient-boosting,forest-knn,deep-sad,devnet,svm,knn"

NOTE = (
    "Above each column: how many of the training, selection and calibration rows that are "
    "labelled normal are attacks of any kind. The test rows are labelled as they are."
)


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--detectors", default=DETECTORS)
    options.add_argument("--jobs", type=int, default=1)
    options.add_argument("--cells", type=Path, default=Path(".reproduce/dirty-labels"))
    options.add_argument("--so-far", action="store_true", help="the page of what is finished")
    given = options.parse_args()
    names = given.detectors.split(",")
    requests = {name: TrainRequest(publisher(), detector=name) for name in names}
    clean = rows_of("nsl-kdd", "known")
    results = {}
    for share in SHARES:
        rows = dirtied(clean, share)
        cells = comparison.cells_of(requests, 0, given.seeds)
        results[f"{share:.0%} of normals"] = ran(rows, cells, given)
    page(given.out, "Dirty labels on nsl-kdd", NOTE, given.seeds, names, results)


def dirtied(rows: Dataset, share: float) -> Dataset:
    """The rows, with so many attacks of the training part labelled normal that they make up that
    share of what is labelled normal there."""
    assert rows.partition is not None
    is_training = rows.partition == "train"
    is_normal = np.isin(rows.labels, rows.normal)
    attacks = np.flatnonzero(is_training & ~is_normal)
    count = round(share / (1 - share) * int((is_training & is_normal).sum()))
    labels = rows.labels.copy()
    labels[np.random.default_rng(0).choice(attacks, count, replace=False)] = rows.normal[0]
    told = f"{rows.provenance['task']}; {share:.0%} of the training normals are attacks"
    return replace(rows, labels=labels, provenance={**rows.provenance, "task": told})


if __name__ == "__main__":
    main()
