"""Data sets in MNIST's four files: images and labels, for training and for the test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.sources import Obtained, RawDataset, RawFile, obtain
from anoean_cli.errors import DataError, DatasetUnavailableError
from anoean_cli.interfaces import Apportionment, Dataset, LoadRequest
from anoean_cli.wording import counted

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
TRAINING_LABELS = {  # tell apart what has the same names
    "mnist": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "fashion-mnist": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
}
# "1 against all", section 4.1 of the paper; the publisher's test part alone has too few rows.
PROTOCOL = Apportionment(
    train_size=5000, test_size=1700, anomaly_fraction=0.1, seen_types=4, pooled=True
)


def files(*sha256: str) -> tuple[RawFile, ...]:
    """Return the four files, given the checksums of their contents in the order of `NAMES`."""
    # Some tools take "-idx3-ubyte" for an extension and unpack to "train-images.idx3-ubyte".
    return tuple(
        RawFile(name, checksum, remote=f"{name}.gz", spellings=(name.replace("-idx", ".idx"),))
        for name, checksum in zip(NAMES, sha256, strict=True)
    )


def load(request: LoadRequest, raw: RawDataset, classes: Sequence[str]) -> Dataset:
    """Return the publisher's two parts, one behind the other.

    Args:
        classes: what the labels 0, 1, … stand for.

    Raises:
        DatasetUnavailableError: the files are not to be had, or are those of another data set.
        DataError: they are damaged, or do not belong together.
    """
    obtained = obtain(request, raw)
    _check_owner(raw, obtained)
    paths = [obtained.paths[name] for name in NAMES]
    train, train_labels = _read_part(paths[0], paths[1], classes)
    test, test_labels = _read_part(paths[2], paths[3], classes)
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"{paths[2]}: images of {test.shape[2:]} pixels, but of {train.shape[2:]} in {paths[0]}"
        )
    return Dataset(
        name=raw.name,
        examples=np.concatenate([train, test]),
        labels=np.concatenate([train_labels, test_labels]),
        provenance={
            **raw.provenance(obtained.source, obtained.digests, len(train) + len(test)),
            "test_files": list(NAMES[2:]),
        },
        partition=np.repeat(["train", "test"], [len(train), len(test)]),
        apportionment=PROTOCOL,
    )


def _check_owner(raw: RawDataset, obtained: Obtained) -> None:
    found = obtained.digests[NAMES[1]]
    for owner, digest in TRAINING_LABELS.items():
        if found == digest and owner != raw.name:
            raise DatasetUnavailableError(
                f"the files beside {obtained.paths[NAMES[1]]} are those of {owner}; put those of "
                f"{raw.name}, which have the same names, into a folder {raw.name}/ of ANOEAN_DATA, "
                "or give --source PATH"
            )


def _read_part(
    images: Path, labels: Path, classes: Sequence[str]
) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Return (n, 1, height, width) images and their (n,) labels."""
    from anoean_cli.data.images import read_idx

    pixels, numbers = read_idx(images), read_idx(labels)
    for path, array, ndim in ((images, pixels, 3), (labels, numbers, 1)):
        if array.dtype != np.uint8 or array.ndim != ndim:
            found = f"{array.dtype} in {array.ndim}"
            raise DataError(f"{path}: expected uint8 in {ndim} dimensions, found {found}")
    if len(pixels) != len(numbers):
        found = counted(len(numbers), "label")
        raise DataError(f"{labels}: {found} for {counted(len(pixels), 'image')} in {images}")
    if len(numbers) and numbers.max() >= len(classes):
        raise DataError(f"{labels}: has a label {numbers.max()}; there are {len(classes)} classes")
    return pixels[:, np.newaxis], np.array(classes, np.str_)[numbers]
