"""Whether the time itself, as a feature, makes anomalies of later rows.

Calls in office hours on working days of six weeks, without labels, train each detector: once on
what `anoean` makes of the column of dates, the time of day and the day of the week, and once with
the time beside it, as a number. Then the four weeks after are scored: calls in office hours, which
are normal, and calls at night.

    python benchmarks/dates.py --out docs/results/dates.md
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from common import parser, tell

WEEK = 7 * 86_400
START = 1_780_272_000  # Monday 2026-06-01
DETECTORS = ("anoean", "knn", "isolation-forest")


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--rows", type=int, default=2000)
    options.add_argument("--seed", type=int, default=0)
    given = options.parse_args()

    from anoean_cli.data.splits import SplitRequest
    from anoean_cli.interfaces import Dataset
    from anoean_cli.training.request import TrainRequest
    from anoean_cli.training.run import train_model

    rng = np.random.default_rng(given.seed)
    n = given.rows
    learned, later = calls(rng, n, range(6)), calls(rng, n, range(6, 10))
    nights = calls(rng, n, range(6, 10), at_night=True)
    table, results = [], []
    for detector in DETECTORS:
        for name in ("cycles", "cycles and the time"):
            names = ["at", "minutes"] + ["seconds"] * (name != "cycles")
            data = Dataset("calls", learned.select(names), np.full(n, "ok"), {"source": "made"})
            split = SplitRequest(normal=("ok",))
            model = train_model(data, TrainRequest(split, detector=detector, seed=given.seed))
            flagged = [
                float(model.score(rows.select(names)).is_anomaly.mean()) for rows in (later, nights)
            ]
            table.append([detector, name, *(f"{share:.3f}" for share in flagged)])
            results.append({"detector": detector, "features": name, "flagged": flagged})
    notes = [
        f"Shares of {n:,} rows that are called anomalous, at the default threshold (a "
        "false-positive rate of 1 % is promised for rows like those of training)."
    ]
    head = ["detector", "learned from", "later office hours", "later nights"]
    tell(given.out, "The time itself as a feature", notes, head, table, results)


def calls(rng: np.random.Generator, n: int, weeks: range, at_night: bool = False) -> pa.Table:
    """Calls of which time and length are known: from 9 to 17, or at night from 0 to 4."""
    hour = rng.uniform(0, 4, n) if at_night else rng.uniform(9, 17, n)
    day = rng.integers(0, 5, n)
    seconds = START + WEEK * rng.integers(weeks.start, weeks.stop, n) + 86_400 * day + 3600 * hour
    return pa.table(
        {
            "at": pa.array((seconds * 1e6).astype("M8[us]")),
            "seconds": seconds,
            "minutes": rng.exponential(size=n),
        }
    )


if __name__ == "__main__":
    main()
