"""The report of one model on labelled rows: what is on the page of ``evaluate --report``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli.calibration.conformal import p_values
from anoean_cli.data.labels import among
from anoean_cli.evaluation.examples import Examples
from anoean_cli.evaluation.metrics import FIGURES, parts_of
from anoean_cli.evaluation.report import charts, details, numbers
from anoean_cli.evaluation.report.charts import Chart, Mark, Rule
from anoean_cli.evaluation.report.page import short
from anoean_cli.evaluation.run import Labelled
from anoean_cli.examples import Scores
from anoean_cli.inference.contents import ROLES
from anoean_cli.inference.model import Model
from anoean_cli.wording import counted

SERIES = {"normal": "normals", "seen": "anomalies of seen types", "unseen": "of unseen types"}
POINTS = {"normal": 500, "seen": 350, "unseen": 350}
WORST = 10
TYPES = 30
MOST_LINES = 6  # that can be told apart in one chart
TAUGHT = "d_taught"  # of tables with known anomalies only
TERMS = {
    "d_prior": "−E[log D(z)]",
    "d_normal": "−E[log(1 − D(E(x_n)))]",
    "d_anomaly": "−E[log(1 − D(E(x_a)))]",
    TAUGHT: "−E[log(1 − D(E(x)))] of rows that a forest teaches",
    "e_normal": "−E[log D(E(x_n))]",
    "e_anomaly": "−E[log(1 − D(E(x_a)))]",
}
LOSSES = {
    "L_D": ("d_prior", "d_normal", "d_anomaly", TAUGHT),
    "L_E": ("e_normal", "e_anomaly"),
}


@dataclass(frozen=True)
class Rows:
    """Scored rows in the three groups that a report tells apart.

    Attributes:
        members: positions of normals, and of anomalies of seen and of unseen types.
        p: (n,) p-values.
    """

    labelled: Labelled
    members: Mapping[str, NDArray[np.intp]]
    p: Scores

    @classmethod
    def of(cls, model: Model, labelled: Labelled) -> Rows:
        """Sort labelled rows into normals, and anomalies of types seen in training and not."""
        seen = among(labelled.types, model.config["seen_types"])
        anomalous = labelled.is_anomaly
        groups = {"normal": ~anomalous, "seen": anomalous & seen, "unseen": anomalous & ~seen}
        members = {name: np.flatnonzero(chosen) for name, chosen in groups.items()}
        return cls(labelled, members, p_values(model.calibration.reference, labelled.scores))

    def scores(self, group: str) -> Scores:
        """Of a group's rows."""
        return self.labelled.scores[self.members[group]]

    @cached_property
    def has_several_files(self) -> bool:
        """Whether a row needs its file's name to be found."""
        return len(set(self.labelled.files or ())) > 1

    @property
    def groups(self) -> list[str]:
        """Those that have rows."""
        return [name for name, rows in self.members.items() if len(rows)]

    def name_of(self, at: int) -> str:
        """What a row is called: its number, from 1, and its file where there are several."""
        labelled = self.labelled
        number = at + 1 if labelled.rows is None else int(labelled.rows[at])
        if labelled.files is None or not self.has_several_files:
            return f"{number}"
        return f"{short(labelled.files[at])}, {number}"


def content(
    model: Model,
    labelled: Labelled,
    found: Mapping[str, Any],
    about: Mapping[str, Any],
    command: str,
    bootstrap: int = 1000,
    examples: Examples | None = None,
) -> dict[str, Any]:
    """Everything that the template shows.

    Args:
        labelled: with ``rows``, and ``output`` for the decision space.
        found: the figures of these rows.
        about: where rows and model come from.
        command: how the report was asked for.
        bootstrap: resamples for the bands; 0 gives none.
        examples: fetches rows to be explained and shown; None where that cannot be.
    """
    rows = Rows.of(model, labelled)
    threshold = model.calibration.threshold
    control = control_of(rows, model.calibration.reference, threshold)
    precision_recall, roc = _curve_charts(rows, found, bootstrap)
    false_alarms = _worst(rows, rows.members["normal"], threshold, highest=True)
    misses = _worst(rows, np.flatnonzero(labelled.is_anomaly), threshold, highest=False)
    worst = [line["at"] for group in (false_alarms, misses) for line in group["lines"]]
    space = decision_space(model, rows)
    why: dict[int, details.Why] = {}
    sheet = None
    if examples is not None:
        are_images = model.schema is None
        dots = space["rows"] if space is not None and are_images else np.empty(0, np.intp)
        why, sheet = details.of_rows(model, examples, np.array(worst), dots)
    return {
        "title": f"{short(about['data'], 60)}: {model.config['detector']['name']}",
        "about": about,
        "figures": _figures(found),
        "seen_types": [short(name) for name in model.config["seen_types"]],
        "control": control,
        "distinct": len(np.unique(labelled.scores)),
        "at": _counted(control, control["start"]),
        "histogram": histogram(rows, threshold),
        "curves": [precision_recall, roc],
        "uniformity": _uniformity(rows, model),
        "types": _types(rows, threshold),
        "space": space,
        "sheet": sheet,
        "false_alarms": false_alarms,
        "misses": misses,
        "why": why,
        "unexplained": _why_not(model, examples),
        "threshold": threshold,
        "training": training_charts(model),
        "provenance": [*made_by(command), *_provenance(model, about)],
    }


