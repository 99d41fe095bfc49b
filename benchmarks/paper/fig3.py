"""Figure 3 of the paper: the toy data, and a decision space of one dimension with three densities.

make reproduce NAME=fig3
"""

from __future__ import annotations

import numpy as np
from common import load
from matplotlib.figure import Figure
from shared import arguments, behind, markdown, save_figure, write

from anoean_cli.commands.train import DataFlags, split_request
from anoean_cli.evaluation import comparison
from anoean_cli.training.preparation import take
from anoean_cli.training.request import TrainRequest
from anoean_cli.training.run import train_model

RADIUS = 8  # of the picture, in standard deviations of p_z


def main() -> None:
    given = arguments("fig3", __doc__ or "", "anoean,anoean:paper", 1)
    rows = load("toy")
    figure = Figure(figsize=(12, 3.8))
    left, *right = figure.subplots(1, 1 + len(given.detectors.split(",")))
    x, y = rows.examples.column("x").to_numpy(), rows.examples.column("y").to_numpy()
    results = []
    for label, axes in zip(given.detectors.split(","), right, strict=True):
        name, _, preset = label.partition(":")
        request = TrainRequest(
            split_request(rows, DataFlags()), name, preset=preset or "default", latent_dim=1
        )
        results.append(comparison.run_cell(rows, comparison.Cell(label, request)))
        model = train_model(rows, request)
        z = model.score(take(rows, model.schema, np.arange(len(x)))).output[:, 0]
        training = np.zeros(len(x), bool)
        training[np.concatenate([model.split[r] for r in ("training", "selection")])] = True
        normal = rows.labels == rows.normal[0]
        if not left.collections:
            for some, colour, what in (
                (training & normal, "tab:red", "normals"),
                (training & ~normal, "tab:blue", "anomalies"),
            ):
                left.scatter(x[some], y[some], s=6, c=colour, label=what)
        bins = np.linspace(-RADIUS, RADIUS, 81)
        for some, colour, what in ((normal, "tab:red", "E(x_n)"), (~normal, "tab:blue", "E(x_a)")):
            shown = z[some].clip(-RADIUS, RADIUS)
            axes.hist(shown, bins=bins, density=True, color=colour, alpha=0.5, label=what)
        density = np.exp(-(bins**2) / 2) / np.sqrt(2 * np.pi)
        axes.plot(bins, density, color="tab:green", label="p_z")
        axes.set_title(f"decision space, {label}")
        axes.legend(fontsize="small")
    left.set_title("data space")
    left.legend(fontsize="small")
    lines = [
        save_figure(figure, given),
        "",
        "Left the rows that training and selection saw, right where E puts all rows; what lies "
        f"beyond ±{RADIUS} is drawn at the border. One dimension of decision space, as in the "
        "paper; 500 normals and 50 anomalies, as in the paper. Seed 0.",
        "",
    ]
    summary = comparison.summarise(results)
    auc_pr = [[r["detector"], f"{r['metrics']['auc_pr']['mean']:.4f}", behind(r)] for r in summary]
    lines += markdown(["detector", "AUC-PR on the test rows", "behind the best"], auc_pr)
    write(given, "Figure 3: the toy example", {"toy": results}, lines)


if __name__ == "__main__":
    main()
