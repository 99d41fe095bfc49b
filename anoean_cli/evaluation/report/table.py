"""The report of a comparison: what is on the page of ``compare --report``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from anoean_cli.evaluation.comparison import NOISE, PRIMARY
from anoean_cli.evaluation.report import charts, numbers
from anoean_cli.evaluation.report.charts import Chart, Mark
from anoean_cli.evaluation.report.evaluation import MOST_LINES, kind_of, made_by
from anoean_cli.evaluation.report.page import short
from anoean_cli.examples import Json

Result = Mapping[str, Json]

ROW = 34


def content(
    about: Mapping[str, Any],
    results: Sequence[Result],
    summary: Sequence[Result],
    figures: Sequence[str],
    command: str,
) -> dict[str, Any]:
    """Everything that the template shows.

    Args:
        about: ``dataset`` and ``split``, as in ``compare.json``.
        results, summary: of the comparison; curves are shown of results that have them.
        figures: the figures of the table, in order.
    """
    good = [row for row in summary if row["seeds"]]
    seeds = sorted({each["seed"] for each in results})
    return {
        "title": f"{short(about['dataset']['name'], 60)}: {len(summary)} detectors compared",
        "name": about["dataset"]["name"],
        "is_sample": bool(about["dataset"].get("sample")),
        "seeds": seeds,
        "figures": [name for name in figures if any(name in row["metrics"] for row in good)],
        "rows": good,
        "noise": NOISE,
        "failed": [row for row in summary if row["errors"]],
        "places": places(results, good) if good else None,
        "curves": curve_charts(results, good),
        "provenance": [*made_by(command), *_provenance(about, results, seeds)],
    }


def places(results: Sequence[Result], summary: Sequence[Result]) -> Chart:
    """Each detector's AUC-PR of every seed, and their mean, in a row of its own."""
    by_detector = {
        row["detector"]: [
            each["metrics"][PRIMARY]
            for each in results
            if each["detector"] == row["detector"] and "metrics" in each
        ]
        for row in summary
    }
    values = [value for some in by_detector.values() for value in some]
    room = (max(values) - min(values)) * 0.05
    x = charts.across(PRIMARY, min(values) - room, max(values) + room)
    height = charts.TOP + ROW * len(by_detector) + charts.BOTTOM
    y = charts.upward("", 0, 1, height)
    marks, texts = [], []
    for at, (name, some) in enumerate(by_detector.items()):
        middle = charts.TOP + ROW * at + 24
        texts.append((4.0, middle - 11.0, f"{short(name, 40)}: {np.mean(some):.4f}"))
        marks += [
            Mark("dot", "normal", charts.dot("normal", px, middle), f"{value:.4f}")
            for px, value in zip(x(some), some, strict=True)
        ]
        mean = x(float(np.mean(some)))[0]
        marks.append(Mark("line", "s0", f"M{mean:g} {middle - 6:g}V{middle + 6:g}"))
    return Chart(
        "places",
        "AUC-PR of every seed",
        "; ".join(f"{name}: {min(v):.4f} to {max(v):.4f}" for name, v in by_detector.items()),
        x,
        y,
        marks,
        texts=texts,
        note="A dot a seed; the stroke and the number are their mean.",
        in_rows=True,
        height=height,
    )


def curve_charts(results: Sequence[Result], summary: Sequence[Result]) -> list[Chart]:
    """Curves averaged over seeds, of as many of the best detectors as can be told apart."""
    found: dict[str, list[Mapping[str, list[float]]]] = {}
    for row in summary[:MOST_LINES]:
        mine = [each for each in results if each["detector"] == row["detector"]]
        if some := [each["curves"] for each in mine if _is_whole(each.get("curves"))]:
            found[row["detector"]] = some
    if not found:
        return []
    return [
        _curve_chart("precision-recall", "Precision and recall", "recall", "precision", found),
        _curve_chart("roc", "ROC curve", "false-positive rate", "recall", found),
    ]


def _is_whole(curves: Any) -> bool:
    """Cells of other versions may have none, or curves at other places."""
    return isinstance(curves, Mapping) and all(
        len(curves.get(name, ())) == len(numbers.RATES) for name in ("precision", "recall")
    )


def _curve_chart(
    name: str,
    title: str,
    across: str,
    upward: str,
    found: Mapping[str, Sequence[Mapping[str, list[float]]]],
) -> Chart:
    x, y = charts.across(across, 0, 1), charts.upward(upward, 0, 1)
    means = {label: np.mean([c[upward] for c in some], axis=0) for label, some in found.items()}
    marks = [
        Mark("line", f"s{at}", charts.line(x, y, numbers.RATES, mean))
        for at, mean in enumerate(means.values())
    ]
    middle = int(np.searchsorted(numbers.RATES, 0.1 if name == "roc" else 0.9))
    said = "; ".join(
        f"{label}: {upward} {mean[middle]:.3f} at {across} {numbers.RATES[middle]:.2g}"
        for label, mean in means.items()
    )
    legend = [(f"s{at}", short(label, 40)) for at, label in enumerate(means)]
    note = "Means over seeds."
    return Chart(name, title, f"{said}.", x, y, marks, legend=legend, note=note)


def _provenance(
    about: Mapping[str, Any], results: Sequence[Result], seeds: Sequence[int]
) -> list[tuple[str, str]]:
    data = about["dataset"]
    files = data.get("files")
    lines = [
        ("data", f"{data['name']} ({kind_of(data)})"),
        *(("file", f"{name}: {digest}") for name, digest in dict(files or {}).items()),
        ("seeds", ", ".join(map(str, seeds))),
        ("split", json.dumps(about["split"])),
    ]
    told = set()
    for each in results:
        if "metrics" in each and each["detector"] not in told:
            told.add(each["detector"])
            lines.append((f"parameters of {each['detector']}", json.dumps(each["parameters"])))
    notes = dict.fromkeys(note for each in results for note in each.get("notes", ()))
    lines += [("note", note) for note in notes]
    return [(name, short(str(text), 2000)) for name, text in lines]
