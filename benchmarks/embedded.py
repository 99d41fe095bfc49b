"""What ships to a small device: size and speed of exported scorers, on NSL-KDD.

The paper's point: of its adversarial network only the encoder is needed for scoring, of the GANs
a generator or a discriminator as well. Each detector is trained for a few epochs (neither size nor
speed depends on how many), exported by `anoean export`, and run by ONNX Runtime on one thread, from
raw columns to verdict. AnoGAN searches by gradient for each row it scores: it has no graph, and is
timed in anoean, with torch.

    python benchmarks/embedded.py --out docs/results/embedded.md
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import onnx
import onnxruntime as ort
from common import anoean, environment, interleaved, load, parser, run, tell
from onnx import numpy_helper

BATCHES = (1, 1024)
ANOGAN_ROWS = 64
FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)
HEAD = ["detector", "parameters", "network", "file"]
HEAD += ["a row, one by one", "a row of 1,024", "network alone", "of 1,024"]


NOTES = [
    "Detectors trained on NSL-KDD, for a few epochs only: neither size nor speed depends on that. "
    "In parentheses ratios to the first line.",
    "*parameters*: floats in the network: weights, and for the default also the normals that it "
    "measures distances to, and its forest. *network*: bytes of the graph from preprocessed rows "
    "to embedding or score. *file*: bytes of what `anoean export` writes, which adds "
    "preprocessing, vocabularies, the Gaussian and reference scores.",
    "Times are those of a row by ONNX Runtime on one thread, called from Python, medians of "
    "interleaved runs: of the file, from raw columns to verdict, given one row or 1,024 at once; "
    "and of the network alone. One row costs what starting some hundred operators and "
    "handing over 37 columns costs.",
    "anogan searches by gradient for each row that it scores, so there is no graph to export. Its "
    f"parameters include the starts of the search, and its time is that of {ANOGAN_ROWS} rows at "
    "once in anoean, with torch.",
]


@dataclass
class Candidate:
    name: str
    options: tuple[str, ...]


CANDIDATES = (
    Candidate("anoean, preset paper", ("--detector", "anoean", "--preset", "paper")),
    Candidate("anoean, preset small", ("--detector", "anoean", "--preset", "small")),
    Candidate("anoean, default", ("--detector", "anoean")),
    Candidate("egbad", ("--detector", "egbad")),
    Candidate("alad", ("--detector", "alad")),
    Candidate("anogan", ("--detector", "anogan")),
)


def numbers_in(graph: bytes) -> int:
    """How many floats a graph holds: weights, and what forests keep in attributes."""
    nodes = onnx.load_model_from_string(graph).graph
    count = sum(numpy_helper.to_array(t).size for t in nodes.initializer if t.data_type in FLOATS)
    for node in nodes.node:
        for attribute in node.attribute:
            count += len(attribute.floats)
            if attribute.HasField("t") and attribute.t.data_type in FLOATS:
                count += numpy_helper.to_array(attribute.t).size
    return count


def timers_of(graph: bytes, given: Mapping[str, Any]) -> dict[int, Callable[[], float]]:
    """What takes the seconds a row, by batch, of ONNX Runtime on one thread."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = ort.InferenceSession(graph, options)

    def timed(batch: int) -> float:
        runs = max(1, 400 // batch)
        parts = [
            {name: values[at : at + batch] for name, values in given.items()} for at in range(runs)
        ]
        began = time.perf_counter()
        for part in parts:
            session.run(None, part)
        return (time.perf_counter() - began) / (runs * batch)

    return {batch: partial(timed, batch) for batch in BATCHES}


def in_anoean(model: Any, rows: Any) -> float:
    """Seconds a row of a detector without a graph: blocks as `anoean score` makes them."""
    some = rows[:ANOGAN_ROWS]
    model.score(some)
    began = time.perf_counter()
    model.score(some)
    return (time.perf_counter() - began) / ANOGAN_ROWS


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--repeats", type=int, default=15)
    options.add_argument("--epochs", type=int, default=3)
    given = options.parse_args()
    found: dict[str, dict[str, Any]] = {}
    actions: dict[str, Callable[[], float]] = {}
    rows = load("nsl-kdd").examples[: max(BATCHES)]
    with tempfile.TemporaryDirectory() as folder:
        for candidate in CANDIDATES:
            model, file = trained(candidate, Path(folder), given.epochs)
            found[candidate.name] = sizes(model, file)
            timers = measured(model, file, rows.select(list(model.schema.columns)))
            actions |= {f"{candidate.name}/{what}": timer for what, timer in timers.items()}
    for key, seconds in interleaved(actions, given.repeats).items():
        name, what = key.split("/")
        found[name][what] = statistics.median(seconds)
    tell(given.out, "Embedded: size and speed", NOTES, HEAD, lines(found), found)


def trained(candidate: Candidate, folder: Path, epochs: int) -> tuple[Any, bytes | None]:
    """The model of a candidate and what is exported of it, None where it has no graph."""
    from anoean_cli.inference.model import load_model

    path, file = folder / "model.h5", folder / "model.onnx"
    how = [*candidate.options, "--epochs", str(epochs), "--force", "--quiet"]
    run(anoean("train", "--dataset", "nsl-kdd", "--model", str(path), *how), env=environment())
    model = load_model(path)
    if model.graph is None:
        return model, None
    run(anoean("export", str(file), "--model", str(path), "--force"), env=environment())
    return model, file.read_bytes()


def sizes(model: Any, file: bytes | None) -> dict[str, Any]:
    if file is None:
        arrays = model.arrays.values()
        count, size = sum(array.size for array in arrays), sum(array.nbytes for array in arrays)
    else:
        count, size = numbers_in(model.graph), len(model.graph)
    return {"parameters": count, "network_bytes": size, "file_bytes": file and len(file)}


def measured(model: Any, file: bytes | None, rows: Any) -> dict[str, Callable[[], float]]:
    from anoean_cli.inference.export import feed

    if file is None:
        return {"in_anoean": partial(in_anoean, model, rows)}
    whole = timers_of(file, feed(model, rows))
    alone = timers_of(model.graph, {"rows": model.preprocessor.transform(rows)})
    timers = {f"whole_{batch}": timer for batch, timer in whole.items()}
    return timers | {f"alone_{batch}": timer for batch, timer in alone.items()}


def lines(found: dict[str, dict[str, Any]]) -> list[list[str]]:
    first = next(iter(found.values()))

    def cell(about: dict[str, Any], what: str, unit: str, scale: float) -> str:
        """A figure, and its ratio to that of the first line."""
        value = scale * about[what]
        text = f"{value:,.0f}" if value >= 20 else f"{value:.1f}"
        return f"{text} {unit}" + (f" ({about[what] / first[what]:.1f})" if what in first else "")

    table = []
    for name, about in found.items():
        count = f"{about['parameters']:,}"
        row = [name, count, cell(about, "network_bytes", "kB", 1e-3)]
        if about["file_bytes"] is None:
            table.append([*row, "none", "", cell(about, "in_anoean", "µs", 1e6), "", ""])
            continue
        times = [f"{part}_{batch}" for part in ("whole", "alone") for batch in BATCHES]
        row.append(cell(about, "file_bytes", "kB", 1e-3))
        table.append([*row, *(cell(about, what, "µs", 1e6) for what in times)])
    return table


if __name__ == "__main__":
    main()
