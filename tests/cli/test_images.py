"""Folders of images: trained on, and scored, whatever their sizes."""

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
    assert anoean("evaluate --json").returncode == 0

    write_images(Path("new"), 2, side=99)
    Path("new/torn.png").write_text("no image")
    assert anoean("score new").returncode == 3
    found = anoean("score new --on-error flag")
    assert found.returncode == 0
    assert [bool(row["score"]) for row in found.rows] == [True, True, False]
    assert "cannot be read as an image" in found.rows[-1]["reason"]
