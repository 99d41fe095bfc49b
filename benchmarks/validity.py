"""Validity of p-values: P(p <= 0.05) over many calibrations, for each covariance estimator.

One encoder is trained on NSL-KDD; all normals that training did not use are then drawn from
anew, disjointly, for each calibration: n rows for the Gaussian, n for the references, the rest
for the test. Validity is marginal over calibrations, so the calibration is the sampling unit:
the standard error is that of the mean over calibrations. The expected rate is the largest
multiple of 1/(n + 1) that does not exceed 0.05.

    python benchmarks/validity.py --calibrations 200
"""

from __future__ import annotations

import math
import sys

import numpy as np
from common import load, parser, tell

RATE = 0.05


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--calibrations", type=int, default=200)
    options.add_argument("--rows", type=int, default=199, help="n: 199 makes 0.05 a multiple")
    options.add_argument("--test-rows", type=int, default=500)
    options.add_argument("--dataset", default="nsl-kdd")
    options.add_argument("--normal", default=None)
    options.add_argument("--epochs", type=int, default=2)
    options.add_argument("--latent-dim", type=int, default=16)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()

    from anoean_cli.calibration.conformal import p_values
    from anoean_cli.calibration.gaussian import COVARIANCES, Gaussian
    from anoean_cli.commands.train import DataFlags, split_request
    from anoean_cli.training.preparation import take
    from anoean_cli.training.request import TrainRequest
    from anoean_cli.training.run import train_model

    rows = load(given.dataset)
    model = train_model(
        rows,
        TrainRequest(
            split_request(rows, DataFlags(normal=given.normal)),
            settings={"epochs": given.epochs},
            latent_dim=given.latent_dim,
            seed=given.seed,
        ),
    )
    normal = np.isin(rows.labels, model.config["normal"])
    used = np.concatenate([model.split["training"], model.split["selection"]])
    normal[used] = False
    rng = np.random.default_rng(given.seed)
    pool = rng.permutation(np.flatnonzero(normal))[:20_000]
    z = model.score(take(rows, model.schema, pool)).output
    need = 2 * given.rows + given.test_rows
    if len(z) < 3 * need:
        sys.exit(f"{len(z)} unused normals are too few to draw {need} of them again and again")
    expected = math.floor(RATE * (given.rows + 1)) / (given.rows + 1)
    table, results = [], {}
    for estimator in COVARIANCES:
        # The same draws for each estimator.
        draws = np.random.default_rng(given.seed + 1)
        rates = []
        for _ in range(given.calibrations):
            order = draws.choice(len(z), size=need, replace=False)
            base, reference, test = np.split(order, [given.rows, 2 * given.rows])
            gaussian = Gaussian.from_embeddings(z[base], estimator)
            p = p_values(np.sort(gaussian.mahalanobis(z[reference])), gaussian.mahalanobis(z[test]))
            rates.append(float((p <= RATE).mean()))
        mean = float(np.mean(rates))
        error = float(np.std(rates, ddof=1) / math.sqrt(given.calibrations))
        off = (mean - expected) / error
        within = abs(off) <= 2
        results[estimator] = {"mean": mean, "standard_error": error, "within": within}
        results[estimator]["rates"] = rates
        table.append(
            [
                estimator,
                f"{mean:.4f}",
                f"{error:.4f}",
                f"{off:+.1f}",
                "within" if within else "OUTSIDE",
            ]
        )
    head = ["covariance", f"P(p <= {RATE})", "standard error", "errors off", "two errors"]
    notes = [
        f"{given.calibrations} calibrations of {given.rows} + {given.rows} normals of "
        f"{given.dataset}, {given.test_rows} test normals each, out of {len(z):,} that training "
        f"did not use; expected rate {expected:.4f}; latent dimension {given.latent_dim}. "
        "Draws overlap between calibrations, which the standard error does not know."
    ]
    tell(given.out, "Validity of p-values", notes, head, table, results)


if __name__ == "__main__":
    main()
