"""Dirty labels: some of the training rows that are labelled normal are anomalies.

Rows of NSL-KDD's training file outside every reported test, as in `ablation.py`; the test is clean.
Cells are kept, and the page of those that are finished is written with --so-far.

    python benchmarks/dirty_labels.py --jobs 2 --out docs/results/dirty-labels.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ablation import publisher, rows_of
from common import parser, ran, spread, tell

from anoean_cli.evaluation import comparison
from anoean_cli.interfaces import Dataset
from anoean_cli.training.request import TrainRequest

SHARES = (0.0, 0.01, 0.05, 0.1)
DETECTORS = "anoean,random-forest,hist-gradient-boosting,forest-knn,deep-sad,devnet,svm,knn"

UNFILTERED = "anoean, no row left out"

NOTES = (
    "AUC-PR in %, mean ± standard deviation over seeds, on rows of the training file that no "
    "reported test holds. Above each column: how many of the training, selection and calibration "
    "rows that are labelled normal are attacks of any kind; the test is clean. *lost*: against the "
    "same seed with clean labels. *found*: attacks above the detector's own threshold, which the "
    "calibration rows give, wrong labels among them; in %, mean.",
)


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--detectors", default=DETECTORS)
    options.add_argument("--jobs", type=int, default=1)
    options.add_argument("--cells", type=Path, default=Path(".reproduce/dirty-labels"))
    options.add_argument("--so-far", action="store_true", help="the page of what is finished")
    given = options.parse_args()
    requests = {
        name: TrainRequest(publisher(), detector=name) for name in given.detectors.split(",")
    }
    requests[UNFILTERED] = TrainRequest(publisher(), settings={"label_filter": 1.0})
    clean = rows_of("nsl-kdd", "known")
    cells = comparison.cells_of(requests, 0, given.seeds)
    results = {share: ran(dirtied(clean, share), cells, given) for share in SHARES}
    page(given.out, list(requests), results)


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


def page(
    out: Path | None, names: Sequence[str], results: Mapping[float, Sequence[comparison.Result]]
) -> None:
    rows = []
    for name in names:
        figures = {share: by_seed(some, name, "auc_pr") for share, some in results.items()}
        found = {share: by_seed(some, name, "recall") for share, some in results.items()}
        clean = figures[0.0]
        row = [name, len(clean), spread(list(clean.values())), whole_mean(found[0.0])]
        for share in SHARES[1:]:
            lost = [clean[seed] - own for seed, own in figures[share].items() if seed in clean]
            row += [spread(list(figures[share].values())), spread(lost), whole_mean(found[share])]
        rows.append(row)
    columns = (
        name for share in SHARES[1:] for name in (f"{share:.0%} of normals", "lost", "found")
    )
    head = ["detector", "seeds", "none", "found", *columns]
    data = {f"{share:.0%}": some for share, some in results.items()}
    tell(out, "Dirty labels on nsl-kdd", NOTES, head, rows, data)


def by_seed(results: Sequence[comparison.Result], detector: str, metric: str) -> dict[int, float]:
    """A figure of one detector in %, by seed."""
    return {
        r["seed"]: 100 * r["metrics"][metric]
        for r in results
        if r["detector"] == detector and "metrics" in r
    }


def whole_mean(figures: Mapping[int, float]) -> str:
    return f"{np.mean(list(figures.values())):.0f}" if figures else ""


if __name__ == "__main__":
    main()
