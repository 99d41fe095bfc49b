"""``anoean score --explain``: columns beside the score, and pictures of images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from anoean_cli.inference.model import load_model

from .conftest import Run, read_rows, table_rows, write_csv

OURS = ["file", "row", "score", "p_value", "anomaly", "reason"]
ADDED = ["explain_1", "contribution_1", "explain_2", "contribution_2"]
COLUMNS = {"size", "weight", "colour"}


@pytest.mark.usefixtures("model")
def test_columns_stand_behind_ours_and_the_kept_ones(anoean: Run, fresh: Path):
    done = anoean("score fresh.csv --explain 2 --keep id")
    assert list(done.rows[0]) == [*OURS, "id", *ADDED]
    assert {row["explain_1"] for row in done.rows} <= COLUMNS
    plain = anoean("score fresh.csv --keep id").rows
    assert [{name: row[name] for name in plain[0]} for row in done.rows] == plain


def test_all_contributions_add_up_to_the_excess_over_the_typical_row(
    anoean: Run, model: Path, fresh: Path
):
    loaded = load_model(model)
    baseline = loaded.score_rows(loaded.typical[None]).scores[0]
    for row in anoean("score fresh.csv --explain 3").rows:
        parts = [float(row[f"contribution_{i}"] or 0) for i in (1, 2, 3)]
        assert sum(parts) == pytest.approx(float(row["score"]) - baseline)
        assert parts == sorted(parts, reverse=True) or "" in row.values()


def test_a_planted_cause_is_named_first(anoean: Run, model: Path):
    rows = table_rows(40, seed=5)
    for row in rows:
        row[1:4] = ["0.1", "0.2", "red"]
    rows[0][1], rows[1][2] = "40", "-30"
    write_csv(Path("planted.csv"), rows[:2])
    found = anoean("score planted.csv --explain 1").rows
    assert [row["explain_1"] for row in found] == ["size", "weight"]


@pytest.mark.usefixtures("model")
def test_every_format_says_the_same(anoean: Run, fresh: Path):
    lines = anoean("score fresh.csv --explain 2").rows
    objects = [
        json.loads(line)
        for line in anoean("score fresh.csv --explain 2 --format jsonl").stdout.splitlines()
    ]
    anoean("score fresh.csv --explain 2 --out out.parquet")
    table = parquet.read_table("out.parquet").to_pylist()
    assert objects == table
    assert list(table[0]) == [*OURS, *ADDED]
    for line, row in zip(lines, table, strict=True):
        for name in ADDED:
            of_line = float(line[name]) if isinstance(row[name], float) else line[name]
            assert of_line == ("" if row[name] is None else row[name])


@pytest.mark.usefixtures("model")
def test_unreadable_rows_have_no_explanation(anoean: Run):
    good, bad = ["r", "1", "1", "red", "k", "ok"], ["r", "much", "1", "red", "k", "ok"]
    write_csv(Path("bad.csv"), [good, bad, good])
    rows = anoean("score bad.csv --explain 2 --on-error flag").rows
    assert [bool(row["explain_1"]) for row in rows] == [True, False, True]
    assert rows[1]["reason"]


@pytest.mark.usefixtures("model")
def test_more_columns_than_there_are_give_all_of_them(anoean: Run, fresh: Path):
    done = anoean("score fresh.csv --explain 1000000000")
    assert list(done.rows[0])[-2:] == ["explain_3", "contribution_3"]
    assert "--explain 1000000000: the model has 3 columns, all of which are given" in done.stderr


@pytest.mark.usefixtures("model")
@pytest.mark.parametrize("k", ["0", "-3", "many", "1.5"])
def test_no_number_of_columns_is_refused(anoean: Run, fresh: Path, k: str):
    done = anoean(f"score fresh.csv --explain {k}")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--explain" in done.stderr


@pytest.mark.usefixtures("model")
def test_a_kept_column_of_the_same_name_is_refused(anoean: Run):
    write_csv(Path("x.csv"), [["1", "1", "red", "a"]], ["size", "weight", "colour", "explain_1"])
    done = anoean("score x.csv --explain 1 --keep explain_1")
    assert done.returncode == 2
    assert "--keep explain_1: the output has a column of that name; rename yours" in done.error
    assert anoean("score x.csv --keep explain_1").rows[0]["explain_1"] == "a"


def test_an_older_model_is_refused_with_what_to_do(anoean: Run, model: Path, fresh: Path):
    replace(load_model(model), typical=None).save(model, overwrite=True)
    done = anoean("score fresh.csv --explain 1 --out out.csv")
    assert done.returncode == 4
    assert str(model.name) in done.error
    assert "train it anew" in done.error
    assert not Path("out.csv").exists()
    assert anoean("score fresh.csv").returncode == 0


# --------------------------------------------------------------------------- images


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three images, two of one name."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for name in ("a/one.png", "b/one.png", "two.png"):
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (28, 28), dtype=np.uint8)).save(path)
    return tmp_path / "photos"


def test_images_are_explained_by_patches_and_pictures(anoean: Run, images: Path, photos: Path):
    from PIL import Image

    done = anoean("score photos -m images.h5 --explain 2 --explain-images why")
    assert all(row["explain_1"].startswith("y") and "/x" in row["explain_1"] for row in done.rows)
    names = sorted(path.name for path in Path("why").iterdir())
    assert names == ["000001-one-1.png", "000002-one-1.png", "000003-two-1.png"]
    with Image.open(Path("why") / names[0]) as picture:
        assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", (448, 224))
        colours = np.asarray(picture)
    assert (colours[:, :224].std(axis=2) == 0).all(), "the image itself is grey"
    assert (colours[:, 224:].std(axis=2) > 0).any(), "what adds to the score is coloured"


def test_pictures_need_no_columns_and_keep_to_anomalies(anoean: Run, images: Path, photos: Path):
    done = anoean("score photos -m images.h5 --explain-images why --only-anomalies")
    assert done.returncode == 0, done.stderr
    assert len(list(Path("why").iterdir())) == len(done.rows)


def test_a_folder_that_holds_something_is_left_alone(anoean: Run, images: Path, photos: Path):
    done = anoean("score photos -m images.h5 --explain-images photos --force")
    assert done.returncode == 7
    assert "the folder holds files; empty it, or name a new one" in done.error
    assert len(list(photos.rglob("*.png"))) == 3
    here = anoean("score photos/a -m images.h5 --explain-images .")
    assert here.returncode == 7
    assert "name a new one" in here.error


def test_pictures_are_never_scored_the_next_time(anoean: Run, images: Path, photos: Path):
    Path("again").symlink_to("photos")
    for inside in ("photos/why", "photos/a/why", "again/why"):
        done = anoean(f"score photos -m images.h5 --explain-images {inside}")
        assert done.returncode == 2
        assert "lies in photos, which is an input" in done.error
    assert len(list(photos.rglob("*"))) == 5


def test_pictures_and_lines_do_not_go_to_one_place(anoean: Run, images: Path, photos: Path):
    for option in ("--out", "--summary", "--embeddings"):
        done = anoean(f"score photos -m images.h5 --explain-images why {option} ./why")
        assert done.returncode == 2
        assert "--explain-images why: another output goes there" in done.error
        assert not Path("why").exists()


def test_no_picture_appears_when_a_row_cannot_be_read(anoean: Run, images: Path, photos: Path):
    (photos / "z.png").write_text("no image")
    assert anoean("score photos -m images.h5 --explain-images why").returncode == 3
    assert sorted(path.name for path in Path().iterdir() if "why" in path.name) == []


@pytest.mark.usefixtures("model")
def test_tables_have_no_pictures(anoean: Run, fresh: Path):
    done = anoean("score fresh.csv --explain-images why")
    assert done.returncode == 2
    assert "--explain-images: the model takes tables; --explain K names columns" in done.error
    assert not Path("why").exists()


def test_a_stream_of_pixels_is_explained_row_by_row(anoean: Run, images: Path):
    line = ",".join(["7"] * 784)
    done = anoean(
        "score - -m images.h5 --explain 9 --explain-images why", input=f"{line}\n{line}\n"
    )
    assert done.returncode == 0, done.stderr
    first, second = read_rows(done.stdout)
    assert {k: v for k, v in first.items() if k != "row"} == {
        k: v for k, v in second.items() if k != "row"
    }
    names = sorted(path.name for path in Path("why").iterdir())
    assert names == ["000001-stdin-1.png", "000002-stdin-2.png"]


@pytest.mark.usefixtures("model")
def test_threads_write_the_same_bytes(anoean: Run):
    write_csv(Path("many.csv"), table_rows(6000, seed=3))
    command = "score many.csv --explain 2 --memory 64MiB --jobs"
    assert anoean(command, "1").stdout == anoean(command, "2").stdout


@pytest.mark.usefixtures("model")
def test_parts_of_a_cluster_are_not_drawn(anoean: Run, fresh: Path):
    done = anoean("score fresh.csv --scheduler tcp://127.0.0.1:1 --out parts --explain-images why")
    assert done.returncode == 2
    assert "--scheduler" in done.error
    assert "--explain-images" in done.error
    assert not Path("parts").exists()