def _figures(found: Mapping[str, Any]) -> dict[str, Any]:
    names = [name for name in FIGURES if name in found]
    return {"parts": parts_of(found), "names": names, "meanings": FIGURES}


# --------------------------------------------------------------------------- threshold


def control_of(rows: Rows, reference: Scores, threshold: float) -> dict[str, Any]:
    """What the page recounts with: exact counts above each threshold that it can be set to."""
    labelled = rows.labelled
    thresholds = numbers.stops(labelled.scores, labelled.is_anomaly, threshold)
    return {
        "thresholds": thresholds.tolist(),
        "above": {
            name: numbers.above(rows.scores(name), thresholds).tolist() for name in rows.members
        },
        "reference": numbers.above(reference, thresholds).tolist(),
        "sizes": {name: len(members) for name, members in rows.members.items()},
        "references": len(reference),
        "start": int(np.searchsorted(thresholds, threshold)),
    }


def _counted(control: Mapping[str, Any], at: int) -> dict[str, int]:
    above = {name: counts[at] for name, counts in control["above"].items()}
    sizes = control["sizes"]
    tp, anomalies = above["seen"] + above["unseen"], sizes["seen"] + sizes["unseen"]
    return {
        "tp": tp,
        "fn": anomalies - tp,
        "fp": above["normal"],
        "tn": sizes["normal"] - above["normal"],
    }


def histogram(rows: Rows, threshold: float) -> Chart:
    """Scores of each group on a base line of its own, all on one axis."""
    scores = rows.labelled.scores
    whole = np.append(scores, threshold)
    bounds = numbers.edges(whole)
    x = charts.across("score", bounds[0], bounds[-1], numbers.is_skewed(whole))
    y = charts.upward("", 0, 1)
    step = (y.at[0] - y.at[1]) / len(rows.groups)
    marks, texts = [], []
    for place, name in enumerate(rows.groups):
        base = y.at[1] + step * (place + 1)
        heights = numbers.shares(rows.scores(name), bounds)
        path = charts.bars(x, bounds, heights, round(base, 1), round(step - 20, 1))
        marks.append(Mark("area", name, path))
        texts.append((charts.LEFT - 42, round(base - step + 14, 1), _sized(rows, name)))
    at = x(threshold)[0]
    spread = "; ".join(
        f"{SERIES[name]}: half of them from {np.quantile(rows.scores(name), 0.25):.4g} to "
        f"{np.quantile(rows.scores(name), 0.75):.4g}"
        for name in rows.groups
    )
    return Chart(
        "histogram",
        "Scores, and the threshold",
        f"Histograms of scores. {spread}. The threshold is {threshold:.6g}.",
        x,
        y,
        marks,
        rules=[Rule("threshold", at, y.at[1], at, y.at[0])],
        texts=texts,
        note="Each group has its own height: what is compared is where it lies. "
        "The upright line is the threshold; it moves with the control.",
        role="histogram",
        in_rows=True,
    )


def _sized(rows: Rows, name: str) -> str:
    return f"{len(rows.members[name]):,} {SERIES[name]}"


# --------------------------------------------------------------------------- curves


