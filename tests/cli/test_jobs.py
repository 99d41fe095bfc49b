"""``score --jobs`` and ``--memory``: as many cores and as much memory, and the same to the byte."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import pytest

from .conftest import Run, table_rows, write_csv

pytestmark = pytest.mark.usefixtures("model")
ROWS = 36_000  # more than a MiB: several pieces
FORMATS = ("csv", "jsonl", "parquet")


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Rows of which the last half has line ends in quotes, and a few that cannot be read."""
    rows = table_rows(ROWS, seed=3)
    for row in rows[ROWS // 2 :]:
        row[0] = f'{row[0]} "\n", kept as written'
    for at in (7, ROWS // 2, ROWS - 1):
        rows[at][2] = "oops"
    return write_csv(tmp_path / "many.csv", rows)


@pytest.mark.usefixtures("many")
def test_no_byte_depends_on_jobs_or_memory(anoean: Run) -> None:
    found = {}
    for how in ("--jobs 1", "--jobs 3 --memory 2GiB", "--jobs 2 --memory 1MiB"):
        for format in FORMATS:
            options = f"--on-error flag --keep id --format {format}"
            more = "--embeddings e.h5 --summary s.json --only-anomalies" if format == "csv" else ""
            done = anoean("score many.csv many.csv --quiet --force -o o", options, more, how)
            assert done.returncode == 0, done.stderr
            found.setdefault(format, []).append((Path("o").read_bytes(), done.stderr))
        summary = json.loads(Path("s.json").read_text())
        del summary["seconds"]
        with h5py.File("e.h5") as file:
            found.setdefault("beside", []).append((summary, file.attrs["digest"]))
    for name, (first, *others) in found.items():
        assert others == [first, first], name
    assert found["beside"][0][0]["read"] == 2 * ROWS


def test_a_row_that_stops_it_is_told_alike(anoean: Run) -> None:
    rows = table_rows(ROWS, seed=3)
    rows[30_000][1] = "oops"
    write_csv(Path("stops.csv"), rows)
    one, more = (anoean("score stops.csv --jobs", jobs) for jobs in (1, 3))
    assert one.returncode == more.returncode == 3
    assert "stops.csv, line 30002, column 'size': 'oops' is not a number" in one.error
    assert (one.stdout, one.stderr) == (more.stdout, more.stderr)
    for output in ("-o o.csv", "-o o.parquet --embeddings e.h5"):
        assert anoean("score stops.csv --jobs 3", output).returncode == 3
    assert not {"o.csv", "o.parquet", "e.h5"} & {path.name for path in Path().iterdir()}


@pytest.mark.usefixtures("fresh")
def test_what_comes_before_an_input_that_cannot_be_read_is_written(anoean: Run) -> None:
    Path("empty.csv").touch()
    one, more = (anoean("score fresh.csv empty.csv fresh.csv --jobs", jobs) for jobs in (1, 2))
    assert one.returncode == more.returncode == 3
    assert len(one.rows) == 160
    assert (one.stdout, one.stderr) == (more.stdout, more.stderr)


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize("size", ["512", "0MiB", "-1GiB", "nanG", "lots", "", "MiB", "inf g"])
def test_a_size_has_a_unit(anoean: Run, size: str) -> None:
    refused = anoean("score fresh.csv", f"--memory='{size}'")
    assert refused.returncode == 2
    assert "such as 512MiB or 2GiB" in refused.error
