"""``calibrate``: another threshold, or another Gaussian as well, without training."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from anoean_cli.commands.loading import load_dataset
from anoean_cli.console import Console
from anoean_cli.inference.model import load_model
from anoean_cli.interfaces import TableOptions
from anoean_cli.storage.prepared import write_prepared

from .conftest import HEADER, Run, table_rows, write_csv

pytestmark = pytest.mark.usefixtures("model")


def flagged_share(anoean: Run, rows: list[list[str]], model: str = "anoean.h5") -> float:
    write_csv(Path("judged.csv"), rows)
    found = anoean("score", "judged.csv", "-m", model)
    assert found.returncode == 0, found.stderr
    return float(np.mean([row["anomaly"] == "true" for row in found.rows]))


def normals(count: int, seed: int) -> list[list[str]]:
    return [row for row in table_rows(count, seed) if row[-1] == "ok"]


def test_a_rate_from_the_stored_references(anoean: Run) -> None:
    before = load_model("anoean.h5")
    found = anoean("calibrate", "--fpr", "0.2", "--json")
    assert found.returncode == 0, found.stderr
    after = load_model("anoean.h5")
    assert found.json["digest"] == after.digest != before.digest
    assert found.json["calibration"]["rule"]["fpr"] == 0.2
    n = len(before.calibration.reference)
    assert (after.calibration.reference >= after.calibration.threshold).sum() == math.floor(
        0.2 * (n + 1)
    )
    assert after.graph == before.graph
    assert [path.name for path in Path().iterdir()] == ["anoean.h5"]


@pytest.mark.parametrize("estimator", ["empirical", "ledoit-wolf", "mcd"])
def test_normals_are_flagged_at_the_rate(anoean: Run, estimator: str) -> None:
    write_csv(Path("normals.csv"), normals(1600, seed=5))
    options = f"--data normals.csv --fpr 0.1 --covariance {estimator}"
    found = anoean("calibrate", options, "--json")
    assert found.returncode == 0, found.stderr
    assert found.json["calibration"]["rows"] == 700
    assert found.json["calibration"]["rule"]["covariance"] == estimator
    # Standard deviation of the share: sqrt(0.1 * 0.9 * (1/700 + 1/1400)), about 0.014.
    assert flagged_share(anoean, normals(1600, seed=6)) == pytest.approx(0.1, abs=0.05)


@pytest.mark.parametrize("estimator", ["empirical", "ledoit-wolf", "mcd"])
def test_another_covariance_of_the_stored_rows(anoean: Run, estimator: str) -> None:
    assert anoean("calibrate", "--covariance", estimator).returncode == 0
    after = load_model("anoean.h5")
    assert after.calibration.rule["covariance"] == estimator
    kept = after.kept["calibration"].output
    assert after.gaussian is not None
    assert np.sort(after.gaussian.mahalanobis(kept)) == pytest.approx(after.calibration.reference)


@pytest.mark.parametrize("options", ["", "--label label", "--normal ok"])
def test_labels_keep_anomalies_out(anoean: Run, options: str) -> None:
    write_csv(Path("mixed.csv"), table_rows(800, seed=5))
    found = anoean("calibrate", "--data", "mixed.csv", options)
    assert found.returncode == 0, found.stderr
    assert "mixed.csv: 700 normals and 100 anomalies" in found.stderr
    told = found.stdout.split()
    assert "calibration 350 normals of mixed.csv" in " ".join(told)
    assert "from 350 reference scores" in " ".join(told)
    assert anoean("info").stdout.split() == told


@pytest.mark.parametrize("emptied", [False, True])
def test_rows_without_labels_are_all_normal(anoean: Run, emptied: bool) -> None:
    rows = [[*row[:-1], ""] for row in table_rows(800, seed=5)]
    width = len(HEADER) if emptied else len(HEADER) - 1
    write_csv(Path("every.csv"), [row[:width] for row in rows], HEADER[:width])
    found = anoean("calibrate", "--data", "every.csv", "--json")
    assert found.returncode == 0, found.stderr
    assert found.json["calibration"]["rows"] == 400


def test_contamination(anoean: Run) -> None:
    rows = table_rows(400, seed=5)
    write_csv(Path("mixed.csv"), rows)
    assert anoean("calibrate", "--data", "mixed.csv", "--contamination", 0.1).returncode == 0
    assert flagged_share(anoean, rows) == pytest.approx(0.1, abs=0.003)


def test_the_best_f1(anoean: Run) -> None:
    write_csv(Path("mixed.csv"), table_rows(800, seed=5))
    options = "--data mixed.csv --label label"
    assert anoean("calibrate", "--data mixed.csv --maximize-f1").returncode == 0
    best = anoean("evaluate", options, "--json").json
    assert best["f1"] == pytest.approx(best["f1_best"], abs=0.02)


def test_a_given_threshold(anoean: Run) -> None:
    assert anoean("calibrate", "--threshold", "3.25").returncode == 0
    rows = table_rows(100, seed=5)
    write_csv(Path("judged.csv"), rows)
    scored = anoean("score", "judged.csv").rows
    assert len(scored) == 100
    for row in scored:
        assert (row["anomaly"] == "true") == (float(row["score"]) > 3.25)


def test_out_leaves_the_model_alone(anoean: Run) -> None:
    before = Path("anoean.h5").read_bytes()
    assert anoean("calibrate", "--fpr", "0.2", "--out", "other.h5").returncode == 0
    assert Path("anoean.h5").read_bytes() == before
    assert (
        load_model("other.h5").calibration.threshold < load_model("anoean.h5").calibration.threshold
    )
    refused = anoean("calibrate", "--fpr", "0.3", "--out", "other.h5")
    assert refused.returncode == 7
    assert "--force" in refused.error
    assert anoean("calibrate", "--fpr", "0.3", "--out", "other.h5", "--force").returncode == 0


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        ("--fpr 0.1 --threshold 3", 2, "--threshold"),
        ("--fpr 0.1 --maximize-f1", 2, "--maximize-f1"),
        ("--fpr 0.0001", 2, "0.0001"),
        ("--fpr 0", 2, "--fpr 0"),
        ("--fpr 1.5", 2, "--fpr 1.5"),
        ("--fpr nan", 2, "--fpr nan"),
        ("--threshold nan", 2, "nan"),
        ("--threshold inf", 2, "inf"),
        ("--contamination 0.1", 2, "--data"),
        ("--contamination 0.1 --data mixed.csv --label label", 2, "--label"),
        ("--contamination 2 --data mixed.csv", 2, "--contamination 2"),
        ("--contamination 0.1 --data mixed.csv --covariance mcd", 2, "--covariance"),
        ("--maximize-f1", 2, "--data"),
        ("--label label", 2, "--data"),
        ("--fpr 0.1 --decimal , --encoding latin-1", 2, "--decimal, --encoding"),
        ("--fpr 0.1 --out -", 2, "--out -"),
        ("--contamination 0.1 --data mixed.csv --normal ok", 2, "--label"),
        ("--maximize-f1 --data bare.csv", 2, "--label"),
        ("--data nosuch.csv", 3, "nosuch.csv"),
        ("--data mixed.csv --label nope", 3, "nope"),
        ("--data mixed.csv --label label --normal nope", 3, "nope"),
        ("--data few.csv", 3, "too few"),
        ("--data same.csv", 3, "same.csv: all 20 rows are the same"),
        ("--data text.csv", 3, "text.csv, line 3, column 'size': 'oops'"),
        ("--fpr 0.1 --out nowhere/x.h5", 7, "nowhere"),
    ],
)
def test_what_cannot_be_done_is_told(anoean: Run, args: str, status: int, told: str) -> None:
    write_csv(Path("mixed.csv"), table_rows(40, seed=5))
    write_csv(Path("bare.csv"), [row[:-1] for row in table_rows(40, seed=5)], HEADER[:-1])
    write_csv(Path("few.csv"), normals(5, seed=5))
    write_csv(Path("same.csv"), normals(1, seed=5) * 20)
    write_csv(Path("text.csv"), [normals(5, seed=5)[0], ["x", "oops", "1", "red", "k", "ok"]])
    before, there = Path("anoean.h5").read_bytes(), sorted(Path().iterdir())
    found = anoean("calibrate", args)
    assert (found.returncode, found.stdout) == (status, "")
    assert told in found.error
    assert Path("anoean.h5").read_bytes() == before
    assert sorted(Path().iterdir()) == there


def test_a_label_column_may_be_counted(anoean: Run, fresh: Path) -> None:
    rows = table_rows(160, seed=2)
    write_csv(Path("bare.csv"), rows, ())
    write_csv(Path("moved.csv"), [[*row[:-1], "", row[-1]] for row in rows], ())
    for command in ("evaluate --json", "calibrate --json"):
        told = []
        for file, label in (
            ("fresh.csv", "label"),
            ("fresh.csv", "6"),
            ("fresh.csv", "-1"),
            ("bare.csv", "label"),
            ("bare.csv", "6"),
            ("bare.csv", "-1"),
            ("moved.csv", "7"),
        ):
            found = anoean(command, "--data", file, "--label", label)
            assert found.returncode == 0, found.stderr
            about = found.json.get("calibration", found.json)
            told.append({key: about[key] for key in about if key not in ("data", "files")})
        assert all(each == told[0] for each in told)
        for file in ("fresh.csv", "bare.csv"):
            found = anoean(command, "--data", file, "--label", "9")
            assert found.returncode == 3
            assert "column '9'" in found.error


def test_a_label_that_stands_where_a_feature_should_is_refused(anoean: Run, fresh: Path) -> None:
    rows = table_rows(160, seed=2)
    write_csv(Path("moved.csv"), [[row[0], row[-1], *row[1:-1]] for row in rows], ())
    for command in ("evaluate --json", "calibrate --json"):
        for file, label in (("moved.csv", "2"), ("fresh.csv", "2"), ("fresh.csv", "size")):
            found = anoean(command, "--data", file, "--label", label)
            assert found.returncode == 3
            assert "'size', a feature of the model" in found.error


@pytest.mark.parametrize("packed", ["gzip", "zstd"])
def test_a_packed_file_is_known_again(anoean: Run, fresh: Path, packed: str) -> None:
    ending = {"gzip": "gz", "zstd": "zst"}[packed]
    rows = fresh.read_bytes()
    with pa.CompressedOutputStream(f"t.csv.{ending}", packed) as stream:
        stream.write(rows)
    trained = anoean(
        "train --label label --normal ok --model own.h5 --detector knn --dataset", f"t.csv.{ending}"
    )
    assert trained.returncode == 0, trained.stderr
    for file in (f"t.csv.{ending}", fresh):
        for command in ("calibrate --model own.h5 --out c.h5 --force", "evaluate --model own.h5"):
            assert "learned from this file" in anoean(command, "--data", file).stderr


def test_what_anomalies_lack_is_not_usual_from_then_on(anoean: Run) -> None:
    rows = table_rows(800, seed=5)
    lacking = [row if row[-1] == "ok" else ["", "", *row[2:]] for row in rows]
    write_csv(Path("mixed.csv"), lacking)
    assert anoean("calibrate --data mixed.csv").returncode == 0
    write_csv(Path("later.csv"), [["", "", *row[2:]] for row in rows])
    missing = np.mean([row[1] == "" for row in rows if row[-1] == "ok"])
    told = f"column 'size': 800 of 800 values are missing, where {missing:.2%} were expected"
    assert told in anoean("score later.csv").stderr


def test_rows_that_the_model_learned_from_make_p_values_approximate(
    anoean: Run, table: Path, fresh: Path
) -> None:
    for file, is_new in ((table, False), (fresh, True)):
        found = anoean("calibrate", "--data", file, "--json")
        assert found.returncode == 0, found.stderr
        assert found.json["calibration"]["exact"] is is_new
        assert ("learned from this file" in found.stderr) is not is_new
        found = anoean("evaluate", "--data", file, "--json")
        assert ("learned from this file" in found.stderr) is not is_new
        if not is_new:  # what is advised works
            set_aside = anoean("evaluate").returncode == 0
            assert ("without --data" if set_aside else "--test-size") in found.stderr


@pytest.mark.parametrize(
    "about", [{}, {"files": None}, {"files": []}, {"files": {"a": None, "b": ["x"]}}]
)
def test_a_prepared_file_may_say_nothing_of_its_origin(
    anoean: Run, fresh: Path, about: dict[str, object]
) -> None:
    dataset = load_dataset("fresh.csv", "auto", TableOptions(label="label"), Console())
    write_prepared(replace(dataset, provenance=about), Path("p.h5"), overwrite=False)
    for command in ("info p.h5", "evaluate --data p.h5", "calibrate --data p.h5"):
        found = anoean(command)
        assert found.returncode == 0, found.stderr
        assert "learned from" not in found.stderr


@pytest.mark.parametrize("reload", [0, {"reading": None}, {"reading": {"zzz": 1}}])
def test_a_prepared_file_that_garbles_its_origin_is_refused(
    anoean: Run, fresh: Path, reload: object
) -> None:
    dataset = load_dataset("fresh.csv", "auto", TableOptions(label="label"), Console())
    write_prepared(
        replace(dataset, provenance={"files": {}, "reload": reload}), Path("p.h5"), overwrite=False
    )
    found = anoean("train --dataset p.h5 --normal ok -m new.h5")
    assert found.returncode == 4
    assert "p.h5: its provenance.reload" in found.error


def test_a_coarser_rate_than_before_is_told(anoean: Run) -> None:
    write_csv(Path("few.csv"), normals(30, seed=5))
    found = anoean("calibrate --data few.csv --out other.h5")
    assert found.returncode == 0, found.stderr
    assert (
        "14 calibration rows can give no finer rate of false positives than 6.67%" in found.stderr
    )
    asked = anoean("calibrate --data few.csv --fpr 0.1 --out another.h5")
    assert "finer rate" not in asked.stderr


def test_a_rate_with_confidence(anoean: Run) -> None:
    write_csv(Path("normals.csv"), normals(1600, seed=5))
    found = anoean("calibrate --data normals.csv --fpr 0.05 --confidence 0.95 --json")
    assert found.returncode == 0, found.stderr
    assert found.json["calibration"]["rule"]["confidence"] == 0.95
    after = load_model("anoean.h5").calibration
    above = int((after.reference >= after.threshold).sum())
    assert above == 26, "of 700: P(Beta(26, 675) <= 0.05) is 0.956, P(Beta(27, 674) <= 0.05) 0.935"
    assert "confidence 0.95" in anoean("info").stdout
    assert "--confidence" in anoean("calibrate --confidence 0.9 --threshold 3").error


def test_copies_among_calibration_rows_are_told_of(anoean: Run) -> None:
    rows = [row for row in table_rows(300, seed=6) if row[-1] == "ok"]
    write_csv(Path("once.csv"), rows)
    assert "copies" not in anoean("calibrate --data once.csv --out a.h5").stderr
    write_csv(Path("twice.csv"), rows * 2)
    told = anoean("calibrate --data twice.csv --out b.h5").stderr
    assert "equal one of those that the Gaussian is fitted to" in told
