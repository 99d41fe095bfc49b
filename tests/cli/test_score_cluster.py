"""``score --scheduler``: parts on a real Dask cluster of this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import COMMAND, Run, environment, read_rows, table_rows, words, write_csv

distributed = pytest.importorskip("distributed", reason="dask is an extra")

pytestmark = pytest.mark.usefixtures("model")


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[distributed.LocalCluster]:
    for name, value in environment(tmp_path / "cache").items():
        monkeypatch.setenv(name, value)
    with distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=None,
        local_directory=str(tmp_path / "dask"),
    ) as made:
        yield made


@pytest.fixture
def inputs(tmp_path: Path) -> list[Path]:
    (tmp_path / "in").mkdir()
    return [write_csv(tmp_path / f"in/{n}.csv", table_rows(20 + n, seed=n)) for n in range(6)]


def manifest() -> dict[str, object]:
    return json.loads(Path("out/manifest.json").read_text())


def rows_in_parts() -> list[dict[str, str]]:
    return [
        row
        for part in manifest()["parts"]
        for row in read_rows((Path("out") / part["part"]).read_text())
    ]


def test_parts_hold_what_one_machine_says_and_a_rerun_does_only_what_is_missing(
    anoean: Run, cluster: distributed.LocalCluster, inputs: list[Path]
) -> None:
    command = f"score in --scheduler {cluster.scheduler_address} --out out --keep id"
    expected = anoean("score --keep id", *[f"in/{path.name}" for path in inputs]).rows
    first = anoean(command)
    assert first.returncode == 0, first.stderr
    assert rows_in_parts() == expected
    whole = manifest()
    assert [part["rows"] for part in whole["parts"]] == [20 + n for n in range(6)]
    assert sum(part["anomalies"] for part in whole["parts"]) == sum(
        row["anomaly"] == "true" for row in expected
    )

    names = [part["part"] for part in whole["parts"]]
    (Path("out") / names[0]).unlink()
    (Path("out") / names[1]).write_text("damaged")
    write_csv(inputs[2], table_rows(9, seed=9))
    written = {name: (Path("out") / name).stat().st_mtime_ns for name in names[3:]}
    again = anoean(command, "--fail-on-anomaly")
    assert again.returncode == 10
    assert "3 of 6 parts were finished before" in again.stderr
    assert {name: (Path("out") / name).stat().st_mtime_ns for name in names[3:]} == written
    sources = [f"in/{path.name}" for path in inputs]
    assert rows_in_parts() == anoean("score --keep id", *sources).rows

    other = anoean(command, "--fpr 0.2")
    assert other.returncode == 7
    assert "parts by another model or other options" in other.error
    assert rows_in_parts() == anoean("score --keep id", *sources).rows
    assert anoean(command, "--fpr 0.2 --force").returncode == 0
    assert rows_in_parts() == anoean("score --keep id --fpr 0.2", *sources).rows

    inputs[4].write_text("id,size\nr,1\n")
    bad = anoean(command, "--fpr 0.2")
    assert bad.returncode == 3
    assert "4.csv: has no column 'weight'" in bad.error


def test_a_lost_worker_loses_and_doubles_nothing(
    anoean: Run, cluster: distributed.LocalCluster, tmp_path: Path
) -> None:
    Path("in").mkdir()
    for n in range(8):
        write_csv(Path(f"in/{n}.csv"), table_rows(20_000, seed=n))
    process = subprocess.Popen(
        [*COMMAND, *words(["score in --out out --scheduler", cluster.scheduler_address])],
        env=environment(tmp_path / "cache"),
        stderr=subprocess.PIPE,
    )
    until = time.monotonic() + 300
    while not list(Path().glob("out/.*.tmp")):  # a part is being written
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until, "no part was ever begun"
        time.sleep(0.005)
    with distributed.Client(cluster) as client:
        victim = next(iter(client.run(os.getpid).values()))
    os.kill(victim, signal.SIGKILL)
    stderr = process.communicate()[1].decode()
    assert process.returncode == 0, stderr
    expected = anoean("score", *[f"in/{n}.csv" for n in range(8)]).rows
    assert rows_in_parts() == expected
    assert len(list(Path().glob("out/*.csv"))) == 8


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        ("score in --scheduler tcp://127.0.0.1:1 --out ./in", 2, "is an input too"),
        ("score in/0.csv --scheduler tcp://127.0.0.1:1", 2, "give --out FOLDER"),
        ("score - --scheduler tcp://127.0.0.1:1 --out out", 2, "stdin"),
        ("score in in/0.csv --scheduler tcp://127.0.0.1:1 --out out", 2, "named twice"),
        ("score no.csv --scheduler tcp://127.0.0.1:1 --out out", 3, "no.csv: no such file"),
        ("score in/0.csv --scheduler tcp://127.0.0.1:1 --out anoean.h5", 7, "anoean.h5"),
    ],
)
@pytest.mark.usefixtures("inputs")
def test_what_cannot_be_is_told(anoean: Run, args: str, status: int, told: str) -> None:
    found = anoean(args)
    assert found.returncode == status, found.stderr
    assert told in found.error
