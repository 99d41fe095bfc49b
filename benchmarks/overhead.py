"""What starting the tool costs: `anoean --help` and `anoean score` of one row.

Each is a ratio to a process of the same interpreter that only imports what cannot be done
without; the runs are interleaved (A B A B) and the ratio is the median over the pairs. Both are
measured once more with another distribution installed that registers fifty plugins. Targets: all
<= 1.5 (section 10 of the design).

    python benchmarks/overhead.py --repeats 15
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
from pathlib import Path

from common import anoean, environment, interleaved, load, pair_ratio, parser, run, tell

TARGET = 1.5
MORE_PLUGINS = 50
BARE = {
    "--help": "import typer, rich",
    "score of one row": "import numpy, h5py, pyarrow, onnxruntime",
}


def small_model(folder: Path) -> tuple[Path, Path]:
    """A table model (NSL-KDD where it is at hand) and a CSV file with one row for it."""
    from anoean_cli.commands.train import DataFlags, split_request
    from anoean_cli.errors import AnoeanError
    from anoean_cli.training.request import TrainRequest
    from anoean_cli.training.run import train_model

    try:
        rows = load("nsl-kdd")
    except AnoeanError as error:
        print(f"{error}; taking toy", file=sys.stderr)
        rows = load("toy")
    request = TrainRequest(split_request(rows, DataFlags()), settings={"epochs": 1})
    model = train_model(rows, request)
    model.save(folder / "model.h5")
    import pyarrow.csv as pc

    pc.write_csv(rows.examples.slice(0, 1), folder / "one.csv")
    return folder / "model.h5", folder / "one.csv"


def with_more_plugins(folder: Path) -> dict[str, str]:
    """The environment in which a distribution that registers `MORE_PLUGINS` detectors is installed.

    Their module ends whoever imports it.
    """
    (folder / "many_plugins.py").write_text("raise SystemExit('imported')\n")
    about = folder / "many_plugins-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: many-plugins\nVersion: 1.0\n")
    lines = [f"many-{number} = many_plugins:Detector" for number in range(MORE_PLUGINS)]
    (about / "entry_points.txt").write_text("\n".join(["[anoean.detectors]", *lines, ""]))
    path = [str(folder), os.environ.get("PYTHONPATH")]
    return {**environment(), "PYTHONPATH": os.pathsep.join(filter(None, path))}


def main() -> None:
    options = parser(__doc__ or "")
    options.add_argument("--repeats", type=int, default=15, help="pairs, at least 9")
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as name:
        model, one = small_model(Path(name))
        ours = {
            "--help": anoean("--help"),
            "score of one row": anoean("score", str(one), "--model", str(model)),
        }
        (Path(name) / "site").mkdir()
        more = with_more_plugins(Path(name) / "site")
        rows, results = [], {}
        for what, command in ours.items():
            bare = [sys.executable, "-c", BARE[what]]
            for told, env in {"": environment(), f", {MORE_PLUGINS} more plugins": more}.items():
                seconds = interleaved(
                    {
                        "ours": lambda c=command, e=env: run(c, env=e),
                        "bare": lambda c=bare, e=env: run(c, env=e),
                    },
                    max(9, given.repeats),
                    warm_ups=2,  # byte code is written, files are in the page cache
                )
                ratio = pair_ratio(seconds["ours"], seconds["bare"])
                results[what + told] = {"ratio": ratio, "target": TARGET, **seconds}
                medians = [f"{1000 * statistics.median(s):.0f} ms" for s in seconds.values()]
                verdict = "met" if ratio <= TARGET else "MISSED"
                called = f"`anoean {what}`{told}"
                rows.append([called, f"`{BARE[what]}`", *medians, f"{ratio:.2f}", verdict])
    head = ["command", "bare process", "ours", "bare", "ratio", f"target {TARGET}"]
    notes = [f"Medians of {max(9, given.repeats)} interleaved pairs, after two warm-ups."]
    tell(given.out, "Overhead of starting", notes, head, rows, results)


if __name__ == "__main__":
    main()
