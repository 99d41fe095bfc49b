"""Several detectors on the same data, splits and seeds: cells, how they run, and what they say.

A *cell* is one detector trained and tested under one seed. Cells of one seed share their split,
for it depends on the data, the request and the seed alone. Each finished cell is kept as a file of
its own, so that a comparison that was cut off goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
import math
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from anoean_cli import registry
from anoean_cli.data.content import without_places
from anoean_cli.errors import AnoeanError, OutputError, in_one_line
from anoean_cli.evaluation.metrics import nadeau_bengio
from anoean_cli.evaluation.report import numbers
from anoean_cli.evaluation.run import Labelled, figures, score_rows_set_aside
from anoean_cli.inference.model import load_model
from anoean_cli.interfaces import Dataset, Json
from anoean_cli.storage.atomic import write_whole
from anoean_cli.training.request import TrainRequest, resolved
from anoean_cli.training.run import Watcher, train_model

Result = dict[str, Json]

PRIMARY = "auc_pr"
NOISE = 0.05
# Some detectors set torch's threads where they score as well, which belong to the process: a Dask
# worker with several threads must not work at two cells at once.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True)
class Cell:
    """One detector under one seed.

    Attributes:
        label: what the detector is called in the comparison: ``NAME`` or ``NAME:PRESET``.
        request: what to train; its seed is the cell's.
    """

    label: str
    request: TrainRequest

    @property
    def seed(self) -> int:
        """Of its training."""
        return self.request.seed


def cells_of(contenders: Mapping[str, TrainRequest], first_seed: int, seeds: int) -> list[Cell]:
    """All cells, seed by seed, so that a comparison that is cut off has whole seeds."""
    return [
        Cell(label, replace(request, seed=seed))
        for seed in range(first_seed, first_seed + seeds)
        for label, request in contenders.items()
    ]


def run_cell(dataset: Dataset, cell: Cell) -> Result:
    """Train and test one detector, by the functions that ``train`` and ``evaluate`` call.

    Returns:
        ``detector``, ``seed``, ``metrics``, ``fit_seconds``, ``score_seconds`` (of the test
        rows), ``model_bytes``, ``digest``, ``epochs``, ``split`` (sizes), ``parameters`` (of the
        detector and its encoder), ``notes``, ``curves``; or, where it failed, ``detector``,
        ``seed``, ``notes`` and ``error``: one failure must not end the rest.

    Raises:
        OutputError: the disk fails, which is no detector's fault and meets the rest as well.
    """
    about: Result = {"detector": cell.label, "seed": cell.seed}
    notes: list[str] = []
    try:
        with _ONE_AT_A_TIME:
            return {**about, **_trained_and_tested(dataset, cell.request, notes), "notes": notes}
    except OutputError:
        raise
    except AnoeanError as error:
        told = str(error)
    except Exception as error:
        told = f"a bug: {in_one_line(error)}"
    return {**about, "error": told, "notes": notes}


def _trained_and_tested(dataset: Dataset, request: TrainRequest, notes: list[str]) -> Result:
    model = train_model(dataset, request, Watcher(warn=notes.append))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.h5"
        model.save(file)
        size = file.stat().st_size
        saved = load_model(file)  # what is tested is what a user would have
    began = time.perf_counter()
    labelled = score_rows_set_aside(saved, dataset, with_hashes=False)
    score_seconds = time.perf_counter() - began
    return {
        "metrics": figures(saved, labelled, bootstrap=0),
        "curves": _curves(labelled),
        "fit_seconds": model.timing["fit_seconds"],
        "score_seconds": score_seconds,
        "model_bytes": size,
        "digest": saved.digest,
        "epochs": len(next(iter(model.history.values()), ())),
        "split": model.config["split"],
        "parameters": resolved(request, dataset.kind),
    }


def _curves(labelled: Labelled) -> dict[str, list[float]]:
    """Precision and recall at the places `report.numbers.RATES`, for the report."""
    found = numbers.curves(labelled.scores, labelled.is_anomaly, bootstrap=0)
    pairs = {"precision": found.precision_recall.y, "recall": found.roc.y}
    return {name: values.round(5).tolist() for name, values in pairs.items()}


# --------------------------------------------------------------------------- what is kept


# Part of every key: it grows when equal parameters train or test otherwise than before.
EDITION = 5
NUMBERS = ("fit_seconds", "score_seconds", "model_bytes")


class CellStore:
    """Finished cells in a folder, a JSON file each, under a key of all that determines them:
    data, request, every parameter with its default, and the versions of what trains.

    Args:
        folder: it must be there before a cell is kept.
        dataset: its provenance is part of every key.
    """

    def __init__(self, folder: Path, dataset: Dataset) -> None:
        self._folder = folder
        self._kind = dataset.kind
        self._about = {
            "dataset": dataset.name,
            "provenance": without_places(dataset.provenance),
            "anoean": version("anoean"),
            "edition": EDITION,
        }

    def load(self, cell: Cell) -> Result | None:
        """Return what is kept of a cell; None where it is still to be run, or damaged."""
        try:
            found = json.loads(self._file(cell).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if _is_result(found, cell) else None

    def finished(self, cells: Iterable[Cell]) -> list[Result]:
        """What is kept of those cells that need not be run."""
        return [kept for cell in cells if (kept := self.load(cell)) is not None]

    def keep(self, cell: Cell, result: Result) -> None:
        """Store a cell, whole or not at all. Raises OutputError where it cannot be written."""
        write_whole(self._file(cell), json.dumps(result, indent=1) + "\n", overwrite=True)

    def _file(self, cell: Cell) -> Path:
        # What a detector gives may depend on the threads in its last bits, but they are no choice.
        request = asdict(replace(cell.request, threads=None))
        asked = {
            **self._about,
            "label": cell.label,
            "request": request,
            "parameters": resolved(cell.request, self._kind),
            "distribution": registry.distribution("detectors", cell.request.detector),
        }
        key = hashlib.sha256(json.dumps(asked, sort_keys=True, default=str).encode()).hexdigest()
        return self._folder / f"{cell.label.replace(':', '-')}-{cell.seed}-{key[:12]}.json"


def _is_result(found: Any, cell: Cell) -> bool:
    """Whether that is the whole result of this cell, with finite figures."""
    if not isinstance(found, dict) or (found.get("detector"), found.get("seed")) != (
        cell.label,
        cell.seed,
    ):
        return False
    metrics, split = found.get("metrics"), found.get("split")
    if not isinstance(metrics, dict) or not isinstance(split, dict) or PRIMARY not in metrics:
        return False
    figures = [*flat(metrics).values(), *(found.get(name) for name in NUMBERS)]
    return all(isinstance(number, int | float) and math.isfinite(number) for number in figures)


# --------------------------------------------------------------------------- running them


Finished = Callable[[Cell, Result], None]


def run_cells(
    dataset: Dataset,
    cells: Sequence[Cell],
    finished: Finished,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
) -> None:
    """Run cells and call ``finished`` with each as soon as it is done, in whatever order.

    Args:
        jobs: processes at once on this machine, but no more than there are cells; its cores are
            divided between them.
        scheduler: address of a Dask scheduler whose workers run the cells instead.

    Raises:
        UsageError: the scheduler cannot be reached.
    """
    from anoean_cli.evaluation import workers

    jobs = min(jobs, len(cells))
    if scheduler is not None:
        for cell, result in workers.on_cluster(run_cell, dataset, cells, scheduler):
            finished(cell, result)
    elif jobs <= 1:
        for cell in cells:
            finished(cell, run_cell(dataset, cell))
    else:
        for cell, result in workers.in_processes(run_cell, dataset, cells, jobs):
            finished(cell, result)


def seconds_left(results: Iterable[Result], missing: Iterable[Cell], jobs: int) -> float | None:
    """Estimate from the finished cells how long the missing ones take; None without any."""
    taken: dict[str, list[float]] = {}
    for result in results:
        if "metrics" in result:
            seconds = result["fit_seconds"] + result["score_seconds"]
            taken.setdefault(result["detector"], []).append(seconds)
    if not taken:
        return None
    overall = statistics.mean(value for values in taken.values() for value in values)
    expected = (
        statistics.mean(taken[cell.label]) if cell.label in taken else overall for cell in missing
    )
    return sum(expected) / jobs


# --------------------------------------------------------------------------- what they say


def summarise(results: Sequence[Result]) -> list[Result]:
    """One row a detector, best mean AUC-PR first, those of which all cells failed last.

    Returns:
        For each: ``detector``, ``seeds`` (how many succeeded), ``metrics`` (figure → ``mean`` and
        ``sd``, None for a single seed), mean ``rank`` by AUC-PR within a seed, means of
        ``fit_seconds``, ``score_seconds`` and ``model_bytes``, ``errors`` (distinct ones), and
        ``deficit``: how far its AUC-PR is behind that of the best, paired by seed, as ``mean``,
        ``low``, ``high`` and ``p_value`` by the test of Nadeau and Bengio, which knows that seeds
        share rows; None for the best.
    """
    by_detector: dict[str, list[Result]] = {}
    for result in results:
        by_detector.setdefault(result["detector"], []).append(result)
    good = {name: [r for r in some if "metrics" in r] for name, some in by_detector.items()}
    ranks = _ranks(results)
    rows = [_row(name, good[name], by_detector[name], ranks) for name in by_detector]
    rows.sort(key=_by_mean)
    best = good[rows[0]["detector"]] if rows else []
    for row in rows:
        mine = good[row["detector"]]
        row["deficit"] = None if mine is best or not mine or not best else deficit_to(best, mine)
    return rows


def _row(
    name: str, good: Sequence[Result], tried: Sequence[Result], ranks: Mapping[str, list[float]]
) -> Result:
    row: Result = {
        "detector": name,
        "seeds": len(good),
        "errors": sorted({r["error"] for r in tried if "error" in r}),
        "rank": statistics.mean(ranks[name]) if good else None,
        "metrics": _spread([flat(r["metrics"]) for r in good]),
    }
    for figure in ("fit_seconds", "score_seconds", "model_bytes"):
        row[figure] = statistics.mean(r[figure] for r in good) if good else None
    return row


def flat(metrics: Mapping[str, Json]) -> dict[str, float]:
    """Figures by name, those of ``seen`` and its like as ``seen.auc_pr``."""
    found: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            found |= {f"{name}.{inner}": number for inner, number in value.items()}
        else:
            found[name] = value
    return found


def _spread(cells: Sequence[Mapping[str, float]]) -> dict[str, dict[str, float | None]]:
    """Mean and standard deviation of each figure, over the cells that have it."""
    names = dict.fromkeys(name for cell in cells for name in cell)
    found: dict[str, dict[str, float | None]] = {}
    for name in names:
        values = [cell[name] for cell in cells if name in cell]
        sd = statistics.stdev(values) if len(values) > 1 else None
        found[name] = {"mean": statistics.mean(values), "sd": sd}
    return found


def _ranks(results: Sequence[Result]) -> dict[str, list[float]]:
    """Each detector's rank by AUC-PR in each seed, 1 the best; equal ones share the mean."""
    from scipy.stats import rankdata

    ranks: dict[str, list[float]] = {}
    for seed in dict.fromkeys(r["seed"] for r in results):
        some = [r for r in results if r["seed"] == seed and "metrics" in r]
        places = rankdata([-r["metrics"][PRIMARY] for r in some]) if some else []
        for result, place in zip(some, places, strict=True):
            ranks.setdefault(result["detector"], []).append(float(place))
    return ranks


