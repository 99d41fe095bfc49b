"""What ``score --explain`` adds: columns of the output, and of images pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from anoean_cli.console import Console
from anoean_cli.errors import FileFormatError, OutputError, UsageError
from anoean_cli.inference.explanation import Explainer, Explanation
from anoean_cli.inference.model import Model
from anoean_cli.inference.pictures import heat_map, png
from anoean_cli.storage.atomic import make_folder

if TYPE_CHECKING:
    from anoean_cli.data.inputs import Piece

SMALLEST_SIDE = 224  # of a picture, in pixels; smaller images are enlarged by a whole number
LONGEST_NAME = 80


@dataclass(frozen=True)
class Why:
    """What explains scores, how many columns a row is explained by, and whether it is drawn."""

    explainer: Explainer
    k: int
    draws: bool

    def columns(self, explanation: Explanation) -> Mapping[str, pa.Array]:
        """The columns of the output that an explanation becomes."""
        named = self.explainer.named(explanation)
        return explained_columns(named, self.explainer.columns, self.k)


def why(
    model: Model,
    path: Path,
    explain: int | None,
    folder: Path | None,
    kept: Sequence[str],
    console: Console,
) -> Why:
    """What ``--explain`` and ``--explain-images``, one of them at least, ask for.

    Args:
        path: of the model, for messages.
        kept: the columns that the output has besides.

    Raises:
        UsageError: pictures of a table, or a kept column of the name of one that is added.
        FileFormatError: the model is too old.
    """
    if folder is not None and model.schema is not None:
        raise UsageError("--explain-images: the model takes tables; --explain K names columns")
    try:
        explainer = Explainer(model)
    except FileFormatError as error:
        raise FileFormatError(f"{path}: {error}") from error
    k = min(explain or 0, len(explainer.columns))
    if explain is not None and k < explain:
        what = "columns" if model.schema is not None else "patches"
        console.note(f"--explain {explain}: the model has {k} {what}, all of which are given")
    for name in set(kept) & set(explained_names(k)):
        raise UsageError(f"--keep {name}: the output has a column of that name; rename yours")
    return Why(explainer, k, folder is not None)


def explained_names(k: int) -> list[str]:
    """The columns that ``--explain K`` adds."""
    return [name for i in range(1, k + 1) for name in (f"explain_{i}", f"contribution_{i}")]


def explained_columns(explanation: Explanation, names: list[str], k: int) -> Mapping[str, pa.Array]:
    """The k largest contributions of each row, and of which columns; null where there is none.

    Args:
        explanation: of as many columns as there are names.
    """
    order, values = explanation.largest(k)
    texts, nothing = pa.array(names, pa.string()), values == 0
    columns = {}
    for i in range(k):
        index = pa.array(order[:, i], pa.int64(), mask=nothing[:, i])
        columns[f"explain_{i + 1}"] = texts.take(index)
        columns[f"contribution_{i + 1}"] = pa.array(values[:, i], mask=nothing[:, i])
    return columns


# --------------------------------------------------------------------------- pictures


class HeatMaps:
    """A folder of pictures, one a row, numbered in the order of the input."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0

    def add(self, piece: Piece, explanation: Explanation, chosen: NDArray[np.bool_]) -> None:
        """Draw the chosen rows of a piece of images."""
        files, rows = piece.identities()
        for at in map(int, np.flatnonzero(chosen)):
            self._count += 1
            file = files if isinstance(files, str) else files[at]
            stem = Path(file).stem[:LONGEST_NAME].strip("-") or "stdin"
            name = f"{self._count:06d}-{stem}-{rows[at]}.png"
            picture = heat_map(piece.examples[at], explanation.contributions[at], SMALLEST_SIDE)
            _save(picture, self._folder / name)


@contextmanager
def heat_maps(folder: Path) -> Iterator[HeatMaps]:
    """Open a folder that appears only once all its pictures are there.

    Raises:
        UsageError, OutputError: as `check_folder`.
    """
    check_folder(folder)
    temporary = folder.with_name(f".{folder.name[:40]}.{os.urandom(8).hex()}.tmp")
    make_folder(temporary)
    try:
        yield HeatMaps(temporary)
        try:
            with suppress(FileNotFoundError):
                folder.rmdir()  # an empty one may stand there
            temporary.rename(folder)
        except OSError as error:
            raise _refusal(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def check_folder(folder: Path, others: Sequence[str] = (), inputs: Sequence[str] = ()) -> None:
    """Refuse a folder that could not be made at the end, before any work starts.

    Args:
        others: what else is to be written.
        inputs: what is read; of a folder all images in it are, and would be those drawn last time.

    Raises:
        UsageError: one of these is the folder, or it lies in one.
        OutputError: it cannot be made, or holds something already.
    """
    place = Path(os.path.realpath(folder))
    if str(place) in map(os.path.realpath, others):
        raise UsageError(f"--explain-images {folder}: another output goes there; write elsewhere")
    for source in inputs:
        if Path(os.path.realpath(source)) in place.parents:
            raise UsageError(
                f"--explain-images {folder}: lies in {source}, which is an input: the next time, "
                "its pictures would be scored too; name a folder outside of it"
            )
    if place == Path.cwd() or not folder.name:
        raise OutputError(
            f"cannot write {folder}: a folder is made whole elsewhere and then put there; "
            "name a new one"
        )
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise OutputError(f"cannot write {folder}: it is no folder; name a new one")
    if folder.is_dir() and any(folder.iterdir()):
        raise OutputError(
            f"cannot write {folder}: the folder holds files; empty it, or name a new one "
            "(--force replaces files, not folders)"
        )
    if not folder.parent.is_dir():
        raise OutputError(
            f"cannot write {folder}: there is no folder {folder.parent}; create it first"
        )


def _save(picture: NDArray[np.uint8], path: Path) -> None:
    try:
        path.write_bytes(png(picture, compress_level=1))
    except OSError as error:
        raise _refusal(path.parent, error) from error


def _refusal(folder: Path, error: OSError) -> OutputError:
    return OutputError(f"cannot write {folder}: {error.strerror or error}; write elsewhere")
