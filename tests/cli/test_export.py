"""``anoean export``: the file scores raw columns as ``anoean score`` does, wherever it is run."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from anoean_cli.inference.export import BOUND
from anoean_cli.inference.model import load_model

from .conftest import Run, read_rows, table_rows, write_csv

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "export.md"
NODE_SCRIPT = ROOT / "tests" / "node" / "score.js"
NODE_MODULES = ROOT / ".venv" / "node" / "node_modules"
ALONE = """
import sys

class Nothing:
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in BARRED:
            raise ModuleNotFoundError(f"{name} is barred")

BARRED = ("anoean_cli", "anoean_plugins", "h5py", "pyarrow", "torch", "sklearn", "scipy", "onnx")
sys.meta_path.insert(0, Nothing)
"""
# The rows of the examples in docs/export.md.
EXAMPLE = [["r1", "0.1", "0.3", "red", "k"], ["r2", "6.5", "0.2", "green", "k"]]
EXAMPLE += [["r3", "", "-1.0", "", "k"]]

Columns = dict[str, list[Any]]


def columns_of(csv: Path) -> Columns:
    """The columns that the table model reads, as a program would give them to the graph."""
    rows = read_rows(csv.read_text())
    numbers = {
        name: [float(row[name]) if row[name] else float("nan") for row in rows]
        for name in ("size", "weight")
    }
    return {**numbers, "colour": [row["colour"] for row in rows]}


def session(file: str) -> Any:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    return ort.InferenceSession(file, options)


def run(file: str, columns: Columns) -> dict[str, Any]:
    given = {
        name: np.array(values, object if isinstance(values[0], str) else float)[:, None]
        for name, values in columns.items()
    }
    names = ["score", "p_value", "anomaly"]
    return dict(zip(names, session(file).run(names, given), strict=True))


def assert_same(found: dict[str, Any], lines: list[dict[str, str]]) -> None:
    expected = np.array([float(line["score"]) for line in lines])
    gap = np.abs(np.array(found["score"]) - expected) / np.maximum(1, np.abs(expected))
    assert gap.max() <= BOUND
    assert list(found["p_value"]) == [float(line["p_value"]) for line in lines]
    assert [bool(flag) for flag in found["anomaly"]] == [
        line["anomaly"] == "true" for line in lines
    ]


@pytest.mark.usefixtures("model")
def test_raw_columns_score_as_in_a_csv(anoean: Run, table: Path, fresh: Path) -> None:
    done = anoean("export model.onnx --json")
    assert done.returncode == 0, done.stderr
    assert done.json["bytes"] == Path("model.onnx").stat().st_size
    assert done.json["largest_difference"] <= done.json["bound"] == BOUND
    # The calibration rows are among the first file's: ties with the reference scores.
    for csv in (table, fresh):
        found = run("model.onnx", columns_of(csv))
        assert_same(found, anoean("score", csv).rows)
        assert 0 < sum(found["anomaly"]) < len(found["anomaly"])
    assert {str(found[name].dtype) for name in ("score", "p_value")} == {"float64"}


@pytest.mark.usefixtures("images")
def test_images_are_given_as_bytes(anoean: Run) -> None:
    done = anoean("export images.onnx -m images.h5")
    assert done.returncode == 0, done.stderr
    assert "192 made rows" in done.stdout
    pixels = np.random.default_rng(0).integers(0, 256, (20, 1, 28, 28), np.uint8)
    pixels[:10] //= 8
    score, p_value, anomaly = session("images.onnx").run(None, {"image": pixels})
    expected = load_model("images.h5").score(pixels)
    np.testing.assert_allclose(score, expected.scores, rtol=BOUND)
    np.testing.assert_array_equal(p_value, expected.p_values)
    np.testing.assert_array_equal(anomaly, expected.is_anomaly)


def test_the_file_says_what_it_is_and_is_the_same_each_time(anoean: Run, model: Path) -> None:
    anoean("export one.onnx")
    anoean("export two.onnx")
    assert Path("one.onnx").read_bytes() == Path("two.onnx").read_bytes()
    about = session("one.onnx").get_modelmeta().custom_metadata_map
    loaded = load_model(model)
    assert about["model_digest"] == loaded.digest
    assert json.loads(about["threshold"]) == loaded.calibration.threshold
    assert json.loads(about["threshold_rule"])["rule"] == "fpr"
    assert [(c["name"], c["kind"]) for c in json.loads(about["columns"])] == [
        ("size", "numeric"),
        ("weight", "numeric"),
        ("colour", "categorical"),
    ]
    assert "NA" in json.loads(about["missing"])


# --------------------------------------------------------------------------- elsewhere


def example(language: str) -> str:
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)
    return code


def printed(lines: str) -> dict[str, Any]:
    """What the examples print: score, p-value and verdict of each row."""
    rows = [line.split() for line in lines.splitlines()]
    return {
        "score": [float(row[0]) for row in rows],
        "p_value": [float(row[1]) for row in rows],
        "anomaly": [row[2].lower() == "true" for row in rows],
    }


@pytest.fixture
def example_lines(anoean: Run, model: Path) -> list[dict[str, str]]:
    assert anoean("export model.onnx").returncode == 0
    header = ("id", "size", "weight", "colour", "same")
    lines = anoean("score", write_csv(Path("rows.csv"), EXAMPLE, header)).rows
    assert len(lines) == 3
    return lines


def test_onnx_runtime_and_numpy_are_all_it_takes(example_lines: list[dict[str, str]]) -> None:
    code = ALONE + example("python")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert_same(printed(done.stdout), example_lines)


@pytest.fixture
def node() -> Any:
    """Runs a script in Node with onnxruntime-node, which ``make node`` has fetched."""
    program = shutil.which("node")
    if program is None:
        pytest.skip("there is no node")
    if not (NODE_MODULES / "onnxruntime-node").is_dir():
        pytest.skip("onnxruntime-node is not there: make node fetches it")
    environment = {**os.environ, "NODE_PATH": str(NODE_MODULES)}

    def run_node(*arguments: object) -> str:
        command = [program, *map(str, arguments)]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run_node


def test_the_example_runs_in_node(node: Any, example_lines: list[dict[str, str]]) -> None:
    Path("example.js").write_text(example("js"))
    assert_same(printed(node("example.js")), example_lines)


@pytest.mark.usefixtures("model")
def test_node_scores_rows_as_the_command_does(anoean: Run, node: Any, fresh: Path) -> None:
    anoean("export model.onnx")
    inputs = {}
    for name, values in columns_of(fresh).items():
        kind = "string" if isinstance(values[0], str) else "float64"
        data = [None if value != value else value for value in values]
        inputs[name] = {"type": kind, "dims": [len(values), 1], "data": data}
    Path("inputs.json").write_text(json.dumps(inputs))
    found = json.loads(node(NODE_SCRIPT, "model.onnx", "inputs.json"))
    assert_same(found, anoean("score", fresh).rows)


# --------------------------------------------------------------------------- refusals


def test_an_existing_file_is_refused_before_any_work(anoean: Run) -> None:
    Path("out.onnx").write_text("mine")
    found = anoean("export out.onnx -m absent.h5")
    assert found.returncode == 7
    assert "--force" in found.error
    assert Path("out.onnx").read_text() == "mine"


@pytest.mark.usefixtures("model")
def test_force_replaces_it(anoean: Run) -> None:
    Path("out.onnx").write_text("mine")
    assert anoean("export out.onnx --force").returncode == 0
    assert "score" in [output.name for output in session("out.onnx").get_outputs()]
    assert sorted(path.name for path in Path().glob("*out*")) == ["out.onnx"]


@pytest.mark.parametrize(
    ("out", "status", "told"),
    [
        ("anoean.h5 --force", 2, "the model"),
        ("-", 2, "needs a file"),
        ("no/folder/out.onnx", 7, "no/folder"),
    ],
)
def test_what_cannot_be_an_output(
    anoean: Run, model: Path, out: str, status: int, told: str
) -> None:
    before = model.read_bytes()
    found = anoean(f"export {out}")
    assert found.returncode == status
    assert told in found.error
    assert model.read_bytes() == before


def test_what_is_no_model_is_refused(anoean: Run) -> None:
    Path("x.h5").write_text("no model")
    found = anoean("export out.onnx -m x.h5")
    assert found.returncode == 4
    assert "x.h5" in found.error


def test_a_detector_that_needs_its_plugin_is_refused(anoean: Run, model: Path) -> None:
    trained = load_model(model)
    replace(
        trained,
        graph=None,
        gaussian=None,
        output="score",
        kept={},
        arrays={"weights": np.zeros(3, np.float32)},
        config={**trained.config, "detector": {**trained.config["detector"], "name": "anogan"}},
    ).save("searching.h5")
    found = anoean("export out.onnx -m searching.h5")
    assert found.returncode == 2
    assert "anogan scores by its plugin" in found.error
    assert not Path("out.onnx").exists()


def test_columns_may_be_called_like_outputs(anoean: Run) -> None:
    rows = [row[1:3] + row[5:] for row in table_rows(300, seed=3)]
    write_csv(Path("odd.csv"), rows, ("score", "/odd name", "label"))
    done = anoean("train --dataset odd.csv --label label --normal ok --detector gaussian -m odd.h5")
    assert done.returncode == 0, done.stderr
    done = anoean("export odd.onnx -m odd.h5")
    assert done.returncode == 0, done.stderr
    assert "'column_score'" in done.stderr
    columns = {
        name: [float(row[at]) if row[at] else float("nan") for row in rows]
        for at, name in enumerate(("column_score", "/odd name"))
    }
    lines = anoean("score odd.csv -m odd.h5").rows
    assert_same(run("odd.onnx", columns), lines)
