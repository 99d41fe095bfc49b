"""What each ingredient of the default preset adds on tables, judged without any reported test row.

The rows are those of a training file that no test of seeds 0 to 9 holds, so that what is chosen by
them does not touch what tables 1 and 2 report. A *task* sets 4,000 normals and up to 1,000
anomalies of them aside: of any type (`known`), or of one family, which training then never shows.
Each variant changes one thing; all get the same rows within a task and a seed. Cells are kept, and
the page of those that are finished is written with --so-far.

    python benchmarks/ablation.py --jobs 2 --out docs/results/ablation.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import load, parser, ran, spread, store_of, tell
from numpy.typing import NDArray
from paper.shared import earlier, origins, take_over

from anoean_cli.commands.train import DataFlags, split_request
from anoean_cli.data.splits import SplitRequest, draw
from anoean_cli.evaluation import comparison
from anoean_cli.interfaces import Apportionment, Dataset
from anoean_cli.training.request import TrainRequest

REPORTED_SEEDS = 10
NORMALS, ANOMALIES = 4000, 1000  # of a task's test
FAMILIES = {"nsl-kdd": ("known", "dos", "probe", "r2l"), "kdd99": ("known", "dos", "probe", "r2l")}
FAMILIES_NOTE = (
    "`known`: of types that training shows; the other columns: of a family that it does not."
)
SIZES = Apportionment(train_size=5000, anomaly_fraction=0.1, distinct=True)

WITHOUT: dict[str, dict[str, Any]] = {
    "default": {},
    "no members": {"members": 1},
    "no distillation": {"distillation": 0},
    "no forest": {"forest": 0},
    "no novelty": {"novelty": 0},
    "neither expert": {"forest": 0, "novelty": 0},
    "experts of equal weight": {"forest": 1, "novelty": 1},
    "forest of weight 2": {"forest": 2},
    "novelty of weight 2": {"novelty": 2},
    "no radial term": {"radial": 0},
    "bins": {"inputs": "bins"},
    "standardised inputs": {"inputs": "standard"},
    "no averaging": {"averaging": 0},
    "constant learning rate": {"final_learning_rate": 1},
    "anomalies in proportion": {"anomaly_share": "none"},
    "epoch by auc_pr": {"selection": "auc_pr"},
    "sample covariance": {"covariance": "empirical"},
}
PEERS = "random-forest,hist-gradient-boosting,forest-knn,knn,deep-sad,devnet,mlp-classifier"


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--dataset", default="nsl-kdd", choices=tuple(FAMILIES))
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--variants", help="some of them, separated by commas; default: all")
    options.add_argument("--peers", default=PEERS, help="detectors to set beside them")
    options.add_argument("--jobs", type=int, default=1)
    options.add_argument("--cells", type=Path, default=Path(".reproduce/ablation"))
    options.add_argument("--earlier", type=Path, help=".json of a page, whose cells are taken over")
    options.add_argument("--so-far", action="store_true", help="the page of what is finished")
    given = options.parse_args()
    origin, before = earlier(given.earlier)
    variants = given.variants.split(",") if given.variants else list(WITHOUT)
    requests = {name: TrainRequest(publisher(), settings=WITHOUT[name]) for name in variants}
    requests |= {
        name: TrainRequest(publisher(), detector=name) for name in given.peers.split(",") if name
    }
    results = {}
    for task in FAMILIES[given.dataset]:
        rows = rows_of(given.dataset, task)
        cells = comparison.cells_of(requests, 0, given.seeds)
        take_over(before.get(task, []), origin, rows.kind, store_of(rows, given), cells)
        results[task] = ran(rows, cells, given)
    title = f"Ablation on {given.dataset}"
    page(given.out, title, FAMILIES_NOTE, given.seeds, list(requests), results)


def publisher() -> SplitRequest:
    return SplitRequest(("normal",), SIZES, scheme="publisher")


def rows_of(name: str, task: str) -> Dataset:
    """Rows that no reported test holds, parted into a task's training and test rows."""
    dataset = load(name, "full")
    free = outside_reported_tests(dataset)
    is_anomaly = ~np.isin(dataset.labels, dataset.normal)
    assert dataset.family is not None
    held = np.ones(len(free), bool) if task == "known" else dataset.family == task
    rng = np.random.default_rng(sorted(FAMILIES[name]).index(task))
    normals = rng.permutation(np.flatnonzero(free & ~is_anomaly))
    anomalies = rng.permutation(np.flatnonzero(free & is_anomaly & held))
    partition = np.where(free & ~(is_anomaly & held), "train", "")
    if task == "known":
        partition[anomalies] = "train"
    partition[normals[:NORMALS]] = "test"
    partition[anomalies[:ANOMALIES]] = "test"
    return taken(dataset, partition, f"{task}: rows that no test of seeds 0 to 9 holds")


def outside_reported_tests(dataset: Dataset) -> NDArray[np.bool_]:
    """Rows of the publisher's training part that no test of the reported seeds holds."""
    assert dataset.partition is not None
    free = dataset.partition == "train"
    for seed in range(REPORTED_SEEDS):
        rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[0])
        free[draw(dataset, split_request(dataset, DataFlags()), rng).test] = False
    return free


def taken(dataset: Dataset, partition: NDArray[Any], source: str) -> Dataset:
    """The rows of either partition."""
    at = np.flatnonzero(partition != "")
    return replace(
        dataset,
        examples=dataset.examples.take(at),
        labels=dataset.labels[at],
        partition=partition[at],
        family=None if dataset.family is None else dataset.family[at],
        provenance={**dataset.provenance, "task": source},
    )


# --------------------------------------------------------------------------- the page


def page(
    out: Path | None,
    title: str,
    note: str,
    seeds: int,
    names: Sequence[str],
    results: Mapping[str, Sequence[comparison.Result]],
) -> None:
    tasks = list(results)
    found = {
        (task, r["detector"], r["seed"]): r["metrics"]["auc_pr"]
        for task, some in results.items()
        for r in some
        if "metrics" in r
    }
    reference = names[0]
    rows = []
    for name in names:
        figures = [[found.get((task, name, seed)) for seed in range(seeds)] for task in tasks]
        gains = [
            [
                100 * (mine - base)
                for seed in range(seeds)
                if (mine := found.get((task, name, seed))) is not None
                and (base := found.get((task, reference, seed))) is not None
            ]
            for task in tasks
        ]
        means = [spread([100 * f for f in some if f is not None]) for some in figures]
        changes = [spread(some) if name != reference else "" for some in gains]
        count = max(sum(f is not None for f in some) for some in figures)
        rows.append([name, count, *(c for both in zip(means, changes, strict=True) for c in both)])
    head = ["variant", "seeds", *(c for task in tasks for c in (task, "change"))]
    notes = [
        "AUC-PR in %, mean ± standard deviation over seeds, on rows of the training file that no "
        f"test of seeds 0 to {REPORTED_SEEDS - 1} holds; 5,000 normals and 500 anomalies to learn "
        f"from, {NORMALS:,} normals and up to {ANOMALIES:,} anomalies to test on. {note} "
        f"*change*: paired by seed, against {reference}. What is blank has not been run.",
        *origins(results),
    ]
    tell(out, title, notes, head, rows, results)


if __name__ == "__main__":
    main()