def _curve_charts(rows: Rows, found: Mapping[str, Any], bootstrap: int) -> tuple[Chart, Chart]:
    labelled = rows.labelled
    whole = numbers.curves(labelled.scores, labelled.is_anomaly, bootstrap, labelled.hashes)
    parts = {}
    if {"seen", "unseen"} <= set(rows.groups):
        for name in ("seen", "unseen"):
            chosen = np.concatenate([rows.members["normal"], rows.members[name]])
            parts[name] = numbers.curves(labelled.scores[chosen], labelled.is_anomaly[chosen], 0)
    anomalies = np.count_nonzero(labelled.is_anomaly) / len(labelled.scores)
    return (
        _curve_chart(
            "precision-recall",
            "Precision and recall",
            ("recall", "precision"),
            {"all": whole.precision_recall}
            | {name: each.precision_recall for name, each in parts.items()},
            {name: _with_interval(found, name, "auc_pr") for name in ("all", *parts)},
            [(0, anomalies), (1, anomalies)],
        ),
        _curve_chart(
            "roc",
            "ROC curve",
            ("false-positive rate", "recall"),
            {"all": whole.roc} | {name: each.roc for name, each in parts.items()},
            {name: _with_interval(found, name, "roc_auc") for name in ("all", *parts)},
            [(0, 0), (1, 1)],
        ),
    )


def _with_interval(found: Mapping[str, Any], part: str, name: str) -> str:
    figures = found if part == "all" else found[part]
    text = f"{part}: {name} {figures[name]:.4f}"
    if f"{name}_low" in figures:
        text += f" ({figures[f'{name}_low']:.4f} to {figures[f'{name}_high']:.4f})"
    return text


def _curve_chart(
    name: str,
    title: str,
    labels: tuple[str, str],
    curves: Mapping[str, numbers.Curve],
    legend: Mapping[str, str],
    chance: Sequence[tuple[float, float]],
) -> Chart:
    x, y = charts.across(labels[0], 0, 1), charts.upward(labels[1], 0, 1)
    marks = [Mark("line", "chance", charts.line(x, y, *zip(*chance, strict=True)))]
    whole = curves["all"]
    marks.append(Mark("band", "all", charts.band(x, y, whole.x, whole.low, whole.high)))
    for series, curve in curves.items():
        # ROC curves begin at the corner, before any row is flagged.
        start = ([0.0], [0.0]) if name == "roc" else ([], [])
        xs, ys = np.append(start[0], curve.x), np.append(start[1], curve.y)
        marks.append(Mark("line", series, charts.line(x, y, xs, ys)))
    at = ", ".join(
        f"{labels[1]} {whole.y[np.searchsorted(whole.x, rate - 1e-12)]:.3f} at {labels[0]} {rate:g}"
        for rate in ((0.01, 0.05, 0.1) if name == "roc" else (0.5, 0.9, 1))
    )
    return Chart(
        name,
        title,
        f"{'; '.join(legend.values())}. {at}.",
        x,
        y,
        marks,
        legend=[*legend.items(), ("chance", "chance")],
        note="The band is the pointwise 95 % bootstrap interval of the curve of all; the ring is "
        "the threshold.",
        role=name,
    )


# --------------------------------------------------------------------------- p-values


def _uniformity(rows: Rows, model: Model) -> dict[str, Any]:
    p = rows.p[rows.members["normal"]]
    references = len(model.calibration.reference)
    levels = numbers.RATES[:-1]
    levels = levels[levels * (references + 1) >= 1]
    found = numbers.uniformity(p, references, levels)
    x, y = charts.across("p-value up to", 0, 1), charts.upward("share of normals", 0, 1)
    marks = [
        Mark("band", "chance", charts.band(x, y, found.level, found.low, found.high)),
        Mark("line", "chance", charts.line(x, y, [0, 1], [0, 1])),
        Mark("line", "normal", charts.line(x, y, *_steps(found.level, found.found))),
    ]
    at = numbers.uniformity(p, references, np.array(numbers.ALPHAS))
    table = [
        {"level": level, "found": share, "low": low, "high": high, "inside": low <= share <= high}
        for level, share, low, high in zip(*at, strict=True)
        if level >= 1 / (references + 1)
    ]
    chart = Chart(
        "p-values",
        "P-values of normals",
        "Valid p-values follow the diagonal. "
        + " ".join(
            f"{row['found']:.3f} of normals have p up to {row['level']:g}." for row in table
        ),
        x,
        y,
        marks,
        legend=[("normal", counted(len(p), "normal")), ("chance", "what chance allows (95 %)")],
        note="Above the band, there are more false alarms than promised; below it, fewer.",
    )
    return {
        "chart": chart,
        "table": table,
        "exact": model.calibration.exact,
        "references": references,
    }


def _steps(xs: Scores, ys: Scores) -> tuple[Scores, Scores]:
    return np.concatenate([[0.0], xs, [1.0]]), np.concatenate([[0.0], ys, [1.0]])


# --------------------------------------------------------------------------- rows


