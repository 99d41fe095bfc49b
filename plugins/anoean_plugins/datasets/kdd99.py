"""KDD Cup 1999: the 10 % training file and the corrected test file."""

from __future__ import annotations

from typing import ClassVar

from anoean_cli.data.sources import RawDataset, RawFile
from anoean_cli.interfaces import Dataset, LoadRequest
from anoean_plugins.datasets import kdd

RAW = RawDataset(
    name="kdd99",
    base_url="https://archive.ics.uci.edu/ml/machine-learning-databases/kddcup99-mld/",
    files=(
        RawFile(
            "kddcup.data_10_percent",
            "f8c8267ebcd9c0ed1fd7d6277fe5bfff8732e9b7db8e61b873542b2a534b6f9a",
            remote="kddcup.data_10_percent.gz",
        ),
        RawFile(
            "corrected",
            "547dfb9c0f0dc1d9944219ec79e851191faebaeb8acbfa1cd171c418397052a4",
            remote="corrected.gz",
            optional=True,
        ),
    ),
    licence="CC BY 4.0",
    homepage="https://archive.ics.uci.edu/dataset/130/kdd+cup+1999+data",
)
COLUMNS = (*kdd.FEATURES, kdd.LABEL)


class Kdd99:
    """Network connections, most of them duplicates, normal or one of 39 attacks."""

    name: ClassVar[str] = "kdd99"
    summary: ClassVar[str] = "805,050 network connections, 41 features, 39 kinds of attack"

    def load(self, request: LoadRequest) -> Dataset:
        """Return 41 features a row; see :func:`anoean_plugins.datasets.kdd.load`."""
        return kdd.load(request, RAW, COLUMNS)
