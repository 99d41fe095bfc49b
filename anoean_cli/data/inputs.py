"""What ``score`` and its like read, piece by piece: tables, images, IDX and prepared files.

Every input row comes out exactly once, as a good row or as a flagged one.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from anoean_cli.choices import OnError
from anoean_cli.data.columnar import BLOCK_BYTES, as_kind
from anoean_cli.data.images import (
    IMAGE_ENDINGS,
    PARTS,
    class_of,
    image_files,
    is_idx,
    read_idx,
    read_image,
)
from anoean_cli.data.readers import Batch, Flagged, Sought, Wanted, unread
from anoean_cli.data.schema import TableSchema
from anoean_cli.data.text import shown
from anoean_cli.errors import DataError, UsageError, reason_of
from anoean_cli.examples import ExampleSpec, TableOptions, column_kind
from anoean_cli.storage.hdf5 import is_hdf5
from anoean_cli.storage.remote import is_remote, not_there

if TYPE_CHECKING:
    import pyarrow as pa

    from anoean_cli.data.ranges import Range


IMAGES_AT_ONCE = 1024
STDIN = "-"


class Expected(NamedTuple):
    """What a model takes.

    Attributes:
        spec: what a preprocessed row looks like.
        schema: the columns of a table; None for images.
        resizes: whether image files of other sizes are resized, as those of training were.
    """

    spec: ExampleSpec
    schema: TableSchema | None
    resizes: bool = False

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        channels, height, width = self.spec.shape
        return channels, height, width


@dataclass(frozen=True)
class Reading:
    """How inputs are to be read.

    Attributes:
        options: of text tables.
        keep: columns to pass through.
        labels: whether labels are needed.
        seek_labels: whether to read labels where there are some.
        on_error: whether an unreadable row ends the reading or is flagged.
        label_ending: what labels may end with in files, and the model's labels do not.
        block_bytes: about how much text of a table is read at once; no row depends on it.
    """

    options: TableOptions = TableOptions()
    keep: tuple[str, ...] = ()
    labels: bool = False
    seek_labels: bool = False
    on_error: OnError = "stop"
    label_ending: str = ""
    block_bytes: int = BLOCK_BYTES


class Piece(NamedTuple):
    """Consecutive rows of one input.

    Attributes:
        files: the file of all rows; for image files the file of each row, good and flagged.
        examples: the good rows: an Arrow table, or uint8 images.
        rows: (n,) the numbers of the good rows, from 1: in their file, or for image files in
            ``files``.
        labels: (n,) labels, where they were asked for.
        kept: the kept columns of the good rows.
        flagged: the other rows.
        extras: columns that the model does not know, in the first piece of a file.
    """

    files: str | Sequence[str]
    examples: Any
    rows: NDArray[np.int64]
    labels: list[str] | None = None
    kept: pa.Table | None = None
    flagged: Sequence[Flagged] = ()
    extras: tuple[str, ...] = ()

    def identities(self) -> tuple[str | Sequence[str], NDArray[np.int64]]:
        """File, one or of each, and row number of each good row; an image file has one row."""
        if isinstance(self.files, str):
            return self.files, self.rows
        return [self.files[row - 1] for row in self.rows], np.ones(len(self.rows), np.int64)

    def rows_by_file(self) -> dict[str, int]:
        """How many rows, good and flagged, each file has here."""
        if isinstance(self.files, str):
            return {self.files: len(self.rows) + len(self.flagged)}
        return dict.fromkeys(self.files, 1)


UnreadPiece: TypeAlias = Callable[[], Piece | None]
"""Makes a piece of what is in memory as it was read; None where that has no rows. The pieces of an
input may be made in several threads, if each is begun in the order they come in."""


def pieces(source: str, expected: Expected, reading: Reading) -> Iterator[Piece]:
    """Read one input: a path, a table in a store, or ``-`` for stdin.

    Raises:
        DataError: it is not there, not of the model's kind, or damaged.
        UsageError: an option that does not go with it.
    """
    for make in unread_pieces(source, expected, reading):
        piece = make()
        if piece is not None:
            yield piece


def unread_pieces(
    source: str, expected: Expected, reading: Reading, part: Range | None = None
) -> Iterator[UnreadPiece]:
    """Read one input as :func:`pieces` does, and leave the work on each piece to be done.

    Args:
        part: of the file of a table, the rows to read; None: all.

    Raises:
        DataError, UsageError: as :func:`pieces`; what is wrong with a row comes out where its
            piece is made.
    """
    check_there(source)
    path = Path(source)
    if source == STDIN or is_remote(source):
        stream = _stdin() if source == STDIN else source
        return _tables(stream, source, expected, reading, part)
    if is_hdf5(path):
        return _ready(_prepared(path, expected, reading))
    if expected.schema is None:
        return _images(path, expected, reading)
    if path.is_dir():
        raise DataError(f"{source}: is a folder; give the tables in it as {source.rstrip('/')}/*")
    if path.is_file() and (path.suffix.lower() in IMAGE_ENDINGS or is_idx(path)):
        raise DataError(f"{source}: holds images; the model takes rows of a table")
    return _tables(path, source, expected, reading, part)


def check_there(source: str) -> None:
    """Raises DataError where an input names a file that is not there, or in a closed folder."""
    if source == STDIN or is_remote(source):
        return
    try:
        os.stat(source)
    except PermissionError:
        raise DataError(f"{name_of(source)}: may not be read (permission denied)") from None
    except (OSError, ValueError):  # ValueError: a NUL byte in the name
        raise DataError(not_there(name_of(source))) from None


def name_of(path: Path | str) -> str:
    """What a file is called in outputs, which are text: a byte that is no UTF-8 as ``\\xff``."""
    return str(path).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _ready(made: Iterable[Piece]) -> Iterator[UnreadPiece]:
    return (partial(_same, piece) for piece in made)


def _same(piece: Piece) -> Piece:
    return piece


def _stdin() -> BinaryIO:
    if sys.stdin is None:
        raise DataError("-: stdin is closed; pipe rows into it, or name a file")
    return sys.stdin.buffer


def _tables(
    source: Path | str | BinaryIO,
    name: str,
    expected: Expected,
    reading: Reading,
    part: Range | None = None,
) -> Iterator[UnreadPiece]:
    """Rows of a text or of Parquet: of a table, or of pixel values."""
    if expected.schema is None:
        return _pixel_tables(source, name_of(name), expected, reading)
    return _table_rows(source, name_of(name), expected.schema, reading, part)


def _table_rows(
    source: Path | str | BinaryIO,
    name: str,
    schema: TableSchema,
    reading: Reading,
    part: Range | None,
) -> Iterator[UnreadPiece]:
    wanted = Wanted(
        numeric=schema.numeric,
        categorical=schema.categorical,
        dates=schema.dates,
        firsts=schema.firsts,
        source_columns=schema.source,
        label=reading.options.label or schema.label,
        label_is_given=reading.options.label is not None,
        rest=schema.rest,
        keep=reading.keep,
        required_label=reading.labels,
        sought_label=reading.seek_labels,
    )
    if reading.labels and wanted.label is None:
        raise UsageError("which column holds the labels? Give --label COL")
    return _unread(source, name, wanted, reading, lambda piece: piece, part)


def _unread(
    source: Path | str | BinaryIO,
    name: str,
    sought: Sought,
    reading: Reading,
    finish: Callable[[Piece], Piece],
    part: Range | None = None,
) -> Iterator[UnreadPiece]:
    def make(parse: Callable[[], Batch | None]) -> Piece | None:
        batch = parse()
        return None if batch is None else finish(_piece(name, batch, reading))

    parts = unread(
        source, name, sought, reading.options, reading.on_error, reading.block_bytes, part
    )
    return (partial(make, parse) for parse in parts)


def _piece(name: str, batch: Batch, reading: Reading) -> Piece:
    labels = None
    if batch.labels is not None:
        written = batch.labels.fill_null("").to_pylist()
        labels = [label.removesuffix(reading.label_ending) for label in written]
    return Piece(name, batch.table, batch.rows, labels, batch.kept, batch.flagged, batch.extras)


def _prepared(path: Path, expected: Expected, reading: Reading) -> Iterator[Piece]:
    from anoean_cli.storage.prepared import PreparedReader

    kind = "image" if expected.schema is None else "table"
    if reading.keep:
        raise UsageError(f"--keep: {path} is a prepared dataset; its columns cannot be kept")
    with PreparedReader(path) as reader:
        if reader.about["kind"] != kind:
            raise DataError(f"{path}: holds {reader.about['kind']} rows; the model takes {kind}s")
        is_labelled = kind == "image" or reader.about["label_column"] is not None
        with_labels = reading.labels or (reading.seek_labels and is_labelled)
        at = 0
        for part in reader.pieces():
            n = len(part.labels)
            rows = np.arange(at + 1, at + n + 1)
            labels = part.labels.tolist() if with_labels else None
            examples = part.examples
            if expected.schema is not None:
                missing = set(expected.schema.columns) - set(examples.column_names)
                if missing:
                    raise DataError(f"{path}: lacks the columns {', '.join(sorted(missing))}")
                examples = _of_kinds(path, examples, expected.schema)
            yield Piece(name_of(path), examples, rows, labels)
            at += n


def _of_kinds(path: Path, examples: pa.Table, schema: TableSchema) -> pa.Table:
    """The columns as the model takes them: those of another table may be of other kinds."""
    import pyarrow as pa

    for name, kind in schema.columns.items():
        column = examples.column(name)
        if column_kind(column.type) == kind:
            continue
        try:
            converted = as_kind(column, kind, first=schema.firsts.get(name, "year"))
        except pa.ArrowException as error:
            reason = reason_of(error)
            raise DataError(f"{path}, column {shown(name)}: is not {kind}: {reason}") from error
        if kind == "numeric" and np.isinf(converted.to_numpy()).any():
            raise DataError(f"{path}, column {shown(name)}: holds an infinite number")
        examples = examples.set_column(examples.column_names.index(name), name, converted)
    return examples


# --------------------------------------------------------------------------- images


def _images(path: Path, expected: Expected, reading: Reading) -> Iterator[UnreadPiece]:
    if path.is_dir():
        found = _in_folder(path)
        return _image_files(found, expected, reading, _classes(path, found, reading))
    if path.suffix.lower() in IMAGE_ENDINGS:
        _no_labels(path, reading)
        return _image_files([path], expected, reading)
    if path.is_file() and is_idx(path):
        return _ready(_idx(path, expected, reading))
    return _tables(path, str(path), expected, reading)


def _in_folder(folder: Path) -> list[Path]:
    found = image_files(folder)
    if not found:
        raise DataError(f"{folder}: has no image files ({' '.join(sorted(IMAGE_ENDINGS))})")
    return found


def _classes(folder: Path, paths: Sequence[Path], reading: Reading) -> list[str] | None:
    """The folders that images are in, which are their labels where these are looked for."""
    if not reading.labels and not reading.seek_labels:
        return None
    if reading.options.label is not None:
        raise UsageError(f"--label: {folder} has no columns; its folders are the labels")
    if all((folder / part).is_dir() for part in PARTS):
        raise DataError(
            f"{folder}: has train/ and test/; give {folder / 'test'} or {folder / 'train'}"
        )
    labels = [class_of(path, folder) for path in paths]
    if any(labels):
        return labels
    if reading.labels:
        raise UsageError(f"{folder}: has no labels; put the images into a folder for each class")
    return None


def _no_labels(path: Path, reading: Reading) -> None:
    if reading.labels:
        raise UsageError(
            f"{path}: carries no labels; give a folder of images with a folder for each class, "
            "a prepared dataset, or a table"
        )


def _image_files(
    paths: Sequence[Path],
    expected: Expected,
    reading: Reading,
    labels: Sequence[str] | None = None,
) -> Iterator[UnreadPiece]:
    _nothing_to_keep(paths[0], reading)
    for at in range(0, len(paths), IMAGES_AT_ONCE):
        some = slice(at, at + IMAGES_AT_ONCE)
        part = None if labels is None else labels[some]
        yield partial(_image_piece, paths[some], expected, reading, part)


def _nothing_to_keep(path: Path, reading: Reading) -> None:
    if reading.keep:
        raise UsageError(f"--keep: {path} has no columns to keep")


def _image_piece(
    paths: Sequence[Path], expected: Expected, reading: Reading, labels: Sequence[str] | None
) -> Piece:
    good, flagged = [], []
    for index, path in enumerate(paths, start=1):
        try:
            good.append((index, _image(path, expected)))
        except DataError as error:
            if reading.on_error == "stop":
                raise
            flagged.append(Flagged(index, 0, str(error).removeprefix(f"{path}: ")))
    examples = np.array([image for _, image in good], np.uint8)
    return Piece(
        [name_of(path) for path in paths],
        examples.reshape(-1, *expected.image_shape),
        np.array([index for index, _ in good], np.int64),
        None if labels is None else [labels[index - 1] for index, _ in good],
        flagged=flagged,
    )


def _image(path: Path, expected: Expected) -> NDArray[np.uint8]:
    shape = expected.image_shape
    image = read_image(path, shape[0], shape[1:] if expected.resizes else None)
    if image.shape != shape:
        raise DataError(
            f"{path}: is {image.shape[2]} pixels wide and {image.shape[1]} high; "
            f"the model takes {shape[2]} x {shape[1]}: resize it first"
        )
    return image


def _idx(path: Path, expected: Expected, reading: Reading) -> Iterator[Piece]:
    _no_labels(path, reading)
    _nothing_to_keep(path, reading)
    images = read_idx(path)
    shape = expected.image_shape
    fitting = {shape, (math.prod(shape),)} | ({shape[1:]} if shape[0] == 1 else set())
    if images.dtype != np.uint8 or images.shape[1:] not in fitting:
        raise DataError(
            f"{path}: holds {images.dtype} of shape {images.shape}; the model takes images of "
            f"{shape[1]} x {shape[2]} bytes in {shape[0]} channels"
        )
    images = images.reshape(-1, *shape)
    for at in range(0, len(images), IMAGES_AT_ONCE):
        part = images[at : at + IMAGES_AT_ONCE]
        yield Piece(name_of(path), part, np.arange(at + 1, at + len(part) + 1))


def _pixel_tables(
    source: Path | str | BinaryIO, name: str, expected: Expected, reading: Reading
) -> Iterator[UnreadPiece]:
    """Rows of pixel values, row by row of the image, one channel after the other."""
    from anoean_cli.data.pixels import Pixels

    sought = Pixels(
        count=math.prod(expected.spec.shape),
        label=reading.options.label,
        keep=reading.keep,
        required_label=reading.labels,
        sought_label=reading.seek_labels,
    )
    return _unread(
        source, name, sought, reading, lambda piece: _checked_pixels(piece, expected, reading)
    )


def _checked_pixels(piece: Piece, expected: Expected, reading: Reading) -> Piece:
    """Numbers to bytes; a row with a value that is no byte is an unreadable one."""
    table = piece.examples
    values = np.empty((len(table), table.num_columns))
    for index, column in enumerate(table.columns):
        values[:, index] = column.to_numpy()
    are_bytes = (values >= 0) & (values <= 255) & (values == np.floor(values))
    good = are_bytes.all(axis=1)
    flagged = list(piece.flagged)
    for at in np.flatnonzero(~good):
        first = int(are_bytes[at].argmin())
        reason = _bad_pixel(table.column_names[first], float(values[at, first]))
        if reading.on_error == "stop":
            raise DataError(
                f"{piece.files}, row {piece.rows[at]}: {reason}; correct it, or give --on-error "
                "flag to go on without such rows"
            )
        flagged.append(Flagged(int(piece.rows[at]), 0, reason, _kept_of(piece, int(at))))
    kept = np.flatnonzero(good)
    return piece._replace(
        examples=values[kept].astype(np.uint8).reshape(-1, *expected.image_shape),
        rows=piece.rows[kept],
        labels=None if piece.labels is None else [piece.labels[i] for i in kept],
        kept=None if piece.kept is None else piece.kept.take(kept),
        flagged=sorted(flagged, key=lambda row: row.row),
    )


def _bad_pixel(name: str, value: float) -> str:
    """What is wrong with a value that is no byte."""
    found = "missing" if np.isnan(value) else repr(value)
    return f"column {name} is {found}, and pixels are whole numbers from 0 to 255"


def _kept_of(piece: Piece, at: int) -> tuple[str | None, ...]:
    """The kept values of a good row."""
    return () if piece.kept is None else tuple(c[at].as_py() for c in piece.kept.columns)
