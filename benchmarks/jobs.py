"""`anoean compare` with two processes against one, on the same cells.

Both start from nothing and train `anoean` and `knn` on four seeds; start of the processes and
loading of the data included. Two processes that took two threads each on two cores would be
slower than one by far; they get one each. Expected: a ratio below 1.

Training takes all cores that a process has for images, one for tables, so both are worth a look.

    python benchmarks/jobs.py --repeats 3
    python benchmarks/jobs.py --repeats 1 --dataset mnist --options "--normal 3 --epochs 3"
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from common import anoean, environment, interleaved, pair_ratio, parser, run, tell


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--dataset", default="nsl-kdd")
    options.add_argument("--options", default="", help="of anoean compare, besides")
    options.add_argument("--repeats", type=int, default=3)
    given = options.parse_args()

    def compare(jobs: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            arguments = f"compare -d {given.dataset} --detectors anoean,knn --seeds 4 --quiet "
            arguments += given.options
            out = str(Path(folder) / "cells")
            run(anoean(*arguments.split(), "--jobs", str(jobs), "--out", out), env=environment())

    seconds = interleaved(
        {"two": lambda: compare(2), "one": lambda: compare(1)}, given.repeats, warm_ups=0
    )
    ratio = pair_ratio(seconds["two"], seconds["one"])
    medians = [f"{statistics.median(some):.0f} s" for some in seconds.values()]
    row = [f"8 cells of {given.dataset}", *medians, f"{ratio:.2f}"]
    head = ["what", "`--jobs 2`", "`--jobs 1`", "ratio"]
    notes = [f"Whole processes; medians of {given.repeats} interleaved pairs."]
    tell(given.out, "Processes of compare", notes, head, [row], {"ratio": ratio, **seconds})


if __name__ == "__main__":
    main()
