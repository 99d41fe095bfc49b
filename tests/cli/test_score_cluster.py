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
from pyarrow import csv, parquet

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

    Path("out/manifest.json").rename("manifest.json")
    Path("out/manifest.json").mkdir()
    unread = anoean(command)
    assert unread.returncode == 3
    assert "manifest.json: is a folder" in unread.error
    Path("out/manifest.json").rmdir()
    Path("manifest.json").rename("out/manifest.json")

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


def test_the_parts_of_one_big_table_follow_each_other(
    anoean: Run, cluster: distributed.LocalCluster
) -> None:
    rows = [[f'{row[0]}\nor "so", {n}', *row[1:]] for n, row in enumerate(table_rows(500, seed=3))]
    rows[333][1] = "oops"
    write_csv(Path("big.csv"), rows)
    common = "score big.csv --keep id --on-error flag --explain 1 --summary"
    on_cluster = f"--scheduler {cluster.scheduler_address} --part-size 3KiB"
    for kind in ("csv", "jsonl"):
        expected = anoean(f"{common} one.json --force --format {kind}")
        command = f"{common} all.json {on_cluster} --format {kind} --out {kind}"
        assert anoean(command, "--force").returncode == 0
        parts = json.loads(Path(kind, "manifest.json").read_text())["parts"]
        assert len(parts) > 5
        assert parts[1]["range"]["rows"] == parts[0]["rows"] + 1
        whole = b"".join(Path(kind, part["part"]).read_bytes() for part in parts)
        assert whole.decode() == expected.stdout
        one, every = (json.loads(Path(name).read_text()) for name in ("one.json", "all.json"))
        assert every.pop("seconds") > 0
        assert every == {name: value for name, value in one.items() if name != "seconds"}

    Path("jsonl", parts[2]["part"]).unlink()
    again = anoean(command, "--force")
    assert f"{len(parts) - 1} of {len(parts)} parts were finished before" in again.stderr
    assert "1 of 500 rows could not be read" in again.stderr
    larger = anoean(command.replace("3KiB", "1MiB"), "--force")
    assert "finished before" not in larger.stderr
    (part,) = json.loads(Path("jsonl", "manifest.json").read_text())["parts"]
    assert Path("jsonl", part["part"]).read_bytes() == whole
    assert {path.name for path in Path("jsonl").iterdir()} == {part["part"], "manifest.json"}


def test_parquet_has_its_row_groups_for_parts(
    anoean: Run, cluster: distributed.LocalCluster, fresh: Path
) -> None:
    parquet.write_table(csv.read_csv("fresh.csv"), "f.parquet", row_group_size=50)
    expected = anoean("score f.parquet").rows
    found = anoean(
        "score f.parquet --part-size 1k --out out --scheduler", cluster.scheduler_address
    )
    assert found.returncode == 0, found.stderr
    names = [part["part"] for part in manifest()["parts"]]
    assert len(names) == 4
    texts = [(Path("out") / name).read_text() for name in names]
    assert read_rows("".join(texts)) == expected


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
        ("score in/0.csv --part-size 1MiB", 2, "--part-size is of the parts that --scheduler"),
        ("score in/0.csv --scheduler tcp://127.0.0.1:1 --out o --part-size no", 2, "is no size"),
    ],
)
@pytest.mark.usefixtures("inputs")
def test_what_cannot_be_is_told(anoean: Run, args: str, status: int, told: str) -> None:
    found = anoean(args)
    assert found.returncode == status, found.stderr
    assert told in found.error
