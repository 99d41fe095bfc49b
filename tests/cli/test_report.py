"""``evaluate --report`` and ``compare --report``: files as a user gets them, in a real browser."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .conftest import Run

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def embedded(page: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found
    return json.loads(found[1])


# --------------------------------------------------------------------------- files


def test_a_report_of_the_rows_set_aside(anoean: Run, toy: Path):
    done = anoean("evaluate --model toy.h5 --report out.html --json")
    assert done.returncode == 0, done.stderr
    assert "report: out.html" in done.stderr
    page = Path("out.html").read_text(encoding="utf-8")
    control = embedded(page)
    at, figures = control["start"], done.json
    hits = control["above"]["seen"][at] + control["above"]["unseen"][at]
    assert hits / figures["n_anomalies"] == figures["recall"]
    assert control["above"]["normal"][at] / figures["n_normals"] == figures["fpr"]
    assert figures["model_digest"] in page
    assert "anoean evaluate --model toy.h5 --report out.html --json" in page
    plain = anoean("evaluate --model toy.h5 --json")
    assert plain.json == figures


def test_a_report_never_replaces_what_it_is_made_from(anoean: Run, model: Path, table: Path):
    """Also where it is the model that says which file that is."""
    before = table.read_bytes()
    done = anoean("evaluate --source table.csv --report table.csv --force")
    assert done.returncode == 2
    about = json.loads(anoean("info --json").stdout)
    trained = about["dataset"]["reload"]["source"]
    done = anoean(f"evaluate --report {trained} --force", cwd=table.parent)
    assert done.returncode == 2
    assert "that file is the data too" in done.error
    assert table.read_bytes() == before
    done = anoean("compare --dataset toy --detectors pca --out found --report found")
    assert done.returncode == 2
    assert "written by --out" in done.error


def test_a_report_of_given_rows_tells_their_numbers(anoean: Run, model: Path, fresh: Path):
    assert anoean("calibrate --threshold 1e6").returncode == 0  # so that there are misses
    done = anoean("evaluate --data fresh.csv --label label --report out.html")
    assert done.returncode == 0, done.stderr
    page = Path("out.html").read_text(encoding="utf-8")
    scored = anoean("score fresh.csv --keep label").rows
    missed = [row for row in scored if row["label"] != "ok" and row["anomaly"] == "false"]
    worst = min(missed, key=lambda row: float(row["score"]))
    misses = page.partition('<h3 id="misses">')[2]
    first = re.search(r'<tbody>\s*<tr><th scope="row"><bdi>(\d+)</bdi>.*?<bdi>(\w+)</bdi>', misses)
    assert first
    assert first.groups() == (worst["row"], worst["label"])
    explained = anoean("score fresh.csv --explain 3").rows[int(worst["row"]) - 1]
    reasons = re.search(r"<li><b>([+-][\d.e-]+)</b> <bdi>(\w+)</bdi> = <bdi>(\S+)</bdi>", misses)
    assert reasons
    contributions = {explained[f"explain_{k}"]: explained[f"contribution_{k}"] for k in (1, 2, 3)}
    assert float(reasons[1]) == pytest.approx(float(contributions[reasons[2]]), rel=0.01)
    piped = anoean("evaluate --data - --label label --report piped.html", input=fresh.read_text())
    assert piped.returncode == 0, piped.stderr
    assert "Rows from a pipe cannot be read once more" in Path("piped.html").read_text()


def test_a_comparison_as_a_page(anoean: Run):
    command = "compare --dataset toy --seeds 2 --detectors knn,pca --out found"
    done = anoean(command, "--report out.html --json")
    assert done.returncode == 0, done.stderr
    page = Path("out.html").read_text(encoding="utf-8")
    for row in done.json["summary"]:
        assert row["detector"] in page
        assert f"{row['metrics']['auc_pr']['mean']:.4f}" in page
    assert "Precision and recall" in page
    assert "curves" not in done.json["results"][0]
    again = anoean(command, "--report again.html")
    assert "4 of 4 cells were finished before" in again.stderr
    assert "Precision and recall" in Path("again.html").read_text()


@pytest.mark.parametrize(
    ("options", "status", "told"),
    [
        ("--report old.html", 7, "--force"),
        ("--report none/out.html", 7, "create the folder"),
        ("--report toy.h5 --force", 2, "write elsewhere"),
        ("--report -", 2, "needs a file"),
    ],
)
def test_a_report_that_cannot_be_written_is_told_before_any_work(
    anoean: Run, toy: Path, options: str, status: int, told: str
):
    Path("old.html").write_text("precious")
    for command in ("evaluate --model toy.h5", "compare --dataset toy"):
        if "toy.h5" in options and "compare" in command:
            continue
        done = anoean(command, options)
        assert done.returncode == status
        assert told in done.error
        assert done.stdout == ""
    assert Path("old.html").read_text() == "precious"
    assert not Path("anoean-compare").exists()


def test_force_replaces_a_report_and_nothing_else_is_left(anoean: Run, toy: Path):
    Path("old.html").write_text("old")
    done = anoean("evaluate --model toy.h5 --report old.html --force")
    assert done.returncode == 0, done.stderr
    assert Path("old.html").read_text().startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in Path().iterdir()) == ["old.html", "toy.h5"]


def test_without_jinja2_the_extra_is_named(anoean: Run, toy: Path, tmp_path: Path):
    (tmp_path / "empty" / "jinja2").mkdir(parents=True)
    (tmp_path / "empty" / "jinja2" / "__init__.py").write_text("raise ImportError\n")
    path = {"PYTHONPATH": str(tmp_path / "empty")}
    done = anoean("evaluate --model toy.h5 --report out.html", env=path)
    assert done.returncode == 2
    assert "pip install 'anoean[report]'" in done.error
    assert not Path("out.html").exists()
    assert anoean("evaluate --model toy.h5", env=path).returncode == 0


# --------------------------------------------------------------------------- in a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs chromium, which is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright")
    with playwright.sync_playwright() as started:
        launched = started.chromium.launch(executable_path=CHROMIUM)
        yield launched
        launched.close()


@pytest.fixture
def shown(browser: Any) -> Iterator[Any]:
    """Opens a page without a network; whatever a console or a failed request says fails."""
    contexts, said = [], []

    def show(path: Path, width: int = 1280, scheme: str = "light") -> Any:
        size = {"width": width, "height": 844}
        contexts.append(browser.new_context(color_scheme=scheme, viewport=size, offline=True))
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("requestfailed", lambda request: said.append(request.url))
        page.goto(path.resolve().as_uri())
        return page

    yield show
    for context in contexts:
        context.close()
    assert said == []


def test_the_threshold_moves_by_keyboard_and_recounts(anoean: Run, model: Path, fresh: Path, shown):
    assert anoean("evaluate --data fresh.csv --label label --report out.html").returncode == 0
    rows = anoean("score fresh.csv --keep label").rows
    scores = np.array([float(row["score"]) for row in rows])
    anomalous = np.array([row["label"] != "ok" for row in rows])
    thresholds = embedded(Path("out.html").read_text())["thresholds"]
    page = shown(Path("out.html"))

    def told(name: str) -> str:
        return page.locator(f"#{name}").inner_text()

    def check() -> tuple[int, int]:
        flagged = scores > thresholds[int(page.locator("#slider").input_value())]
        tp, fp = int((flagged & anomalous).sum()), int((flagged & ~anomalous).sum())
        fn, tn = int(anomalous.sum()) - tp, int((~anomalous).sum()) - fp
        assert [told(name) for name in ("tp", "fp", "fn", "tn")] == [
            str(n) for n in (tp, fp, fn, tn)
        ]
        assert told("recall") == f"{tp / (tp + fn):.4f}"
        assert told("fpr") == f"{fp / (fp + tn):.4f}"
        assert told("f1") == f"{2 * tp / (2 * tp + fp + fn):.4f}"
        return tp, fp

    page.locator("#slider").focus()
    start = check()
    ring = page.locator("#roc .ring").get_attribute("cx")
    line = page.locator("#histogram .rule").get_attribute("x1")
    for _ in range(20):
        page.keyboard.press("ArrowLeft")
    assert check() > start
    assert page.locator("#roc .ring").get_attribute("cx") != ring
    assert page.locator("#histogram .rule").get_attribute("x1") != line
    assert "anomalies found" in page.locator("#slider").get_attribute("aria-valuetext")
    page.keyboard.press("Home")
    assert check() == (anomalous.sum(), (~anomalous).sum())
    page.keyboard.press("End")
    assert check() == (0, 0)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")  # the model's threshold
    assert check() == start


def test_points_are_told_by_pointer_and_by_keyboard(anoean: Run, toy: Path, shown):
    assert anoean("evaluate --model toy.h5 --report out.html").returncode == 0
    page = shown(Path("out.html"))
    picture = page.locator("#space > svg")
    picture.focus()
    page.keyboard.press("End")
    last = page.locator("#point").inner_text()
    assert re.fullmatch(r"row \d+: \w+, score [\d.e+]+, p [\d.]+", last)
    page.keyboard.press("Home")
    assert page.locator("#point").inner_text() != last
    page.locator("#space > svg .dot").last.hover(force=True)
    assert page.locator("#point").inner_text().startswith("row ")


def test_images_of_points_and_of_the_worst_errors_are_shown(anoean: Run, images: Path, shown):
    assert anoean("evaluate -m images.h5 --report out.html").returncode == 0
    page = shown(Path("out.html"))
    worst = page.locator("#worst img")
    assert worst.count() > 0
    for at in range(worst.count()):
        assert worst.nth(at).evaluate("it => [it.naturalWidth, it.naturalHeight]") == [56, 28]
        assert re.match(r"Row \d+, \d, and beside it", worst.nth(at).get_attribute("alt"))
    page.locator("#space > svg").focus()
    seen = set()
    for key in ("Home", "End"):
        page.keyboard.press(key)
        told = page.locator("#point").inner_text()
        assert page.locator("#thumb").get_attribute("aria-label") == f"the image of {told}"
        seen.add(page.locator("#thumb").evaluate("it => it.toDataURL()"))
    assert len(seen) == 2
    narrow = shown(Path("out.html"), 390, "dark")
    assert narrow.evaluate("document.documentElement.scrollWidth") <= 390


def test_pages_fit_a_phone_and_a_desk_by_day_and_by_night(anoean: Run, toy: Path, shown):
    assert anoean("evaluate --model toy.h5 --report one.html").returncode == 0
    command = "compare --dataset toy --seeds 2 --detectors knn,pca --report two.html"
    assert anoean(command).returncode == 0
    for name in ("one.html", "two.html"):
        backgrounds = set()
        for scheme in ("light", "dark"):
            for width in (390, 1280):
                page = shown(Path(name), width, scheme)
                assert page.evaluate("document.documentElement.scrollWidth") <= width
                backgrounds.add(page.evaluate("getComputedStyle(document.body).backgroundColor"))
                if folder := os.environ.get("ANOEAN_SCREENSHOTS"):
                    picture = Path(folder) / f"{Path(name).stem}-{scheme}-{width}.png"
                    page.screenshot(path=picture, full_page=True)
        assert len(backgrounds) == 2
