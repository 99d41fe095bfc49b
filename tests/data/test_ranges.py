"""A table read range by range has the rows, numbers and lines of one read as a whole."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from anoean_cli.data import text
from anoean_cli.data.ranges import Range, ranges
from anoean_cli.data.readers import Wanted, unread
from anoean_cli.errors import DataError
from anoean_cli.interfaces import TableOptions

OPTIONS = TableOptions()
WANTED = Wanted(("size",), ("kind",), ("size", "kind"), keep=("kind",))
HEADER = "size,kind\n"


def rows(path: Path, part: Range | None = None, block: int = 64) -> list[tuple[Any, ...]]:
    """Number and values of each row, or line and reason."""
    found: list[tuple[Any, ...]] = []
    for parse in unread(path, "t", WANTED, OPTIONS, "flag", block, part):
        batch = parse()
        if batch is not None and batch.kept is not None:
            columns = [
                column.to_pylist() for t in (batch.table, batch.kept) for column in t.columns
            ]
            found += zip(batch.rows.tolist(), *columns, strict=True)
            found += [(bad.row, bad.line, bad.reason, bad.kept) for bad in batch.flagged]
    return found


def check(path: Path, size: int) -> list[Range]:
    parts = ranges(str(path), OPTIONS, size)
    by_part = [row for part in parts or [None] for row in rows(path, part)]
    assert sorted(by_part, key=str) == sorted(rows(path), key=str)
    if parts:
        assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    return parts


LINES = [
    "1,a",
    '2,"b\nc"',
    '3,"d""e"',
    "",
    '4,"\r\n\n"',
    "x,y",
    "5",
    '6,5" disk',
    "\ufeff7,f",
    "8,g,",
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(st.sampled_from(LINES), min_size=1, max_size=60),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.booleans(),
    st.booleans(),
    st.integers(1, 200),
)
@example(["1,a"] * 30, "\n", True, True, 20)
@example(["1,a"], "\n", True, False, 1)
def test_ranges_hold_all_rows(
    tmp_path: Path, lines: list[str], end: str, header: bool, whole: bool, size: int
) -> None:
    path = tmp_path / "t.csv"
    start = "\ufeffsize,kind" if header else "0,a"
    content = end.join([start, *lines]) + (end if whole else "")
    path.write_bytes(content.encode())
    assume(any(lines) or not header)
    check(path, size)


@given(st.lists(st.sampled_from(LINES), max_size=20), st.sampled_from(["\n", "\r\n", "\r"]))
def test_rows_are_counted_as_they_are_read(lines: list[str], end: str) -> None:
    for block in text.blocks(_reader(end.join(lines).encode()), ",", "t", 1 << 20):
        assert text.count_rows(block, ",") == len(list(text.rows_of(block, ",")))


def _reader(content: bytes) -> text.Read:
    parts = [content, b""]
    return lambda size: parts.pop(0) if parts else b""


def test_a_quote_that_is_never_closed_is_told_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(HEADER + "1,a\n" * 20 + '2,"b')
    parts = check(path, 30)
    assert len(parts) > 2
    *_, parse = unread(path, "t", WANTED, OPTIONS, "stop", 64, parts[-1])
    with pytest.raises(DataError, match="t, line 22: a quoted field is never closed"):
        parse()


def test_row_groups_are_ranges(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    table = pa.table({"size": np.arange(500.0), "kind": [f"k{n % 3}" for n in range(500)]})
    pq.write_table(table, path, row_group_size=60, compression=None)
    assert [part.rows for part in check(path, 1000)] == [0, 120, 240, 360, 480]


def test_what_cannot_be_cut_is_one_part(tmp_path: Path) -> None:
    content = (HEADER + "1,a\n" * 100).encode()
    for name, data in {
        "small.csv": content,
        "t.csv.gz": gzip.compress(content, 0),
        "one row.csv": f'{HEADER}1,"{"a" * 500}"\n'.encode(),
    }.items():
        path = tmp_path / name
        path.write_bytes(data)
        assert ranges(str(path), OPTIONS, 405 if name == "small.csv" else 60)[1:] == [], name
    path = tmp_path / "wide.csv"
    path.write_bytes(content.decode().encode("utf-16"))
    assert ranges(str(path), TableOptions(encoding="utf-16"), 60) == []
