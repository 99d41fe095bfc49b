"""Rows unlike those of calibration are told of, and ``calibrate`` makes them the usual ones."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from unittest.mock import ANY

import numpy as np
import pytest

from anoean_cli.inference.model import load_model

from .conftest import Run, table_rows, write_csv


def normals(count: int, seed: int) -> list[list[str]]:
    return [row for row in table_rows(count, seed) if row[-1] == "ok"]


def changed(count: int, seed: int) -> list[list[str]]:
    """Normals, all heavier and many of another colour."""
    rows = normals(count, seed)
    for at, row in enumerate(rows):
        row[2] = f"{float(row[2]) + 9:.3f}"
        row[3] = "blue" if at % 2 else row[3]
    return rows


def drift(anoean: Run, rows: list[list[str]]) -> tuple[Any, list[str]]:
    """What the summary says, and the warnings."""
    write_csv(Path("rows.csv"), rows)
    found = anoean("score rows.csv --out o.csv --summary s.json --force --quiet")
    assert found.returncode == 0, found.stderr
    return json.loads(Path("s.json").read_text())["drift"], found.stderr.splitlines()


def test_rows_that_have_changed_are_warned_of_until_calibrated_with(
    anoean: Run, model: Path
) -> None:
    write_csv(Path("old.csv"), normals(1600, seed=5))
    assert anoean("calibrate --data old.csv").returncode == 0
    before, told = drift(anoean, normals(800, seed=6))
    assert told == []
    assert not before["warned"]
    assert before["unwatched"] == []
    assert before["scores"]["distance"] < before["scores"]["distance_limit"]

    after, told = drift(anoean, changed(800, seed=7))
    assert after["warned"]
    assert after["scores"]["warned"]
    assert after["columns"]["weight"]["out_of_range"] == {
        "share": 1.0,
        "expected": pytest.approx(0, abs=0.05),
        "warned": True,
    }
    assert [line.split(":")[:2] for line in told[:2]] == [
        ["warning", " column 'weight'"],
        ["warning", " column 'colour'"],
    ]
    assert len(told) == 3
    assert "score" in told[2]
    assert "anoean calibrate --data" in told[2]

    write_csv(Path("changed.csv"), changed(1600, seed=8))
    assert anoean("calibrate --data changed.csv").returncode == 0
    repaired, told = drift(anoean, changed(800, seed=9))
    assert told == []
    assert not repaired["warned"]
    back, told = drift(anoean, normals(800, seed=6))
    assert back["warned"], "now the rows of before are not what the model was calibrated with"


def test_a_few_rows_and_some_anomalies_are_no_drift(anoean: Run, model: Path) -> None:
    assert drift(anoean, changed(3, seed=7)) == (
        {"warned": False, "unwatched": [], "scores": ANY, "columns": ANY},
        [],
    )
    about, told = drift(anoean, table_rows(800, seed=6))
    assert (about["warned"], told) == (False, [])


def test_approximate_references_are_compared_with_and_not_warned_of_which_is_told(
    anoean: Run,
) -> None:
    write_csv(Path("few.csv"), table_rows(70, seed=5))
    trained = anoean("train --dataset few.csv --label label --normal ok --detector knn -m few.h5")
    assert trained.returncode == 0, trained.stderr
    write_csv(Path("rows.csv"), [[*row[:1], "2.5", *row[2:]] for row in normals(800, seed=6)])
    found = anoean("score rows.csv -m few.h5 --out o.csv --summary s.json")
    about = json.loads(Path("s.json").read_text())["drift"]
    assert about["scores"]["exact"] is False
    assert about["scores"]["warned"] is False
    assert "calibration rows" not in found.stderr
    (told,) = about["unwatched"]
    assert told.startswith("scores are not watched for drift")
    assert told in found.stderr.splitlines()


def test_the_test_file_of_nsl_kdd_is_told_of_and_fresh_normals_of_its_training_file_are_not(
    anoean: Run,
) -> None:
    data = os.environ.get("ANOEAN_DATA")
    if data is None or not (Path(data) / "nsl-kdd").is_dir():
        pytest.skip("ANOEAN_DATA names no folder with nsl-kdd/")
    offline = {"ANOEAN_DATA": data, "https_proxy": "http://127.0.0.1:9"}
    trained = anoean("train --dataset nsl-kdd --epochs 1 -m kdd.h5", env=offline)
    assert trained.returncode == 0, trained.stderr
    lines = (Path(data) / "nsl-kdd" / "KDDTrain+.txt").read_text().splitlines()
    used = np.concatenate(list(load_model("kdd.h5").split.values()))
    fresh = np.setdiff1d(np.arange(len(lines)), used)
    fresh = [lines[at] for at in fresh if lines[at].split(",")[41] == "normal"]
    Path("fresh.csv").write_text("\n".join(fresh[:20_000]) + "\n")
    for source, is_told in ((f"{data}/nsl-kdd/KDDTest+.txt", True), ("fresh.csv", False)):
        found = anoean("score", source, "-m kdd.h5 -o o.csv --summary s.json --force --quiet")
        assert json.loads(Path("s.json").read_text())["drift"]["warned"] is is_told
        assert [line.split(":")[0] for line in found.stderr.splitlines()] == ["warning"] * is_told
