"""Reading tables: every row arrives, with its number, or is told with its line."""

from __future__ import annotations

import datetime
import decimal
import gzip
import io
import re
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from streaming import stream_table

from anoean_cli.data import columnar, text
from anoean_cli.data.exploring import RawTable, read_table
from anoean_cli.data.readers import Batch, Flagged, Wanted
from anoean_cli.data.streams import open_bytes
from anoean_cli.errors import DataError, UsageError
from anoean_cli.interfaces import TableOptions

OPTIONS = TableOptions()
WANTED = Wanted(
    numeric=("size",),
    categorical=("kind",),
    source_columns=("size", "label", "kind"),
    label="label",
)
HEADER = "size,label,kind\n"


def zstd(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as out:
        out.write(data)
    return sink.getvalue().to_pybytes()


def stream(
    content: str | bytes,
    wanted: Wanted = WANTED,
    options: TableOptions = OPTIONS,
    on_error: Any = "stop",
    block_bytes: int = 1 << 20,
) -> list[Batch]:
    data = content.encode() if isinstance(content, str) else content
    return list(stream_table(io.BytesIO(data), "t.csv", wanted, options, on_error, block_bytes))


def good_rows(batches: list[Batch]) -> dict[int, tuple[Any, ...]]:
    """Row number → feature values."""
    found: dict[int, tuple[Any, ...]] = {}
    for batch in batches:
        values = [column.to_pylist() for column in batch.table.columns]
        assert len(batch.rows) == len(batch.table)
        found |= zip(batch.rows.tolist(), zip(*values, strict=True), strict=True)
    return found


def flagged(batches: list[Batch]) -> list[Flagged]:
    return [row for batch in batches for row in batch.flagged]


def write(folder: Path, content: str | bytes, name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def explore(folder: Path, content: str | bytes, **options: Any) -> RawTable:
    return read_table(write(folder, content), TableOptions(**options))


class Pipe(io.RawIOBase):
    """A stream that cannot seek and gives a few bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._left = data

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        part, self._left = self._left[: min(size, 3)], self._left[min(size, 3) :]
        return part


# ---------------------------------------------------------------------------- scoring


def test_a_header_matches_columns_by_name_and_names_the_extras() -> None:
    (batch,) = stream("extra,kind,size\n9,tcp,1.5\n9,NA,\n")
    assert batch.table.schema == pa.schema({"size": pa.float64(), "kind": text.CATEGORIES})
    assert good_rows([batch]) == {1: (1.5, "tcp"), 2: (None, None)}
    assert batch.extras == ("extra",)
    assert batch.rows.dtype == np.int64
    assert batch.labels is None
    assert batch.kept is None


def test_extras_are_told_once() -> None:
    batches = stream("more,kind,size\n" + "1,a,2\n" * 50, block_bytes=32)
    assert len(batches) > 5
    assert [batch.extras for batch in batches] == [("more",)] + [()] * (len(batches) - 1)


@pytest.mark.parametrize(
    ("row", "extras"),
    [("1,normal,tcp", ()), ("1,tcp", ()), ("1,normal,tcp,7", ("column_4",))],
    ids=["as in training", "without the label", "with more behind"],
)
def test_without_a_header_columns_match_by_position(row: str, extras: tuple[str, ...]) -> None:
    (batch,) = stream(row + "\n")
    assert good_rows([batch]) == {1: (1.0, "tcp")}
    assert batch.extras == extras


def test_too_few_columns_without_a_header() -> None:
    with pytest.raises(DataError, match=r"t\.csv: has 1 column; the model needs 2 \('size', 'kind"):
        stream("1\n")


def test_missing_columns_are_named() -> None:
    with pytest.raises(DataError, match=r"t\.csv: has no column 'size'; its columns are 'kind'"):
        stream("kind,b\ntcp,2\n")


def test_a_doubled_column_is_refused_only_if_wanted() -> None:
    assert good_rows(stream("size,kind,x,x\n1,a,2,3\n")) == {1: (1.0, "a")}
    with pytest.raises(DataError, match=r"more than one column 'size'"):
        stream("size,kind,size\n1,a,2\n")


@pytest.mark.parametrize("header", [True, False])
def test_the_header_option_overrides(header: bool) -> None:
    wanted = Wanted(categorical=("a", "b"), source_columns=("a", "b"))
    batches = stream("a,b\nx,y\n", wanted, TableOptions(header=header))
    assert good_rows(batches) == ({1: ("x", "y")} if header else {1: ("a", "b"), 2: ("x", "y")})


def test_an_unrecognised_header_is_suspected_in_the_message() -> None:
    with pytest.raises(DataError, match=r"line 1, column 'size': 'Width' is not a .*--header yes"):
        stream("Width,Label,Sort\n1,n,tcp\n")


def test_names_in_other_letters_are_missing_names() -> None:
    with pytest.raises(DataError, match=r"no column 'size', 'kind'; its columns are 'Size'"):
        stream("Size,Label,Kind\n1,n,tcp\n")


def test_labels_are_read_when_required() -> None:
    wanted = Wanted(("size",), ("kind",), ("size", "label", "kind"), "label", (), True)
    (batch,) = stream(HEADER + "1,007,a\n2,,b\nx,y,c\n", wanted, on_error="flag")
    assert batch.labels is not None
    assert batch.labels.to_pylist() == ["007", None]
    assert batch.table.column_names == ["size", "kind"]
    with pytest.raises(DataError, match="no column 'label'"):
        stream("size,kind\n1,a\n", wanted)
    with pytest.raises(DataError, match="column 'label' cannot be found"):
        stream("1,a\n", wanted)


def test_kept_columns_pass_exactly_as_written() -> None:
    wanted = Wanted(("size",), ("kind",), ("size", "kind"), keep=("id", "size"))
    (batch,) = stream('id,size,kind\n 007,1.50,a\nNA,bad,b\n"",nan,c\n', wanted, on_error="flag")
    assert batch.kept is not None
    assert batch.kept.to_pydict() == {"id": [" 007", ""], "size": ["1.50", "nan"]}
    assert [(row.row, row.kept) for row in batch.flagged] == [(2, ("NA", "bad"))]
    with pytest.raises(DataError, match="no header, so column 'id' cannot be found"):
        stream("1,a\n", wanted)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("abc,n,x", "column 'size': 'abc' is not a number"),
        ("true,n,x", "column 'size': 'true' is not a number"),
        ("-Infinity,n,x", "column 'size': '-Infinity' is not a finite number"),
        ("1e999,n,x", "column 'size': '1e999' is not a finite number"),
        ("1,n,x,4", "4 fields where 3 are expected"),
        ("1", "1 field where 3 are expected"),
        (b"1,n,\xff\xfe", r"column 'kind': '\xff\xfe' is not valid text"),
        ("1\0,n,x", r"column 'size': '1\x00' is not a number"),
    ],
)
def test_a_bad_row(line: str | bytes, reason: str) -> None:
    bad = line if isinstance(line, bytes) else line.encode()
    content = HEADER.encode() + b'1,n,"a\nb"\n\n2,n,c\n' + bad + b"\n3,n,d\n"
    with pytest.raises(DataError) as caught:
        stream(content)
    assert str(caught.value).startswith("t.csv, line 6")
    assert reason + "; " in str(caught.value)

    batches = stream(content, on_error="flag")
    assert flagged(batches) == [Flagged(3, 6, reason)]
    assert good_rows(batches) == {1: (1.0, "a\nb"), 2: (2.0, "c"), 4: (3.0, "d")}


def test_a_quote_that_is_never_closed() -> None:
    content = HEADER + '1,n,a\n2,n,"b'
    with pytest.raises(DataError, match="line 3: a quoted field is never closed"):
        stream(content)
    batches = stream(content, on_error="flag")
    assert good_rows(batches) == {1: (1.0, "a")}
    assert flagged(batches) == [Flagged(2, 3, "a quoted field is never closed")]
    for on_error in ("stop", "flag"):  # one row that cannot be read is not all that are left
        with pytest.raises(DataError, match=r"line 3: .* one row of this line and the 2 after it"):
            stream(content + "\n3,n,c\n4,n,d\n", on_error=on_error)
    with pytest.raises(DataError, match="line 1: a quoted field is never closed"):
        stream('"size,label\n1,2\n')


def test_a_row_without_end_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_ROW_BYTES", 1 << 12)
    content = HEADER + '1,n,a\n2,n,"' + "b\n" * 4000
    with pytest.raises(DataError, match="line 3: the row has no end"):
        stream(content, on_error="flag", block_bytes=100)


@pytest.mark.parametrize("header", ["yes", "no", "found"])
@pytest.mark.parametrize("sign", ["", '"'])
def test_more_columns_than_a_table_may_have_are_refused_by_the_first_row(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, header: str, sign: str
) -> None:
    """Before the rows under it are looked at: those of a million columns take gigabytes."""
    monkeypatch.setattr(text, "MAX_FIELDS", 5)
    monkeypatch.setattr(text, "parse", pytest.fail)
    names = ",".join(f"{sign}{name}{sign}" for name in ("size", "label", "kind", *"abc"))
    rows = names + "\n1,n,a,0,0,0\n"
    options = TableOptions(header={"yes": True, "no": False, "found": None}[header])
    with pytest.raises(DataError, match=r"t\.csv, line 1: more than 5 columns; leave out"):
        stream(rows, options=options)
    (tmp_path / "t.csv").write_text(rows)
    with pytest.raises(DataError, match=r"t\.csv, line 1: more than 5 columns; leave out"):
        read_table(tmp_path / "t.csv", options)


def test_as_many_columns_as_a_table_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text, "MAX_FIELDS", 3)
    assert good_rows(stream(HEADER + '1,n,a\n"2","n","b"\n')) == {1: (1.0, "a"), 2: (2.0, "b")}


@pytest.mark.parametrize("sign", ["", '"'])
def test_a_row_of_far_too_many_fields_is_flagged_without_parting_them(
    monkeypatch: pytest.MonkeyPatch, sign: str
) -> None:
    monkeypatch.setattr(text, "MAX_FIELDS", 10)
    wide = ",".join([f"{sign}0{sign}"] * 1000)
    assert len(text.fields_of(text.Row(f"{wide}\n".encode(), 1, 0), ",")) == 11
    batches = stream(HEADER + f"1,n,a\n{wide}\n2,n,b\n", on_error="flag")
    assert good_rows(batches) == {1: (1.0, "a"), 3: (2.0, "b")}
    assert flagged(batches) == [Flagged(2, 3, "more than 10 fields where 3 are expected")]


def test_a_quote_within_a_field_is_a_character() -> None:
    content = HEADER + '1,n,5" disk\n2,n,"b\nc"\n3,n,say "hi"\n4,n,"a ""b"""\n'
    expected = {1: (1.0, '5" disk'), 2: (2.0, "b\nc"), 3: (3.0, 'say "hi"'), 4: (4.0, 'a "b"')}
    for block_bytes in (1, 7, 1000):
        assert good_rows(stream(content, block_bytes=block_bytes)) == expected


def test_nul_bytes_lose_no_row() -> None:
    assert good_rows(stream(HEADER + "1,n,a\0b\n2,n,\0\n")) == {1: (1.0, "a\0b"), 2: (2.0, "\0")}


def test_empty_lines_are_no_rows_in_one_column_either() -> None:
    wanted = Wanted(numeric=("x",), source_columns=("x",))
    batches = stream('x\n\n1\n\r\n""\n \nbad\n', wanted, on_error="flag")
    assert good_rows(batches) == {1: (1.0,), 2: (None,), 3: (None,)}
    assert flagged(batches) == [Flagged(4, 7, "column 'x': 'bad' is not a number")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("block_bytes", [1, 5, 1000])
def test_line_ends(end: str, last: bool, block_bytes: int) -> None:
    lines = ["size,label,kind", "1,n,a", "", "x,n,b", "2,n,c"]
    content = end.join(lines) + (end if last else "")
    batches = stream(content, on_error="flag", block_bytes=block_bytes)
    assert good_rows(batches) == {1: (1.0, "a"), 3: (2.0, "c")}
    assert [(row.row, row.line) for row in flagged(batches)] == [(2, 4)]


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is empty"):
        stream(content)
    with pytest.raises(DataError, match="is empty"):
        explore(tmp_path, content)


def test_a_header_alone(tmp_path: Path) -> None:
    for blank in ("", "\n\r\n\n"):
        with pytest.raises(DataError, match=r"t\.csv: has no data rows"):
            stream(HEADER + blank)
    with pytest.raises(DataError, match="has no data rows"):
        explore(tmp_path, HEADER)


def test_null_values_option() -> None:
    options = TableOptions(null_values=("-", "oö"))
    batches = stream(HEADER + "-,n,oö\n3,n,NA\n,n,x\n", options=options, on_error="flag")
    assert good_rows(batches) == {1: (None, None), 2: (3.0, "NA")}
    assert [row.row for row in flagged(batches)] == [3]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(delimiter: str) -> None:
    content = (HEADER + '1,n,a\n2,n,"x;y,z|\tw"\n').replace(",", delimiter)
    quoted = "x;y,z|\tw".replace(",", delimiter)
    assert good_rows(stream(content)) == {1: (1.0, "a"), 2: (2.0, quoted)}


@pytest.mark.parametrize("bad", ["1.5;n;b", "1;b", "1,2,3;n;b"])
def test_decimal_comma(bad: str) -> None:
    content = f"size;label;kind\n1,5;n;a,b\n{bad}\n-,5;n;c\n"
    batches = stream(content, options=TableOptions(decimal=","), on_error="flag")
    assert good_rows(batches) == {1: (1.5, "a,b"), 3: (-0.5, "c")}
    assert [row.row for row in flagged(batches)] == [2]


@pytest.mark.parametrize(
    "options",
    [
        TableOptions(delimiter=";;"),
        TableOptions(delimiter='"'),
        TableOptions(delimiter=",", decimal=","),
        TableOptions(decimal="x"),
        TableOptions(encoding="klingon"),
        TableOptions(encoding="base64"),
        TableOptions(encoding="utf\0"),
    ],
)
def test_impossible_options(options: TableOptions) -> None:
    with pytest.raises(UsageError):
        stream(HEADER, options=options)


# ---------------------------------------------------------------------------- bytes


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252"])
def test_encodings(encoding: str) -> None:
    content = (HEADER + "1,n,é\n" * 30).encode(encoding)
    for block_bytes in (1, 1000):
        batches = stream(content, options=TableOptions(encoding=encoding), block_bytes=block_bytes)
        assert good_rows(batches) == dict.fromkeys(range(1, 31), (1.0, "é"))


@pytest.mark.parametrize(("encoding", "bad"), [("cp1252", b"\x81"), ("ascii", b"\xe9")])
def test_bytes_that_an_encoding_does_not_know_are_the_fault_of_their_row(
    encoding: str, bad: bytes
) -> None:
    content = HEADER.encode() + b"1,n,a\n2,n," + bad + b"\n3,n,c\n"
    batches = stream(content, options=TableOptions(encoding=encoding), on_error="flag")
    assert sorted(good_rows(batches)) == [1, 3]
    assert [(row.row, row.line) for row in flagged(batches)] == [(2, 3)]


def test_utf16_taken_for_utf8_is_told() -> None:
    with pytest.raises(DataError, match="--encoding utf-16"):
        stream(HEADER.encode("utf-16"))


@pytest.mark.parametrize("compress", [bytes, gzip.compress, zstd])
def test_compression_is_told_by_content(compress: Any, tmp_path: Path) -> None:
    data = (HEADER + "1,n,a\n" * 500).encode()
    path = write(tmp_path, compress(data), "anything.dat")
    with open_bytes(path) as file:
        assert file.read() == data
    pipe: Any = Pipe(compress(data))
    for source in (path, pipe):
        batches = list(stream_table(source, "t", WANTED, OPTIONS, "stop", 256))
        assert sorted(good_rows(batches)) == list(range(1, 501))
    assert len(read_table(path, OPTIONS).table) == 500


@pytest.mark.parametrize("compress", [gzip.compress, zstd])
def test_damaged_compression(compress: Any, tmp_path: Path) -> None:
    rows = "".join(f"{i * 7919 % 1013},n,a\n" for i in range(20_000))
    data = compress((HEADER + rows).encode())
    middle = len(data) // 2
    for damaged in (data[:middle], data[:middle] + b"?" * 20 + data[middle + 20 :], data[:5]):
        with pytest.raises(DataError, match=r"t\.gz: its compression is damaged or cut short"):
            list(stream_table(write(tmp_path, damaged, "t.gz"), "t.gz", WANTED, OPTIONS, "flag"))


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nowhere\.csv: no such file"):
        open_bytes(tmp_path / "nowhere.csv")
    with pytest.raises(DataError, match="is a folder"):
        read_table(tmp_path, OPTIONS)
    with pytest.raises(DataError, match="spreadsheet"):
        open_bytes(write(tmp_path, b"PK\x03\x04...", "book.xlsx"))


def test_a_given_stream_is_left_open() -> None:
    source = io.BytesIO(HEADER.encode() + b"1,n,a\n")
    list(stream_table(source, "stdin", WANTED, OPTIONS, "stop"))
    assert not source.closed


# ---------------------------------------------------------------------------- properties

FIELD = st.one_of(
    st.sampled_from(["", "NA", " ", "1", " 2.5\t", "-.5", "1e5", "3.", "x", "inf", "1e999", '""']),
    st.sampled_from(['"a\nb"', '"x""y"', '"a,b"', 'say "hi', "é", '"c" d', "nan", "NAN", "+1"]),
    st.text(alphabet='a1.+-eE "\0x_nif', max_size=6),
)
TEXT_ROWS = st.lists(st.lists(FIELD, min_size=1, max_size=4).map(",".join), max_size=12)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=TEXT_ROWS,
    block_bytes=st.sampled_from([1, 2, 5, 10, 20, 40, 1000]),
    block_rows=st.sampled_from([1, 2, 3, 1000]),
    end=st.sampled_from(["\n", "\r\n"]),
)
@example(rows=["1,n,a", '2,n,"b'], block_bytes=1, block_rows=1000, end="\n")
@example(rows=["1,n,a", "", '2,n,"b\r\n"', "3,n,c"], block_bytes=1000, block_rows=1, end="\r\n")
def test_results_do_not_depend_on_the_blocks(
    rows: list[str], block_bytes: int, block_rows: int, end: str
) -> None:
    content = end.join([HEADER.strip(), *rows, "1,n,last"])
    whole = read_or_refused(content)
    with mock.patch.object(text, "BLOCK_ROWS", block_rows):
        assert read_or_refused(content, block_bytes=block_bytes) == whole


def read_or_refused(content: str, **options: Any) -> Any:
    """The rows that are read and those that are flagged; or what is said of an unclosed quote."""
    try:
        batches = stream(content, on_error="flag", **options)
    except DataError as refused:
        return str(refused)
    return good_rows(batches), {row.row: row for row in flagged(batches)}


@pytest.mark.parametrize("row", ["1\n", "1\r\n", '"1"\n', 'say "1\n', "\n1\n"])
def test_blocks_of_tiny_rows_hold_few_of_them(row: str) -> None:
    content = io.BytesIO(row.encode() * 300)
    with mock.patch.object(text, "BLOCK_ROWS", 100):
        blocks = list(text.blocks(content.read, ",", "t", block_bytes=1 << 20))
    rows = [list(text.rows_of(block, ",")) for block in blocks]
    assert max(map(len, rows)) <= 100
    assert sum(map(len, rows)) == 300
    lines = [each.line for each in chain.from_iterable(rows)]
    assert lines == [each.line for each in text.rows_of(text.Block(row.encode() * 300, 1), ",")]


@settings(max_examples=150, deadline=None)
@given(rows=TEXT_ROWS)
def test_the_slow_path_gives_the_same_values_and_loses_no_row(rows: list[str]) -> None:
    """A ragged row at the front sends its whole block through the slow path."""
    closed = [row for row in rows if row.count('"') % 2 == 0]
    fast = read_or_refused("\n".join([HEADER.strip(), "0,n,z", *closed]), block_bytes=1)
    slow = read_or_refused("\n".join([HEADER.strip(), "ragged", *closed]))
    assume(not isinstance(fast, str))
    (good, bad), (good_beside, bad_beside) = fast, slow
    assert good.pop(1) == (0.0, "z")
    assert bad_beside.pop(1).reason
    assert (good_beside, bad_beside) == (good, bad)
    assert sorted([*good, *bad]) == list(range(2, 2 + len(good) + len(bad)))


@settings(max_examples=300, deadline=None)
@given(
    value=st.text(alphabet="0123456789.,+-eE \tnaifty_()", max_size=9), sign=st.sampled_from(".,")
)
@example(value="nan(ab_1)", sign=".")
@example(value="-infinity", sign=".")
def test_numbers_are_those_of_arrow(value: str, sign: str) -> None:
    dialect = text.Dialect(";", sign, nulls=("no such",))
    layout = text.Layout("t", dialect, 2, numeric={"x": 0})
    converted = text._converted(f"{value};\n".encode(), layout)
    found = text.number(value.encode(), sign)
    if found is None or np.isinf(found):
        assert converted is None
    else:
        assert converted is not None
        (read,) = converted[0].column("x").to_pylist()
        assert read == (None if np.isnan(found) else found)


@settings(max_examples=200, deadline=None)
@given(data=st.text(alphabet='",\n\rab', max_size=30))
def test_rows_and_fields_are_those_of_arrow(data: str) -> None:
    """Of a text in one column, so that Arrow takes a row of any one field."""
    blocks = list(text.blocks(io.BytesIO(data.encode()).read, ";", "t", 1 << 10))
    layout = text.Layout("t", text.Dialect(";"), 1, kept={"x": 0}, text={"y": 0})
    for block in blocks:
        if block.unclosed:
            continue
        fields = [text.fields_of(row, ";") for row in text.rows_of(block, ";")]
        assert all(len(row) == 1 for row in fields)
        converted = text._converted(block.data, layout)
        assert converted is not None
        assert converted[1] is not None
        assert converted[1].column("x").to_pylist() == [row[0].decode() for row in fields]


# ---------------------------------------------------------------------------- exploring


def test_types_are_found(tmp_path: Path) -> None:
    found = explore(
        tmp_path,
        "count,ratio,flag,day,code,kind,none\n"
        "1,0.5,true,2024-01-02,007,a,\n"
        "18446744073709551617,NA,false,2024-01-03,010, b,?\n",
    )
    assert found.had_header
    assert found.columns == ("count", "ratio", "flag", "day", "code", "kind", "none")
    assert found.table.to_pydict() == {
        "count": [1.0, 18446744073709551617.0],
        "ratio": [0.5, None],
        "flag": ["true", "false"],
        "day": [datetime.datetime(2024, 1, 2), datetime.datetime(2024, 1, 3)],
        "code": [7.0, 10.0],
        "kind": ["a", "b"],
        "none": [None, None],
    }
    assert found.table.schema.field("none").type == pa.float64()


def test_a_column_may_be_asked_for_as_written(tmp_path: Path) -> None:
    path = write(tmp_path, "code,x\n007,1\nNA,2\n")
    found = read_table(path, TableOptions(categorical=("1",)))
    assert found.table.to_pydict() == {"code": ["007", None], "x": [1.0, 2.0]}


@pytest.mark.parametrize("name", ["t.csv", "t.parquet"])
def test_a_column_without_values_may_be_one_of_dates(tmp_path: Path, name: str) -> None:
    table = pa.table({"x": [1, 2], "day": pa.nulls(2, pa.string())})
    (pacsv.write_csv if name == "t.csv" else pq.write_table)(table, tmp_path / name)
    found = read_table(tmp_path / name, TableOptions(datetime=("day",))).table
    assert found.schema.field("day").type == pa.timestamp("us")
    assert found.column("day").null_count == 2


def test_one_late_word_makes_a_column_text(tmp_path: Path) -> None:
    table = explore(tmp_path, "x,y\n" + "1,2\n" * 300_000 + "one,2\n").table
    assert table.schema.types == [pa.string(), pa.float64()]
    assert len(table) == 300_001


@pytest.mark.parametrize(
    ("content", "columns"),
    [
        ("a,b\n1,x\n2,y\n", ("a", "b")),
        ("a,b\nx,y\nz,y\n", ("a", "b")),
        ("x,y\nx,z\n", None),
        ("1,2\n3,4\n", None),
        ("a,NA\n1,2\n", ("a", "NA")),
        (",a,b\n0,1,x\n", ("column_1", "a", "b")),
        ('"a",b \n1,2\n', ("a", "b")),
    ],
)
def test_header_recognition(tmp_path: Path, content: str, columns: tuple[str, ...] | None) -> None:
    found = explore(tmp_path, content)
    assert found.had_header == (columns is not None)
    assert found.columns == (columns or ("column_1", "column_2"))
    assert len(found.table) == content.count("\n") - found.had_header


def test_the_header_option_overrides_when_exploring(tmp_path: Path) -> None:
    assert explore(tmp_path, "1,2\n3,4\n", header=True).columns == ("1", "2")
    assert explore(tmp_path, "a,b\n3,4\n", header=False).table.to_pydict() == {
        "column_1": ["a", "3"],
        "column_2": ["b", "4"],
    }
    with pytest.raises(DataError, match="more than one column 'a'"):
        explore(tmp_path, "a,a\n3,4\n", header=True)


@pytest.mark.parametrize("infinite", ["inf", "-Infinity", "1e999"])
def test_infinity_is_told_with_its_line(tmp_path: Path, infinite: str) -> None:
    with pytest.raises(DataError, match=rf"t\.csv, line 6, column 'y': '{infinite}' is not a fin"):
        explore(tmp_path, f'x,y\n"a\nb",1\n\nc,2\nd,{infinite}\n')


def test_a_ragged_row_is_told_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"t\.csv, line 4: 1 field where 2 are expected; correct"):
        explore(tmp_path, 'x,y\n"a\nb",1\n3\n4,5\n')


def test_exploring_with_other_dialects(tmp_path: Path) -> None:
    found = explore(tmp_path, "x;y\n1,5;é\n2;è\n".encode("cp1252"), decimal=",", encoding="cp1252")
    assert found.table.to_pydict() == {"x": [1.5, 2.0], "y": ["é", "è"]}
    found = explore(tmp_path, "x;y\n1.5;1\n2;2,5\n", decimal=",")
    assert found.table.to_pydict() == {"x": ["1.5", "2"], "y": [1.0, 2.5]}


NUMBERS = st.sampled_from(["1", " 2.5", "1e3 ", "NA", " NA", "-0", "+7", "nan", "NAN", '"3"', ".5"])


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(values=st.lists(NUMBERS, min_size=1))
def test_exploring_and_scoring_read_the_same_numbers(tmp_path: Path, values: list[str]) -> None:
    path = write(tmp_path, "x,y\n" + "".join(f"{value},2\n" for value in values))
    explored = read_table(path, OPTIONS).table.column("x").to_pylist()
    wanted = Wanted(numeric=("x",), source_columns=("x", "y"))
    streamed = good_rows(list(stream_table(path, "t", wanted, OPTIONS, "stop")))
    assert explored == [value for (value,) in streamed.values()]


# ---------------------------------------------------------------------------- Parquet


def parquet(folder: Path, name: str = "t.parquet", **columns: Any) -> Path:
    path = folder / name
    pq.write_table(pa.table(columns), path)
    return path


def test_parquet_types_when_exploring(tmp_path: Path) -> None:
    path = parquet(
        tmp_path,
        i=pa.array([1, None], pa.uint64()),
        f=pa.array([float("nan"), 1.5], pa.float32()),
        b=[True, False],
        d=[decimal.Decimal("1.50"), None],
        s=["1", "NA"],
        c=pa.array(["x", None]).dictionary_encode(),
        day=[datetime.date(2024, 1, 2), None],
    )
    assert read_table(path, OPTIONS).table.to_pydict() == {
        "i": [1.0, None],
        "f": [None, 1.5],
        "b": ["true", "false"],
        "d": [1.5, None],
        "s": ["1", None],
        "c": ["x", None],
        "day": [datetime.datetime(2024, 1, 2), None],
    }


DAYS = [f"2024-{1 + day // 28:02}-{1 + day % 28:02}" for day in range(199)]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            [f"{n}.5" for n in range(200)],
            "column 'x' is text by its type, although all .* --numeric",
        ),
        ([*DAYS, "soon"], "row 200, column 'x': 'soon' is not a date.* although 199 of its 200"),
    ],
)
def test_text_in_parquet_that_may_be_something_else_is_told_of(
    tmp_path: Path, values: list[str], told: str
) -> None:
    warnings: list[str] = []
    found = read_table(parquet(tmp_path, x=values), OPTIONS, warnings.append)
    assert found.table["x"].to_pylist() == values
    (warning,) = warnings
    assert re.search(told, warning)


