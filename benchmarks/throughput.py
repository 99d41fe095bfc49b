"""Rows a second of `anoean score` on a large CSV, against a bare loop, and its peak memory.

The bare loop reads with pyarrow's open_csv in batches, one-hot-encodes and standardises with
vectorised numpy and arrow, and runs the same network in ONNX Runtime on one thread: no distance,
no p-values, no checks, no output. The CSV is NSL-KDD's training rows, repeated with noise
on the byte counts. Targets: >= 0.6 of the bare loop's throughput; two jobs >= 1.6 times one, where
two bare loops at once do as much; peak memory for 10 M rows <= 1.2 times that for 0.5 M.

    python benchmarks/throughput.py --rows 500000 --memory --large 10000000
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import anoean, environment, interleaved, load, pair_ratio, parser, run, tell

CHUNK = 50_000
TARGET, JOBS_TARGET, MEMORY_TARGET = 0.6, 1.6, 1.2
BLOCK_BYTES = 1 << 20


def trained(folder: Path) -> tuple[Path, Any]:
    """A model with standardised inputs, so that both loops do the same arithmetic."""
    from anoean_cli.commands.train import DataFlags, split_request
    from anoean_cli.training.request import TrainRequest
    from anoean_cli.training.run import train_model

    rows = load("nsl-kdd")
    settings = {"epochs": 1, "inputs": "standard"}
    model = train_model(rows, TrainRequest(split_request(rows, DataFlags()), settings=settings))
    model.save(folder / "model.h5")
    return folder / "model.h5", rows.examples


def write_csv(path: Path, table: Any, rows: int) -> None:
    """``rows`` rows of the table, over and over, with noise on two columns."""
    import pyarrow as pa
    import pyarrow.csv as pc

    rng = np.random.default_rng(0)
    with pc.CSVWriter(path, table.schema) as writer:
        written = 0
        while written < rows:
            take = rng.integers(len(table), size=min(CHUNK, rows - written))
            part = table.take(take)
            for name in ("src_bytes", "dst_bytes"):
                noisy = part.column(name).to_numpy() + rng.integers(0, 50, len(part))
                at = part.column_names.index(name)
                part = part.set_column(at, name, pa.array(noisy.astype(np.float64)))
            writer.write_table(part)
            written += len(part)


def bare_loop(csv: Path, model_path: Path) -> int:
    """The least that takes all rows through the network; returns how many."""
    import onnxruntime as ort
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv

    from anoean_cli.data.preprocessing import NumericColumn
    from anoean_cli.inference.model import load_model

    model = load_model(model_path)
    columns = model.preprocessor.columns
    width = model.preprocessor.spec.shape[0]
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model.graph, options, providers=["CPUExecutionProvider"])
    name_of_input = session.get_inputs()[0].name
    categories = {
        name: pa.array(c.categories, pa.string())
        for name, c in columns.items()
        if not isinstance(c, NumericColumn)
    }
    kinds = {name: pa.string() if name in categories else pa.float64() for name in columns}
    scored = 0
    with pyarrow.csv.open_csv(
        csv,
        read_options=pyarrow.csv.ReadOptions(block_size=BLOCK_BYTES),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=kinds, include_columns=list(columns)
        ),
    ) as reader:
        for batch in reader:
            out = np.zeros((len(batch), width), np.float32)
            at = 0
            for name, column in columns.items():
                values = batch.column(name)
                if name in categories:
                    codes = pc.index_in(values, value_set=categories[name]).fill_null(-1)
                    index = codes.to_numpy(zero_copy_only=False)
                    known = np.flatnonzero(index >= 0)
                    out[known, at + index[known]] = 1
                else:
                    plain = (values.to_numpy(zero_copy_only=False) - column.center) / column.scale
                    out[:, at] = plain.clip(-10, 10)
                at += column.width
            (z,) = session.run(None, {name_of_input: out})
            scored += len(z)
    return scored


def peak_bytes(command: list[str]) -> int:
    """Peak resident memory of a command, as the kernel counted it."""
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *command],
        check=True,
        capture_output=True,
        text=True,
        env=environment(),
    )
    unit = 1 if sys.platform == "darwin" else 1024
    return int(done.stdout) * unit


def run_twice(command: list[str]) -> None:
    """Run a command twice at once."""
    running = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment()) for _ in range(2)
    ]
    statuses = [process.wait() for process in running]
    if any(statuses):
        raise RuntimeError(f"{command} failed")


def judged(ours: float, bare: float) -> str:
    if bare < JOBS_TARGET:
        return "not to be told here"
    return "met" if ours >= JOBS_TARGET else "MISSED"


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rows", type=int, default=500_000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--memory", action="store_true", help="peak memory as well")
    options.add_argument("--large", type=int, help="rows of a second file, for --memory")
    options.add_argument("--bare", nargs=2, metavar=("CSV", "MODEL"), help="only the bare loop")
    given = options.parse_args()
    if given.bare:
        print(bare_loop(Path(given.bare[0]), Path(given.bare[1])))
        return
    results: dict[str, Any] = {"rows": given.rows}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, table = trained(folder)
        csv = folder / "big.csv"
        write_csv(csv, table, given.rows)
        ours = anoean("score", str(csv), "--model", str(model), "--quiet", "--jobs", "1")
        bare = [sys.executable, __file__, "--bare", str(csv), str(model)]
        seconds = interleaved(
            {
                "ours": lambda: run(ours, env=environment()),
                "bare": lambda: run(bare, env=environment()),
                "two jobs": lambda: run([*ours[:-1], "2"], env=environment()),
                "two bare": lambda: run_twice(bare),
            },
            given.repeats,
        )
        # Throughput is rows a second, so ours to bare is the bare loop's time to ours.
        ratio = pair_ratio(seconds["bare"], seconds["ours"])
        speed = {who: given.rows / statistics.median(s) for who, s in seconds.items()}
        results |= {"ratio": ratio, "rows_per_second": speed, "seconds": seconds}
        rows = [
            [
                f"throughput, {given.rows:,} rows",
                f"{speed['ours']:,.0f} rows/s",
                f"{speed['bare']:,.0f} rows/s",
                f"{ratio:.2f}",
                f">= {TARGET}: " + ("met" if ratio >= TARGET else "MISSED"),
            ]
        ]
        # Two bare loops at once read all rows twice: what the machine itself makes of two jobs.
        scaling = {
            "anoean score": pair_ratio(seconds["ours"], seconds["two jobs"]),
            "bare loop": 2 * pair_ratio(seconds["bare"], seconds["two bare"]),
        }
        results["scaling"] = scaling
        rows.append(
            [
                "two jobs against one, two bare loops against one",
                f"{scaling['anoean score']:.2f} x",
                f"{scaling['bare loop']:.2f} x",
                f"{scaling['anoean score'] / scaling['bare loop']:.2f}",
                f">= {JOBS_TARGET} x where the bare loops are: {judged(*scaling.values())}",
            ]
        )
        if given.memory:
            small = peak_bytes(ours)
            results["peak_bytes"] = {given.rows: small}
            row = [f"peak memory, {given.rows:,} rows", f"{small / 2**20:.0f} MiB", "", "", ""]
            if given.large:
                write_csv(csv, table, given.large)
                large = peak_bytes(ours)
                results["peak_bytes"][given.large] = large
                met = "met" if large <= MEMORY_TARGET * small else "MISSED"
                row = [
                    f"peak memory, {given.large:,} and {given.rows:,} rows",
                    f"{large / 2**20:.0f} MiB",
                    f"{small / 2**20:.0f} MiB",
                    f"{large / small:.2f}",
                    f"<= {MEMORY_TARGET}: {met}",
                ]
            rows.append(row)
    head = ["what", "anoean score", "bare loop (or fewer rows)", "ratio", "target"]
    notes = [
        f"Whole processes, start included; medians of {given.repeats} interleaved pairs after a "
        "warm-up. `anoean score` also writes its CSV lines (to /dev/null). Standardised inputs."
    ]
    tell(given.out, "Throughput of scoring", notes, head, rows, results)


if __name__ == "__main__":
    main()
