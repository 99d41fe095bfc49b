"""Tables of categories and numbers: anomalies that have a rare category, a new one, or none at all.

Rows are drawn from one of five made-up laws. Of some of them a category is drawn anew from all that
there are (*rare*), is one that training never had (*new*), is missing where training lacked none
(*missing*), is that of another row (*exchanged*), or two numbers are three standard deviations off
(*numbers*). Each kind is told from the same new normals, without known anomalies and with 15 known
ones of the last two kinds each. Cells are kept.

    python benchmarks/mixed_tables.py --jobs 2 --out docs/results/mixed-tables.md
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from common import Cells, parser, tell
from numpy.typing import NDArray

Rng = np.random.Generator

SIZES = (400, 2500)
NEW_NORMALS, OF_A_KIND, KNOWN = 600, 60, 15
KINDS = ("new", "missing", "rare", "exchanged", "numbers")
SHOWN = ("exchanged", "numbers")
NEW, MISSING = 9999, -1
WITHOUT_KNOWN = ("anoean", "knn", "isolation-forest")
WITH_KNOWN = (*WITHOUT_KNOWN, "random-forest")
NOTES = (
    "AUC-PR in %, mean over laws, sizes and seeds: each kind of anomaly against the same normals, "
    f"{OF_A_KIND} to {NEW_NORMALS}. Known ones are of the kinds *{SHOWN[0]}* and *{SHOWN[1]}*.",
)


class Drawn(NamedTuple):
    """Codes by categorical column, and (n, k) numbers."""

    categories: dict[str, NDArray[np.int64]]
    numbers: NDArray[np.float64]


# --------------------------------------------------------------------------- laws


def few_often(rng: Rng, count: int, kinds: int, steepness: float = 1.2) -> NDArray[np.int64]:
    """Categories of which the k-th is by k^steepness rarer than the first (Zipf's law)."""
    share = 1 / np.arange(1, kinds + 1) ** steepness
    return rng.choice(kinds, count, p=share / share.sum())


def payments(rng: Rng, count: int) -> Drawn:
    """Amounts and hours that go by merchant and channel."""
    merchant = few_often(rng, count, 12)
    channel = (merchant + rng.integers(0, 2, count)) % 4
    country = few_often(rng, count, 40, 1.5)
    amount = np.exp(np.linspace(1, 5, 12)[merchant] + 0.5 * rng.normal(size=count))
    hour = (12 + 3 * rng.normal(size=count) + 2 * (channel == 1)) % 24
    categories = {"merchant": merchant, "channel": channel, "country": country}
    return Drawn(categories, np.column_stack([amount, hour, rng.normal(40, 12, count)]))


def sensors(rng: Rng, count: int) -> Drawn:
    """Six readings around what is typical of a unit, and that hang together."""
    unit = rng.integers(0, 6, count)
    state = (rng.random(count) < 0.3).astype(np.int64) + (rng.random(count) < 0.05)
    typical, mixing = np.random.default_rng(5).normal(size=(2, 6, 6))
    numbers = 2 * typical[unit] + state[:, None] + rng.normal(size=(count, 6)) @ mixing / 2
    return Drawn({"unit": unit, "state": state}, numbers)


def answers(rng: Rng, count: int) -> Drawn:
    """Eight columns of categories alone, each of which goes by the one before it."""
    law = np.random.default_rng(7)
    column, categories = rng.integers(0, 4, count), {}
    for number in range(8):
        shares = law.dirichlet(np.full(law.integers(3, 9), 0.4), size=9)
        column = np.array([rng.choice(shares.shape[1], p=shares[before]) for before in column])
        categories[f"question {number}"] = column
    return Drawn(categories, np.empty((count, 0)))


def users(rng: Rng, count: int) -> Drawn:
    """Two hundred users, most of them rare, and what they do."""
    user = few_often(rng, count, 200, 1.0)
    action = (user + few_often(rng, count, 10)) % 10
    often, long = rng.poisson(3 + user % 5), rng.exponential(1 + action)
    numbers = np.column_stack([often, long, rng.normal(size=count)])
    return Drawn({"user": user, "action": action}, numbers)


def wide(rng: Rng, count: int) -> Drawn:
    """Twenty numbers around what is typical of a group, and two categories that tell nothing."""
    group = rng.integers(0, 5, count)
    typical = np.random.default_rng(8).normal(size=(5, 20))
    others = {"site": few_often(rng, count, 8), "zone": few_often(rng, count, 30)}
    return Drawn({"group": group, **others}, typical[group] + rng.normal(size=(count, 20)))


LAWS: dict[str, Callable[[Rng, int], Drawn]] = {
    law.__name__: law for law in (payments, sensors, answers, users, wide)
}

# --------------------------------------------------------------------------- anomalies


def odd(kind: str, law: Callable[[Rng, int], Drawn], normals: Drawn, rng: Rng, count: int) -> Drawn:
    """Rows of a law that are anomalies of one kind."""
    drawn = law(rng, count)
    if kind == "exchanged":
        exchanged = {name: rng.permutation(codes) for name, codes in drawn.categories.items()}
        return Drawn(exchanged, drawn.numbers)
    names, spread = list(drawn.categories), normals.numbers.std(axis=0)
    for row in range(count):
        if kind == "numbers":
            some = rng.choice(len(spread), 2, replace=False)
            drawn.numbers[row, some] += 3 * spread[some] * rng.choice([-1, 1], 2)
            continue
        name = names[rng.integers(len(names))]
        any_of_them = rng.integers(normals.categories[name].max() + 1)
        code = {"new": NEW, "missing": MISSING, "rare": any_of_them}[kind]
        drawn.categories[name][row] = code
    return drawn


def dataset(law: str, size: int, seed: int) -> Any:
    """Rows to learn from, among them known anomalies, and rows of each kind for a test."""
    import pyarrow as pa

    from anoean_cli.interfaces import Dataset

    rng, draw = np.random.default_rng([seed, size]), LAWS[law]
    normals = draw(rng, size)
    kinds = [kind for kind in KINDS if kind != "numbers" or normals.numbers.shape[1] > 1]
    parts = [("train", "normal", normals), ("test", "normal", draw(rng, NEW_NORMALS))]
    for kind in kinds:
        parts.append(("test", kind, odd(kind, draw, normals, rng, OF_A_KIND)))
        if kind in SHOWN:
            parts.append(("train", kind, odd(kind, draw, normals, rng, KNOWN)))
    columns: dict[str, pa.Array] = {}
    for name in normals.categories:
        codes = np.concatenate([drawn.categories[name] for _, _, drawn in parts])
        texts = [None if code == MISSING else f"{name} {code}" for code in codes.tolist()]
        columns[name] = pa.array(texts, pa.string())
    numbers = np.concatenate([drawn.numbers for _, _, drawn in parts])
    columns |= {f"x{number}": pa.array(column) for number, column in enumerate(numbers.T)}
    counts = [len(drawn.numbers) for _, _, drawn in parts]
    return Dataset(
        name=law,
        examples=pa.table(columns),
        labels=np.repeat([kind for _, kind, _ in parts], counts),
        provenance={"source": "made up", "law": law, "seed": seed},
        normal=("normal",),
        partition=np.repeat([part for part, _, _ in parts], counts),
        columns=tuple(columns),
        vouched=tuple(columns),
    )


def cell(law: str, size: int, are_known: bool, detector: str, seed: int) -> dict[str, Any]:
    """The AUC-PR of each kind of anomaly, of one detector on one table."""
    from sklearn.metrics import average_precision_score

    from anoean_cli.data.splits import SplitRequest
    from anoean_cli.evaluation.run import score_rows_set_aside
    from anoean_cli.interfaces import Apportionment
    from anoean_cli.training.request import TrainRequest
    from anoean_cli.training.run import train_model

    rows = dataset(law, size, seed)
    apportionment = Apportionment() if are_known else Apportionment(anomaly_fraction=0)
    split = SplitRequest(("normal",), apportionment, scheme="publisher")
    model = train_model(rows, TrainRequest(split, detector=detector, seed=seed, threads=1))
    tested = score_rows_set_aside(model, rows, with_hashes=False)
    labels, scores = tested.types, tested.scores
    figures = {}
    for kind in np.unique(labels[labels != "normal"]).tolist():
        some = np.isin(labels, ["normal", kind])
        figures[kind] = float(average_precision_score(labels[some] == kind, scores[some]))
    about = {"law": law, "size": size, "known": are_known, "detector": detector, "seed": seed}
    return {**about, "auc_pr": figures}


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--seeds", default="10,11", help="of rows and trainings")
    options.add_argument("--cells", type=Path, default=Path(".reproduce/mixed-tables.jsonl"))
    options.add_argument("--jobs", type=int, default=1)
    given = options.parse_args()
    seeds = [int(seed) for seed in given.seeds.split(",")]
    columns = [(known, name) for known in (False, True) for name in _names(known)]
    asked = {
        f"{law}, {size}, {known}, {name}, {seed}": (law, size, known, name, seed)
        for seed, law, size, (known, name) in product(seeds, LAWS, SIZES, columns)
    }
    kept = Cells(given.cells)
    kept.run(asked, cell, given.jobs, lambda values: f"{_mean(values['auc_pr'].values()):.1f}")
    results = [kept.done[key] for key in asked]

    def mean_of(kind: str | None, known: bool, name: str) -> str:
        some = [r for r in results if (r["known"], r["detector"]) == (known, name)]
        return f"{_mean(v for r in some for k, v in r['auc_pr'].items() if kind in (k, None)):.1f}"

    head = ["", *(f"{name}{', some known' if known else ''}" for known, name in columns)]
    table = [[kind, *(mean_of(kind, *column) for column in columns)] for kind in KINDS]
    table.append(["**mean**", *(mean_of(None, *column) for column in columns)])
    tell(given.out, "Tables of categories and numbers", NOTES, head, table, results)


def _names(known: bool) -> tuple[str, ...]:
    return WITH_KNOWN if known else WITHOUT_KNOWN


def _mean(figures: Any) -> float:
    return 100 * statistics.mean(figures)


if __name__ == "__main__":
    main()
