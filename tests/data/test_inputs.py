"""What score reads: every input row comes out once, from every kind of input."""

from __future__ import annotations

import gzip
import io
import struct
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from anoean_cli.data.inputs import Expected, Piece, Reading, pieces
from anoean_cli.data.schema import TableSchema
from anoean_cli.errors import DataError, UsageError
from anoean_cli.interfaces import Dataset, ExampleSpec, TableOptions
from anoean_cli.storage.prepared import write_prepared

SCHEMA = TableSchema({"x": "numeric", "k": "categorical"}, {}, ("x", "label", "k"), "label")
TABLE = Expected(ExampleSpec("table", (3,)), SCHEMA)
GREY = Expected(ExampleSpec("image", (1, 2, 3)), None)
CSV = "x,label,k\n1,n,a\n2,m,b\n3,n,c\n"


def read(source: Path | str, expected: Expected = TABLE, **reading) -> list[Piece]:
    return list(pieces(str(source), expected, Reading(**reading)))


def together(found: list[Piece]) -> pa.Table:
    return pa.concat_tables([piece.examples for piece in found])


def image_files(folder: Path, count: int) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (count, 2, 3), np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{i:03}.png")
    return pixels


def write_idx(path: Path, images: np.ndarray) -> None:
    head = b"\0\0\x08" + bytes([images.ndim]) + struct.pack(f">{images.ndim}I", *images.shape)
    path.write_bytes(head + images.tobytes())


# --------------------------------------------------------------------------- tables


