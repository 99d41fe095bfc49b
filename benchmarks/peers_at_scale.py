"""Rows a second of scoring one large CSV: `anoean score` beside peers that do the same job.

The CSV is NSL-KDD's training rows, repeated with noise on the byte counts, as large as `--bytes`
says; it is written to a temporary folder and removed. Every contestant is a process of its own,
start included, that reads the CSV from its beginning and writes a score for each row to a file:

- `anoean score` of four models: the default, whose network has a forest and neighbours for
  experts; the same with standardised inputs; `--preset small`, encoders alone; `--preset paper`,
  one encoder. It takes the cores that it finds, as the libraries of the peers do;
- the default with `--jobs 1`;
- PyOD's AutoEncoder and IForest and scikit-learn's EllipticEnvelope, each behind scikit-learn's
  StandardScaler and OneHotEncoder, on batches from pyarrow's open_csv, about 50,000 rows at once,
  the scores written by pyarrow. The AutoEncoder gets batches of 4,096 rows: with its own default of
  32 it is twenty times as slow;
- the bare loop of throughput.py, which writes nothing.

All are fitted beforehand, on normal training rows: that takes no part in the time. Target: anoean
faster than each peer. The peers need `pip install anoean[bench]`.

    python benchmarks/peers_at_scale.py --bytes 1e9 --repeats 3
"""

from __future__ import annotations

import pickle
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from common import anoean, environment, interleaved, load, pair_ratio, parser, run, tell
from throughput import CHUNK, write_csv

OURS = ("default", "standard", "small", "paper")
ONE_JOB = "default, one job"
PEERS = ("pyod-autoencoder", "pyod-iforest", "elliptic-envelope")
ROWS_TO_FIT = 10_000
BATCH = 4096
SAMPLE = 20_000  # rows, to learn how long a line is
AT_ONCE = 8 << 20  # bytes of the CSV


def written(path: Path, table: Any, size: float) -> int:
    """Write a CSV of about that many bytes; returns its rows."""
    write_csv(path, table, SAMPLE)
    rows = round(size / path.stat().st_size * SAMPLE)
    write_csv(path, table, rows)
    return rows


def models(rows: Any, folder: Path) -> dict[str, Path]:
    """Our models; how long they learned is nothing to how long they score."""
    from anoean_cli.commands.train import DataFlags, split_request
    from anoean_cli.training.request import TrainRequest
    from anoean_cli.training.run import train_model

    found = {}
    for name in OURS:
        request = TrainRequest(
            split_request(rows, DataFlags()),
            preset="default" if name == "standard" else name,
            settings={"epochs": 1} | ({"inputs": "standard"} if name == "standard" else {}),
        )
        found[name] = folder / f"{name}.h5"
        train_model(rows, request).save(found[name])
    return found


def fit_peers(rows: Any, folder: Path) -> dict[str, Path]:
    """The peers, fitted to normal rows, as files of this run that nobody else reads."""
    import pyarrow as pa
    from sklearn.compose import make_column_transformer
    from sklearn.covariance import EllipticEnvelope
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    normal = np.flatnonzero((rows.labels == "normal") & (rows.partition == "train"))
    some = rows.examples.take(np.random.default_rng(0).choice(normal, ROWS_TO_FIT, replace=False))
    texts = [f.name for f in some.schema if pa.types.is_string(f.type)]
    numbers = [name for name in some.column_names if name not in texts]
    from pyod.models.auto_encoder import AutoEncoder
    from pyod.models.iforest import IForest

    made = {
        "pyod-autoencoder": AutoEncoder(epoch_num=1, batch_size=BATCH, verbose=0),
        "pyod-iforest": IForest(random_state=0),
        "elliptic-envelope": EllipticEnvelope(support_fraction=1.0, random_state=0),
    }
    found = {}
    for name, detector in made.items():
        preprocessing = make_column_transformer(
            (StandardScaler(), numbers),
            (OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=np.float32), texts),
        )
        examples = preprocessing.fit_transform(some.to_pandas()).astype(np.float32)
        detector.fit(examples)
        found[name] = folder / f"{name}.pickle"
        found[name].write_bytes(pickle.dumps((preprocessing, detector)))
    return found


