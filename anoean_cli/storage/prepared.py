"""Prepared datasets: what a dataset plugin gives, as one HDF5 file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from anoean_cli.errors import DataError, FileFormatError
from anoean_cli.interfaces import (
    Apportionment,
    ColumnKind,
    Dataset,
    First,
    Kind,
    column_kind,
    column_type,
    firsts_of,
    with_firsts,
)
from anoean_cli.storage.atomic import reading_back, replacing
from anoean_cli.storage.hdf5 import Reader, Writer
from anoean_cli.storage.structure import OBJECTS
from anoean_cli.storage.typed_json import check_json
from anoean_cli.storage.values import Json

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = "anoean-prepared"
VERSION = 1
ROWS_AT_ONCE = 65_536
COLUMN_OBJECTS = {"numeric": 1, "categorical": 4}  # datasets and groups; of dates 2
OTHER_OBJECTS = 20


class _Further(TypedDict, total=False):
    """What the JSON of a file may hold."""

    firsts: dict[str, First]
    vouched: list[str]


class Description(_Further):
    """What the JSON of a file must hold."""

    name: str
    kind: Kind
    features: list[tuple[str, ColumnKind]]
    provenance: dict[str, Any]
    normal: list[str]
    apportionment: Apportionment
    columns: list[str]
    label_column: str | None


def in_cache(cache: Path, name: str) -> Path:
    """Where the prepared form of a dataset is kept."""
    return cache / "prepared" / f"{name}.h5"


def write_prepared(dataset: Dataset, path: Path, *, overwrite: bool) -> str:
    """Write a dataset, whole or not at all; returns the digest of its content.

    Raises:
        DataError: a table of more columns than a file can hold.
        OutputError: the file exists and ``overwrite`` is false, or it cannot be written.
    """
    _check_width(dataset, path)
    with replacing(path, overwrite=overwrite) as temporary:
        with Writer(temporary, format=FORMAT, version=VERSION) as writer:
            writer.put("dataset", Json(_description(dataset)))
            for at in range(0, len(dataset.labels), ROWS_AT_ONCE):
                _append(writer, dataset, slice(at, at + ROWS_AT_ONCE))
            digest = writer.close()
        with reading_back(path), Reader(temporary, format=FORMAT, version=VERSION) as reader:
            reader.verify()
    return digest


def read_prepared(path: Path) -> Dataset:
    """Read a whole prepared dataset.

    Raises:
        FileFormatError: none, or a damaged one.
    """
    with PreparedReader(path) as reader:
        reader.verify()
        return reader.rows(0, len(reader))


def provenance_of(path: Path) -> dict[str, Any]:
    """Where the rows of a prepared dataset come from, without reading them.

    Raises:
        FileFormatError: none, or a damaged one.
    """
    with PreparedReader(path) as reader:
        return dict(reader.about["provenance"])


class PreparedReader:
    """A prepared dataset, read piece by piece.

    Raises:
        FileFormatError: (every method) the file is no prepared dataset, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._reader = Reader(path, format=FORMAT, version=VERSION)
        self._about = self._reader.get("dataset")
        try:
            check_json(self._about, Description, "dataset")
        except FileFormatError as error:
            self._reader.close()
            raise FileFormatError(f"{path}: {error}; prepare it anew") from error

    def __enter__(self) -> PreparedReader:
        return self

    def __exit__(self, *failure: object) -> None:
        self._reader.close()

    def __len__(self) -> int:
        return self._reader.length("labels")

    @property
    def digest(self) -> str:
        """SHA-256 of the content, as the file states it."""
        return self._reader.digest

    @property
    def about(self) -> dict[str, Any]:
        """Name, provenance, columns and protocol, as JSON."""
        return dict(self._about)

    @property
    def image_shape(self) -> list[int] | None:
        """Channels, height and width of images; None for a table."""
        return list(self._reader.shape("images")[1:]) if self._about["kind"] == "image" else None

    def verify(self) -> None:
        """Read all and hold it against the digests that the file states."""
        self._reader.verify()

    def pieces(self) -> Iterator[Dataset]:
        """All rows, so many at once."""
        for at in range(0, len(self), ROWS_AT_ONCE):
            yield self.rows(at, at + ROWS_AT_ONCE)

    def rows(self, start: int, stop: int) -> Dataset:
        """Rows from ``start`` to ``stop``.

        Raises:
            FileFormatError: something is missing or garbled.
        """
        try:
            return self._rows(start, stop)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise FileFormatError(f"{self._path}: it lacks or garbles {error}") from error

    def _rows(self, start: int, stop: int) -> Dataset:
        about, names = self._about, self._reader.names()

        def strings(name: str) -> Any:
            found = self._reader.slice(name, start, stop)
            return np.array(found) if found else np.empty(0, "U1")

        examples: Any
        if about["kind"] == "image":
            examples = self._reader.slice("images", start, stop)
        else:
            examples = self._table(start, stop)
        return Dataset(
            name=about["name"],
            examples=examples,
            labels=strings("labels"),
            provenance=about["provenance"],
            normal=tuple(about["normal"]),
            partition=strings("partition") if "partition" in names else None,
            family=strings("family") if "family" in names else None,
            apportionment=Apportionment(**about["apportionment"]),
            columns=tuple(about["columns"]),
            label_column=about["label_column"],
            positions=self._positions(start, stop) if "positions" in names else None,
            vouched=tuple(about.get("vouched", ())),
        )

    def _positions(self, start: int, stop: int) -> NDArray[np.int64]:
        places: NDArray[np.int64] = self._reader.slice("positions", start, stop)
        is_fit = places.dtype == np.int64 and self._reader.length("positions") == len(self)
        if not is_fit or (np.diff(places) < 1).any() or (places < 0).any():
            raise ValueError("positions")
        return places

    def _table(self, start: int, stop: int) -> pa.Table:
        import pyarrow as pa

        columns = {}
        for index, (name, kind) in enumerate(self._about["features"]):
            values = self._reader.slice(f"features/{index}", start, stop)
            if kind == "numeric":
                if values.dtype != np.float64 or np.isinf(values).any():
                    raise ValueError(f"the numbers of column {name!r}")
                columns[name] = pa.array(values, from_pandas=True)  # NaN is how null is stored
                continue
            missing = self._reader.slice(f"missing/{index}", start, stop)
            if kind == "categorical":
                columns[name] = pa.array(values, pa.string(), mask=missing)
            else:
                microseconds = pa.array(values, pa.int64(), mask=missing)
                columns[name] = microseconds.cast(column_type(kind))
        return with_firsts(pa.table(columns), self._about.get("firsts", {}))