def test_a_table_has_the_models_columns_and_row_numbers_from_1(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("more," + CSV.replace("\n", "\n0,", 3))
    found = read(path)
    assert together(found).to_pydict() == {"x": [1, 2, 3], "k": ["a", "b", "c"]}
    assert np.concatenate([piece.rows for piece in found]).tolist() == [1, 2, 3]
    assert found[0].extras == ("more",)
    assert found[0].identities()[0] == str(path)
    assert found[0].labels is None


@pytest.mark.parametrize("header", [True, False])
def test_columns_that_training_had_and_left_out_are_no_extras(tmp_path, header):
    schema = TableSchema(
        {"x": "numeric"}, {"id": "counts the rows"}, ("id", "x"), rest=("ignored",)
    )
    rows = "id,x,ignored,new\n1,2,3,4\n"
    (tmp_path / "t.csv").write_text(rows if header else rows.partition("\n")[2])
    (piece,) = read(tmp_path / "t.csv", Expected(ExampleSpec("table", (1,)), schema))
    assert piece.extras == (("new",) if header else ("column_4",))


def test_every_container_of_a_table_reads_the_same(tmp_path):
    (tmp_path / "t.csv").write_text(CSV)
    (tmp_path / "t.csv.gz").write_bytes(gzip.compress(CSV.encode()))
    table = pa.table({"x": [1.0, 2, 3], "label": ["n", "m", "n"], "k": ["a", "b", "c"]})
    pq.write_table(table, tmp_path / "t.parquet")
    with pa.CompressedOutputStream(str(tmp_path / "t.csv.zst"), "zstd") as out:
        out.write(CSV.encode())
    expected = together(read(tmp_path / "t.csv")).to_pydict()
    for name in ("t.csv.gz", "t.csv.zst", "t.parquet"):
        found = read(tmp_path / name, labels=True, keep=("label",))
        assert together(found).to_pydict() == expected, name
        assert found[0].labels == ["n", "m", "n"]
        assert found[0].kept.column("label").to_pylist() == ["n", "m", "n"]


def test_stdin_is_read_as_a_file_is(monkeypatch):
    class Stdin:
        buffer = io.BufferedReader(io.BytesIO(CSV.encode()))

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert together(read("-")).to_pydict() == {"x": [1, 2, 3], "k": ["a", "b", "c"]}


def test_unreadable_rows_stop_or_are_flagged(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,label,k\n1,n,a\nlong,n,b\n3,n,c\n")
    with pytest.raises(DataError, match=r"line 3.*long|long.*line 3"):
        read(path)
    found = read(path, on_error="flag")
    assert np.concatenate([piece.rows for piece in found]).tolist() == [1, 3]
    assert [flagged.row for piece in found for flagged in piece.flagged] == [2]


def test_missing_labels_are_empty(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("x,label,k\n1,,a\n2,n,b\n")
    assert read(path, labels=True)[0].labels == ["", "n"]


def test_labels_lose_the_ending_that_the_models_labels_have_not(tmp_path):
    (tmp_path / "t.csv").write_text("x,label,k\n1,n.,a\n2,,b\n")
    (piece,) = read(tmp_path / "t.csv", labels=True, label_ending=".")
    assert piece.labels == ["n", ""]


def test_labels_need_a_column(tmp_path):
    (tmp_path / "t.csv").write_text("x,k\n1,a\n")
    without = Expected(TABLE.spec, TableSchema(SCHEMA.columns, {}, ("x", "k"), None))
    with pytest.raises(UsageError, match="--label"):
        read(tmp_path / "t.csv", without, labels=True)


def test_a_folder_of_tables_is_refused_with_what_to_do(tmp_path):
    with pytest.raises(DataError, match=r"folder.*/\*"):
        read(tmp_path)


# --------------------------------------------------------------------------- images


def test_a_folder_of_images_is_read_in_order_each_file_one_row(tmp_path):
    pixels = image_files(tmp_path / "images" / "deep", 5)
    (tmp_path / "images" / "notes.txt").write_text("not an image")
    (piece,) = read(tmp_path / "images", GREY)
    np.testing.assert_array_equal(piece.examples[:, 0], pixels)
    files, rows = piece.identities()
    assert [Path(file).name for file in files] == [f"{i:03}.png" for i in range(5)]
    assert rows.tolist() == [1] * 5


def test_images_are_no_tables(tmp_path):
    image_files(tmp_path, 1)
    write_idx(tmp_path / "idx3", np.zeros((2, 2, 3), np.uint8))
    for name in ("000.png", "idx3"):
        with pytest.raises(DataError, match=f"{name}: holds images"):
            read(tmp_path / name)


@pytest.mark.parametrize("shape", [(1, 6), (3, 2), (6, 1), (2, 3, 1)])
def test_as_many_pixels_in_another_shape_are_another_image(tmp_path, shape):
    write_idx(tmp_path / "idx", np.zeros((2, *shape), np.uint8))
    with pytest.raises(DataError, match="2 x 3"):
        read(tmp_path / "idx", GREY)


def test_many_images_come_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("anoean_cli.data.inputs.IMAGES_AT_ONCE", 2)
    pixels = image_files(tmp_path, 5)
    found = read(tmp_path, GREY)
    assert [len(piece.rows) for piece in found] == [2, 2, 1]
    np.testing.assert_array_equal(np.concatenate([p.examples for p in found])[:, 0], pixels)
    files = [file for piece in found for file in piece.identities()[0]]
    assert len(set(files)) == 5


def test_damaged_and_unlike_images_are_flagged_by_their_file(tmp_path):
    pixels = image_files(tmp_path, 4)
    (tmp_path / "001.png").write_bytes(b"\x89PNG nothing")
    Image.fromarray(np.zeros((9, 9), np.uint8)).save(tmp_path / "002.png")
    with pytest.raises(DataError, match=r"001\.png"):
        read(tmp_path, GREY)
    (piece,) = read(tmp_path, GREY, on_error="flag")
    np.testing.assert_array_equal(piece.examples[:, 0], pixels[[0, 3]])
    assert [Path(file).name for file in piece.identities()[0]] == ["000.png", "003.png"]
    assert [Path(piece.files[flagged.row - 1]).name for flagged in piece.flagged] == [
        "001.png",
        "002.png",
    ]
    assert "9 pixels wide" in piece.flagged[1].reason
    assert len(piece.rows_by_file()) == 4


def test_a_folder_where_no_image_can_be_read_is_all_flagged(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no")
    (piece,) = read(tmp_path, GREY, on_error="flag")
    assert piece.examples.shape == (0, 1, 2, 3)
    assert len(piece.flagged) == 1


def test_an_idx_file_is_rows_of_one_file(tmp_path):
    images = np.arange(24, dtype=np.uint8).reshape(4, 2, 3)
    write_idx(tmp_path / "images-idx3", images)
    (piece,) = read(tmp_path / "images-idx3", GREY)
    np.testing.assert_array_equal(piece.examples[:, 0], images)
    assert piece.rows.tolist() == [1, 2, 3, 4]
    write_idx(tmp_path / "other", np.zeros((4, 5, 5), np.uint8))
    with pytest.raises(DataError, match="2 x 3"):
        read(tmp_path / "other", GREY)


@pytest.mark.parametrize("header", ["", "a,b,c,d,e,f\n"])
def test_rows_of_pixel_values_are_images(tmp_path, header):
    path = tmp_path / "pixels.csv"
    path.write_text(header + "0,1,2,3,4,255\n5,5,5,5,5,5\n")
    (piece,) = read(path, GREY)
    assert piece.examples.tolist() == [[[[0, 1, 2], [3, 4, 255]]], [[[5, 5, 5], [5, 5, 5]]]]


def test_pixel_rows_may_carry_labels_and_columns_to_keep(tmp_path):
    path = tmp_path / "pixels.csv"
    path.write_text("label,a,b,c,d,e,f,id\n7,0,1,2,3,4,5,first\n")
    (piece,) = read(path, GREY, labels=True, keep=("id",))
    assert piece.labels == ["7"]
    assert piece.kept.to_pydict() == {"id": ["first"]}
    assert piece.examples.ravel().tolist() == [0, 1, 2, 3, 4, 5]


PIXEL_ROWS = [[7, 0, 1, 2, 3, 4, 5], [8, 5, 5, 5, 5, 5, 255]]
KAGGLE = "label,pixel0,pixel1,pixel2,pixel3,pixel4,pixel5"


def pixel_table(header: str, delimiter: str = ",", extra: str = "") -> str:
    """Two rows of a label and six pixels beneath a header, each after a value of another column."""
    rows = [extra + ",".join(map(str, row)) for row in PIXEL_ROWS]
    return "".join(line.replace(",", delimiter) + "\n" for line in [header, *rows])


def pixels_of(found: list[Piece]) -> list[list[int]]:
    return np.concatenate([piece.examples for piece in found]).reshape(-1, 6).tolist()


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (pixel_table(KAGGLE).encode("utf-8-sig"), {}),
        (pixel_table(KAGGLE).encode("utf-16"), {"encoding": "utf-16"}),
        (gzip.compress(pixel_table(KAGGLE).encode()), {}),
        (("\n" + pixel_table(KAGGLE)).encode(), {}),
        (pixel_table(KAGGLE, ";").encode(), {}),
        (pixel_table(KAGGLE, "|").encode(), {}),
        (pixel_table(KAGGLE).replace("\n", "\r").encode(), {}),
        (pixel_table('"label","1x1","1x2","1x3","2x1","2x2","2x3"').encode(), {}),
        (pixel_table("label,0,1,2,3,4,5").encode(), {}),
        (pixel_table("class,0,1,2,3,4,5").encode(), {}),
        (pixel_table("digit,0,1,2,3,4,5").encode(), {"label": "digit"}),
        (pixel_table("digit,a,b,c,d,e,f").encode(), {"label": "1"}),
        (pixel_table("0,1,2,3,4,5,6").encode(), {"label": "0", "header": True}),
        (pixel_table("").partition("\n")[2].encode(), {"label": "1"}),
    ],
    ids=[
        "mark",
        "utf-16",
        "gzip",
        "blank",
        "semicolon",
        "bar",
        "cr",
        "rows-and-columns",
        "numbers",
        "class",
        "label",
        "position",
        "said",
        "no-header",
    ],
)
def test_pixels_and_labels_are_found_however_their_table_is_written(tmp_path, content, options):
    (tmp_path / "pixels").write_bytes(content)
    found = read(tmp_path / "pixels", GREY, labels=True, options=TableOptions(**options))
    assert pixels_of(found) == [row[1:] for row in PIXEL_ROWS]
    assert [label for piece in found for label in piece.labels or ()] == ["7", "8"]
    assert found[0].extras == ()


@pytest.mark.parametrize("names", [KAGGLE.split(","), ["label", *"012345"], ["label", *"abcdef"]])
def test_pixels_in_parquet(tmp_path, names):
    columns = [pa.array(column, pa.uint8()) for column in zip(*PIXEL_ROWS, strict=True)]
    table = pa.table(columns, names)
    pq.write_table(table, tmp_path / "labelled.parquet")
    pq.write_table(table.drop_columns(["label"]), tmp_path / "plain.parquet")
    for name in ("labelled", "plain"):
        found = read(tmp_path / f"{name}.parquet", GREY)
        assert pixels_of(found) == [row[1:] for row in PIXEL_ROWS], name
    assert read(tmp_path / "labelled.parquet", GREY, labels=True)[0].labels == ["7", "8"]


class Slowly(io.RawIOBase):
    """A pipe whose writer gives a few bytes at a time."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        part = self._rest.read(min(3, len(buffer)))
        buffer[: len(part)] = part
        return len(part)


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_pixels_from_a_slow_pipe(monkeypatch, pack):
    class Stdin:
        buffer = io.BufferedReader(Slowly(pack(pixel_table(KAGGLE).encode())))

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert pixels_of(read("-", GREY)) == [row[1:] for row in PIXEL_ROWS]


@pytest.mark.parametrize("header", [KAGGLE, "label,0,1,2,3,4,5"])
@pytest.mark.parametrize("keep", [(), ("id",)])
def test_extra_columns_beside_pixels_are_told_once_or_kept(tmp_path, header, keep):
    (tmp_path / "p.csv").write_text(pixel_table("id," + header, extra="x,"))
    (piece,) = read(tmp_path / "p.csv", GREY, keep=keep)
    assert pixels_of([piece]) == [row[1:] for row in PIXEL_ROWS]
    assert piece.extras == (() if keep else ("id",))
    assert (piece.kept.to_pydict() if keep else {}) == ({"id": ["x", "x"]} if keep else {})


def test_numbered_pixels_are_put_in_order(tmp_path):
    (tmp_path / "p.csv").write_text("p1,p10,p5,p6,p8,p9\n0,5,1,2,3,4\n")
    assert pixels_of(read(tmp_path / "p.csv", GREY)) == [[0, 1, 2, 3, 4, 5]]


def test_numbers_that_are_no_pixels_name_columns(tmp_path):
    wide = Expected(ExampleSpec("image", (1, 15, 20)), None)
    row = ",".join(["9"] * 300)
    (tmp_path / "p.csv").write_text(",".join(map(str, range(300))) + f"\n{row}\n")
    (piece,) = read(tmp_path / "p.csv", wide)
    assert piece.examples.shape == (1, 1, 15, 20)
    assert np.unique(piece.examples).tolist() == [9]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("0,1,2,3,4,5\n9,9,9,9,9,9\n", "--header yes if .* names, --header no if"),
        ("id,a,b,c,d,e,f\nx,0,9,2,3,4,5\n", "has 7 columns; .* 6 pixel values; .* pixel0, pixel1"),
        ("label,a,b,c\n7,0,9,2\n", "has 3 columns beside the label.* 6 pixel values$"),
        (",".join(f"r{i},g{i}" for i in range(6)) + "\n" + "1," * 11 + "1\n", "has 12 columns"),
    ],
)
def test_pixels_that_cannot_be_told_are_refused(tmp_path, text, told):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(DataError, match=rf"p\.csv: .*{told}"):
        read(tmp_path / "p.csv", GREY)


def test_what_follows_pixels_without_a_header_is_not_read(tmp_path):
    (tmp_path / "p.csv").write_text("7,0,9,2,3,4,cat\n")
    (piece,) = read(tmp_path / "p.csv", GREY)
    assert pixels_of([piece]) == [[7, 0, 9, 2, 3, 4]]
    assert piece.extras == ("column_7",)


@pytest.mark.parametrize("header", [True, False])
def test_who_counts_from_0_says_whether_these_are_names(tmp_path, header):
    (tmp_path / "p.csv").write_text("0,1,2,3,4,5\n9,9,9,9,9,9\n")
    found = read(tmp_path / "p.csv", GREY, options=TableOptions(header=header))
    assert pixels_of(found) == [[0, 1, 2, 3, 4, 5], [9] * 6][header:]


def test_labels_of_pixels_need_a_column(tmp_path):
    (tmp_path / "named.csv").write_text("a,b,c,d,e,f\n0,9,2,3,4,5\n")
    (tmp_path / "bare.csv").write_text("0,9,2,3,4,5\n")
    with pytest.raises(UsageError, match="--label"):
        read(tmp_path / "named.csv", GREY, labels=True)
    with pytest.raises(DataError, match="no header, so its labels"):
        read(tmp_path / "bare.csv", GREY, labels=True)


def test_a_first_row_that_is_damaged_is_still_a_row(tmp_path):
    (tmp_path / "p.csv").write_text("0,1,long,3,4,5\n,,,,,\n9,9,9,9,9,9\n")
    (piece,) = read(tmp_path / "p.csv", GREY, on_error="flag")
    assert piece.rows.tolist() == [3]
    assert [flagged.row for flagged in piece.flagged] == [1, 2]


@pytest.mark.parametrize("value", ["256", "-1", "0.5", ""])
def test_what_is_no_pixel_stops_or_is_flagged(tmp_path, value):
    path = tmp_path / "pixels.csv"
    path.write_text(f"0,9,2,3,4,5\n0,1,{value},3,4,5\n1,1,1,1,1,1\n")
    with pytest.raises(DataError, match="0 to 255"):
        read(path, GREY)
    (piece,) = read(path, GREY, on_error="flag")
    assert piece.rows.tolist() == [1, 3]
    assert piece.examples[:, 0, 0, 0].tolist() == [0, 1]
    assert [flagged.row for flagged in piece.flagged] == [2]


def test_a_flagged_pixel_row_keeps_its_columns(tmp_path):
    path = tmp_path / "pixels.csv"
    path.write_text("id,a,b,c,d,e,f\none,0,1,2,3,4,5\ntwo,0,1,2,3,4,999\n")
    (piece,) = read(path, GREY, keep=("id",), on_error="flag")
    assert piece.kept.to_pydict() == {"id": ["one"]}
    assert piece.flagged[0].kept == ("two",)


def test_images_have_neither_labels_nor_columns(tmp_path):
    image_files(tmp_path, 1)
    with pytest.raises(UsageError, match="labels"):
        read(tmp_path, GREY, labels=True)
    with pytest.raises(UsageError, match="--keep"):
        read(tmp_path, GREY, keep=("id",))


@pytest.mark.parametrize("expected", [TABLE, GREY])
@pytest.mark.parametrize("on_error", ["stop", "flag"])
def test_what_is_not_there_is_told_by_name(tmp_path, expected, on_error):
    with pytest.raises(DataError, match="missing"):
        read(tmp_path / "missing", expected, on_error=on_error)
    if expected is GREY:
        (tmp_path / "folder").mkdir()
        with pytest.raises(DataError, match="no image files"):
            read(tmp_path / "folder", expected)


@pytest.mark.parametrize("text", ["", "\n"])
def test_an_empty_file_is_told(tmp_path, text):
    (tmp_path / "empty.csv").write_text(text)
    for expected in (TABLE, GREY):
        with pytest.raises(DataError, match=r"empty\.csv"):
            read(tmp_path / "empty.csv", expected)


def test_pixel_tables_follow_the_table_options(tmp_path):
    path = tmp_path / "pixels.txt"
    path.write_text("0;1;2;3;4;9\n")
    (piece,) = read(path, GREY, options=TableOptions(delimiter=";"))
    assert piece.examples.ravel().tolist() == [0, 1, 2, 3, 4, 9]


def test_text_of_a_prepared_file_that_is_an_infinite_number_is_refused(tmp_path):
    table, labels = pa.table({"x": ["1", "inf"], "k": ["a", "b"]}), np.array(["", ""])
    rows = Dataset("t", table, labels, {"files": {}}, columns=("x", "k"))
    write_prepared(rows, tmp_path / "t.h5", overwrite=False)
    with pytest.raises(DataError, match=r"t\.h5, column 'x': holds an infinite number"):
        read(tmp_path / "t.h5")
