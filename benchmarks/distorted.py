"""MNIST, 1 against all, with the same distortions for every detector.

`anoean` and the peers that learn in epochs distort their training images anew in each of them. The
others learn from the images as they are and from so many distorted copies of each, by the same
function. Rows are those of figure 6; digits that training did not show have a table of their own.
Cells are kept.

    python benchmarks/distorted.py --jobs 2 --out docs/results/distorted.md
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from common import Cells, load, parser, tell

from anoean_cli.interfaces import Monitor

DETECTORS = (
    "anoean,svm,random-forest,hist-gradient-boosting,forest-knn,knn,gaussian,ocsvm,pca,"
    "isolation-forest,mlp-classifier,deep-sad"
)
DIGITS = "0,1,2,3,4,5,6,7,8,9"


class Silent(Monitor):
    """Nobody watches."""


def cell(digit: str, detector: str, copies: int, seed: int) -> dict[str, Any]:
    """AUC-PR on the test rows of figure 6, on those of digits shown and not shown apart."""
    from anoean_cli.commands.train import DataFlags, split_request
    from anoean_cli.evaluation.metrics import evaluate_with_types
    from anoean_cli.training.request import TrainRequest

    rows = load("mnist", "full")
    request = TrainRequest(
        split_request(rows, DataFlags(normal=digit)), detector=detector, seed=seed, threads=1
    )
    began = time.perf_counter()
    found = (
        _trained(rows, request) if _distorts_itself(detector) else _on_copies(rows, request, copies)
    )
    scores, is_anomaly, types, seen = found
    seconds = time.perf_counter() - began
    figures: dict[str, Any] = evaluate_with_types(
        scores, is_anomaly, types, seen, None, bootstrap=0
    )
    parts = {part: figures[part]["auc_pr"] for part in ("seen", "unseen")}
    about = {"digit": digit, "detector": detector, "seed": seed, "seconds": seconds}
    return {**about, "all": figures["auc_pr"], **parts}


def _distorts_itself(detector: str) -> bool:
    from anoean_cli import registry

    return hasattr(registry.get("detectors", detector).Parameters, "distortion")


def _trained(rows: Any, request: Any) -> tuple[Any, ...]:
    """Scores of the test rows by what `anoean train` gives, their labels and the types shown."""
    from anoean_cli.evaluation.run import score_rows_set_aside
    from anoean_cli.training.run import train_model

    model = train_model(rows, request)
    found = score_rows_set_aside(model, rows)
    return found.scores, found.is_anomaly, found.types, model.config["seen_types"]


def _on_copies(rows: Any, request: Any, copies: int) -> tuple[Any, ...]:
    """The same by a detector that learns from distorted copies beside its training images."""
    import numpy as np

    from anoean_cli import registry
    from anoean_cli.data.preprocessing import ImagePreprocessor
    from anoean_cli.data.splits import draw
    from anoean_cli.inference.runner import GraphRunner
    from anoean_cli.interfaces import Rows
    from anoean_cli.training.preparation import learns_from

    for_split, for_fit, for_copies = (  # of which the first is what `train_model` draws by
        np.random.default_rng(s) for s in np.random.SeedSequence(request.seed).spawn(3)
    )
    split = draw(rows, request.split, for_split)
    images = ImagePreprocessor(rows.examples.shape[1:])

    def part(role: Any) -> Rows:
        return Rows(images.transform(rows.examples[role]), split.is_anomaly[role])

    detector = registry.get("detectors", request.detector)
    settings = {"max_rows": 200_000} if hasattr(detector.Parameters, "max_rows") else {}
    fitted = detector.fit(
        _with_copies(part(learns_from(split, detector)), copies, for_copies),
        part(split.selection),
        None,
        detector.Parameters(**settings),
        for_fit,
        Silent(),
    )
    test = part(split.test)
    scores = np.ravel(GraphRunner(fitted.graph, images.spec)(test.examples))
    return scores, test.is_anomaly, rows.labels[split.test], split.seen


def _with_copies(train: Any, copies: int, rng: Any) -> Any:
    """(n, *shape) rows, and (copies x n) of them distorted as `anoean` does in each epoch."""
    import numpy as np
    import torch

    from anoean_cli.interfaces import Rows
    from anoean_cli.training.distortions import distort

    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    plain = torch.from_numpy(train.examples)
    distorted = [distort(plain, 1.0, generator).numpy() for _ in range(copies)]
    return Rows(np.concatenate([train.examples, *distorted]), np.tile(train.is_anomaly, 1 + copies))


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--digits", default=DIGITS)
    options.add_argument("--detectors", default=DETECTORS)
    options.add_argument("--copies", type=int, default=3)
    options.add_argument("--seeds", type=int, default=1)
    options.add_argument("--cells", type=Path, default=Path(".reproduce/distorted.jsonl"))
    options.add_argument("--so-far", action="store_true", help="the page of what is finished")
    options.add_argument("--jobs", type=int, default=1)
    given = options.parse_args()
    kept = Cells(given.cells)
    digits, names = given.digits.split(","), given.detectors.split(",")
    asked = {
        f"{digit}, {name}, {given.copies}, {seed}": (digit, name, given.copies, seed)
        for seed in range(given.seeds)
        for digit in digits
        for name in names
    }
    if not given.so_far:
        kept.run(asked, cell, given.jobs, told_in_short)
    page(given, [kept.done[key] for key in asked if key in kept.done])


def told_in_short(values: Mapping[str, Any]) -> str:
    return f"{values['all']:.4f}, {values['unseen']:.4f} in {values['seconds']:.0f} s"


def page(given: Any, results: Sequence[Mapping[str, Any]]) -> None:
    names = [n for n in given.detectors.split(",") if any(r["detector"] == n for r in results)]
    digits = [d for d in given.digits.split(",") if any(r["digit"] == d for r in results)]
    rows: list[list[Any]] = []
    for part, title in (("all", "all digits"), ("unseen", "digits not shown")):
        for name in names:
            own = [
                [100 * r[part] for r in results if (r["detector"], r["digit"]) == (name, digit)]
                for digit in digits
            ]
            means = [statistics.mean(values) if values else None for values in own]
            whole = "" if None in means else f"{statistics.mean(m for m in means if m):.2f}"
            told = ["" if mean is None else f"{mean:.2f}" for mean in means]
            rows.append([title, name, *told, whole])
    notes = [
        "AUC-PR in %, mean over seeds. Rows are those of figure 6: 5,000 normals and 500 anomalies "
        "of four of the nine other digits for training, selection and calibration, 1,700 rows for "
        "the test. Detectors that learn in epochs distort their images anew in each; the others "
        f"learn from {given.copies} distorted copies of each image beside it, whatever their "
        "`max_rows` is by default. `anoean` scores an image by shifted copies of it as well, as is "
        "its default; the others score it as it is.",
        f"Seeds: {given.seeds}.",
    ]
    title = "MNIST, 1 against all, with the same distortions for all"
    tell(given.out, title, notes, ["tested on", "detector", *digits, "mean"], rows, list(results))


if __name__ == "__main__":
    main()
