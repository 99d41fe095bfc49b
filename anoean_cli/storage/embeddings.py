"""Embeddings of scored rows, written while they are scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anoean_cli.storage.atomic import replacing
from anoean_cli.storage.hdf5 import Reader, Writer
from anoean_cli.storage.values import Json

FORMAT = "anoean-embeddings"
VERSION = 1


class EmbeddingsWriter:
    """Takes scored rows in order: embedding, score, row number, and the file they are from."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._numbers: dict[str, int] = {}

    def append(
        self,
        files: Sequence[str],
        rows: NDArray[np.int64],
        embedding: NDArray[np.float32],
        scores: NDArray[np.float64],
    ) -> None:
        """Append n rows; ``rows`` counts from 1 in each file."""
        for name in files:
            self._numbers.setdefault(name, len(self._numbers))
        self._writer.append("embedding", embedding)
        self._writer.append("score", scores)
        self._writer.append("row", rows)
        self._writer.append("file", np.array([self._numbers[n] for n in files], np.int32))

    @property
    def files(self) -> Sequence[str]:
        return list(self._numbers)


@contextmanager
def writing_embeddings(
    path: Path, model_digest: str, *, overwrite: bool
) -> Iterator[EmbeddingsWriter]:
    """Write an embeddings file, whole or not at all.

    Raises:
        OutputError: the file exists and ``overwrite`` is false, or it cannot be written.
    """
    with replacing(path, overwrite=overwrite) as temporary:
        with Writer(temporary, format=FORMAT, version=VERSION) as writer:
            embeddings = EmbeddingsWriter(writer)
            yield embeddings
            writer.put("files", list(embeddings.files))
            writer.put("about", Json({"model_digest": model_digest}))
        with Reader(temporary, format=FORMAT, version=VERSION) as reader:
            reader.verify()
