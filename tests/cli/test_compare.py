"""``anoean compare``: one table of several detectors, resumed after a kill, in processes."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from .conftest import COMMAND, Run, environment, table_rows, words, write_csv

WHOLE = "compare --dataset toy --epochs 2 --set width=0.1 --out found"
TOY = f"{WHOLE} --set forest=0 --set distillation=0 --set members=1"
TWO = f"{TOY} --detectors anoean,anoean:paper --seeds 2"


def lines(file: str) -> list[dict[str, str]]:
    with open(file, newline="") as stream:
        return list(csv.DictReader(stream))


def test_a_table_json_and_csv(anoean: Run):
    done = anoean(TWO)
    assert done.returncode == 0, done.stderr
    head, *rows = done.stdout.splitlines()
    assert head.split()[:2] == ["detector", "auc_pr"]
    assert sorted(row.split()[0] for row in rows) == ["anoean", "anoean:paper"]
    assert "best" in rows[0]
    assert "4 of 4: anoean:paper, seed 1: auc_pr" in done.stderr
    assert [(row["detector"], row["seed"]) for row in lines("found/results.csv")] == [
        ("anoean", "0"), ("anoean:paper", "0"), ("anoean", "1"), ("anoean:paper", "1"),
    ]  # fmt: skip
    assert {row["detector"] for row in lines("found/summary.csv")} == {"anoean", "anoean:paper"}

    again = anoean(TWO, "--json")
    assert "4 of 4 cells were finished before" in again.stderr
    first = again.json["results"][0]
    assert {"detector", "seed", "metrics", "fit_seconds", "score_seconds", "model_bytes"} <= set(
        first
    )
    assert 0 < first["metrics"]["auc_pr"] <= 1
    assert len(again.json["summary"]) == 2


def test_a_killed_comparison_goes_on_without_redoing_a_cell(
    anoean: Run, tmp_path: Path, third_party: dict[str, str]
):
    command = f"{TWO} --encoder pausing".replace("--set width=0.1", "--batch-size 10")
    # Each cell sleeps in its first batch, so that the kill comes between two of them or in one.
    process = subprocess.Popen(
        [*COMMAND, *words([command])],
        cwd=tmp_path,
        env=environment(tmp_path / "cache", third_party | {"PAUSES": "1:3"}),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    cells = tmp_path / "found" / "cells"
    until = time.monotonic() + 300
    while not (cells.exists() and list(cells.glob("*.json"))):
        assert time.monotonic() < until, "no cell was ever kept"
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = {path: path.stat().st_mtime_ns for path in cells.glob("*.json")}
    assert 1 <= len(kept) < 4
    done = anoean(command, env=third_party)
    assert done.returncode == 0, done.stderr
    assert f"{len(kept)} of 4 cells were finished before" in done.stderr
    assert all(path.stat().st_mtime_ns == when for path, when in kept.items())
    assert len(list(cells.glob("*.json"))) == 4
    assert len(lines("found/results.csv")) == 4


def pausing(command: str, folder: Path, third_party: dict[str, str]) -> psutil.Popen:
    """The command, begun, with an encoder that never ends its first batch."""
    command = f"{command} --encoder pausing".replace("--set width=0.1", "--batch-size 10")
    return psutil.Popen(
        [*COMMAND, *words([command])],
        cwd=folder,
        env=environment(folder / "cache", third_party | {"PAUSES": "1:600"}),
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )


def outliving(process: psutil.Popen) -> list[psutil.Process]:
    """Those of its processes that a minute after its kill were still alive, and are no more."""
    workers = process.children(recursive=True)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _, alive = psutil.wait_procs(workers, timeout=60)
    for worker in alive:
        worker.kill()
    return alive


def test_processes_end_with_a_killed_comparison(tmp_path: Path, third_party: dict[str, str]):
    process = pausing(f"{TWO} --jobs 2", tmp_path, third_party)
    assert any(b"pausing" in line for line in process.stderr), "no cell was ever begun"
    assert len(process.children(recursive=True)) >= 2
    assert not outliving(process)


def test_an_idle_process_ends_with_a_killed_comparison_too(
    tmp_path: Path, third_party: dict[str, str]
):
    command = f"{TOY} --detectors knn,anoean --seeds 1 --jobs 2"
    process = pausing(command, tmp_path, third_party)
    begun = set()
    for line in process.stderr:
        begun |= {what for what in (b"pausing", b"knn, seed 0: auc_pr") if what in line}
        if len(begun) == 2:
            break
    alive = outliving(process)
    assert len(begun) == 2
    assert not alive


def test_processes_give_the_same_as_one(anoean: Run):
    what = f"{WHOLE} --detectors anoean,anoean:paper --seeds 2 --json"
    one = anoean(what).json["results"]
    two = anoean(what.replace("found", "other"), "--jobs 2").json["results"]
    assert [(r["detector"], r["seed"], r["digest"]) for r in one] == [
        (r["detector"], r["seed"], r["digest"]) for r in two
    ]


def test_cells_are_found_again_under_another_spelling_of_the_data(anoean: Run, tmp_path: Path):
    write_csv(Path("t.csv"), table_rows(200, seed=3))
    command = (
        "compare --label label --normal ok --detectors knn --seeds 1 --set detector.n_neighbors=3"
    )
    first = anoean(command, "--dataset t.csv")
    assert first.returncode == 0, first.stderr
    again = anoean(command, "--dataset", tmp_path / "t.csv")
    assert again.returncode == 0, again.stderr
    assert "1 of 1 cells were finished before" in again.stderr


@pytest.mark.parametrize("about", [[], "x", {}, {"dataset": None}, {"dataset": {"reload": None}}])
def test_a_folder_with_anything_else_is_refused(anoean: Run, about: object):
    Path("found").mkdir()
    Path("found/compare.json").write_text(json.dumps({"about": about}))
    found = anoean(WHOLE, "--detectors knn --seeds 1")
    assert found.returncode == 7
    assert "holds a comparison on other data" in found.error


def test_a_failing_detector_is_a_row_and_stops_nothing(anoean: Run, third_party: dict[str, str]):
    done = anoean(TOY, "--detectors dividing,anoean --seeds 1", env=third_party)
    assert done.returncode == 0
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]][1] == ["dividing", "failed"]
    assert "warning: dividing failed: " in done.stderr
    assert "division by zero" in done.stderr
    alone = anoean("compare --dataset toy --detectors dividing --seeds 1", env=third_party)
    assert alone.returncode == 8
    assert "no detector could be trained" in alone.error


def test_a_table_gets_test_rows_and_settings_go_to_those_that_have_them(anoean: Run, table: Path):
    options = "--label label --normal ok --epochs 2 --seeds 1 --json"
    done = anoean(f"compare --dataset {table} {options} --set anoean.radial=0 --detectors anoean")
    assert done.returncode == 0, done.stderr
    assert "30% of the rows are set aside to test on" in done.stderr
    (result,) = done.json["results"]
    assert sum(result["split"]["test"].values()) == 120
    unknown = anoean(f"compare --dataset {table} {options} --set nothing=1 --detectors anoean")
    assert unknown.returncode == 2
    assert "'nothing'" in unknown.error
    wrong = anoean(f"compare --dataset {table} {options} --set radial=-1 --detectors knn,anoean")
    assert wrong.returncode == 2
    assert "radial" in wrong.error
    assert "1 of" not in wrong.stderr, "a cell was run"
    nobody = anoean(f"compare --dataset {table} {options} --detectors knn")
    assert nobody.returncode == 2
    assert "for --epochs" in nobody.error


def test_a_table_without_anomalies_is_refused_before_any_work(anoean: Run, tmp_path: Path):
    file = tmp_path / "only.csv"
    file.write_text("a,b\n" + "".join(f"{i % 7},{i % 5}\n" for i in range(60)))
    done = anoean(f"compare --dataset {file} --detectors knn --seeds 1")
    assert done.returncode == 3
    assert "--label" in done.error


def test_an_encoder_and_a_dimension_go_to_those_that_take_one(anoean: Run):
    few = "compare --dataset toy --epochs 1 --seeds 1 --encoder mlp --latent-dim 3 --json"
    assert anoean(few, "--detectors anoean,knn,alad").returncode == 0
    for option in ("--encoder mlp", "--latent-dim 3"):
        none = anoean(f"compare --dataset toy --seeds 1 {option} --detectors knn,pca")
        assert none.returncode == 2
        assert f"none of knn, pca takes {option.split()[0]}" in none.error


def test_what_cannot_be_compared_is_told_before_any_work(anoean: Run, table: Path):
    assert anoean(TOY, "--detectors nobody").returncode == 6
    assert anoean(TOY, "--detectors anoean,anoean").returncode == 2
    assert "no preset 'none'" in anoean(TOY, "--detectors anoean:none").error
    assert anoean(TOY, "--jobs 2 --scheduler tcp://127.0.0.1:1").returncode == 2
    assert anoean(TOY, "--detectors anoean --seeds 1").returncode == 0
    other = anoean(
        f"compare --dataset {table} --label label --normal ok --detectors anoean --out found"
    )
    assert other.returncode == 7
    assert "--force" in other.error
