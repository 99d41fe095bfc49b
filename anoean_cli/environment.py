"""What the environment says: ANOEAN_MODEL, _DATA, _CACHE and _THREADS, and OMP_NUM_THREADS."""

from __future__ import annotations

import os
from pathlib import Path

from anoean_cli.errors import UsageError
from anoean_cli.parameters import positive

MOST_THREADS = 1024


def data_folder() -> Path | None:
    """The folder that is searched for raw data, or None."""
    value = os.environ.get("ANOEAN_DATA")
    return Path(value) if value else None


def cache_folder() -> Path:
    """Where prepared data and downloads go; by default the platform's user cache."""
    value = os.environ.get("ANOEAN_CACHE")
    if value:
        return Path(value)
    import platformdirs

    return Path(platformdirs.user_cache_dir("anoean"))


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def own_cores() -> int:
    """How many of these are meant for this process.

    Batch systems, Dask and joblib divide the cores of a machine by OMP_NUM_THREADS. Processes that
    take no notice wait for each other's threads, and run many times slower.
    """
    share = positive(os.environ.get("OMP_NUM_THREADS", "").partition(",")[0])
    return cores() if share is None else min(share, cores())


def threads(asked: int | None) -> int | None:
    """How many threads to train with, if anybody says: what was asked for, or ANOEAN_THREADS."""
    value = os.environ.get("ANOEAN_THREADS")
    if asked is not None or not value:
        return asked
    number = positive(value)
    if number is None or number > MOST_THREADS:
        raise UsageError(
            f"ANOEAN_THREADS is {value!r}; a whole number from 1 to {MOST_THREADS} is needed"
        )
    return number
