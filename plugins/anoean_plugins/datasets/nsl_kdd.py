"""NSL-KDD: KDD Cup 1999 without its duplicates, and with test rows of graded difficulty."""

from __future__ import annotations

from typing import ClassVar

from anoean_cli.data.sources import RawDataset, RawFile
from anoean_cli.interfaces import Dataset, LoadRequest
from anoean_plugins.datasets import kdd

RAW = RawDataset(
    name="nsl-kdd",
    base_url="https://raw.githubusercontent.com/defcom17/NSL_KDD/master/",
    files=(
        RawFile(
            "KDDTrain+.txt",
            "1b86d2f957b33082081bba410fe129b475efebcc13c9014c3f447c8271aadf95",
            spellings=("KDDTrain+.csv",),
        ),
        RawFile(
            "KDDTest+.txt",
            "fa46b0935342616aa83b7c2578db355b6a7aaabbc492248172c7a1e8b7ab8f84",
            spellings=("KDDTest+.csv",),
            optional=True,
        ),
    ),
    licence="free for research; cite Tavallaee et al. (2009)",
    homepage="https://www.unb.ca/cic/datasets/nsl.html",
)
# How many of 21 classifiers got the row right: known only to who knows the label.
COLUMNS = (*kdd.FEATURES, kdd.LABEL, "difficulty")


class NslKdd:
    """Network connections, normal or one of 39 attacks, as the publisher parted them."""

    name: ClassVar[str] = "nsl-kdd"
    summary: ClassVar[str] = "148,517 network connections, 41 features, 39 kinds of attack"

    def load(self, request: LoadRequest) -> Dataset:
        """Return 41 features a row; see :func:`anoean_plugins.datasets.kdd.load`."""
        return kdd.load(request, RAW, COLUMNS)
