"""What the reproductions share: grids of comparisons that go on where they stopped, and pages.

A reproduction is a list of points (a data set, its normal class, what varies along the figure's
axis), each compared by the functions behind ``anoean compare``; cells are kept in ``--out``.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from common import load, machine, ran, spread, store_of

from anoean_cli.commands.compare import contenders_of, requests_of
from anoean_cli.commands.train import DataFlags, LearningFlags, split_request
from anoean_cli.console import Console
from anoean_cli.evaluation import comparison
from anoean_cli.evaluation.comparison import Cell, CellStore
from anoean_cli.interfaces import Kind
from anoean_cli.training.request import resolved


@dataclass(frozen=True)
class Point:
    """One comparison of a reproduction.

    Attributes:
        x: where it stands on the axis of the figure, as text.
        dataset: a data set plugin.
        data: the options of ``anoean compare`` that choose rows.
        learning: those that choose how to train.
    """

    x: str
    dataset: str
    data: DataFlags = field(default_factory=DataFlags)
    learning: LearningFlags = field(default_factory=LearningFlags)


def arguments(
    name: str, about: str, detectors: str, seeds: int, slow: str = ""
) -> argparse.Namespace:
    """The options that all reproductions take; slow detectors get fewer seeds."""
    made = argparse.ArgumentParser(
        description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--out", type=Path, default=Path("docs/results") / name)
    made.add_argument("--detectors", default=detectors, help="NAME[:PRESET],...")
    made.add_argument("--seeds", type=int, default=seeds)
    made.add_argument("--slow", default=slow, help="detectors that get --slow-seeds seeds")
    made.add_argument("--slow-seeds", type=int, default=1)
    made.add_argument("--jobs", type=int, default=1, help="processes at once")
    made.add_argument(
        "--cells",
        type=Path,
        default=Path(".reproduce") / name,
        help="where finished cells are kept",
    )
    made.add_argument(
        "--earlier",
        type=Path,
        help="results.json of another run, whose cells of equal parameters are taken over",
    )
    made.add_argument(
        "--so-far", action="store_true", help="the page of what is finished; nothing is run"
    )
    given = made.parse_args()
    often = given.detectors.split(",")
    given.slow = ",".join(n for n in given.slow.split(",") if n and n not in often)
    return given


def results_of(points: Sequence[Point], given: argparse.Namespace) -> dict[str, list[Any]]:
    """The results of each point by its ``x``; finished cells are not run again."""
    console = Console()
    origin, before = earlier(given.earlier)
    found = {}
    for point in points:
        console.note(f"{point.dataset}, {point.x}")
        rows = load(point.dataset, "full" if point.dataset != "toy" else "auto")
        split = split_request(rows, point.data)
        cells = []
        for names, seeds in ((given.detectors, given.seeds), (given.slow, given.slow_seeds)):
            if names:
                requests = requests_of(contenders_of(names), split, point.learning, rows.kind)
                cells += comparison.cells_of(requests, point.learning.seed, seeds)
        take_over(before.get(point.x, []), origin, rows.kind, store_of(rows, given), cells)
        found[point.x] = ran(rows, cells, given)
    return found


def seeds_of(given: argparse.Namespace) -> str:
    slow = f"; of {given.slow}: {given.slow_seeds}" if given.slow else ""
    return f"Seeds: {given.seeds}{slow}."


def earlier(file: Path | None) -> tuple[str, Mapping[str, list[Any]]]:
    """Where the results of an earlier run were made, and they themselves by their point."""
    if file is None:
        return "", {}
    before = json.loads(file.read_text())
    about = before["about"]
    if about["versions"] != machine()["versions"]:
        raise SystemExit(f"error: --earlier holds results of other versions: {about['versions']}")
    results = before.get("results") or before["result"]  # as `common.tell` writes it
    return f"{about['command']} ({about['date']}, {about['cpu']})", results


def take_over(
    results: Sequence[Mapping[str, Any]],
    origin: str,
    kind: Kind,
    store: CellStore,
    cells: Sequence[Cell],
) -> None:
    """Keep results of an earlier run as if the cells had been run here, with where they were.

    Those that other parameters gave are left out.
    """
    known = {(r["detector"], r["seed"]): r for r in results if "metrics" in r}
    for cell in cells:
        result = known.get((cell.label, cell.seed))
        if result is None or store.load(cell) is not None:
            continue
        if result.get("parameters") == resolved(cell.request, kind):
            store.keep(cell, {"origin": origin, **result})


def write(
    given: argparse.Namespace, title: str, results: Mapping[str, Any], lines: Sequence[str]
) -> None:
    """The page, and the results as JSON and CSV."""
    import pyarrow as pa
    from pyarrow import csv

    given.out.mkdir(parents=True, exist_ok=True)
    about = machine()
    for told in origins(results):
        lines = [told, "", *lines]
    head = [
        f"# {title}",
        "",
        f"    {about['command']}",
        "",
        f"{about['date']}, {about['cpu']}, {about['cores']} cores, Python {about['python']}, "
        + ", ".join(f"{name} {number}" for name, number in about["versions"].items())
        + ".",
        "",
    ]
    (given.out / "README.md").write_text("\n".join([*head, *lines, ""]), encoding="utf-8")
    (given.out / "results.json").write_text(a_line_each(about, results), encoding="utf-8")
    flat = [{"x": x, **row} for x, some in results.items() for row in some]
    columns = comparison.as_table(flat)
    csv.write_csv(pa.table({"x": [row["x"] for row in flat], **columns}), given.out / "results.csv")


def origins(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """What a page tells of results that were taken over."""
    made = Counter(row["origin"] for some in results.values() for row in some if "origin" in row)
    return [f"{cells} cells were made before by {origin}." for origin, cells in made.items()]


def a_line_each(about: Mapping[str, Any], results: Mapping[str, Sequence[Any]]) -> str:
    """JSON with a line for each result, without the curves that reports draw."""
    points = []
    for x, some in results.items():
        kept = [{name: row[name] for name in row if name != "curves"} for row in some]
        points.append(f"{json.dumps(x)}: [\n" + ",\n".join(map(json.dumps, kept)) + "\n]")
    whole = ",\n".join(points)
    return f'{{"about": {json.dumps(about)},\n"results": {{\n{whole}\n}}}}\n'


def save_figure(figure: Any, given: argparse.Namespace) -> str:
    """Write SVG and PNG; returns the line of the page that shows the figure."""
    given.out.mkdir(parents=True, exist_ok=True)
    for ending in ("svg", "png"):
        figure.savefig(given.out / f"figure.{ending}", dpi=150, bbox_inches="tight")
    return "![The figure](figure.png)"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def percent(spread: Mapping[str, float | None] | None) -> str:
    """Mean ± sd in percent, as the paper prints its figures."""
    if spread is None or spread["mean"] is None:
        return ""
    sd = spread["sd"]
    return f"{100 * spread['mean']:.2f}" + ("" if sd is None else f" ± {100 * sd:.2f}")


def behind(row: Mapping[str, Any]) -> str:
    """How far a detector is behind the best in AUC-PR, in percent, and whether that is noise."""
    deficit = row["deficit"]
    if deficit is None:
        return "best"
    noise = {True: ", within noise", False: "", None: ""}[comparison.is_noise(row)]
    return f"{100 * deficit['mean']:.2f}{noise}"


def failures(summaries: Sequence[Mapping[str, Any]]) -> list[str]:
    lines = [f"{row['detector']} failed: {error}." for row in summaries for error in row["errors"]]
    return [*lines, ""] if lines else []


def mean_over_points(results: Mapping[str, list[Any]], detector: str) -> list[Any]:
    """The AUC-PR spread of one detector at each point, None where it has no result."""
    spreads = []
    for some in results.values():
        rows = [row for row in comparison.summarise(some) if row["detector"] == detector]
        spreads.append(rows[0]["metrics"].get("auc_pr") if rows and rows[0]["seeds"] else None)
    return spreads


def curves(
    results: Mapping[str, list[Any]], detectors: Sequence[str], axis: str, title: str
) -> Any:
    """AUC-PR of each detector along the points, mean and one standard deviation."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5))
    axes = figure.subplots()
    places = range(len(results))
    for name in detectors:
        spreads = mean_over_points(results, name)
        known = [(x, s) for x, s in zip(places, spreads, strict=True) if s is not None]
        if known:
            axes.errorbar(
                [x for x, _ in known],
                [s["mean"] for _, s in known],
                yerr=[s["sd"] or 0 for _, s in known],
                label=name,
                marker="o",
                capsize=2,
            )
    axes.set_xticks(list(places), list(results))
    axes.set_xlabel(axis)
    axes.set_ylabel("AUC-PR (average precision)")
    axes.set_title(title)
    axes.legend(fontsize="small", ncols=2)
    axes.grid(alpha=0.3)
    return figure


