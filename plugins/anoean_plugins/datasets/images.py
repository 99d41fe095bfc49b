"""A folder of image files: a folder for each class, in train/ and test/ or not."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.images import (
    IMAGE_ENDINGS,
    PARTS,
    class_of,
    digest_of_images,
    image_files,
    image_size,
    read_image,
)
from anoean_cli.errors import DataError, DatasetUnavailableError
from anoean_cli.interfaces import Dataset, LoadRequest
from anoean_cli.wording import counted
from anoean_plugins.encoders.conv import SMALLEST_SIDE

SIDE = 64
NORMAL = "good"  # as MVTec AD calls it
UNLABELLED = "normal"
MASKS = "ground_truth"
DARK = 15  # of 255: the highest byte of 12 bits in 16
# A byte a value, and training has it as float32 twice, of all rows and parted by class.
BYTES_A_VALUE = 9


@dataclass(frozen=True)
class _File:
    """One image: its class is that of the folder; ``part`` is "" where there are no parts."""

    path: Path
    label: str
    part: str = ""


class Images:
    """Image files of any size, grey or colour, labelled by the folders that they are in."""

    name: ClassVar[str] = "images"
    summary: ClassVar[str] = "a folder of images, by class; --dataset FOLDER is short for it"
    takes_image_size: ClassVar[bool] = True

    def load(self, request: LoadRequest) -> Dataset:
        """Read the folder that ``request.source`` names, in one of these layouts.

        ``CLASS/*.png``: labels are the names of the folders. ``train/CLASS/*.png`` and
        ``test/CLASS/*.png``, as MVTec AD has it: the same, and the publisher's partition; other
        folders beside these two are left out. ``*.png``: all are normal. Images lie in these
        folders or in folders of theirs. The label ``good`` is normal unless the user says else.

        Images are resized to a square of ``request.image_size``; if it is None, of ``SIDE``
        pixels, but small images that all have one size keep it. They are grey if all of them are,
        also where grey is written as colours.

        Raises:
            DatasetUnavailableError: the source is no folder.
            DataError: there are no images, an unreadable one, or too many for this machine.
        """
        folder = _folder(request.source)
        files = _files(folder, request)
        paths = [file.path for file in files]
        size = _size(paths) if request.image_size is None else (request.image_size,) * 2
        labels = np.array([file.label for file in files])
        present = set(labels.tolist())
        examples = _read(paths, size)
        if examples.max() <= DARK:
            request.warn(
                f"{folder}: no value of any image is above {examples.max()} of 255; where 12 bits "
                "a value were saved as 16, multiply them by 16"
            )
        return Dataset(
            name=folder.resolve().name,
            examples=examples,
            labels=labels,
            provenance={
                "source": "file",
                "files": digest_of_images(folder, paths),
                "rows": len(files),
                "sample": False,
                "resized": True,
            },
            normal=tuple(name for name in (NORMAL, UNLABELLED) if name in present)[:1],
            partition=np.array([file.part for file in files]) if files[0].part else None,
        )


def _folder(source: str) -> Path:
    if source in ("auto", "full", "sample"):
        raise DatasetUnavailableError(
            "the data set 'images' is a folder of yours: give it as --source FOLDER"
        )
    if not os.path.isdir(source):
        raise DatasetUnavailableError(f"{source} is no folder; give a folder of images as --source")
    return Path(source)


def _files(folder: Path, request: LoadRequest) -> list[_File]:
    """What there is to read, by part and class."""
    if all((folder / part).is_dir() for part in PARTS):
        files = [
            _File(path, class_of(path, folder / part), part)
            for part in PARTS
            for path in image_files(folder / part)
        ]
        others = {*_folders(folder)} - {*PARTS, MASKS}
        if others:
            request.warn(
                f"{folder}: beside train/ and test/, not read: {', '.join(sorted(others))}"
            )
    else:
        classes = _folders(folder)
        files = [_File(p, name) for name in classes for p in image_files(folder / name)]
        if not files:
            request.warn(f"no class folders: all images in {folder} are taken as normal")
            return _some([_File(p, UNLABELLED) for p in image_files(folder)], folder)
        files += [_File(p, "") for p in image_files(folder) if p.parent == folder]
    loose = sum(file.label == "" for file in files)
    if loose:
        request.warn(f"{folder}: {counted(loose, 'image')} in no class folder, not read")
    return _some([file for file in files if file.label], folder)


def _some(files: list[_File], folder: Path) -> list[_File]:
    if not files:
        endings = " ".join(sorted(IMAGE_ENDINGS))
        raise DataError(
            f"{folder}: has no image files ({endings}) in CLASS/ or train/CLASS/; "
            "of a folder of tables name one"
        )
    return files


def _folders(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _size(paths: Sequence[Path]) -> tuple[int, int]:
    """Height and width: the images' own if they are small and alike, else the default."""
    own = image_size(paths[0])
    if not SMALLEST_SIDE <= min(own) <= max(own) <= SIDE:
        return SIDE, SIDE
    return own if all(image_size(path) == own for path in paths) else (SIDE, SIDE)


def _read(paths: Sequence[Path], size: tuple[int, int]) -> NDArray[np.uint8]:
    """(n, 1 or 3, height, width)."""
    _check_memory(len(paths), 1, size)
    examples = np.empty((len(paths), 1, *size), np.uint8)
    for at, path in enumerate(paths):
        image = read_image(path, 3, size)
        is_grey = bool((image == image[0]).all())
        if examples.shape[1] == 1 and not is_grey:
            _check_memory(len(paths), 3, size)
            # So far all were grey.
            examples = np.repeat(examples, 3, axis=1)
        examples[at] = image[: examples.shape[1]]
    return examples


def _check_memory(count: int, channels: int, size: tuple[int, int]) -> None:
    """Refuse what training could not hold, before the machine swaps."""
    needed = BYTES_A_VALUE * count * channels * size[0] * size[1]
    there = _memory()
    if needed > there:
        raise DataError(
            f"{counted(count, 'image')} of {size[1]} x {size[0]} pixels in {channels} channels "
            f"need about {needed / 1e9:.1f} GB in training, and this machine has "
            f"{there / 1e9:.1f} GB: give a smaller --image-size, or fewer images"
        )


def _memory() -> int:
    """Bytes of main memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
