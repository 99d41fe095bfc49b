"""Peak memory of `anoean train` on tables that have more rows than it takes.

The tables are NSL-KDD's training rows with their labels, repeated with noise on the byte counts,
as CSV and as Parquet, in a temporary folder. Training draws `--max-rows` of them in one pass.
Expected: peak memory for the large table <= 1.2 times that for the small one.

    python benchmarks/large_training.py --rows 500000 --large 5000000 --max-rows 100000
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
from common import anoean, load, parser, tell
from throughput import MEMORY_TARGET, peak_bytes, write_csv


def as_parquet(csv: Path) -> Path:
    import pyarrow.csv as pc
    from pyarrow import parquet

    path = csv.with_suffix(".parquet")
    with pc.open_csv(csv) as reader, parquet.ParquetWriter(path, reader.schema) as writer:
        for batch in reader:
            writer.write_batch(batch)
    return path


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rows", type=int, default=500_000)
    options.add_argument("--large", type=int, default=5_000_000)
    options.add_argument("--max-rows", type=int, default=100_000)
    given = options.parse_args()
    rows = load("nsl-kdd")
    labelled = rows.examples.append_column("label", pa.array(rows.labels))
    how = f"--label label --normal normal --max-rows {given.max_rows} --epochs 1 --quiet --force"
    table, results = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peaks: dict[str, list[int]] = {}
        seconds: dict[str, list[float]] = {}
        for count in (given.rows, given.large):
            csv = folder / "rows.csv"
            write_csv(csv, labelled, count)
            paths = [csv, as_parquet(csv)]
            for path in paths:
                command = anoean("train", "--dataset", str(path), *how.split())
                began = time.perf_counter()
                peak = peak_bytes([*command, "--model", str(folder / "model.h5")])
                peaks.setdefault(path.suffix, []).append(peak)
                seconds.setdefault(path.suffix, []).append(time.perf_counter() - began)
            for path in paths:
                path.unlink()
    for kind, (small, large) in peaks.items():
        met = "met" if large <= MEMORY_TARGET * small else "MISSED"
        mib: list[Any] = [f"{peak / 2**20:.0f} MiB" for peak in (small, large)]
        took = [f"{each:.0f} s" for each in seconds[kind]]
        table.append([kind, *mib, f"{large / small:.2f}", f"<= {MEMORY_TARGET}: {met}", *took])
        results[kind] = {"peak_bytes": [small, large], "seconds": seconds[kind]}
    head = ["table", f"{given.rows:,} rows", f"{given.large:,} rows", "ratio", "target"]
    head += [f"time, {count:,} rows" for count in (given.rows, given.large)]
    notes = [f"Whole processes; {given.max_rows:,} rows are drawn, and one epoch is trained."]
    tell(given.out, "Training on large tables", notes, head, table, results)


if __name__ == "__main__":
    main()