def _types(rows: Rows, threshold: float) -> dict[str, Any]:
    """How many of each type of anomaly are flagged, most frequent first."""
    labelled = rows.labelled
    lines: list[dict[str, Any]] = []
    for name in ("seen", "unseen"):
        types, index = np.unique(labelled.types[rows.members[name]], return_inverse=True)
        flagged = rows.scores(name) > threshold
        for at, label in enumerate(types):
            count = int(np.count_nonzero(index == at))
            hits = int(np.count_nonzero(flagged[index == at]))
            lines.append({"type": short(str(label)), "was": name, "count": count, "hits": hits})
    lines.sort(key=lambda line: (-line["count"], line["type"]))
    return {"lines": lines[:TYPES], "more": len(lines[TYPES:])}


def _worst(
    rows: Rows, members: NDArray[np.intp], threshold: float, *, highest: bool
) -> dict[str, Any]:
    """The rows on the wrong side of the threshold that are farthest from it."""
    labelled = rows.labelled
    flagged = labelled.scores[members] > threshold
    wrong = members[flagged == highest]
    order = np.argsort(labelled.scores[wrong] * (-1 if highest else 1), kind="stable")
    listed = [
        {
            "at": at,
            "row": rows.name_of(at),
            "type": short(str(labelled.types[at])) or "(none)",
            "score": float(labelled.scores[at]),
            "p": float(rows.p[at]),
        }
        for at in wrong[order[:WORST]].tolist()
    ]
    return {"lines": listed, "count": len(wrong), "of": len(members)}


def _why_not(model: Model, examples: Examples | None) -> str:
    """Why errors are not explained; empty where they are."""
    if examples is None:
        return "Rows from a pipe cannot be read once more to be explained."
    if model.typical is None:
        return (
            "The model holds no typical normal row to explain by, as files of older versions: "
            "train it anew."
        )
    return ""


# --------------------------------------------------------------------------- decision space


def decision_space(model: Model, rows: Rows) -> dict[str, Any] | None:
    """Test rows on the principal plane of the stored embeddings; None where there is no plane."""
    output = rows.labelled.output
    kept = [each.output for each in model.kept.values()]
    if model.gaussian is None or output is None or not kept:
        return None
    whitened = model.gaussian.whitened
    plane = numbers.principal_plane(whitened(np.concatenate(kept)))
    if plane is None:
        return None
    chosen = {name: numbers.thinned(rows.members[name], POINTS[name]) for name in rows.groups}
    places = {name: plane.project(whitened(output[at])) for name, at in chosen.items()}
    everywhere = np.concatenate(list(places.values()))
    low, high = np.quantile(everywhere, (0.005, 0.995), axis=0)
    room = np.maximum((high - low) * 0.08, 1e-9)
    (x0, y0), (x1, y1) = low - room, high + room
    labels = [
        f"{which} principal component ({share:.0%} of variance)"
        for which, share in zip(("first", "second"), plane.shares, strict=True)
    ]
    x, y = charts.across(labels[0], x0, x1), charts.upward(labels[1], y0, y1, 360)
    dots = [
        (
            float(rows.labelled.scores[at]),
            at,
            Mark("dot", name, charts.dot(name, px, py), title),
        )
        for name, members in chosen.items()
        for at, px, py, title in zip(
            members.tolist(),
            x(places[name][:, 0]),
            y(places[name][:, 1]),
            (_title(rows, int(at)) for at in members),
            strict=True,
        )
    ]
    dots.sort(key=lambda pair: pair[0])
    beyond = int(np.count_nonzero(((everywhere < [x0, y0]) | (everywhere > [x1, y1])).any(axis=1)))
    drawn, total = len(dots), len(rows.labelled.scores)
    chart = Chart(
        "space",
        "Decision space",
        f"{counted(drawn, 'test row')} on the first two principal components of the embeddings of "
        "selection and calibration rows. The table of types and the histogram tell in numbers "
        "what is to be seen here.",
        x,
        y,
        [mark for *_, mark in dots],
        legend=[(name, SERIES[name]) for name in rows.groups],
        role="space",
        height=360,
    )
    order = np.array([at for _, at, _ in dots])
    return {"chart": chart, "drawn": drawn, "total": total, "beyond": beyond, "rows": order}


def _title(rows: Rows, at: int) -> str:
    labelled = rows.labelled
    label = short(str(labelled.types[at]), 40) or "(none)"
    score, p = labelled.scores[at], rows.p[at]
    return f"row {rows.name_of(at)}: {label}, score {score:.4g}, p {p:.3g}"


# --------------------------------------------------------------------------- training