def detectors_in(results: Mapping[str, list[Any]]) -> list[str]:
    return list(dict.fromkeys(row["detector"] for some in results.values() for row in some))


def of_unseen_types(results: Mapping[str, list[Any]], names: Sequence[str], axis: str) -> list[str]:
    """The same table of anomalies whose types training did not show; nothing where there are none.

    In its last column is the mean of the points at which there are some.
    """
    found = {
        name: [
            [100 * r["metrics"]["unseen"]["auc_pr"] for r in some if _has_unseen(r, name)]
            for some in results.values()
        ]
        for name in names
    }
    rows = []
    for name, at in found.items():
        if not any(at):
            continue
        whole = f"{statistics.mean(statistics.mean(values) for values in at if values):.2f}"
        rows.append([name, *map(spread, at), whole])
    told = "Of normals and anomalies of types that training did not show alone:"
    return [told, "", *markdown([axis, *results, "mean"], rows)] if rows else []


def _has_unseen(result: Mapping[str, Any], name: str) -> bool:
    return result["detector"] == name and "unseen" in result.get("metrics", {})


def curve_page(
    given: argparse.Namespace,
    title: str,
    axis: str,
    results: Mapping[str, list[Any]],
    notes: Sequence[str],
) -> None:
    """Figure and table of AUC-PR along the points."""
    names = detectors_in(results)
    picture = save_figure(curves(results, names, axis, title), given)
    rows = []
    for name in names:
        spreads = mean_over_points(results, name)
        means = [spread["mean"] for spread in spreads if spread is not None]
        whole = f"{100 * statistics.mean(means):.2f}" if len(means) == len(results) else ""
        rows.append([name, *(percent(spread) for spread in spreads), whole])
    lines = [
        picture,
        "",
        seeds_of(given),
        "",
        *notes,
        "",
        "AUC-PR in %, mean ± standard deviation over seeds:",
        "",
    ]
    lines += markdown([axis, *results, "mean"], rows)
    lines += of_unseen_types(results, names, axis)
    for some in results.values():
        lines += failures(comparison.summarise(some))
    write(given, title, results, lines)


PROTOCOL = (
    "Every detector gets the same rows within a seed: 5,000 normals and 500 anomalies for "
    "training, selection and calibration, 1,700 rows (80 % normal) for the test; a tenth of the "
    "normals and anomalies pick epochs and hyper-parameters. Average precision stands for the "
    "paper's AUC; F1 and accuracy are those of the best threshold in hindsight, as papers report."
)
