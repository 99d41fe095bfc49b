"""How often `score` warns of drift: on rows like those of calibration, and on NSL-KDD's test file.

Each model (its own seed and split) is trained on rows of KDDTrain+. What it meets afterwards:

- normal rows of KDDTrain+ that have no role in the model, alone and with a share of attacks of
  KDDTrain+ that have none either, for the model's own calibration and for many others of as many
  rows, drawn anew from such normals. Calibrations are the sampling unit, so each is drawn upon once
  for each size of input. Columns are compared for the model's own calibration only;
- KDDTest+, whole and in samples, its normals alone, and half of its normals once the model has been
  calibrated with the other half (as by `calibrate --data`).

    python benchmarks/drift.py --models 10 --calibrations 100 --out docs/results/drift.md
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import numpy as np
from common import load, parser, tell

SIZES = (10, 100, 1000, 10_000)
ATTACKS = (0.01, 0.05, 0.2)
SHUFFLES = 20  # inputs of a model's own calibration, of each kind and size


@dataclass
class Told:
    """Whether each of several inputs was warned of, and the figures of their scores."""

    scores: list[bool] = field(default_factory=list)
    columns: list[bool] = field(default_factory=list)
    distance: list[float] = field(default_factory=list)
    tail: list[float] = field(default_factory=list)

    def add(self, drift: Any, columns: bool | None = None) -> None:
        self.scores.append(drift.has_moved or drift.is_heavy)
        self.distance.append(drift.distance)
        self.tail.append(drift.tail)
        if columns is not None:
            self.columns.append(columns)

    def cells(self) -> list[str]:
        by_columns = f"{sum(self.columns)} of {len(self.columns)}" if self.columns else ""
        by_scores = f"{sum(self.scores)} of {len(self.scores)}"
        return [by_scores, by_columns, f"{median(self.distance):.3f}", f"{median(self.tail):.3f}"]

    def summary(self) -> dict[str, Any]:
        quantiles = (0, 0.05, 0.5, 0.95, 1)
        return {
            "inputs": len(self.scores),
            "warned_by_scores": sum(self.scores),
            "warned_by_columns": sum(self.columns) if self.columns else None,
            "quantiles": quantiles,
            "distance": np.quantile(self.distance, quantiles).round(4).tolist(),
            "tail": np.quantile(self.tail, quantiles).round(4).tolist(),
        }


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--models", type=int, default=10)
    options.add_argument("--calibrations", type=int, default=100, help="of each model, anew")
    options.add_argument("--epochs", type=int, default=5)
    given = options.parse_args()

    rows = load("nsl-kdd")
    told: dict[tuple[str, int], Told] = defaultdict(Told)
    for seed in range(given.models):
        _try(rows, _trained(rows, seed, given.epochs), seed, given.calibrations, told)
    table = [[what, f"{size:,}", *of.cells()] for (what, size), of in told.items()]
    data = [{"input": what, "rows": size, **of.summary()} for (what, size), of in told.items()]
    head = ["input", "rows", "warned by scores", "by columns", "distance", "tail"]
    notes = [
        f"{given.models} models of NSL-KDD, {given.epochs} epochs each, of 4,000 normals and 450 "
        "attacks; 500 reference scores a calibration. Distance and tail are medians. False alarms "
        "are promised to be no more than 0.5 % of inputs by scores, and 0.5 % by columns."
    ]
    tell(given.out, "Drift: when it is warned of", notes, head, table, data)


def _trained(rows: Any, seed: int, epochs: int) -> Any:
    from anoean_cli.commands.train import DataFlags, split_request
    from anoean_cli.training.request import TrainRequest
    from anoean_cli.training.run import train_model

    split = split_request(rows, DataFlags())
    return train_model(rows, TrainRequest(split, settings={"epochs": epochs}, seed=seed))


def _try(rows: Any, model: Any, seed: int, calibrations: int, told: dict[Any, Told]) -> None:
    from anoean_cli.calibration.drift import ScoreCounts
    from anoean_cli.calibration.gaussian import Gaussian
    from anoean_cli.data.preprocessing import Census
    from anoean_cli.inference.drift import Incoming, drift_of
    from anoean_cli.inference.recalibration import Observed, Rule, recalibrated
    from anoean_cli.training.preparation import take

    rng = np.random.default_rng(seed)
    is_normal = np.isin(rows.labels, model.config["normal"])
    in_train, in_test = rows.partition == "train", rows.partition == "test"
    for positions in model.split.values():
        in_train[positions] = False
    normals = rng.permutation(np.flatnonzero(in_train & is_normal))[:20_000]
    attacks = rng.permutation(np.flatnonzero(in_train & ~is_normal))[:5_000]
    test = np.flatnonzero(in_test)
    test_normals = rng.permutation(np.flatnonzero(in_test & is_normal))

    def drift(of: Any, positions: Any) -> Any:
        incoming = Incoming.beside(of)
        incoming.score(of, take(rows, of.schema, positions))
        return drift_of(of, incoming)

    def tell_of(what: str, of: Any, positions: Any, size: int) -> None:
        found = drift(of, positions)
        told[what, size].add(found.scores, bool(found.grown))

    for what, size, some in _inputs(rng, normals, attacks, SHUFFLES):
        tell_of(what, model, some, size)

    output = model.score(take(rows, model.schema, np.concatenate([normals, attacks]))).output
    at_normals, at_attacks = np.arange(len(normals)), len(normals) + np.arange(len(attacks))
    for _ in range(calibrations):
        order = rng.permutation(at_normals)
        base, reference, left = order[:500], order[500:1000], order[1000:]
        gaussian = Gaussian.from_embeddings(output[base], "ledoit-wolf")
        references = np.sort(gaussian.mahalanobis(output[reference]))
        scores = gaussian.mahalanobis(output)
        for what, size, some in _inputs(rng, left, at_attacks, 1):
            counts = ScoreCounts(references)
            counts.add(scores[some])
            told[f"{what}, calibrated anew", size].add(counts.compared())

    for size in (30, 100, 1000):
        for _ in range(SHUFFLES):
            tell_of("KDDTest+", model, rng.choice(test, size, replace=False), size)
    tell_of("KDDTest+", model, test, len(test))
    tell_of("KDDTest+, normals", model, test_normals, len(test_normals))
    half, other = np.split(test_normals, [len(test_normals) // 2])
    census = Census()
    of_half = model.score(take(rows, model.schema, half), census).output
    renewed = recalibrated(model, Observed(of_half, None, census=census), Rule())
    tell_of("KDDTest+, half of the normals, calibrated with the others", renewed, other, len(other))


def _inputs(
    rng: np.random.Generator, normals: Any, attacks: Any, times: int
) -> Iterator[tuple[str, int, Any]]:
    """Draws of normals of each size, and of the larger ones with attacks among them."""
    for size in SIZES:
        for share in (0.0, *(ATTACKS if size >= 100 else ())):
            what = f"fresh normals, {share:.0%} attacks" if share else "fresh normals"
            for _ in range(times):
                few = round(share * size)
                some = rng.choice(normals, size - few, replace=False)
                yield what, size, np.concatenate([some, rng.choice(attacks, few, replace=False)])


if __name__ == "__main__":
    main()
