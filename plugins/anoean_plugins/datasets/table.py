"""Any table of the user's: CSV, compressed or not, or Parquet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from anoean_cli.errors import DatasetUnavailableError
from anoean_cli.interfaces import Dataset, LoadRequest
from anoean_cli.wording import counted

if TYPE_CHECKING:
    import pyarrow as pa

    from anoean_cli.data.exploring import RawTable

UNLABELLED = "normal"
MOST_LABELS_TOLD = 6


class TableDataset:
    """A CSV or Parquet file of the user's."""

    name = "table"
    summary = "any CSV or Parquet file; --dataset FILE is short for it"
    takes_table_options = True

    def load(self, request: LoadRequest) -> Dataset:
        """Read the file that ``request.source`` names.

        Without a label column every row is taken as normal. Of a table with more rows than
        ``request.drawing`` keeps, rows are drawn.

        Raises:
            DatasetUnavailableError: no file is named.
        """
        from anoean_cli.data.content import digest_of
        from anoean_cli.data.exploring import read_table
        from anoean_cli.storage.remote import is_remote

        if request.source in ("auto", "full", "sample"):
            raise DatasetUnavailableError(
                "the data set 'table' is a file of yours: give it as --dataset FILE"
            )
        path = request.source
        name = path.rpartition("/")[2] if is_remote(path) else Path(path).name
        raw = read_table(path, request.table, request.warn, request.drawing)
        label, drawn = raw.roles.label, raw.drawn
        if not drawn.is_whole:
            request.warn(_told(path, raw))
        features = raw.table.select([n for n in raw.table.column_names if n != label])
        if label is None:
            request.warn(
                f"no --label: {counted(len(raw.table), 'row')} of {path} taken as normal; "
                "if a column tells anomalies from normals, name it by --label"
            )
            labels = np.full(len(raw.table), UNLABELLED)
        else:
            labels = _as_labels(raw.table.column(label))
        return Dataset(
            name=name,
            examples=features,
            labels=labels,
            provenance={
                "source": "file",
                "files": {name: digest_of(path)},
                "rows": len(raw.table),
                **({} if drawn.is_whole else {"drawn_from": drawn.total}),
                "sample": False,
            },
            normal=(UNLABELLED,) if label is None else (),
            columns=raw.columns,
            label_column=label,
            vouched=raw.roles.vouched,
            positions=None if drawn.is_whole else drawn.rows,
        )


def _told(path: str, raw: RawTable) -> str:
    """How many rows were drawn, of each label where there are few of them."""
    of, kept = raw.drawn.of, raw.drawn.kept
    told = f"{path}: {len(raw.table):,} of its {raw.drawn.total:,} rows are drawn (--max-rows)"
    shown = sorted(of, key=lambda label: (-of[label], label))[:MOST_LABELS_TOLD]
    if raw.roles.label is None:
        return told
    parts = [f"{_shown(each)} {kept[each]:,} of {of[each]:,}" for each in shown]
    more = f" and {counted(len(of) - len(shown), 'label')} more" if len(of) > len(shown) else ""
    return f"{told}: {', '.join(parts)}{more}"


def _shown(label: str) -> str:
    return repr(label) if label else "without a label"


def _as_labels(column: pa.ChunkedArray) -> NDArray[np.str_]:
    """(n,) text; "" where there is no label."""
    return np.array(["" if value is None else value for value in column.to_pylist()])
