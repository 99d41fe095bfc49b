"""Any table of the user's: CSV, compressed or not, or Parquet."""

from __future__ import annotations

import hashlib
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anoean_cli.errors import DatasetUnavailableError, UsageError
from anoean_cli.interfaces import Dataset, LoadRequest

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK = 1 << 20
UNLABELLED = "normal"


class TableDataset:
    name = "table"
    summary = "any CSV or Parquet file; --dataset FILE is short for it"
    takes_table_options = True

    def load(self, request: LoadRequest) -> Dataset:
        """Read the file that ``request.source`` names.

        Without a label column every row is taken as normal.
        """
        from anoean_cli.data.readers import read_table

        if request.source in ("auto", "full", "sample"):
            raise DatasetUnavailableError(
                "the data set 'table' is a file of yours: give it as --dataset FILE"
            )
        path = Path(request.source)
        raw = read_table(path, request.table, lambda columns: _text_columns(request, columns, path))
        label = _resolved(request.table.label, raw.columns, "--label", path)
        ignored = {_resolved(n, raw.columns, "--ignore", path) for n in request.table.ignore}
        if label in ignored:
            raise UsageError(f"--ignore {label}: that is the label column of {path}")
        features = raw.table.select(
            [name for name in raw.columns if name != label and name not in ignored]
        )
        if label is None:
            request.warn(f"no --label: all {len(raw.table):,} rows of {path} are taken as normal")
            labels = np.full(len(raw.table), UNLABELLED)
        else:
            labels = _as_labels(raw.table.column(label))
        return Dataset(
            name=path.name,
            examples=features,
            labels=labels,
            provenance={
                "source": "file",
                "path": request.source,
                "files": {path.name: _sha256(path)},
                "rows": len(raw.table),
                "sample": False,
                "reading": asdict(request.table),
            },
            normal=(UNLABELLED,) if label is None else (),
            columns=raw.columns,
            label_column=label,
            vouched=_vouched(features, request, path),
        )


def _resolved(given: str | None, columns: tuple[str, ...], option: str, path: Path) -> str | None:
    """The column that a name or a position from 1 (from the end when negative) means."""
    if given is None or given in columns:
        return given
    try:
        position = int(given)
    except ValueError:
        position = 0
    if 1 <= abs(position) <= len(columns):
        return columns[position - 1 if position > 0 else position]
    raise UsageError(
        f"{option} {given}: {path} has no such column; it has: {', '.join(columns[:50])}"
    )


def _text_columns(request: LoadRequest, columns: tuple[str, ...], path: Path) -> set[str]:
    """The label and what the user calls categories are text as it is written: 007 is not 7."""
    table = request.table
    names = {_resolved(name, columns, "--categorical", path) for name in table.categorical}
    names.add(_resolved(table.label, columns, "--label", path))
    return {name for name in names if name is not None}


def _vouched(features: pa.Table, request: LoadRequest, path: Path) -> tuple[str, ...]:
    """The columns that --numeric and --categorical name; numbers must be some."""
    import pyarrow as pa

    columns = tuple(features.column_names)
    numeric = [_resolved(name, columns, "--numeric", path) for name in request.table.numeric]
    for name in numeric:
        if not pa.types.is_floating(features.column(name).type):
            raise UsageError(f"--numeric {name}: {path} has text in that column")
    others = [_resolved(name, columns, "--categorical", path) for name in request.table.categorical]
    return tuple(name for name in (*numeric, *others) if name is not None)


def _as_labels(column: pa.ChunkedArray) -> NDArray[np.str_]:
    """(n,) text; "" where there is no label."""
    return np.array(["" if value is None else value for value in column.to_pylist()])


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
