"""Tables in Google Cloud Storage: read, trained on and written, against a local emulator."""

from __future__ import annotations

import importlib.util
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from pyarrow import csv, fs, parquet

from .conftest import Run

pytestmark = [
    pytest.mark.skipif(
        importlib.util.find_spec("gcp_storage_emulator") is None,
        reason="gcp-storage-emulator is not installed",
    ),
    pytest.mark.usefixtures("model", "fresh"),
]


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    """Of an emulator in a process of its own, with the bucket ``rows``."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = free.getsockname()
    command = ["start", "--host", address[0], "--port", str(address[1]), "--in-memory"]
    process = subprocess.Popen(
        [sys.executable, "-m", "gcp_storage_emulator", *command, "--default-bucket", "rows"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(address).close()
            break
        except ConnectionRefusedError:
            assert process.poll() is None, "the emulator ended"
            assert time.monotonic() < until, "the emulator does not answer"
            time.sleep(0.05)
    yield f"{address[0]}:{address[1]}"
    process.terminate()
    process.wait()


@pytest.fixture
def store(host: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The file system; the command finds it by the environment."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://{host}")
    return fs.GcsFileSystem(
        anonymous=True,
        scheme="http",
        endpoint_override=host,
        retry_time_limit=timedelta(seconds=10),
    )


def put(store: Any, name: str, path: Path) -> None:
    with store.open_output_stream(f"rows/{name}") as stream:
        stream.write(path.read_bytes())


def test_tables_in_a_store_score_as_files_do(anoean: Run, store: Any) -> None:
    parquet.write_table(csv.read_csv("fresh.csv"), "f.parquet", row_group_size=50)
    put(store, "a/fresh.csv", Path("fresh.csv"))
    put(store, "f.parquet", Path("f.parquet"))
    expected = [row["score"] for row in anoean("score fresh.csv").rows]
    found = anoean("score gs://rows/a/fresh.csv gs://rows/f.parquet")
    assert found.returncode == 0, found.stderr
    assert [row["score"] for row in found.rows] == expected * 2


def test_an_output_is_written_whole_and_not_replaced_unasked(anoean: Run, store: Any) -> None:
    assert anoean("score fresh.csv --out gs://rows/o/o.csv").returncode == 0
    whole = anoean("score fresh.csv").stdout.encode()
    assert store.open_input_stream("rows/o/o.csv").read() == whole
    refused = anoean("score fresh.csv --only-anomalies --out gs://rows/o/o.csv")
    assert refused.returncode == 7
    assert "give --force" in refused.error
    few = anoean("score fresh.csv --only-anomalies --force --out gs://rows/o/o.csv")
    assert few.returncode == 0, few.stderr
    assert len(store.open_input_stream("rows/o/o.csv").read()) < len(whole)


def test_training_from_a_store(anoean: Run, store: Any, table: Path) -> None:
    put(store, "table.csv", table)
    options = "--label label --normal ok --detector knn --json -m"
    there = anoean("train --dataset gs://rows/table.csv", options, "there.h5")
    assert there.returncode == 0, there.stderr
    here = anoean("train --dataset table.csv", options, "here.h5")
    assert there.json["dataset"]["files"] == here.json["dataset"]["files"]
    assert anoean("score fresh.csv -m there.h5").rows == anoean("score fresh.csv -m here.h5").rows


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        ("score gs://rows/no.csv", 3, "gs://rows/no.csv: there is no such object or bucket"),
        ("score gs://nobody/no.parquet", 3, "there is no such object or bucket"),
        ("score gs://rows", 3, "write gs://BUCKET/NAME"),
        ("score fresh.csv --out gs://nobody/o.csv", 7, "there is no such object or bucket"),
    ],
)
@pytest.mark.usefixtures("store")
def test_what_is_not_there_is_told(anoean: Run, args: str, status: int, told: str) -> None:
    found = anoean(args)
    assert found.returncode == status, found.stderr
    assert told in found.error
