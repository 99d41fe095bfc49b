"""Quality on the paper's data sets: AUC-PR and the rest on the rows that training set aside.

A cell is one data set, normal class, seed and preset; each is trained with the function that
`anoean train` calls, in a process of its own, and stored at once in a .jsonl file beside --out.
Run again with the same --out to go on.

    python benchmarks/quality.py --dataset mnist --digits 2,3,5,8 --seeds 0,1 --presets default
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import Cells, load, parser, tell
from paper.published import TABLE_1, TABLE_2

PAPER = {"nsl-kdd": TABLE_1, "kdd99": TABLE_2}
FIGURES = ("auc_pr", "roc_auc", "f1_best", "accuracy_at_f1_best", "fpr", "recall")


def cell(
    dataset: str, normal: str | None, seed: int, preset: str, asked: dict[str, Any]
) -> dict[str, Any]:
    """Train and evaluate one model."""
    from anoean_cli.commands.train import DataFlags, split_request
    from anoean_cli.evaluation.run import figures, score_test_rows
    from anoean_cli.training.request import TrainRequest
    from anoean_cli.training.run import train_model

    rows = load(dataset, asked["source"])
    flags = DataFlags(
        normal=normal,
        split=asked["split"],
        train_size=asked["train_size"],
        anomaly_types=asked["anomaly_types"],
    )
    request = TrainRequest(
        split=split_request(rows, flags),
        preset=preset,
        settings=dict(pair.split("=", 1) for pair in asked["set"]),
        seed=seed,
        threads=asked["threads"],
    )
    began = time.perf_counter()
    model = train_model(rows, request)
    fit_seconds = time.perf_counter() - began
    found = figures(model, score_test_rows(model, rows))
    kept = {name: found[name] for name in FIGURES}
    for part in ("seen", "unseen"):
        if part in found:
            kept[f"{part}_auc_pr"] = found[part]["auc_pr"]
    return {
        "dataset": dataset,
        "normal": normal or ",".join(rows.normal),
        "seed": seed,
        "preset": preset,
        **kept,
        "epochs": len(model.history["epoch"]),
        "fit_seconds": fit_seconds,
        "split": model.config["split"],
        "sample": bool(rows.provenance.get("sample")),
    }


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--dataset", default="mnist", choices=("mnist", "nsl-kdd", "kdd99"))
    options.add_argument("--digits", default="2,3,5,8", help="normal digits, for mnist")
    options.add_argument("--seeds", default="0,1")
    options.add_argument("--presets", default="default,paper")
    options.add_argument("--split", default="drawn", choices=("drawn", "publisher"))
    options.add_argument("--train-size", default=None, help="as anoean train has it")
    options.add_argument("--anomaly-types", default=None, help="as anoean train has it")
    options.add_argument("--source", default="full", help="as anoean train has it")
    options.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    options.add_argument("--jobs", type=int, default=1, help="cells at once")
    given = options.parse_args()

    import os

    asked = {
        "split": given.split,
        "train_size": given.train_size,
        "anomaly_types": given.anomaly_types,
        "source": given.source,
        "set": given.set,
        "threads": max(1, len(os.sched_getaffinity(0)) // given.jobs),
    }
    normals = given.digits.split(",") if given.dataset == "mnist" else [None]
    keys = {}
    for preset in given.presets.split(","):
        for seed in map(int, given.seeds.split(",")):
            for normal in normals:
                # All that decides the figures is in the key; threads only in their last bits.
                decisive = {k: v for k, v in asked.items() if k != "threads" and v}
                keys[str((given.dataset, normal, seed, preset, decisive))] = (
                    given.dataset,
                    normal,
                    seed,
                    preset,
                    asked,
                )
    cells = Cells((given.out or Path("quality.md")).with_suffix(".jsonl"))
    cells.run(keys, cell, given.jobs, _brief)
    results = [cells.done[key] for key in keys]
    _tell(given.out, given.dataset, results)


def _brief(values: Mapping[str, Any]) -> str:
    return f"auc_pr {values['auc_pr']:.4f} in {values['fit_seconds']:.0f} s"


def _tell(out: Path | None, dataset: str, results: list[dict[str, Any]]) -> None:
    columns = ("auc_pr", "f1_best", "roc_auc", "accuracy_at_f1_best", "seen_auc_pr")
    columns += ("unseen_auc_pr", "fpr", "fit_seconds")
    head = ["preset", "normal", "seed", *columns]
    rows: list[list[Any]] = []
    for preset in dict.fromkeys(r["preset"] for r in results):
        some = [r for r in results if r["preset"] == preset]
        for r in some:
            rows.append([preset, r["normal"], r["seed"], *(_figure(r, c) for c in columns)])
        means = [_mean(some, c) for c in columns]
        rows.append([f"**{preset}**", "mean ± sd", f"{len(some)} runs", *means])
    for model, figures in PAPER.get(dataset, {}).items():
        # The paper's F1 and accuracy are those of the best threshold in hindsight.
        shares = [*figures, *[""] * (len(columns) - len(figures))]
        rows.append(["paper, in %", model, "10 seeds", *shares])
    notes = [
        "`auc_pr` is average precision on the test rows that training set aside; `f1_best` and its "
        "accuracy use the best threshold in hindsight, `fpr` the calibrated one. ± is the standard "
        "deviation over runs.",
        "Sizes of the first cell: "
        + ", ".join(
            f"{role} {n['normals']} + {n['anomalies']}" for role, n in results[0]["split"].items()
        )
        + " (normals + anomalies)."
        + (" **The packaged sample, not the full data.**" if results[0]["sample"] else ""),
    ]
    tell(out, f"Quality on {dataset}", notes, head, rows, results)


def _figure(result: dict[str, Any], column: str) -> str:
    if column not in result:
        return ""
    return f"{result[column]:.1f}" if column == "fit_seconds" else f"{result[column]:.4f}"


def _mean(results: list[dict[str, Any]], column: str) -> str:
    values = [r[column] for r in results if column in r]
    if not values:
        return ""
    digits = 1 if column == "fit_seconds" else 4
    spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


if __name__ == "__main__":
    main()
