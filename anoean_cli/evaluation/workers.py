"""Cells run by joblib: in processes on this machine, or on the workers of a Dask cluster."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from anoean_cli import environment
from anoean_cli.errors import UsageError, reason_of
from anoean_cli.evaluation.comparison import Cell, Result
from anoean_cli.interfaces import Dataset

Run: TypeAlias = Callable[[Dataset, Cell], Result]

SECONDS_TO_CONNECT = 10
SECONDS_BETWEEN_LOOKS = 1.0
WATCH = "anoean: ends with its parent"


def in_processes(
    run: Run, dataset: Dataset, cells: Sequence[Cell], jobs: int
) -> Iterator[tuple[Cell, Result]]:
    """Yield each cell with its result, run by ``jobs`` processes at once.

    Each process gets its share of the cores: more threads than cores, waiting for each other,
    run many times slower. A process that dies takes the others of its pool with it, so what is
    missing then runs on alone, one process a cell: that tells which cell it was.
    """
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    left = list(cells)
    try:
        for at, result in _parallel(run, dataset, cells, jobs):
            cell = cells[at]
            left.remove(cell)
            yield cell, result
    except TerminatedWorkerError:
        for cell in list(left):
            yield cell, _alone(run, dataset, cell)


def _alone(run: Run, dataset: Dataset, cell: Cell) -> Result:
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    try:
        ((_, result),) = _parallel(run, dataset, [cell], jobs=2)  # 1 would run it in this process
    except TerminatedWorkerError:
        why = "its process was killed; perhaps it ran out of memory"
        return {"detector": cell.label, "seed": cell.seed, "error": why}
    return result


def _parallel(
    run: Run, dataset: Dataset, cells: Sequence[Cell], jobs: int
) -> Iterator[tuple[int, Result]]:
    from joblib import Parallel, delayed, parallel_config

    threads = threads_each(jobs)
    with parallel_config(backend="loky", inner_max_num_threads=threads):
        parallel = Parallel(n_jobs=jobs, return_as="generator_unordered")
        yield from parallel(
            delayed(_for_parent)(os.getpid(), run, dataset, at, _at_most(threads, cell))
            for at, cell in enumerate(cells)
        )


def threads_each(jobs: int) -> int:
    """How many threads each of that many processes gets."""
    return max(1, environment.own_cores() // jobs)


def _at_most(threads: int, cell: Cell) -> Cell:
    """The cell, with no more threads than its process's share, whatever was asked for."""
    asked = cell.request.threads
    if asked is None or asked <= threads:
        return cell
    return replace(cell, request=replace(cell.request, threads=threads))


def _for_parent(parent: int, run: Run, dataset: Dataset, at: int, cell: Cell) -> tuple[int, Result]:
    _end_with(parent)
    return _numbered(run, dataset, at, cell)


def _end_with(parent: int) -> None:
    """End this process, busy or idle, soon after its parent was killed.

    Otherwise it would finish its cell, which nobody waits for, and take a core from the next run.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    if all(thread.name != WATCH for thread in threading.enumerate()):
        threading.Thread(target=watch, name=WATCH, daemon=True).start()


def on_cluster(
    run: Run, dataset: Dataset, cells: Sequence[Cell], scheduler: str
) -> Iterator[tuple[Cell, Result]]:
    """Yield each cell with its result, run by the workers of a Dask scheduler.

    The data set is sent to the workers, which need no files of ours. A cell whose worker is lost
    is run again by another one.

    Raises:
        UsageError: dask is not installed, or the scheduler cannot be reached.
    """
    from joblib import Parallel, delayed, parallel_config

    with connected(scheduler):
        config: dict[str, Any] = {"scatter": [dataset]}
        with parallel_config(backend="dask", **config):
            parallel = Parallel(return_as="generator_unordered", batch_size=1)
            tasks = (delayed(_numbered)(run, dataset, at, cell) for at, cell in enumerate(cells))
            for at, result in parallel(tasks):
                yield cells[at], result


def connected(scheduler: str) -> Any:
    """A client of a Dask scheduler, for use as a context.

    Raises:
        UsageError: dask is not installed, or the scheduler cannot be reached.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UsageError("--scheduler needs dask: pip install 'anoean[dask]'") from None
    try:
        connect: Any = Client
        return connect(scheduler, timeout=SECONDS_TO_CONNECT)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"--scheduler {scheduler}: no Dask scheduler answers there "
            f"({reason_of(error)}); start one, or use --jobs"
        ) from error


def _numbered(run: Run, dataset: Dataset, at: int, cell: Cell) -> tuple[int, Result]:
    from joblib import parallel_config

    # What a detector does by joblib would else go to the cluster, and wait for this very worker.
    with parallel_config(backend="sequential"):
        return at, run(dataset, cell)
