"""How far the epoch that training without anomalies takes is from the best one in hindsight.

E is trained as `anoean train --anomaly-fraction 0` trains it, and after its epochs scores the test
rows as it then is, alone, without the experts beside it. *last* is the epoch that is taken;
*withheld family* the one that the figure of the artificial anomalies set aside would pick
(`--set selection=ranking`); *best* the one that nobody can know. The test rows are read here to
tell, and pick nothing.

    python benchmarks/hindsight.py --datasets nsl-kdd --seeds 3 --out docs/results/hindsight.md
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from common import Cells, load, parser, spread, tell
from epoch import Silent
from one_class import MAIN, SPLITS

HEAD = ("data", "seeds", "figure", "last", "withheld family", "best", "last behind the best")


class Keeping(Silent):
    """A monitor that keeps the state of every so many epochs."""

    def __init__(self, every: int) -> None:
        self.every = every
        self.states: dict[int, Mapping[str, Any]] = {}
        self._epoch = 0

    def report(self, record: Mapping[str, float], epochs: int) -> None:
        self._epoch = int(record["epoch"])
        self._is_wanted = self._epoch % self.every == 0 or self._epoch == epochs

    def save(self, state: Callable[[], Mapping[str, Any]]) -> None:
        if self._is_wanted:
            self.states[self._epoch] = state()


def cell(name: str, normal: str | None, seed: int, every: int) -> dict[str, Any]:
    """The figure on the test rows after each of the epochs that are kept."""
    import torch
    from sklearn.metrics import average_precision_score, roc_auc_score

    from anoean_cli import registry
    from anoean_cli.calibration.gaussian import Gaussian, fitting_estimator
    from anoean_cli.commands.train import DataFlags, split_request
    from anoean_cli.interfaces import Encoder, Rows
    from anoean_cli.training import adversarial, progress
    from anoean_cli.training.preparation import take
    from anoean_cli.training.request import DEFAULT_ENCODERS, TrainRequest
    from anoean_cli.training.run import train_model

    dataset = load(name, "full")
    flags = DataFlags(normal=normal, anomaly_fraction="0", **SPLITS.get(name, {}))
    split = split_request(dataset, flags)
    # One epoch, for its rows and their preprocessing, which do not depend on how many there are.
    first = train_model(dataset, TrainRequest(split, settings={"epochs": 1}, seed=seed))

    def rows_of(role: str) -> Rows:
        at = first.split[role]
        normals = [normal] if normal is not None else list(dataset.normal)
        examples = first.preprocessor.transform(take(dataset, first.schema, at))
        return Rows(examples, ~np.isin(dataset.labels[at].astype(str), normals))

    train, selection, test = map(rows_of, ("training", "selection", "test"))
    torch.set_num_threads(1)  # as for tables; two cores gain little on images
    detector = registry.get("detectors", "anoean")
    plugin = registry.get("encoders", DEFAULT_ENCODERS[dataset.kind])
    encoder = Encoder(
        plugin, first.preprocessor.spec, len(first.gaussian.mean), plugin.Parameters()
    )
    parameters, monitor = detector.Parameters(), Keeping(every)
    rng = np.random.default_rng(np.random.SeedSequence(seed).spawn(2)[1])
    fitted = detector.fit(train, selection, encoder, parameters, rng, monitor)
    # `progress.restore` puts every weight into its place.
    run = adversarial.start(encoder, parameters, np.random.default_rng(0), has_generator=True)
    figures = {}
    figure_of = roc_auc_score if MAIN[name] == "roc_auc" else average_precision_score
    for epoch, state in monitor.states.items():
        progress.restore(run, state)
        cpu = progress.usable_device("cpu")
        z = progress.embed(run.scorer, selection.normals, cpu)
        gaussian = Gaussian.from_embeddings(z, fitting_estimator(z, parameters.covariance))
        distances = gaussian.mahalanobis(progress.embed(run.scorer, test.examples, cpu))
        figures[epoch] = float(figure_of(test.is_anomaly, distances))
    ranking = {epoch: fitted.history[epoch - 1]["ranking"] for epoch in figures}
    return {"figures": figures, "ranking": ranking}


def told(name: str, point: str, cells: list[dict[str, Any]]) -> list[Any]:
    """A line of the table, in %, with the mean epoch behind what picks one."""

    def picked(by: str) -> tuple[list[float], str]:
        values, epochs = [], []
        for one in cells:
            figures = {int(epoch): value for epoch, value in one["figures"].items()}
            ranking = {int(epoch): value for epoch, value in one["ranking"].items()}
            order = {"last": {e: e for e in figures}, "family": ranking, "best": figures}[by]
            epoch = max(order, key=lambda each: order[each])
            values.append(100 * figures[epoch])
            epochs.append(epoch)
        return values, f"epoch {np.mean(epochs):.0f}"

    columns = {by: picked(by) for by in ("last", "family", "best")}
    behind = [b - a for a, b in zip(columns["last"][0], columns["best"][0], strict=True)]
    shown = [f"{spread(values)}, {epoch}" for values, epoch in columns.values()]
    return [point, len(cells), f"`{MAIN[name]}`", *shown, spread(behind)]


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--datasets", default="nsl-kdd,kdd99,mnist")
    options.add_argument("--normals", default="2,8", help="digits, for mnist")
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--every", type=int, default=1, help="how many epochs lie between figures")
    options.add_argument("--cells", type=Path, default=Path(".reproduce/hindsight.jsonl"))
    options.add_argument("--so-far", action="store_true", help="the page of what is finished")
    given = options.parse_args()
    kept = Cells(given.cells)
    lines, results = [], {}
    for name in given.datasets.split(","):
        for normal in given.normals.split(",") if name == "mnist" else [None]:
            point = name if normal is None else f"{name} {normal}"
            keys = {f"{point}, {seed}, {given.every}": seed for seed in range(given.seeds)}
            for key in [] if given.so_far else kept.missing(list(keys)):
                kept.add(key, cell(name, normal, keys[key], given.every))
            done = [kept.done[key] for key in keys if key in kept.done]
            if done:
                results[point] = done
                lines.append(told(name, point, done))
    notes = [
        "In %, mean ± standard deviation over seeds, and the mean of the epochs; E alone, without "
        "the experts on normals. Nothing picks an epoch by the test rows."
    ]
    tell(given.out, "The epoch of training without anomalies", notes, list(HEAD), lines, results)


if __name__ == "__main__":
    main()
