"""``anoean compare --scheduler``: on a real Dask cluster of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import COMMAND, Result, Run, environment, words

distributed = pytest.importorskip("distributed", reason="dask is an extra")

# Each cell sleeps two seconds in its first batch, so that a worker is surely lost in one.
PAUSES = {"PAUSES": "1:2"}
COMPARE = (
    "compare --dataset toy --encoder pausing --epochs 1 --batch-size 50 --json "
    "--detectors anoean,anoean:paper --seeds 2 --set forest=0 --set distillation=0 "
    "--set members=1 --out found"
)


@pytest.fixture
def cluster(
    third_party: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[distributed.LocalCluster]:
    for name, value in environment(tmp_path / "cache", third_party | PAUSES).items():
        monkeypatch.setenv(name, value)
    monkeypatch.syspath_prepend(third_party["PYTHONPATH"])  # which the workers take over
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None, local_directory=str(tmp_path)
    ) as made:
        yield made


def test_a_lost_worker_loses_and_doubles_no_cell(
    cluster: distributed.LocalCluster, anoean: Run, third_party: dict[str, str], tmp_path: Path
):
    process = subprocess.Popen(
        [*COMMAND, *words([COMPARE, "--scheduler", cluster.scheduler_address])],
        cwd=tmp_path,
        env=environment(tmp_path / "cache", third_party),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    cells = tmp_path / "found" / "cells"
    until = time.monotonic() + 300
    while not (cells.exists() and list(cells.glob("*.json"))):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "no cell was ever kept"
        time.sleep(0.1)
    with distributed.Client(cluster) as client:
        victim = next(iter(client.run(os.getpid).values()))
    os.kill(victim, signal.SIGKILL)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr.decode()
    found = Result(0, stdout.decode(), stderr.decode()).json["results"]
    unhurried = {**third_party, "PAUSES": ""}
    here = anoean(COMPARE.replace("found", "here"), env=unhurried).json["results"]
    assert [(r["detector"], r["seed"]) for r in found] == [(r["detector"], r["seed"]) for r in here]
    assert [r["digest"] for r in found] == [r["digest"] for r in here]


def test_a_scheduler_that_does_not_answer_is_told(anoean: Run):
    done = anoean("compare --dataset toy --detectors anoean --scheduler tcp://127.0.0.1:1")
    assert done.returncode == 2
    assert "no Dask scheduler answers there" in done.error


def test_without_dask_the_extra_is_named(anoean: Run, tmp_path: Path):
    (tmp_path / "distributed.py").write_text("raise ImportError")
    done = anoean(
        "compare --dataset toy --detectors anoean --scheduler tcp://127.0.0.1:1",
        env={"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])},
    )
    assert done.returncode == 2
    assert "anoean[dask]" in done.error
