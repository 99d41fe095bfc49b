"""Folders of images as a data set: which images there are, and of which class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from anoean_plugins.datasets.images import Images
from PIL import Image

from anoean_cli.errors import DataError, DatasetUnavailableError
from anoean_cli.interfaces import Dataset, LoadRequest


def write(folder: Path, *names: str, value: int | tuple[int, ...] = 77, side: int = 12) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        mode = "L" if isinstance(value, int) else "RGB"
        Image.new(mode, (side, side), value).save(folder / name)


def load(folder: Path, told: list[str], size: int | None = None) -> Dataset:
    request = LoadRequest(source=str(folder), warn=told.append, image_size=size)
    return Images().load(request)


def test_folders_are_classes(tmp_path: Path) -> None:
    write(tmp_path, "good/a.png", "good/deep/er/b.JPG", "hole/c.bmp", "loose.png")
    write(tmp_path, "hole/.hidden.png", ".thumbs/d.png")
    (tmp_path / "good" / "notes.txt").write_text("no image")
    told: list[str] = []
    found = load(tmp_path, told)
    assert found.labels.tolist() == ["good", "good", "hole"]
    assert found.normal == ("good",)
    assert found.partition is None
    assert "1 image in no class folder, not read" in told[0]


def test_nearly_black_images_are_told(tmp_path: Path) -> None:
    """As they are where 12 bits a value were saved as 16."""
    told: list[str] = []
    for value in (4095, 4096):
        Image.fromarray(np.full((9, 9), value, np.uint16)).save(tmp_path / "a.png")
        load(tmp_path, told)
    (line,) = [line for line in told if "multiply them by 16" in line]
    assert "no value of any image is above 15 of 255" in line


def test_a_flat_folder_is_all_normal(tmp_path: Path) -> None:
    write(tmp_path, "a.png", "b.png")
    told: list[str] = []
    found = load(tmp_path, told)
    assert found.labels.tolist() == ["normal", "normal"]
    assert found.normal == ("normal",)
    assert "all images in" in told[0]


def test_train_and_test_are_parts(tmp_path: Path) -> None:
    write(tmp_path, "train/good/a.png", "test/good/b.png", "test/hole/c.png")
    write(tmp_path, "ground_truth/hole/c.png", "spare/d.png")
    told: list[str] = []
    found = load(tmp_path, told)
    assert found.partition is not None
    assert list(zip(found.labels.tolist(), found.partition.tolist(), strict=True)) == [
        ("good", "train"),
        ("good", "test"),
        ("hole", "test"),
    ]
    (line,) = told
    assert line.endswith("not read: spare")


def test_sizes_and_colours(tmp_path: Path) -> None:
    write(tmp_path, "good/a.png", "good/b.png")
    write(tmp_path, "good/grey-in-colours.png", value=(9, 9, 9))
    assert load(tmp_path, []).examples.shape == (3, 1, 12, 12)  # small and alike: their own
    assert load(tmp_path, [], size=16).examples.shape == (3, 1, 16, 16)
    write(tmp_path, "good/red.png", value=(200, 0, 0), side=20)
    found = load(tmp_path, []).examples
    assert found.shape == (4, 3, 64, 64)
    assert found[:, :, 0, 0].tolist() == [[77] * 3, [77] * 3, [9] * 3, [200, 0, 0]]
    assert found.dtype == np.uint8


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    write(tmp_path, "good/a.png", "good/b.png")
    (tmp_path / "good" / "torn.png").write_bytes((tmp_path / "good" / "a.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"good/torn\.png: cannot be read as an image"):
        load(tmp_path, [])


def test_no_folder_and_no_images(tmp_path: Path) -> None:
    for source in ("auto", str(tmp_path / "none")):
        with pytest.raises(DatasetUnavailableError, match="folder"):
            Images().load(LoadRequest(source=source))
    with pytest.raises(DataError, match="has no image files"):
        load(tmp_path, [])
