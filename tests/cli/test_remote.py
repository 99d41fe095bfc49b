"""Tables in S3: read, trained on and written, against moto's server on this machine."""

from __future__ import annotations

import gzip
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pyarrow import csv, fs, parquet

from anoean_cli.data.ranges import ranges
from anoean_cli.data.readers import Wanted, unread
from anoean_cli.interfaces import TableOptions

from .conftest import Run, read_rows

server = pytest.importorskip("moto.server", reason="moto is for development")
KEYS = {"AWS_ACCESS_KEY_ID": "me", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "us-east-1"}

pytestmark = pytest.mark.usefixtures("model", "fresh")


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    made = server.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    made.start()
    host, port = made.get_host_and_port()
    yield f"http://{host}:{port}"
    made.stop()


@pytest.fixture
def store(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The file system, with an empty bucket ``rows``; the command finds it by the environment."""
    tell(endpoint, "reset")
    for name, value in {**KEYS, "AWS_ENDPOINT_URL": endpoint}.items():
        monkeypatch.setenv(name, value)
    found = fs.S3FileSystem(
        access_key="me",
        secret_key="secret",
        region="us-east-1",
        endpoint_override=endpoint,
        allow_bucket_creation=True,
    )
    found.create_dir("rows")
    return found


def tell(endpoint: str, what: str, data: bytes = b"") -> None:
    request = urllib.request.Request(f"{endpoint}/moto-api/{what}", data)
    request.add_header("Content-Type", "text/plain")
    urllib.request.urlopen(request).close()


def put(store: Any, name: str, content: bytes) -> None:
    with store.open_output_stream(f"rows/{name}") as stream:
        stream.write(content)


def test_tables_in_a_store_score_as_files_do(anoean: Run, store: Any) -> None:
    content = Path("fresh.csv").read_bytes()
    expected = [row["score"] for row in anoean("score fresh.csv").rows]
    parquet.write_table(csv.read_csv("fresh.csv"), "f.parquet", row_group_size=50)
    put(store, "a/fresh.csv", content)
    put(store, "fresh.csv.gz", gzip.compress(content))
    put(store, "f.parquet", Path("f.parquet").read_bytes())
    names = [f"s3://rows/{name}" for name in ("a/fresh.csv", "fresh.csv.gz", "f.parquet")]
    found = anoean("score --jobs 2", *names)
    assert found.returncode == 0, found.stderr
    assert [row["score"] for row in found.rows] == expected * 3
    assert list(dict.fromkeys(row["file"] for row in found.rows)) == names


def test_a_big_table_is_read_range_by_range(store: Any, table: Path) -> None:
    parquet.write_table(csv.read_csv("table.csv"), "table.parquet", row_group_size=50)
    wanted = Wanted(("size",), ("colour",))
    for name in ("table.csv", "table.parquet"):
        content = Path(name).read_bytes()
        put(store, name, content)
        url = f"s3://rows/{name}"
        assert ranges(url, TableOptions(), len(content)) == []
        parts = ranges(url, TableOptions(), 1000)
        assert len(parts) > 2
        rows = []
        for part in parts:
            for parse in unread(url, url, wanted, TableOptions(), "stop", 1000, part):
                batch = parse()
                rows += [] if batch is None else batch.rows.tolist()
        assert rows == list(range(1, 401))


@pytest.mark.parametrize("name", ["o.csv", "deep/er/o.parquet"])
def test_an_output_appears_whole_or_not_at_all(anoean: Run, store: Any, name: str) -> None:
    out = f"s3://rows/{name}"
    bad = Path("fresh.csv").read_text() + "x,oops,1,red,k,ok\n"
    Path("bad.csv").write_text(bad)
    failed = anoean("score bad.csv --out", out)
    assert failed.returncode == 3
    assert store.get_file_info(f"rows/{name}").type == fs.FileType.NotFound
    assert anoean("score fresh.csv --out", out).returncode == 0
    assert anoean("score fresh.csv --out", Path(name).name).returncode == 0
    whole = Path(Path(name).name).read_bytes()
    assert store.open_input_stream(f"rows/{name}").read() == whole
    refused = anoean("score nosuch.csv --out", out)
    assert refused.returncode == 7
    assert "give --force" in refused.error
    assert anoean("score bad.csv --force --out", out).returncode == 3
    assert store.open_input_stream(f"rows/{name}").read() == whole
    few = anoean("score fresh.csv --only-anomalies --force --out", out)
    assert few.returncode == 0, few.stderr
    assert len(store.open_input_stream(f"rows/{name}").read()) < len(whole)


def test_training_from_a_store(anoean: Run, store: Any, table: Path) -> None:
    put(store, "table.csv", table.read_bytes())
    options = "--label label --normal ok --detector knn --json -m"
    there = anoean("train --dataset s3://rows/table.csv", options, "there.h5")
    here = anoean("train --dataset table.csv", options, "here.h5")
    assert there.returncode == 0, there.stderr
    assert there.json["dataset"]["files"] == here.json["dataset"]["files"]
    rows = [read_rows(anoean("score fresh.csv -m", m).stdout) for m in ("here.h5", "there.h5")]
    assert rows[0] == rows[1]


@pytest.mark.parametrize(
    ("args", "status", "told"),
    [
        ("score s3://rows/no.csv", 3, "s3://rows/no.csv: there is no such object or bucket"),
        ("score s3://nobody/no.csv", 3, "s3://nobody/no.csv: there is no such object or bucket"),
        ("score s3://rows/no.parquet", 3, "there is no such object"),
        ("train --dataset s3://rows/no.csv -m n.h5", 3, "there is no such object"),
        ("score s3://rows", 3, "write s3://BUCKET/NAME"),
        ("score s3:///x", 3, "write s3://BUCKET/NAME"),
        ("score fresh.csv --out s3://nobody/o.csv", 7, "there is no such object or bucket"),
        ("score fresh.csv --out s3://rows/", 7, "write s3://BUCKET/NAME"),
        ("score fresh.csv --embeddings s3://rows/e.h5", 2, "this needs a file of this machine"),
    ],
)
def test_what_is_not_there_is_told(
    anoean: Run, store: Any, args: str, status: int, told: str
) -> None:
    found = anoean(args)
    assert found.returncode == status, found.stderr
    assert told in found.error


def test_refused_access_is_told(anoean: Run, store: Any, endpoint: str) -> None:
    put(store, "fresh.csv", Path("fresh.csv").read_bytes())
    tell(endpoint, "reset-auth", b"0")
    try:
        read = anoean("score s3://rows/fresh.csv")
        write = anoean("score fresh.csv --out s3://rows/o.csv")
    finally:
        tell(endpoint, "reset-auth", b"inf")
    assert (read.returncode, write.returncode) == (3, 7)
    for found in (read, write):
        assert "access is refused; check the credentials" in found.error


def test_a_store_that_does_not_answer_is_told(anoean: Run) -> None:
    found = anoean(
        "score s3://rows/fresh.csv", env={**KEYS, "AWS_ENDPOINT_URL": "http://127.0.0.1:1"}
    )
    assert found.returncode == 3
    assert "the service cannot be reached" in found.error
