"""Whether `calibrate --confidence` keeps its promise, over many calibrations.

One encoder is trained on NSL-KDD; all normals that training did not use are then drawn from anew
for each calibration: n rows for the Gaussian, n for the references. The rate of false positives is
that among the rest of them. Of calibrations with a confidence c at most a share 1 − c may exceed
the rate that was asked for; without one about half do.

    python benchmarks/confidence.py --calibrations 500 --out docs/results/confidence.md
"""

from __future__ import annotations

import math

import numpy as np
from common import load, parser, tell

RATES = (0.01, 0.05)
CONFIDENCES = (None, 0.9, 0.95, 0.99)


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--calibrations", type=int, default=500)
    options.add_argument("--rows", type=int, default=500, help="n")
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()

    from anoean_cli.calibration.conformal import threshold_for_rate
    from anoean_cli.calibration.gaussian import DEFAULT_COVARIANCE, Gaussian
    from anoean_cli.commands.train import DataFlags, split_request
    from anoean_cli.training.preparation import take
    from anoean_cli.training.request import TrainRequest
    from anoean_cli.training.run import train_model

    rows = load("nsl-kdd")
    split, settings = split_request(rows, DataFlags()), {"epochs": given.epochs}
    model = train_model(rows, TrainRequest(split, settings=settings, seed=given.seed))
    is_normal = np.isin(rows.labels, model.config["normal"])
    is_normal[np.concatenate([model.split["training"], model.split["selection"]])] = False
    z = model.score(take(rows, model.schema, np.flatnonzero(is_normal))).output
    asked = [(rate, confidence) for rate in RATES for confidence in CONFIDENCES]
    asked = [(r, c) for r, c in asked if c is None or 1 - (1 - r) ** given.rows >= c]
    achieved: dict[tuple[float, float | None], list[float]] = {each: [] for each in asked}
    rng = np.random.default_rng(given.seed + 1)
    for _ in range(given.calibrations):
        base, reference, rest = np.split(rng.permutation(len(z)), [given.rows, 2 * given.rows])
        gaussian = Gaussian.from_embeddings(z[base], DEFAULT_COVARIANCE)
        scores = gaussian.mahalanobis(z)
        references = np.sort(scores[reference])
        for rate, confidence in asked:
            threshold = threshold_for_rate(references, rate, confidence)
            achieved[rate, confidence].append(float((scores[rest] > threshold).mean()))
    table, results = [], []
    for (rate, confidence), rates in achieved.items():
        exceeding = float(np.mean(np.array(rates) > rate))
        error = math.sqrt(max(exceeding * (1 - exceeding), 1e-9) / given.calibrations)
        allowed = "" if confidence is None else f"{1 - confidence:.2f}"
        kept = "" if confidence is None else "yes" if exceeding <= 1 - confidence else "no"
        shown = "none" if confidence is None else f"{confidence:g}"
        mean = f"{np.mean(rates):.4f}"
        table.append([f"{rate:g}", shown, mean, f"{exceeding:.3f} ± {error:.3f}", allowed, kept])
        results.append({"rate": rate, "confidence": confidence, "achieved": rates})
    notes = [
        f"{given.calibrations} calibrations of {given.rows} + {given.rows} normals out of "
        f"{len(z):,} that training did not use; ± is a standard error over calibrations, which "
        "overlap."
    ]
    head = ["rate asked", "confidence", "mean rate", "share exceeding it", "allowed", "kept"]
    tell(given.out, "Confidence in the rate of false positives", notes, head, table, results)


if __name__ == "__main__":
    main()
