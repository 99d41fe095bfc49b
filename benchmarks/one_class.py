"""Training without any known anomaly: the learned generator, fixed negatives, and the peers.

MNIST by the publisher's split, each digit once the normal class, all its training images, the
10,000 test images; NSL-KDD and KDD99 by the paper's protocol with no anomaly in training. Cells
are kept, and the page of those that are finished is written with --so-far.

    python benchmarks/one_class.py --dataset mnist --jobs 2 --out docs/results/one-class-mnist.md
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common import load, parser, ran, spread, store_of, tell
from paper.shared import earlier, origins, take_over

from anoean_cli.commands.train import DataFlags, split_request
from anoean_cli.evaluation import comparison
from anoean_cli.training.request import TrainRequest

VARIANTS: dict[str, dict[str, Any]] = {
    "anoean": {},
    "fixed negatives": {"generated": 0},
    "fixed, no expert": {"generated": 0, "novelty": 0},
    "no expert": {"novelty": 0},
}
PEERS = "gaussian,knn,ocsvm,isolation-forest,pca,autoencoder,deep-sad,egbad,alad"
SPLITS: dict[str, dict[str, Any]] = {
    "mnist": {"split": "publisher", "train_size": "all", "test_size": 0}
}
MAIN = {"mnist": "roc_auc", "nsl-kdd": "auc_pr", "kdd99": "auc_pr"}


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--dataset", default="mnist", choices=tuple(MAIN))
    options.add_argument("--normals", default="0,1,2,3,4,5,6,7,8,9", help="digits, for mnist")
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--variants", default=",".join(VARIANTS), help="of anoean")
    options.add_argument("--peers", default=PEERS, help="detectors to set beside them")
    options.add_argument("--jobs", type=int, default=1)
    options.add_argument("--cells", type=Path, default=Path(".reproduce/one-class"))
    options.add_argument("--earlier", type=Path, help=".json of a page, whose cells are taken over")
    options.add_argument("--so-far", action="store_true", help="the page of what is finished")
    given = options.parse_args()
    origin, before = earlier(given.earlier)
    rows = load(given.dataset, "full")
    results = {}
    for normal in given.normals.split(",") if given.dataset == "mnist" else [None]:
        flags = DataFlags(normal=normal, anomaly_fraction="0", **SPLITS.get(given.dataset, {}))
        requests = requests_of(given.variants.split(","), given.peers, split_request(rows, flags))
        cells = comparison.cells_of(requests, 0, given.seeds)
        point = normal or given.dataset
        take_over(before.get(point, []), origin, rows.kind, store_of(rows, given), cells)
        results[point] = ran(rows, cells, given)
    page(given.out, given.dataset, MAIN[given.dataset], list(requests), results)


def requests_of(variants: Sequence[str], peers: str, split: Any) -> dict[str, TrainRequest]:
    ours = {name: TrainRequest(split, settings=VARIANTS[name]) for name in variants if name}
    others = {name: TrainRequest(split, detector=name) for name in peers.split(",") if name}
    return ours | others


def page(
    out: Path | None,
    dataset: str,
    figure: str,
    names: Sequence[str],
    results: Mapping[str, Sequence[comparison.Result]],
) -> None:
    rows = []
    for name in names:
        own = {
            point: [r for r in some if r["detector"] == name and "metrics" in r]
            for point, some in results.items()
        }
        if not any(own.values()):
            continue
        by_point = {
            point: [100 * r["metrics"][figure] for r in some] for point, some in own.items()
        }
        means = [statistics.mean(values) for values in by_point.values() if values]
        whole = f"{statistics.mean(means):.2f}" if len(means) == len(results) else ""
        seeds = min(len(values) for values in by_point.values())
        seconds = statistics.mean(r["fit_seconds"] for some in own.values() for r in some)
        told = [spread(values) for values in by_point.values()]
        rows.append([name, seeds, *told, whole, f"{seconds:.0f}"])
    notes = [
        f"`{figure}` in %, mean ± standard deviation over seeds, on the test rows; training, "
        "selection and calibration hold normals only. `anoean` is the default; the rows below it "
        "say how it differs: with or without a learned generator, with or without the expert on "
        "normals beside the encoder.",
        *origins(results),
    ]
    head = ["detector", "seeds", *results, "mean", "fit seconds"]
    tell(out, f"Without known anomalies: {dataset}", notes, head, rows, results)


if __name__ == "__main__":
    main()