def training_charts(model: Model) -> list[Chart]:
    """The terms of the losses by epoch, as in figure 5 of the paper, and what selection said."""
    history = {name: np.asarray(v, float) for name, v in model.history.items()}
    epochs = history.pop("epoch", None)
    history.pop("seconds", None)
    if epochs is None or len(epochs) == 0 or not np.isfinite(epochs).all():
        return []
    history = {name: v for name, v in history.items() if np.isfinite(v).any()}
    groups: list[tuple[str, dict[str, Scores]]] = []
    for loss, parts in LOSSES.items():
        if {*parts} - {TAUGHT} <= set(history):
            terms = {name: history.pop(name) for name in parts if name in history}
            whole = np.sum(list(terms.values()), axis=0)
            groups.append((f"{loss} and its terms", {loss: whole} | terms))
    selection = {name: history.pop(name) for name in ("auc_pr", "ranking") if name in history}
    names = list(history)
    for at in range(0, len(names), MOST_LINES):
        groups.append(("Other terms", {n: history[n] for n in names[at : at + MOST_LINES]}))
    groups += [(f"Selection: {name}", {name: values}) for name, values in selection.items()]
    best = model.config["detector"]["metadata"].get("best_epoch")
    return [
        _training_chart(f"training-{at}", title, epochs, series, best)
        for at, (title, series) in enumerate(groups)
    ]


def _training_chart(
    name: str, title: str, epochs: Scores, series: Mapping[str, Scores], best: Any
) -> Chart:
    values = np.concatenate(list(series.values()))
    values = values[np.isfinite(values)]
    low, high = float(values.min()), float(values.max())
    x = charts.across("epoch", float(epochs.min()), float(epochs.max()))
    y = charts.upward("", min(low, 0) if low >= 0 and high > 3 * low else low, high)
    marks = [
        Mark("line", f"s{at}", charts.line(x, y, epochs, each))
        for at, each in enumerate(series.values())
    ]
    rules = []
    if isinstance(best, int | float) and x.low <= best <= x.high:
        rules = [Rule("epoch", x(best)[0], y.at[1], x(best)[0], y.at[0])]
    legend = [
        (f"s{at}", f"{short(term, 40)}: {TERMS[term]}" if term in TERMS else short(term, 40))
        for at, term in enumerate(series)
    ]
    ends = "; ".join(
        f"{short(term, 40)} from {v[0]:.3g} to {v[-1]:.3g}" for term, v in series.items()
    )
    note = f"The upright line is epoch {best:g}, the one taken." if rules else ""
    return Chart(name, title, f"{ends}.", x, y, marks, legend=legend, rules=rules, note=note)


# --------------------------------------------------------------------------- provenance


def made_by(command: str) -> list[tuple[str, str]]:
    """When, by which version, and how a report was made."""
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    return [("made", f"{now} by anoean {version('anoean')}"), ("command", short(command, 2000))]


def _provenance(model: Model, about: Mapping[str, Any]) -> list[tuple[str, str]]:
    config = model.config
    detector, encoder, rule = config["detector"], config["encoder"], model.calibration.rule
    lines = [
        ("model", f"{about['model']}"),
        ("digest of the model", model.digest),
        ("test rows from", f"{about['data']} ({kind_of(about)})"),
        *(("file", f"{name}: {digest}") for name, digest in about["files"].items()),
        ("trained on", f"{config['dataset']['name']} ({kind_of(config['dataset'])})"),
        ("normal", ", ".join(config["normal"])),
        ("detector", f"{detector['name']}, preset {detector['preset']}"),
    ]
    if encoder is not None:
        lines.append(("encoder", f"{encoder['name']}, {encoder['latent_dim']} dimensions"))
    for role in ROLES:
        size = config["split"][role]
        lines.append(
            (
                role,
                f"{counted(size['normals'], 'normal')}, {counted(size['anomalies'], 'anomaly')}",
            )
        )
    shown = ", ".join(f"{name} {value}" for name, value in sorted(rule.items()))
    lines += [
        ("threshold", f"{model.calibration.threshold!r} by {shown}"),
        ("seed", f"{config.get('seed', 'not recorded')}; of the bootstrap: 0"),
        ("libraries of the training", _versions(config.get("versions", {}))),
        *(("note", note) for note in about["notes"]),
    ]
    return [(name, short(text, 2000)) for name, text in lines]


def kind_of(about: Mapping[str, Any]) -> str:
    """Which data set it is, in words."""
    source = about.get("source") or "source not recorded"
    return f"{source}, {'a sample' if about.get('sample') else 'all of it'}"


def _versions(versions: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in versions.items()) or "not recorded"
