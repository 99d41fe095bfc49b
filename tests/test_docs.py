"""The documentation says what is: links, commands, options, examples, generated pages."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import typer.main

from anoean_cli.app import built
from anoean_cli.errors import ExitStatus

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
COMMANDS = typer.main.get_command(built()).commands
FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.M | re.S)
# What the examples of a page leave to be checked.
CLAIMS = {
    "README.md": """
assert (model.anomaly_score(X_test) == -detector.score_samples(X_test)).all()
assert ((detector.decision_function(X_test) < 0) == (detector.predict(X_test) == -1)).all()
assert (detector.predict(X_test) == y_test).mean() > 0.85
""",
    "docs/guide.md": """
assert scores[0] < scores[1] and p_values[0] > p_values[1]
assert (verdicts == y).mean() > 0.9
assert np.allclose(contributions.sum(axis=1), scores - explanation.baseline)
""",
    "docs/faq.md": "assert search.best_score_ > 0.9",
    "docs/formats.md": """
assert config["detector"]["name"] == "anoean" and threshold > 0 and created.startswith("20")
assert mean.shape == embedding.shape[1:] and covariance.shape == 2 * mean.shape
assert len(labels) == len(columns["x"]) == len(columns["y"]) == 1100
assert len(z) == len(scores) and origin[:2] == [("rows.csv", 1), ("rows.csv", 2)]
""",
}


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


# --------------------------------------------------------------------------- pages


def test_command_line_reference_is_current():
    check = [sys.executable, "docs/generate_cli.py", "--check"]
    found = subprocess.run(check, cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path):
    prose = FENCED.sub("", page.read_text())
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if target.startswith(("http://", "https://")):
            continue
        file, _, anchor = target.partition("#")
        linked = (page.parent / file).resolve() if file else page
        assert linked.is_file(), f"{name_of(page)} links to {target}"
        assert not anchor or anchor in anchors(linked), f"{name_of(page)} links to {target}"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", FENCED.sub("", page.read_text()), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-") for h in headings}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_commands_and_options_that_are_shown_exist(page: Path):
    text = page.read_text().replace("\\\n", " ")
    for name, rest in re.findall(r"\banoean ([a-z]+)([^\n`|>]*)", text):
        if name not in COMMANDS:
            assert "--" not in rest, f"{name_of(page)}: anoean {name}{rest}"
            continue
        known = {option for parameter in COMMANDS[name].params for option in parameter.opts}
        shown = set(re.findall(r"(?<!\S)--[a-z][a-z0-9-]*", rest))
        assert shown <= {*known, "--help"}, f"{name_of(page)}: anoean {name}{rest}"


def test_the_site_builds_without_a_warning_and_asks_no_other_host(tmp_path: Path):
    pytest.importorskip("mkdocs", reason="mkdocs is not installed: pip install '.[docs]'")
    pytest.importorskip("material")
    # Not --quiet: it hides warnings from --strict as well.
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = list(tmp_path.rglob("*.html"))
    assert {"index.html", "guide.html", "security.html", "changelog.html"} <= {
        p.name for p in pages
    }
    for page in pages:
        asked = re.findall(r"<(?:script|link|img|iframe)\b[^>]*https?://[^>]*>", page.read_text())
        assert not asked, f"{page.name}: {asked[0]}"


def test_readme_lists_every_exit_status():
    rows = re.findall(r"^\| ([\d, ]+) \|", (ROOT / "README.md").read_text(), re.M)
    listed = {int(status) for row in rows for status in row.split(",")}
    assert listed == {int(status) for status in ExitStatus}


def test_symbols_of_the_method_stand_in_the_code_that_is_named():
    text = (ROOT / "docs/method.md").read_text().partition("## Symbols")[2].partition("\n## ")[0]
    cells = [line.split("|")[3] for line in text.splitlines() if line.startswith("|")][2:]
    assert len(cells) >= 20
    for place in (place for cell in cells for place in cell.split(";")):
        quoted = re.findall(r"`([^`]+)`", place)
        code = "\n".join((ROOT / name).read_text() for name in quoted if name.endswith(".py"))
        names = [part for name in quoted if not name.endswith(".py") for part in name.split(".")]
        assert names, place
        for name in names:
            assert re.search(rf"\b(def|class) {name}\b|^\s*{name}\b.*[:=]", code, re.M), place


def test_figures_of_the_readme_stand_on_the_pages_that_it_names():
    row = re.compile(r"^\| \[[^\]]*\]\((docs/results/\S+?)\)(.*)$", re.M)
    rows = row.findall(README.read_text())
    assert len(rows) >= 5
    for page, cells in rows:
        figures = re.findall(r"\d+\.\d+", cells)
        shown = set(re.findall(r"\d+\.\d+", (ROOT / page).read_text()))
        assert figures, page
        assert set(figures) <= shown, f"{page}: {set(figures) - shown}"


# --------------------------------------------------------------------------- examples


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples read."""
    folder = tmp_path_factory.mktemp("examples")
    (folder / "rows.csv").write_text("x,y\n0.1,0.2\n4,4\n")
    run(folder, "-m", "anoean_cli", "prepare", "toy", "--out", "toy.h5")
    run(folder, "-m", "anoean_cli", "train", "--dataset", "toy", "--epochs", "5")
    run(folder, "-m", "anoean_cli", "score", "rows.csv", "--embeddings", "embeddings.h5")
    return folder


def run(folder: Path, *arguments: str) -> None:
    """Run Python there, on one thread: tests share the machine with each other."""
    environment = os.environ | {
        "OMP_NUM_THREADS": "1",
        "ANOEAN_THREADS": "1",
        "ANOEAN_CACHE": str(folder / "cache"),
    }
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", CLAIMS)
def test_python_examples_run_and_hold_what_they_say(page: str, workplace: Path):
    blocks = [code for kind, code in FENCED.findall((ROOT / page).read_text()) if kind == "python"]
    assert blocks
    run(workplace, "-c", "\n".join([*blocks, CLAIMS[page]]))


# --------------------------------------------------------------------------- the whole project


def test_constraints_pin_every_dependency_once():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.partition("==")[::2] for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+", name) for name, _ in pins)
    assert all(re.fullmatch(r"[\d.]+(\.post\d+)?", version) for _, version in pins), (
        "no local versions"
    )
    pinned = dict(pins)
    assert len(pinned) == len(pins)
    assert pinned["torch"] == "2.13.0"
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    wanted = [*project["dependencies"], *(wish for extra in extras for wish in extra)]
    assert {re.split(r"[^\w-]", wish)[0] for wish in wanted} - {project["name"]} <= set(pinned)


def test_no_file_names_a_registry_or_a_machine():
    unwanted = re.compile(
        r"pypi\.org|pythonhosted|index-url|find-links|trusted-host|\+cpu"
        r"|(?<![\w.])/(work|root|home|Users)/"
    )
    folders = ("anoean_cli", "plugins", "tests", "docs", "benchmarks", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    for path in files:
        if path == Path(__file__) or path.suffix in (".pyc", ".h5"):
            continue
        found = unwanted.search(path.read_text(errors="replace"))
        assert not found, f"{name_of(path)} holds {found}"
