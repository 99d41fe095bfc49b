"""What all benchmarks share: the machine, medians of interleaved runs, and how results are told."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

LIBRARIES = ("anoean", "torch", "numpy", "scikit-learn", "onnxruntime", "pyarrow", "h5py", "typer")


def parser(description: str) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--out", type=Path, help="Markdown file; JSON goes beside it (else stdout)")
    return made


def machine() -> dict[str, Any]:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [line for line in info.read_text().splitlines() if line.startswith("model name")]
        cpu = names[0].partition(":")[2].strip() if names else cpu
    return {
        "command": shlex.join(["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: version(name).partition("+")[0] for name in LIBRARIES},
    }


def tell(
    out: Path | None,
    title: str,
    notes: Sequence[str],
    head: Sequence[str],
    rows: Sequence[Sequence[Any]],
    data: Any,
) -> None:
    """Write Markdown to ``out`` and JSON beside it, or Markdown to stdout."""
    about = machine()
    lines = [
        f"# {title}",
        "",
        f"    {about['command']}",
        "",
        f"{about['date']}, {about['cpu']}, {about['cores']} cores (load {about['load']:.1f}), "
        f"Python {about['python']}, "
        + ", ".join(f"{name} {number}" for name, number in about["versions"].items())
        + ".",
        "",
        *(line for note in notes for line in (note, "")),
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows),
        "",
    ]
    text = "\n".join(lines)
    if out is None:
        print(text)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text, encoding="utf-8")
    result = {"about": about, "result": data}
    out.with_suffix(".json").write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"{out} and {out.with_suffix('.json')}", file=sys.stderr)


def interleaved(
    actions: Mapping[str, Callable[[], Any]], repeats: int, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Seconds of each action, taken in turns so that a change of the machine's load meets all.

    An action that returns a float has taken its own time.
    """
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for turn in range(warm_ups + repeats):
        for name, action in actions.items():
            began = time.perf_counter()
            own = action()
            took = time.perf_counter() - began
            if turn >= warm_ups:
                seconds[name].append(own if isinstance(own, float) else took)
    return seconds


def pair_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """The median over the pairs: load that lasts longer than a pair cancels."""
    return statistics.median(a / b for a, b in zip(numerators, denominators, strict=True))


def anoean(*arguments: str) -> list[str]:
    """The command line of the installed command, beside this interpreter."""
    return [str(Path(sys.executable).with_name("anoean")), *arguments]


def run(command: Sequence[str], **options: Any) -> None:
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **options)


def environment() -> dict[str, str]:
    """Ours, with byte code written and read as it is for users; ONNX Runtime reports nothing, as
    under anoean, in bare processes either."""
    ours = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    return {**ours, "ORT_DISABLE_TELEMETRY": "1"}


def alone(cache: Path) -> dict[str, str]:
    """The same for commands on one thread that keep what they prepare in a folder of their own."""
    return {**environment(), "ANOEAN_THREADS": "1", "ANOEAN_CACHE": str(cache)}


class Cells:
    """Finished cells of a long benchmark, a JSON line each, so that it can go on later."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.done: dict[str, Any] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                with contextlib.suppress(json.JSONDecodeError):  # a line that was cut off
                    cell = json.loads(line)
                    self.done[cell["key"]] = cell

    def add(self, key: str, values: Mapping[str, Any]) -> None:
        cell = {"key": key, **values}
        self.done[key] = cell
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(cell) + "\n")

    def missing(self, keys: Sequence[str]) -> Iterator[str]:
        return (key for key in keys if key not in self.done)

    def run(
        self,
        asked: Mapping[str, Sequence[Any]],
        work: Callable[..., Mapping[str, Any]],
        jobs: int,
        told: Callable[[Mapping[str, Any]], str],
    ) -> None:
        """Do what is missing in so many processes; each cell is kept, and told, once it is done.

        Args:
            asked: what `work` takes, by the keys of the cells.
            told: a cell in a few words.
        """
        from joblib import Parallel, delayed

        missing = list(self.missing(list(asked)))
        done = Parallel(n_jobs=jobs, backend="loky", return_as="generator_unordered")(
            delayed(_keyed)(key, work, asked[key]) for key in missing
        )
        for number, (key, values) in enumerate(done, start=1):
            self.add(key, values)
            told_of = f"{number} of {len(missing)}: {key}: {told(values)}"
            print(told_of, file=sys.stderr, flush=True)


def _keyed(
    key: str, work: Callable[..., Mapping[str, Any]], what: Sequence[Any]
) -> tuple[str, Mapping[str, Any]]:
    return key, work(*what)


def store_of(rows: Any, given: argparse.Namespace) -> Any:
    """Where cells of these rows are kept: in ``given.cells``."""
    from anoean_cli.evaluation.comparison import CellStore

    given.cells.mkdir(parents=True, exist_ok=True)
    return CellStore(given.cells, rows)


def ran(rows: Any, cells: Sequence[Any], given: argparse.Namespace) -> list[Any]:
    """The results of cells, kept in ``given.cells``; of those that are finished if ``so_far``."""
    from anoean_cli.commands.compare import compare
    from anoean_cli.console import Console

    store = store_of(rows, given)
    if given.so_far:
        return store.finished(cells)
    return compare(Console(), rows, cells, given.cells, given.jobs)


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation, nothing of no values."""
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.2f}{deviation}"


def load(name: str, source: str = "auto") -> Any:
    """A data set as the command line loads it."""
    from anoean_cli.commands.loading import load_dataset
    from anoean_cli.console import Console
    from anoean_cli.interfaces import TableOptions

    return load_dataset(name, source, TableOptions(), Console(quiet=True))
