"""Folders of images: trained on, and scored, whatever their sizes."""

import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

from tests.cli.conftest import Run


def write_images(folder: Path, count: int, side: int = 0) -> None:
    rng = np.random.default_rng(len(folder.name))
    folder.mkdir(parents=True)
    for at in range(count):
        shape = (20 + at % 3, side or 30)
        Image.fromarray(rng.integers(90, 140, shape, dtype=np.uint8)).save(folder / f"{at}.png")


def test_a_folder_as_mvtec_has_it_is_trained_on_and_scored(anoean: Run) -> None:
    write_images(Path("parts/train/good"), 40)
    write_images(Path("parts/test/good"), 6)
    write_images(Path("parts/test/hole"), 3)
    done = anoean("train --dataset parts --split publisher --image-size 8 --epochs 2 --json")
    assert done.returncode == 0, done.stderr
    figures = anoean("evaluate --json").json

    # The folders of given images are their labels.
    given = anoean("evaluate --data parts/test --json")
    assert given.returncode == 0, given.stderr
    assert [given.json[name] for name in ("n_normals", "n_anomalies")] == [6, 3]
    assert given.json["auc_pr"] == figures["auc_pr"]
    assert "the model learned from this" not in given.stderr
    for options, told in [
        ("--data parts", "has train/ and test/; give parts/test"),
        ("--data parts/test/hole", "has no labels; put the images into a folder for each class"),
        ("--data parts/test/hole/0.png", "carries no labels"),
        ("--data parts/test --label kind", "has no columns; its folders are the labels"),
        ("--data parts/train", "all 40 rows are normal"),
    ]:
        done = anoean("evaluate", options)
        assert done.returncode in (2, 3)
        assert told in done.error
    done = anoean("calibrate --data parts/test --out new.h5 --fpr 0.3")
    assert "6 normals and 3 anomalies by label" in done.stderr

    write_images(Path("new"), 2, side=99)
    Path("new/torn.png").write_text("no image")
    assert anoean("score new").returncode == 3
    found = anoean("score new --on-error flag")
    assert found.returncode == 0
    assert [bool(row["score"]) for row in found.rows] == [True, True, False]
    assert "cannot be read as an image" in found.rows[-1]["reason"]
    alone = anoean("score new/torn.png --on-error flag --explain 1")
    assert alone.returncode == 0, alone.stderr
    assert [row["score"] for row in alone.rows] == [""]


def test_images_in_a_pipe_are_told_what_to_do(anoean: Run, images: Path) -> None:
    digit = Image.fromarray(np.zeros((28, 28), np.uint8))
    of = {kind: io.BytesIO() for kind in ("png", "jpeg", "gif", "tiff")}
    for kind, file in of.items():
        digit.save(file, kind)
    idx = np.array([0x803, 1, 28, 28], ">u4").tobytes() + bytes(784)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("digit.png", of["png"].getvalue())
    names = "images are read by the names of files (.png, .jpg and others) or of their folder"
    for content, told in [
        *((file.getvalue(), f"is an image; {names}") for file in of.values()),
        (gzip.compress(of["png"].getvalue()), "is an image"),
        (idx, f"is IDX; {names}"),
        (gzip.compress(idx), "is IDX"),
        (packed.getvalue(), "is a zip archive or a spreadsheet; unpack it"),
    ]:
        done = anoean("score - -m images.h5", input=content)
        assert (done.returncode, done.stdout) == (3, "")
        assert f"error: -: {told}" in done.error