def score_with_peer(csv: Path, fitted: Path, out: Path) -> None:
    """What a user of the peer would write: stream, preprocess, score, write."""
    import pyarrow as pa
    import pyarrow.csv as pc

    preprocessing, detector = pickle.loads(fitted.read_bytes())
    is_pyod = hasattr(detector, "decision_scores_")
    schema = pa.schema({"row": pa.int64(), "score": pa.float64()})
    read, done = pc.ReadOptions(block_size=AT_ONCE), 0
    with pc.open_csv(csv, read_options=read) as reader, pc.CSVWriter(out, schema) as writer:
        for batch in reader:
            for at in range(0, len(batch), CHUNK):
                frame = batch.slice(at, CHUNK).to_pandas()
                examples = preprocessing.transform(frame).astype(np.float32)
                scores = detector.decision_function(examples)
                scores = scores if is_pyod else -scores
                numbers = np.arange(done + 1, done + len(frame) + 1)
                done += len(frame)
                writer.write_table(
                    pa.table([numbers, np.asarray(scores, np.float64)], schema=schema)
                )


def judged(ratio: float) -> str:
    return f"{ratio:.2f}: {'met' if ratio > 1 else 'MISSED'}"


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--bytes", type=float, default=1e9, help="of the CSV")
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--score", nargs=3, metavar=("CSV", "PEER", "OUT"), help="only one peer")
    given = options.parse_args()
    if given.score:
        score_with_peer(*map(Path, given.score))
        return
    rows = load("nsl-kdd")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        csv, out = folder / "big.csv", folder / "scores.csv"
        ours, peers = models(rows, folder), fit_peers(rows, folder)
        count = written(csv, rows.examples, given.bytes)
        commands = {
            f"anoean, {kind}": anoean(
                "score", str(csv), "-m", str(model), "--quiet", "--force", "--out", str(out)
            )
            for kind, model in ours.items()
        }
        commands[f"anoean, {ONE_JOB}"] = [*commands["anoean, default"], "--jobs", "1"]
        commands |= {
            peer: [sys.executable, __file__, "--score", str(csv), str(fitted), str(out)]
            for peer, fitted in peers.items()
        }
        throughput = Path(__file__).with_name("throughput.py")
        commands["bare loop, standard"] = [
            sys.executable, str(throughput), "--bare", str(csv), str(ours["standard"])
        ]  # fmt: skip
        actions = {
            who: lambda command=command: run(command, env=environment())
            for who, command in commands.items()
        }
        seconds = interleaved(actions, given.repeats, warm_ups=0)
        size = csv.stat().st_size
    table, kinds = [], (*OURS[:1], ONE_JOB, *OURS[1:])
    for who, took in seconds.items():
        ratios = [pair_ratio(took, seconds[f"anoean, {kind}"]) for kind in kinds]
        middle = statistics.median(took)
        verdicts = [judged(each) if who in PEERS else f"{each:.2f}" for each in ratios]
        table.append([who, f"{count / middle:,.0f} rows/s", f"{middle:.1f} s", *verdicts])
    notes = [
        f"A CSV of {size / 1e9:.3g} GB, {count:,} rows; whole processes, start included; medians "
        f"of {given.repeats} runs in turns. The ratios are those of the times, to `anoean score` "
        "of each model; more than 1 is slower than that."
    ]
    head = ["what", "throughput", "time", *(f"against {kind}" for kind in kinds)]
    result = {"bytes": size, "rows": count, "seconds": seconds}
    tell(given.out, "The same job by peers", notes, head, table, result)


if __name__ == "__main__":
    main()
