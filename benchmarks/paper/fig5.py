"""Figure 5 of the paper: the loss curves of encoder and discriminator, each term apart.

The paper does not name the data of its figure; here it is NSL-KDD.

make reproduce NAME=fig5
"""

from __future__ import annotations

from typing import Any

from common import load
from matplotlib.figure import Figure
from shared import arguments, save_figure, write

from anoean_cli.commands.train import DataFlags, split_request
from anoean_cli.inference.model import Model
from anoean_cli.training.request import TrainRequest
from anoean_cli.training.run import train_model

DISCRIMINATOR = {
    "d_prior": "−E[log D(z)]",
    "d_normal": "−E[log(1 − D(E(x_n)))]",
    "d_anomaly": "−E[log(1 − D(E(x_a)))]",
}
ENCODER = {"e_normal": "−E[log D(E(x_n))]", "e_anomaly": "−E[log(1 − D(E(x_a)))]"}
TERMS = {"L_D": DISCRIMINATOR, "L_E": ENCODER}


def main() -> None:
    given = arguments("fig5", __doc__ or "", "anoean,anoean:paper", 1)
    rows = load("nsl-kdd")
    labels = given.detectors.split(",")
    figure = Figure(figsize=(12, 3.6 * len(labels)))
    grid = figure.subplots(len(labels), 2, squeeze=False)
    lines, cells = [], []
    for (terms, sums), label in zip(grid, labels, strict=True):
        name, _, preset = label.partition(":")
        request = TrainRequest(split_request(rows, DataFlags()), name, preset=preset or "default")
        model = train_model(rows, request)
        for term, text in DISCRIMINATOR.items():
            terms.plot(model.history["epoch"], model.history[term], label=text)
        for loss, parts in TERMS.items():
            sums.plot(model.history["epoch"], _sum(model, parts), label=loss)
        terms.set_title(f"(a) terms of L_D, {label}")
        sums.set_title(f"(b) L_D and L_E, {label}")
        for axes in (terms, sums):
            axes.set_xlabel("epoch")
            axes.legend(fontsize="small")
        cells.append({"detector": label, "seed": 0, **_curves(model)})
        best = model.config["detector"]["metadata"]["best_epoch"]
        lines.append(f"- {label}: {len(model.history['epoch'])} epochs, {best} taken.")
    figure.tight_layout()
    notes = [save_figure(figure, given), "", "NSL-KDD, seed 0, means over an epoch.", "", *lines]
    write(given, "Figure 5: loss curves", {"nsl-kdd": cells}, notes)


def _sum(model: Model, parts: dict[str, str]) -> Any:
    return sum(model.history[name] for name in parts)


def _curves(model: Model) -> dict[str, Any]:
    names = ["epoch", *DISCRIMINATOR, *ENCODER]
    return {"history": {name: model.history[name].tolist() for name in names}}


if __name__ == "__main__":
    main()