def _by_mean(row: Result) -> tuple[int, float]:
    if not row["seeds"]:
        return (1, 0.0)
    return (0, -row["metrics"][PRIMARY]["mean"])


def deficit_to(best: Sequence[Result], mine: Sequence[Result]) -> dict[str, float | None] | None:
    """How far one detector's AUC-PR is behind another's, as `summarise` tells it.

    Args:
        best, mine: results of the other and of the one; the seeds that both have are compared.
    """
    theirs = {r["seed"]: r for r in best}
    pairs = [(theirs[r["seed"]], r) for r in mine if r["seed"] in theirs]
    if not pairs:
        return None
    differences = [b["metrics"][PRIMARY] - m["metrics"][PRIMARY] for b, m in pairs]
    found = nadeau_bengio(differences, _test_share(pairs[0][1]["split"]))
    return {k: None if math.isnan(v) else float(v) for k, v in found._asdict().items()}


def _test_share(split: Mapping[str, Mapping[str, int]]) -> float:
    sizes = {role: sum(counts.values()) for role, counts in split.items()}
    return sizes["test"] / (sum(sizes.values()) - sizes["test"])


def is_noise(row: Mapping[str, Json]) -> bool | None:
    """Whether a deficit may be chance at 5 %; None where one seed cannot tell, or for the best."""
    deficit = row["deficit"]
    if deficit is None or deficit["p_value"] is None:
        return None
    return bool(deficit["p_value"] >= NOISE)