def test_a_word_among_numbers_is_refused_in_parquet_as_in_text(tmp_path: Path) -> None:
    values = [*(f"{n}.5" for n in range(199)), "broken"]
    with pytest.raises(DataError, match=r"row 200, column 'x': 'broken' is not a number"):
        read_table(parquet(tmp_path, x=values), OPTIONS)


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_whole_numbers_that_lose_digits_are_told_of(tmp_path: Path, ending: str) -> None:
    ids = [10**18 + step for step in range(40)]
    for values, told in ((ids, 1), ([number // 10**9 for number in ids], 0)):
        table, path = pa.table({"x": values}), tmp_path / f"t.{ending}"
        pq.write_table(table, path) if ending == "parquet" else pacsv.write_csv(table, path)
        warnings: list[str] = []
        read_table(path, OPTIONS, warnings.append)
        assert len(warnings) == told
        assert all("whole numbers beyond 9,007,199,254,740,992" in warning for warning in warnings)


def test_parquet_that_cannot_be_explored(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'n': holds nested values"):
        read_table(parquet(tmp_path, n=[[1], [2]]), OPTIONS)
    with pytest.raises(DataError, match="row 2, column 'x': 'inf' is not a finite number"):
        read_table(parquet(tmp_path, x=[1.0, float("inf")]), OPTIONS)
    with pytest.raises(DataError, match="has no data rows"):
        read_table(parquet(tmp_path, x=pa.array([], pa.int64())), OPTIONS)
    with pytest.raises(DataError, match="is damaged or no Parquet file"):
        read_table(write(tmp_path, "x\n1\n", "t.parquet"), OPTIONS)


@pytest.mark.parametrize("name", ["t.parquet", "told by content"])
def test_streaming_parquet(tmp_path: Path, name: str) -> None:
    count = 70_000
    path = parquet(
        tmp_path,
        name,
        more=[1] * count,
        kind=pa.array(["a"] * count).dictionary_encode(),
        size=[str(i) for i in range(count)],
        label=[0] * count,
    )
    wanted = Wanted(("size",), ("kind",), ("size", "label", "kind"), "label", ("more",), True)
    batches = list(stream_table(path, "t", wanted, OPTIONS, "stop"))
    assert good_rows(batches) == {i + 1: (float(i), "a") for i in range(count)}
    assert batches[0].extras == ()
    assert batches[0].kept is not None
    assert batches[0].kept.column("more")[0].as_py() == "1"
    assert batches[0].labels is not None
    assert batches[0].labels[0].as_py() == "0"


def test_a_wide_parquet_file_comes_in_parts_that_fit_in_memory(tmp_path: Path) -> None:
    names, rows = tuple(f"x{at}" for at in range(784)), 12_000
    path = parquet(tmp_path, **dict.fromkeys(names, np.zeros(rows, np.uint8)))
    batches = list(stream_table(path, "t", Wanted(numeric=names), OPTIONS, "stop"))
    assert max(batch.table.nbytes for batch in batches) < 25e6
    found = np.concatenate([batch.rows for batch in batches])
    np.testing.assert_array_equal(found, np.arange(1, rows + 1))


def test_parquet_of_too_many_columns_is_refused_by_its_footer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar, "MAX_FIELDS", 3)
    assert read_table(parquet(tmp_path, a=[1], b=[1], c=[1]), OPTIONS).columns == ("a", "b", "c")
    wide = parquet(tmp_path, a=[1], b=[1], c=[1], d=[1])
    told = r"t\.parquet: has more than 3 columns or row groups; leave out"
    with pytest.raises(DataError, match=told):
        read_table(wide, OPTIONS)
    with pytest.raises(DataError, match=told):
        list(stream_table(wide, "t", WANTED, OPTIONS, "flag"))
    pq.write_table(pa.table({"a": range(9)}), tmp_path / "t.parquet", row_group_size=2)
    with pytest.raises(DataError, match=told):
        read_table(tmp_path / "t.parquet", OPTIONS)


@pytest.mark.parametrize("name", ["BZhours", "GIF8x", "PARsec", "MMx"])
def test_a_name_that_begins_as_other_content_is_a_name(name: str) -> None:
    wanted = Wanted(numeric=(name,), source_columns=(name,))
    (batch,) = stream_table(io.BytesIO(f"{name}\n1\n".encode()), "t", wanted, OPTIONS, "stop")
    assert batch.table.to_pydict() == {name: [1.0]}


def test_parquet_rows_that_cannot_be_scored(tmp_path: Path) -> None:
    path = parquet(
        tmp_path, size=[1.0, float("inf"), float("nan")], kind=["a", "b", None], z=[1] * 3
    )
    with pytest.raises(DataError, match="t, row 2, column 'size': 'inf' is not a finite number"):
        list(stream_table(path, "t", WANTED, OPTIONS, "stop"))
    batches = list(stream_table(path, "t", WANTED, OPTIONS, "flag"))
    assert good_rows(batches) == {1: (1.0, "a"), 3: (None, None)}
    assert flagged(batches) == [Flagged(2, 0, "column 'size': 'inf' is not a finite number")]
    assert batches[0].extras == ("z",)


def test_flagged_rows_keep_what_can_be_told(tmp_path: Path) -> None:
    wanted = Wanted(("size",), (), ("size",), keep=("id", "size"))
    lines = [b"id,size", b"a,oops", b"b,1,2", b"\xff,x", b'c,"1']
    found = flagged(stream(b"\n".join(lines), wanted, on_error="flag"))
    assert [row.kept for row in found] == [("a", "oops"), (), (None, "x"), ()]
    path = parquet(tmp_path, size=[1.0, float("inf")], id=[1, 2])
    (batch,) = stream_table(path, "t", wanted, OPTIONS, "flag")
    assert batch.flagged[0].kept == ("2", "inf")


def test_parquet_columns_that_cannot_be_scored(tmp_path: Path) -> None:
    path = parquet(tmp_path, size=["x"], kind=["a"])
    with pytest.raises(DataError, match="column 'size': its values, of type string, cannot"):
        list(stream_table(path, "t", WANTED, OPTIONS, "flag"))
    path = parquet(tmp_path, size=[datetime.date(2024, 1, 1)], kind=["a"])
    with pytest.raises(DataError, match="column 'size': its values, of type date32"):
        list(stream_table(path, "t", WANTED, OPTIONS, "flag"))
    with pytest.raises(DataError, match="has no column 'kind'"):
        list(stream_table(parquet(tmp_path, size=[1]), "t", WANTED, OPTIONS, "flag"))
    pipe: Any = Pipe(path.read_bytes())
    with pytest.raises(DataError, match="stdin: Parquet cannot be read from a pipe"):
        list(stream_table(pipe, "stdin", WANTED, OPTIONS, "stop"))


def told_of(path: Path) -> list[str]:
    """What the two ways of reading a table tell of it, if they refuse it."""
    found = []
    ways: list[Callable[[], Any]] = [
        lambda: list(stream_table(path, "t", WANTED, OPTIONS, "stop")),
        lambda: read_table(path, OPTIONS),
    ]
    for read in ways:
        try:
            read()
        except DataError as error:
            found.append(str(error))
    return found


def test_damage_to_parquet_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"size": [1.0] * 9, "kind": list("abcabcabc")}), path)
    data = path.read_bytes()
    path.write_bytes(data.replace(b"kind", b"k\xffnd"))  # names that are no text
    assert len(told_of(path)) == 2
    for at in range(0, len(data), 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        assert all(len(message.splitlines()) == 1 for message in told_of(path))
