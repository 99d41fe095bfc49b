"""Attack types that training never showed: the publishers' test files against their training files.

Every detector learns from the paper's number of rows of the training file and is tested on the
whole test file, where *unseen* holds all its normals and the attacks of types that the training
rows have none of. Nothing of the product was chosen by these files: they are read for this page
alone. Variants of the default, by their names in `ablation.py`, show what a user can set. Of
KDD99's `corrected` also with its duplicates, and without `snmpgetattack`, whose rows often equal
normal ones. Cells are kept.

    python benchmarks/unseen.py --jobs 2 --out docs/results/unseen-nsl-kdd.md
    python benchmarks/unseen.py --dataset kdd99 --jobs 2 --out docs/results/unseen-kdd99.md
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ablation import WITHOUT
from common import Cells, load, parser, spread, tell

DETECTORS = (
    "anoean,anoean:paper,random-forest,hist-gradient-boosting,forest-knn,knn,isolation-forest,"
    "mlp-classifier,deep-sad,devnet"
)
LIKE_NORMAL = "snmpgetattack"
FIGURES = {
    "unseen": "unseen types",
    "seen": "seen types",
    "all": "all",
    "duplicates": "unseen, with duplicates",
    "without": f"unseen, without {LIKE_NORMAL}",
}


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--dataset", default="nsl-kdd", choices=("nsl-kdd", "kdd99"))
    options.add_argument("--detectors", default=DETECTORS, help="NAME[:PRESET],...")
    options.add_argument("--variants", default="", help="of anoean, as in ablation.py")
    options.add_argument("--seeds", type=int, default=10)
    options.add_argument("--jobs", type=int, default=1)
    options.add_argument("--cells", type=Path, help="default: .reproduce/unseen-DATASET.jsonl")
    options.add_argument("--so-far", action="store_true", help="the page of what is finished")
    given = options.parse_args()
    kept = Cells(given.cells or Path(f".reproduce/unseen-{given.dataset}.jsonl"))
    names = [each for some in (given.detectors, given.variants) for each in some.split(",") if each]
    asked = {
        f"{name}, {seed}": (given.dataset, name, seed)
        for seed in range(given.seeds)
        for name in names
    }
    if not given.so_far:
        kept.run(asked, cell, given.jobs, lambda values: f"{values['unseen']:.4f}")
    page(given, names, [kept.done[key] for key in asked if key in kept.done])


def cell(name: str, label: str, seed: int) -> dict[str, Any]:
    """The AUC-PR of one detector under one seed, on the parts of the test file."""
    from anoean_cli.commands.compare import contenders_of, requests_of
    from anoean_cli.commands.train import DataFlags, LearningFlags, split_request
    from anoean_cli.evaluation.comparison import cells_of
    from anoean_cli.evaluation.metrics import evaluate_with_types
    from anoean_cli.evaluation.run import score_rows_set_aside
    from anoean_cli.training.request import TrainRequest
    from anoean_cli.training.run import train_model

    dataset = load(name, "full")
    split = split_request(dataset, DataFlags(split="publisher"))
    if label in WITHOUT:
        requests = {label: TrainRequest(split, settings=WITHOUT[label])}
    else:
        requests = requests_of(contenders_of(label), split, LearningFlags(), dataset.kind)
    (only,) = cells_of(requests, seed, 1)
    model = train_model(dataset, only.request)
    rows = score_rows_set_aside(model, dataset)

    def figures(at: Any = ..., weights: Any = None) -> dict[str, Any]:
        by_type: dict[str, Any] = evaluate_with_types(
            rows.scores[at],
            rows.is_anomaly[at],
            rows.types[at],
            model.config["seen_types"],
            None,
            weights=weights,
            bootstrap=0,
        )
        return by_type

    plain = figures()
    found = {
        "unseen": plain["unseen"]["auc_pr"],
        "seen": plain["seen"]["auc_pr"],
        "all": plain["auc_pr"],
    }
    if rows.multiplicity is not None:
        found["duplicates"] = figures(weights=rows.multiplicity)["unseen"]["auc_pr"]
    others = rows.types != LIKE_NORMAL
    if not others.all():
        found["without"] = figures(others)["unseen"]["auc_pr"]
    counts = {
        "normals": plain["n_normals"],
        "unseen_anomalies": plain["unseen"]["n_anomalies"],
    }
    return {"detector": label, "seed": seed, **found, **counts, **model.timing}


def page(given: Any, names: Sequence[str], results: Sequence[Mapping[str, Any]]) -> None:
    columns = [name for name in FIGURES if any(name in r for r in results)]
    rows: list[list[Any]] = []
    for name in names:
        own = [r for r in results if r["detector"] == name]
        spreads = [spread([100 * r[c] for r in own if c in r]) for c in columns]
        rows.append([name, len(own), *spreads])
    counts = sorted({r["unseen_anomalies"] for r in results})
    notes = [
        "AUC-PR in %, mean ± standard deviation over seeds; each part with all normals of the test "
        f"file ({results[0]['normals']:,}). Anomalies of unseen types: {counts[0]:,} to "
        f"{counts[-1]:,}, as the training rows of a seed have more or fewer types."
    ]
    title = f"Unseen types of {given.dataset}"
    head = ["detector", "seeds", *(FIGURES[name] for name in columns)]
    tell(given.out, title, notes, head, rows, list(results))


if __name__ == "__main__":
    main()
