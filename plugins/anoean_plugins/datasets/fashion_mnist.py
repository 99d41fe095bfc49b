"""Fashion-MNIST: 70,000 pieces of clothing of 28 x 28 grey values, in MNIST's files."""

from __future__ import annotations

from typing import ClassVar

from anoean_cli.data.sources import RawDataset
from anoean_cli.interfaces import Dataset, LoadRequest
from anoean_plugins.datasets import idx

RAW = RawDataset(
    name="fashion-mnist",
    base_url="https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
    files=idx.files(
        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    ),
    licence="MIT",
    homepage="https://github.com/zalandoresearch/fashion-mnist",
)
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)


class FashionMnist:
    """Pieces of clothing by their names; which of them are normal is the user's choice."""

    name: ClassVar[str] = RAW.name
    summary: ClassVar[str] = "70,000 pieces of clothing of 10 kinds, 28 x 28 grey values"

    def load(self, request: LoadRequest) -> Dataset:
        """Return the publisher's two parts.

        Raises:
            DatasetUnavailableError: the files are not to be had.
            DataError: the files are there but damaged, or do not belong together.
        """
        return idx.load(request, RAW, CLASSES)