def as_table(results: Sequence[Result]) -> dict[str, list[Any]]:
    """The cells as columns, for CSV: one line a cell, failed ones with their error."""
    names = dict.fromkeys(name for r in results if "metrics" in r for name in flat(r["metrics"]))
    columns: dict[str, list[Any]] = {
        name: [r.get(name) for r in results] for name in ("detector", "seed")
    }
    for name in names:
        columns[name] = [flat(r.get("metrics", {})).get(name) for r in results]
    for name in ("fit_seconds", "score_seconds", "model_bytes", "error"):
        columns[name] = [r.get(name) for r in results]
    return columns


def summary_table(summary: Sequence[Result]) -> dict[str, list[Any]]:
    """The summary as columns, for CSV: one line a detector."""
    figures = dict.fromkeys(name for row in summary for name in row["metrics"])
    plain = ("detector", "seeds", "rank", "fit_seconds", "score_seconds", "model_bytes")
    columns: dict[str, list[Any]] = {name: [row[name] for row in summary] for name in plain}
    for name in figures:
        for part in ("mean", "sd"):
            columns[f"{name}_{part}"] = [row["metrics"].get(name, {}).get(part) for row in summary]
    for part in ("mean", "low", "high", "p_value"):
        columns[f"deficit_{part}"] = [(row["deficit"] or {}).get(part) for row in summary]
    return columns


def ordered(cells: Sequence[Cell], results: Mapping[tuple[str, int], Result]) -> list[Result]:
    """The results of the cells in their order; cells that have none yet are left out."""
    keys = dict.fromkeys((cell.label, cell.seed) for cell in cells)
    return [results[key] for key in keys if key in results]