def _description(dataset: Dataset) -> dict[str, Any]:
    features, firsts = [], {}
    if dataset.kind == "table":
        firsts = firsts_of(dataset.examples)
        features = [[field.name, column_kind(field.type)] for field in dataset.examples.schema]
    return {
        "name": dataset.name,
        "kind": dataset.kind,
        "features": features,
        "provenance": dict(dataset.provenance),
        "normal": list(dataset.normal),
        "apportionment": asdict(dataset.apportionment),
        "columns": list(dataset.columns),
        "label_column": dataset.label_column,
        **({"firsts": firsts} if firsts else {}),
        **({"vouched": list(dataset.vouched)} if dataset.vouched else {}),
    }


def _check_width(dataset: Dataset, path: Path) -> None:
    """Raise DataError where a table has so many columns that its file would not be read again."""
    if dataset.kind != "table":
        return
    objects = Counter(column_kind(field.type) for field in dataset.examples.schema)
    needed = sum(count * COLUMN_OBJECTS.get(kind, 2) for kind, count in objects.items())
    if needed > OBJECTS - OTHER_OBJECTS:
        raise DataError(
            f"cannot write {path}: {dataset.name} has {len(dataset.examples.schema):,} columns, "
            f"and a prepared file holds some {OBJECTS:,} of numbers, or a quarter as many of text; "
            "train from the table itself, or leave columns out with --ignore"
        )


def _append(writer: Writer, dataset: Dataset, rows: slice) -> None:
    writer.append_strings("labels", dataset.labels[rows].tolist())
    for name, values in (("partition", dataset.partition), ("family", dataset.family)):
        if values is not None:
            writer.append_strings(name, values[rows].tolist())
    if dataset.positions is not None:
        writer.append("positions", dataset.positions[rows])
    if isinstance(dataset.examples, np.ndarray):
        writer.append("images", dataset.examples[rows])
        return
    piece = dataset.examples.slice(rows.start, rows.stop - rows.start)
    for index, column in enumerate(piece.columns):
        kind = column_kind(column.type)
        if kind == "numeric":
            writer.append(f"features/{index}", column.to_numpy())
            continue
        if kind == "categorical":
            writer.append_strings(f"features/{index}", column.fill_null("").to_pylist())
        else:
            writer.append(f"features/{index}", column.cast("int64").fill_null(0).to_numpy())
        writer.append(f"missing/{index}", column.is_null().to_numpy())
