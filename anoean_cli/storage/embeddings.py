"""Embeddings of scored rows, written while they are scored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from anoean_cli.errors import FileFormatError
from anoean_cli.storage.atomic import reading_back, replacing
from anoean_cli.storage.hdf5 import Reader, Writer
from anoean_cli.storage.typed_json import check_json
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
        files: str | Sequence[str],
        rows: NDArray[np.int64],
        embedding: NDArray[np.float32],
        scores: NDArray[np.float64],
    ) -> None:
        """Append n rows of one file, or each of its own; ``rows`` counts from 1 in each."""
        numbers = [
            self._numbers.setdefault(name, len(self._numbers))
            for name in ((files,) if isinstance(files, str) else files)
        ]
        self._writer.append("embedding", embedding)
        self._writer.append("score", scores)
        self._writer.append("row", rows)
        self._writer.append("file", np.resize(np.array(numbers, np.int32), len(rows)))

    @property
    def files(self) -> Sequence[str]:
        """Inputs met so far, in order; /file numbers them."""
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
        with reading_back(path), Reader(temporary, format=FORMAT, version=VERSION) as reader:
            reader.verify()


def describe(path: Path, *, verify: bool) -> dict[str, Any]:
    """What an embeddings file holds, as JSON.

    Raises:
        FileFormatError: none, or a damaged one; all of it is read where ``verify`` says so.
    """
    with Reader(path, format=FORMAT, version=VERSION) as reader:
        if verify:
            reader.verify()
        shape, files, about = reader.shape("embedding"), reader.get("files"), reader.get("about")
        try:
            check_json(list(shape), tuple[int, int], "shape")
            check_json(files, list[str], "files")
            check_json(about, dict[str, Any], "about")
        except FileFormatError as error:
            raise FileFormatError(f"{path}: {error}; score anew") from error
        return {
            "rows": shape[0],
            "dimensions": shape[1],
            "files": files,
            "digest": reader.digest,
            **about,
        }
