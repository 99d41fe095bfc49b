"""Tables 1 and 2: a data set, all systems, ours beside the paper's numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import published
from shared import (
    PROTOCOL,
    Point,
    arguments,
    behind,
    failures,
    markdown,
    percent,
    results_of,
    write,
)

from anoean_cli.evaluation import comparison

PAPERS = "anoean,anoean:small,anoean:paper,alad,anogan,egbad,ocsvm,ocsvm:contaminated,svm"
TODAYS = (
    "autoencoder,deep-sad,devnet,forest-knn,gaussian,hist-gradient-boosting,isolation-forest,knn,"
    "mlp-classifier,pca,random-forest"
)

TREES = ("random-forest", "hist-gradient-boosting")
UNPRINTED = ("",) * len(published.FIGURES)


def table(name: str, dataset: str, title: str, printed: Mapping[str, Sequence[str]]) -> None:
    """Compare all systems on one data set, and write the page."""
    given = arguments(name, f"{title}.\n\n    make reproduce NAME={name}", f"{PAPERS},{TODAYS}", 10)
    results = results_of([Point(dataset, dataset)], given)
    summary = comparison.summarise(results[dataset])
    rows = []
    for row in summary:
        paper = printed.get(row["detector"].removesuffix(":paper"), UNPRINTED)
        ours = [percent(row["metrics"].get(figure)) for figure in published.FIGURES]
        pairs = [cell for pair in zip(ours, paper, strict=True) for cell in pair]
        seconds = "" if row["fit_seconds"] is None else f"{row['fit_seconds']:.0f}"
        rank = "" if row["rank"] is None else f"{row['rank']:.1f}"
        rows.append([row["detector"], *pairs, rank, behind(row) if row["seeds"] else "", seconds])
    figures = ("AUC-PR", "F1", "ROC AUC", "accuracy")
    head = ["detector", *(cell for f in figures for cell in (f, "paper"))]
    head += ["rank", "behind the best", "fit s"]
    lines = [
        f"{given.seeds} seeds; mean ± standard deviation, in %; *paper* is what it prints. "
        "*behind the best* is the paired difference in AUC-PR; *within noise* where the test of "
        "Nadeau and Bengio, which knows that seeds share rows, does not tell it from 0 at 5 %. "
        f"*fit s* is a mean too, with {given.jobs} cell{'s'[: given.jobs != 1]} at once.",
        "",
        *markdown(head, rows),
        *lead_of_trees(results[dataset]),
        *failures(summary),
        PROTOCOL,
        "",
        *DIFFERENCES,
    ]
    write(given, title, results, lines)


def lead_of_trees(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """How far the strongest peers may be ahead of the default, in words."""
    good = [row for row in results if "metrics" in row]
    of = {name: [row for row in good if row["detector"] == name] for name in ("anoean", *TREES)}
    lines = []
    for name in TREES:
        lead = comparison.deficit_to(of[name], of["anoean"])
        if lead is not None and lead["high"] is not None:
            mean, high = 100 * lead["mean"], 100 * lead["high"]
            lines.append(
                f"AUC-PR of {name} less that of anoean, paired by seed: {mean:.2f}, and at most "
                f"{high:.2f} (the 95 % interval by the same test)."
            )
    return [each for line in lines for each in (line, "")]


DIFFERENCES = [
    "Differences from the paper's protocol, which it does not spell out:",
    "",
    "- Exact duplicates are dropped before rows are drawn, and vectors that are both normal and "
    "attack are left out. With duplicates a row may stand in training and test.",
    "- Selection and calibration rows are part of the 5,500; a detector that needs no selection "
    "trains on them.",
    "- `ocsvm:contaminated` is the paper's second test (anomalies injected, ν = 0.1), of which it "
    "says only that it brought no improvement.",
    "- The paper's AnoGAN row contradicts itself: with 20 % anomalies its F1 and accuracy cannot "
    "both come from one threshold. Its SVM on KDD99 has deviation 0 over ten seeds.",
]
