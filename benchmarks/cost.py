"""What each ingredient of the default costs when it scores, and what it brings, on NSL-KDD.

Variants by their names in `ablation.py`, by the paper's protocol; the rows that training set aside
give the AUC-PR. The time is that of `Model.score` on the training file's rows, in memory, by one
thread, variants in turns: reading and writing come to it, as docs/results/peers-at-scale.md shows.

    python benchmarks/cost.py --seeds 3 --out docs/results/cost.md
"""

from __future__ import annotations

import statistics
import time
from typing import Any

from ablation import WITHOUT
from common import interleaved, load, parser, spread, tell

VARIANTS: dict[str, dict[str, Any]] = {
    **{
        name: WITHOUT[name]
        for name in (
            "default",
            "no members",
            "no forest",
            "no novelty",
            "neither expert",
            "bins",
            "standardised inputs",
        )
    },
    "neither expert, no members": {"forest": 0, "novelty": 0, "members": 1},
}
PRESETS = ("small", "paper")


def trained(rows: Any, name: str, seed: int) -> Any:
    from anoean_cli.commands.train import DataFlags, split_request
    from anoean_cli.training.request import TrainRequest
    from anoean_cli.training.run import train_model

    request = TrainRequest(
        split_request(rows, DataFlags()),
        preset=name if name in PRESETS else "default",
        settings=VARIANTS.get(name, {}),
        seed=seed,
    )
    return train_model(rows, request)


def main() -> None:
    from anoean_cli.evaluation.run import figures, score_test_rows

    options = parser(__doc__ or "")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--repeats", type=int, default=5)
    given = options.parse_args()
    rows = load("nsl-kdd", "full")
    names = [*VARIANTS, *PRESETS]
    reached: dict[str, list[float]] = {}
    first: dict[str, Any] = {}
    for name in names:
        models = [trained(rows, name, seed) for seed in range(given.seeds)]
        first[name] = models[0]
        reached[name] = [100 * figures(m, score_test_rows(m, rows))["auc_pr"] for m in models]

    def scoring(name: str) -> float:
        examples = rows.examples.select(list(first[name].schema.columns))
        began = time.process_time()
        first[name].score(examples)
        return time.process_time() - began

    seconds = interleaved({n: lambda n=n: scoring(n) for n in names}, given.repeats)
    medians = {
        name: statistics.median(own) / rows.examples.num_rows for name, own in seconds.items()
    }
    table = [
        [
            name,
            spread(reached[name]),
            f"{1e6 * medians[name]:.1f}",
            f"{medians[name] / medians['default']:.2f}",
            f"{len(first[name].graph) / 1000:,.0f}",
        ]
        for name in names
    ]
    notes = [
        f"AUC-PR in %, mean ± standard deviation, seeds from 0: {given.seeds}; microseconds of one "
        f"core a row, of seed 0, medians of {given.repeats} runs of "
        f"{rows.examples.num_rows:,} rows."
    ]
    head = ["variant", "AUC-PR", "µs a row", "against default", "network, kB"]
    tell(
        given.out, "What scoring costs", notes, head, table, {"auc_pr": reached, "seconds": seconds}
    )


if __name__ == "__main__":
    main()
