"""Reports: the numbers behind the pictures, and pages that hold no more than they should."""

import io
import re
from base64 import b64decode
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from scipy import stats
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from anoean_cli.calibration.conformal import Calibration
from anoean_cli.calibration.gaussian import Gaussian
from anoean_cli.data.inputs import Piece
from anoean_cli.evaluation.comparison import summarise
from anoean_cli.evaluation.examples import of_pieces
from anoean_cli.evaluation.report import charts, details, evaluation, numbers, table
from anoean_cli.evaluation.report.page import render
from anoean_cli.evaluation.run import Labelled, figures

HOSTILE = '</script><script>alert("x")</script><img src=x onerror=alert(1)>\u202e\x00{{ 7*7 }}&amp;'
SIZE = {"normals": 10, "anomalies": 5}
VOID = {"meta", "link", "input", "wbr", "img", "br"}


class Page(HTMLParser):
    """Elements, ids and texts; tags must close in the order in which they open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += data

    def values(self, name: str) -> list[str]:
        return [value for _, found in self.tags if (value := found.get(name)) is not None]


def drawn(normals: int = 300, anomalies: int = 60, label: str = "leak") -> Labelled:
    rng = np.random.default_rng(0)
    output = rng.normal(size=(normals + anomalies, 4)).astype(np.float32)
    output[normals:] += 2
    types = np.repeat(["ok", label, "burst"], [normals, anomalies // 2, anomalies - anomalies // 2])
    scores = np.sqrt((output.astype(float) ** 2).sum(axis=1))
    rows = np.arange(len(types)) + 1
    return Labelled(scores, types != "ok", types, rows=rows, output=output)


def model(label: str = "leak", **other: object) -> SimpleNamespace:
    rng = np.random.default_rng(1)
    kept = rng.normal(size=(99, 4)).astype(np.float32)
    reference = np.sort(np.sqrt((kept.astype(float) ** 2).sum(axis=1)))
    config = {
        "seen_types": [label],
        "normal": ["ok", label],
        "dataset": {"name": label, "source": "file", "sample": False},
        "detector": {"name": label, "preset": "default", "metadata": {"best_epoch": 2}},
        "encoder": {"name": "mlp", "latent_dim": 4},
        "split": dict.fromkeys(("training", "selection", "calibration", "test"), SIZE),
        "notes": [],
        "seed": 7,
    }
    losses = {name: np.array([1.0, 0.5, 0.25]) for name in (*evaluation.TERMS, "e_radial", label)}
    parts = {
        "config": config,
        "calibration": Calibration(reference, float(reference[-2]), {"rule": "fpr"}, True),
        "gaussian": Gaussian.from_arrays(np.zeros(4), np.eye(4)),
        "kept": {"selection": SimpleNamespace(output=kept)},
        "history": {"epoch": np.arange(1.0, 4), "auc_pr": np.array([0.5, np.nan, 1]), **losses},
        "digest": "0123abcd",
    }
    return SimpleNamespace(**{**parts, **other})


def page_of(made: SimpleNamespace, labelled: Labelled, label: str = "rows.csv") -> str:
    about = {"model": label, "data": label, "source": "file", "sample": True}
    about |= {"files": {label: "123"}, "notes": [label]}
    found = figures(made, labelled, bootstrap=50)
    content = evaluation.content(made, labelled, found, about, f"anoean {label}", bootstrap=50)
    reason = details.Reason(label, label, -0.5)
    lines = content["false_alarms"]["lines"] + content["misses"]["lines"]
    content["why"] = {line["at"]: details.Why([reason], details.data_uri(b"")) for line in lines}
    return render("evaluate.html", content)


def comparison_page(label: str = "leak") -> str:
    curve = {name: numbers.RATES.round(5).tolist() for name in ("precision", "recall")}
    results = [
        {
            "detector": name,
            "seed": seed,
            "metrics": {"auc_pr": value + seed / 100, "seen": {"auc_pr": value}},
            "fit_seconds": 1.0,
            "score_seconds": 0.1,
            "model_bytes": 1000,
            "split": dict.fromkeys(("training", "test"), SIZE),
            "parameters": {label: label},
            "notes": [label],
            "curves": curve if name == label else None,
        }
        for seed in range(2)
        for name, value in ((label, 0.8), ("knn", 0.7))
    ] + [{"detector": "poor", "seed": 0, "error": label}]
    about = {"dataset": {"name": label, "files": {label: "1"}}, "split": {"normal": [label]}}
    shown = ("auc_pr", "seen.auc_pr", "roc_auc")
    return render("compare.html", table.content(about, results, summarise(results), shown, label))


PAGES = {
    "plain": lambda: page_of(model(), drawn()),
    "hostile": lambda: page_of(model(HOSTILE), drawn(label=HOSTILE), HOSTILE),
    "scores only": lambda: page_of(model(gaussian=None, history={}), drawn()),
    "few": lambda: page_of(model(), drawn(2, 1)),
    "comparison": comparison_page,
    "hostile comparison": lambda: comparison_page(HOSTILE),
}


# --------------------------------------------------------------------------- pages


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_well_formed_and_needs_nothing_else(name: str) -> None:
    text = PAGES[name]()
    page = Page(text)
    assert "://" not in text
    assert "url(" not in text
    assert "@import" not in text
    assert {tag for tag, _ in page.tags}.isdisjoint({"iframe", "object", "base"})
    assert [value for value in page.values("href") if value[0] != "#"] == ["data:,"]
    assert all(value.startswith("data:image/png;base64,") for value in page.values("src"))
    assert all("alt" in found for tag, found in page.tags if tag == "img")
    ids = page.values("id")
    assert len(ids) == len(set(ids))
    named = [
        one for key in ("aria-labelledby", "aria-describedby", "for") for one in page.values(key)
    ]
    targets = [value[1:] for value in page.values("href") if value[0] == "#"]
    assert {each for one in named for each in one.split()} | set(targets) <= set(ids)
    for tag, found in page.tags:
        if tag == "svg":
            assert found.get("aria-hidden") == "true" or found["role"] == "img"
        assert not [key for key in found if key.startswith("on") or key == "style"]


@pytest.mark.parametrize("name", ["hostile", "hostile comparison"])
def test_labels_and_names_are_text_and_nothing_more(name: str) -> None:
    text = PAGES[name]()
    page = Page(text)
    assert len([tag for tag, _ in page.tags if tag == "script"]) == (2 if name == "hostile" else 1)
    assert "<script>alert" not in text
    assert '</script><script>alert("x")</script><img' in page.text, "it is shown as it is"
    assert "{{ 7*7 }}&amp;" in page.text, "no template within a template, no entity undone"
    assert not re.search("[\x00\u202e]", text)


def test_only_the_script_of_the_page_may_run() -> None:
    policy = next(
        found["content"] for tag, found in Page(PAGES["plain"]()).tags if "http-equiv" in found
    )
    assert policy.startswith("default-src 'none'")
    assert "script-src 'sha256-" in policy
    assert "unsafe" not in policy


def test_a_page_stays_small_however_many_rows() -> None:
    rows = drawn(9_000, 3_000)
    text = page_of(model(), rows)
    assert len(text) < 700_000
    assert "12,000 distinct scores" in text
    assert "of 12,000 test rows" in text


@pytest.mark.parametrize("value", [0.0, 5.0, 1e17, 1e-300])
def test_scores_that_are_all_alike_have_a_page(value: float) -> None:
    rows = drawn(20, 10)
    same = Labelled(np.full(30, value), rows.is_anomaly, rows.types, output=rows.output * 0)
    reference = np.full(99, value)
    made = model(calibration=Calibration(reference, value, {"rule": "fpr"}, False))
    page = Page(page_of(made, same))
    assert not re.search(r"\b(nan|inf)\b", page.text)
    assert not [path for path in page.values("d") if "nan" in path or "inf" in path]


def test_long_labels_and_many_types_are_cut() -> None:
    rows = drawn(50, 50)
    many = np.array(["ok"] * 50 + [f"{at}" * 4000 for at in range(50)])
    text = page_of(model(), Labelled(rows.scores, rows.is_anomaly, many, output=rows.output))
    assert "and 20 rarer types" in text
    assert len(text) < 300_000


# --------------------------------------------------------------------------- what it says


def test_counts_of_the_control_are_exact_at_every_stop() -> None:
    for labelled in (drawn(), drawn(9000, 3000)):
        made = model()
        threshold = made.calibration.threshold
        rows = evaluation.Rows.of(made, labelled)
        control = evaluation.control_of(rows, made.calibration.reference, threshold)
        stops = np.array(control["thresholds"])
        assert len(stops) <= 1010
        assert stops[control["start"]] == threshold
        assert control["above"]["normal"][0] == np.count_nonzero(~labelled.is_anomaly)
        for name, members in rows.members.items():
            wanted = (labelled.scores[members][:, None] > stops).sum(axis=0)
            assert control["above"][name] == wanted.tolist()
        wanted = (made.calibration.reference[:, None] > stops).sum(axis=0)
        assert control["reference"] == wanted.tolist()


def test_bands_draw_copies_of_a_row_together_as_intervals_do() -> None:
    labelled = drawn(300, 100)
    rows = labelled.scores, labelled.is_anomaly, np.arange(400, dtype=np.uint64)

    def bands(times: int) -> numbers.Curves:
        scores, is_anomaly, hashes = (np.tile(each, times) for each in rows)
        return numbers.curves(scores, is_anomaly, 200, hashes)

    one, copied = bands(1).roc, bands(9).roc
    np.testing.assert_allclose(copied.low, one.low)
    np.testing.assert_allclose(copied.high, one.high)


def test_curves_are_those_of_scikit_learn_within_their_bands() -> None:
    labelled = drawn(500, 100)
    found = numbers.curves(labelled.scores, labelled.is_anomaly, bootstrap=200)
    fpr, tpr, _ = roc_curve(labelled.is_anomaly, labelled.scores, drop_intermediate=False)
    last = np.searchsorted(fpr, numbers.RATES, side="right") - 1
    assert np.allclose(found.roc.y, tpr[last])
    precision, recall, _ = precision_recall_curve(labelled.is_anomaly, labelled.scores)
    precision, recall = precision[:-1][::-1], recall[:-1][::-1]
    assert np.allclose(found.precision_recall.y, precision[np.searchsorted(recall, numbers.RATES)])
    area = np.diff(found.precision_recall.x) @ found.precision_recall.y[1:]
    assert area == pytest.approx(
        average_precision_score(labelled.is_anomaly, labelled.scores), abs=0.01
    )
    for curve in found.precision_recall, found.roc:
        assert (curve.low <= curve.high).all()
        assert ((curve.low <= curve.y) & (curve.y <= curve.high)).mean() > 0.95


def test_valid_p_values_are_within_the_limits_and_others_are_not() -> None:
    rng = np.random.default_rng(0)
    levels = np.array([0.05, 0.1, 0.5])
    inside = []
    for _ in range(200):
        reference, normals = np.sort(rng.normal(size=99)), rng.normal(size=200)
        p = (1 + (reference >= normals[:, None]).sum(axis=1)) / 100
        found = numbers.uniformity(p, 99, levels)
        inside.append((found.low <= found.found) & (found.found <= found.high))
    assert np.mean(inside) > 0.93
    shifted = numbers.uniformity(p**3, 99, levels)
    assert (shifted.found > shifted.high).all()
    assert found.low[0] * 200 == stats.betabinom.ppf(0.025, 200, 5, 95)


def test_the_worst_errors_come_first_with_their_rows() -> None:
    labelled, made = drawn(), model()
    threshold = made.calibration.threshold
    rows = evaluation.Rows.of(made, labelled)
    alarms = evaluation._worst(rows, rows.members["normal"], threshold, highest=True)
    normals = labelled.scores[:300]
    assert alarms["count"] == np.count_nonzero(normals > threshold) > 0
    assert alarms["lines"][0]["row"] == str(np.argmax(normals) + 1)
    misses = evaluation._worst(rows, np.flatnonzero(labelled.is_anomaly), threshold, highest=False)
    assert misses["lines"][0]["score"] == labelled.scores[300:].min() < threshold


def test_images_of_points_are_on_one_sheet_in_their_order() -> None:
    images = np.arange(60, dtype=np.uint8)[:, None, None, None] * np.ones((1, 1, 28, 20), np.uint8)

    def examples(at):  # as from a file: some rows at a time
        for part in np.array_split(at, 3):
            yield part, images[part]

    order, bare = np.array([59, *range(50)]), model(typical=None)
    why, made = details.of_rows(bare, examples, np.array([3, 55]), order)
    assert why == {}
    assert made is not None
    picture = Image.open(io.BytesIO(b64decode(made["uri"].partition(",")[2])))
    assert (made["width"], made["height"], made["across"]) == (20, 28, 40)
    assert picture.size == (40 * 20, 2 * 28)
    tiles = np.asarray(picture)[::28, ::20].ravel()
    assert tiles[: len(order)].tolist() == order.tolist()
    wide = details.sheet({0: details._tile(np.zeros((3, 64, 128), np.uint8))}, np.arange(3))
    assert (wide["width"], wide["height"]) == (32, 16)


def test_rows_are_fetched_once_more_from_an_input() -> None:
    def read():
        for start, count in ((0, 4), (4, 2), (6, 3)):
            table = pa.table({"x": np.arange(start, start + count)})
            yield Piece("t.csv", table, np.arange(start, start + count) + 1)

    labelled = replace(drawn(3, 3), positions=np.array([0, 2, 3, 5, 6, 8]))
    found = [
        (at.tolist(), t["x"].to_pylist())
        for at, t in of_pieces(read, labelled)(np.array([1, 3, 4]))
    ]
    assert found == [([1], [2]), ([3], [5]), ([4], [6])]
    assert list(of_pieces(read, labelled)(np.array([], int))) == []


def test_rows_of_several_files_are_told_apart() -> None:
    rows = drawn(2, 1)
    made = Labelled(rows.scores, rows.is_anomaly, rows.types, files=["a", "a", "b"], rows=rows.rows)
    assert evaluation.Rows.of(model(), made).name_of(2) == "b, 3"


def test_the_plane_holds_the_distance_from_the_normals() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 2)) @ np.array([[3.0, 0.0], [1.0, 0.2]])
    gaussian = Gaussian.from_arrays(values.mean(axis=0), np.cov(values.T))
    white = gaussian.whitened(values.astype(np.float32))
    assert np.allclose(np.linalg.norm(white, axis=1), gaussian.mahalanobis(values), rtol=1e-3)
    plane = numbers.principal_plane(white)
    assert plane is not None
    assert plane.shares.sum() == pytest.approx(1)
    assert numbers.principal_plane(np.ones((5, 3), np.float32)) is None
    assert numbers.principal_plane(np.ones((5, 1), np.float32)) is None


@pytest.mark.parametrize(
    ("low", "high", "is_log"),
    [
        (0, 1, False),
        (0.4, 180, True),
        (5, 5, False),
        (1e-9, 1e9, True),
        (-3e-7, 2e-7, False),
        (1e17, 1e17, False),
        (1.0, 1 + 3e-16, False),
        (1, 21, True),
        (0, 9.9, False),
    ],
)
def test_axes_have_a_few_ticks_wherever_they_lie(low: float, high: float, is_log: bool) -> None:
    axis = charts.across("x", low, high, is_log)
    assert 2 <= len(axis.ticks) <= (11 if is_log else 9)
    assert all(charts.LEFT <= at <= charts.WIDTH - charts.RIGHT for at, _ in axis.ticks)
    assert axis([low, high])[0] <= axis([low, high])[1]


def test_large_and_small_numbers_fit_beside_an_axis() -> None:
    texts = [text for low, high in ((-5e9, 1.5e10), (0, 3e-7)) for _, text in
             charts.upward("y", low, high).ticks]  # fmt: skip
    assert {"1.5e10", "-5e9", "1e-7"} <= set(texts)
    assert max(map(len, texts)) <= 6


def test_contrast_is_enough_in_both_schemes() -> None:
    from anoean_cli.evaluation.report.page import _template

    light, dark = re.findall(r":root \{(.*?)\}", _template("style.css"), re.S)
    for scheme in (light, dark):
        colours = dict(re.findall(r"--([\w]+): (#\w{6})", scheme))
        for name in ("text", "soft", "link", "normal", "seen", "unseen", "s3", "s4"):
            for back in ("back", "card"):
                assert contrast(colours[name], colours[back]) >= 4.5, (name, back)


def contrast(one: str, other: str) -> float:
    """The ratio that WCAG 2 defines."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
