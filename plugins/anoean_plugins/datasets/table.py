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

    from anoean_cli.data.readers import RawTable

UNLABELLED = "normal"
MOST_LABELS_TOLD = 6


class TableDataset:
    name = "table"
    summary = "any CSV or Parquet file; --dataset FILE is short for it"
    takes_table_options = True

    def load(self, request: LoadRequest) -> Dataset:
        """Read the file that ``request.source`` names.

        Without a label column every row is taken as normal. Of a table with more rows than
        ``request.drawing`` keeps, rows are drawn.
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
        raw = read_table(path, request.table, request.warn, request.drawing)
        label, total = raw.roles.label, sum(raw.of.values())
        if total > len(raw.table):
            request.warn(_told(path, raw, total))
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
                **({"drawn_from": total} if total > len(raw.table) else {}),
                "sample": False,
            },
            normal=(UNLABELLED,) if label is None else (),
            columns=raw.columns,
            label_column=label,
            vouched=raw.roles.vouched,
            positions=raw.rows if total > len(raw.table) else None,
        )


def _told(path: str, raw: RawTable, total: int) -> str:
    """How many rows were drawn, of each label where there are few of them."""
    told = f"{path}: {len(raw.table):,} of its {total:,} rows are drawn (--max-rows)"
    shown = sorted(raw.of, key=lambda label: (-raw.of[label], label))[:MOST_LABELS_TOLD]
    if raw.roles.label is None:
        return told
    parts = [f"{_shown(each)} {raw.kept[each]:,} of {raw.of[each]:,}" for each in shown]
    more = f" and {len(raw.of) - len(shown)} labels more" if len(raw.of) > len(shown) else ""
    return f"{told}: {', '.join(parts)}{more}"


def _shown(label: str) -> str:
    return repr(label) if label else "without a label"


def _as_labels(column: pa.ChunkedArray) -> NDArray[np.str_]:
    """(n,) text; "" where there is no label."""
    return np.array(["" if value is None else value for value in column.to_pylist()])
