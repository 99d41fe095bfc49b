"""Any table of the user's: CSV, compressed or not, or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anoean_cli.errors import DatasetUnavailableError
from anoean_cli.interfaces import Dataset, LoadRequest

if TYPE_CHECKING:
    import pyarrow as pa

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
        from anoean_cli.data.streams import sha256_of
        from anoean_cli.storage.remote import is_remote

        if request.source in ("auto", "full", "sample"):
            raise DatasetUnavailableError(
                "the data set 'table' is a file of yours: give it as --dataset FILE"
            )
        path = request.source
        name = path.rpartition("/")[2] if is_remote(path) else Path(path).name
        raw = read_table(path, request.table, request.warn)
        label = raw.roles.label
        features = raw.table.select([n for n in raw.table.column_names if n != label])
        if label is None:
            request.warn(f"no --label: all {len(raw.table):,} rows of {path} are taken as normal")
            labels = np.full(len(raw.table), UNLABELLED)
        else:
            labels = _as_labels(raw.table.column(label))
        return Dataset(
            name=name,
            examples=features,
            labels=labels,
            provenance={
                "source": "file",
                "files": {name: sha256_of(path)},
                "rows": len(raw.table),
                "sample": False,
            },
            normal=(UNLABELLED,) if label is None else (),
            columns=raw.columns,
            label_column=label,
            vouched=raw.roles.vouched,
        )


def _as_labels(column: pa.ChunkedArray) -> NDArray[np.str_]:
    """(n,) text; "" where there is no label."""
    return np.array(["" if value is None else value for value in column.to_pylist()])
