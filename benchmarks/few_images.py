"""Few known anomalies of images, and what artificial ones and their generator bring beside them.

Of MNIST's training images: 2,000 of one digit are normal, a few of two others are known anomalies,
all drawn by the seed; tested on 1,000 others of the digit and 3,000 of all the rest. No row of any
reported test is among them. Cells are kept.

    python benchmarks/few_images.py --seeds 5 --out docs/results/few-images.md
"""

from __future__ import annotations

import statistics
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from common import Cells, parser, tell
from numpy.typing import NDArray

from anoean_cli import AnoEAN, environment, registry
from anoean_cli.interfaces import Dataset, LoadRequest

NORMALS = 2000
TESTED = (1000, 3000)
VARIANTS: dict[str, dict[str, Any]] = {
    "anoean": {},
    "artificial": {"parameters": {"artificial": 0.5, "generated": 0}},
    "artificial and generator": {"parameters": {"artificial": 0.5}},
    "without known": {},
}
NOTES = (
    "AUC-PR in %, mean over seeds: of the test, and of its normals and the seven digits of which "
    "training showed none; three in four rows of the test are anomalies. `without known` learns "
    "from the normals alone, as without any label.",
)


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--known", type=int, default=10, help="anomalies to learn from")
    options.add_argument("--detectors", default=",".join([*VARIANTS, "deep-sad", "knn"]))
    options.add_argument("--cells", type=Path, default=Path(".reproduce/few-images.jsonl"))
    given = options.parse_args()
    warnings.simplefilter("ignore")
    kept, table = Cells(given.cells), []
    for name in given.detectors.split(","):
        keys = {f"{name}, {given.known}, {seed}": seed for seed in range(given.seeds)}
        for key in kept.missing(list(keys)):
            kept.add(key, figures(name, given.known, keys[key]))
        cells = [kept.done[key] for key in keys]
        each = [[100 * cell[which] for cell in cells] for which in ("auc_pr", "unseen")]
        told = [f"{statistics.mean(values):.2f}" for values in each]
        table.append([name, *told, ", ".join(f"{value:.1f}" for value in each[1])])
    head = ["detector", "AUC-PR", "on digits not shown", "by seed"]
    tell(given.out, f"MNIST, {given.known} known anomalies", NOTES, head, table, kept.done)


@cache
def mnist() -> Dataset:
    plugin = registry.get("datasets", "mnist")
    return plugin.load(LoadRequest(data_folder=environment.data_folder()))


def figures(name: str, known: int, seed: int) -> dict[str, float]:
    """AUC-PR of all anomalies, and of those of digits that training did not show."""
    from sklearn.metrics import average_precision_score

    data, rng = mnist(), np.random.default_rng(seed)
    rows = rng.permutation(np.flatnonzero(data.partition == "train"))
    digit, *shown = (str(each) for each in rng.permutation(10)[:3])
    is_normal, is_shown = data.labels == digit, np.isin(data.labels, shown)
    normals, anomalies = rows[is_normal[rows]], rows[is_shown[rows]]
    learnt = [normals[:NORMALS], anomalies[: 0 if name == "without known" else known]]
    others = rows[~is_normal[rows] & ~np.isin(rows, anomalies[:known])]
    test = np.concatenate([normals[NORMALS:][: TESTED[0]], others[: TESTED[1]]])
    model = AnoEAN(
        detector="anoean" if name in VARIANTS else name,
        image_shape=data.examples.shape[1:],
        random_state=seed,
        n_jobs=1,
        **VARIANTS.get(name, {}),
    )
    y = np.repeat([1, -1], [len(part) for part in learnt])
    model.fit(flat(data, np.concatenate(learnt)), y)
    scores = -model.score_samples(flat(data, test))
    new = ~is_shown[test]
    return {
        "auc_pr": float(average_precision_score(~is_normal[test], scores)),
        "unseen": float(average_precision_score(~is_normal[test][new], scores[new])),
    }


def flat(data: Dataset, rows: NDArray[Any]) -> NDArray[Any]:
    return data.examples[rows].reshape(len(rows), -1)


if __name__ == "__main__":
    main()
