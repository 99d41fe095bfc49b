"""What the environment says: ANOEAN_MODEL, _DATA, _CACHE and _THREADS, and OMP_NUM_THREADS."""

from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path

from anoean_cli.errors import UsageError
from anoean_cli.parameters import positive

MOST_THREADS = 1024
CONTROL_GROUP = Path("/sys/fs/cgroup")


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
    """How many cores this process may use: those it is bound to, or of a container's limit."""
    has_affinity = hasattr(os, "sched_getaffinity")
    there = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    allowed = quota(CONTROL_GROUP)
    return there if allowed is None else min(there, allowed)


def quota(group: Path) -> int | None:
    """How many cores the folder of a control group, of either version, grants, rounded up.

    None where there is no limit, or no such folder.
    """
    for names in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        with suppress(OSError, ValueError):  # "max" is no number
            texts = [(group / name).read_text(encoding="ascii") for name in names]
            granted, period = map(int, " ".join(texts).split())
            if granted > 0 and period > 0:
                return math.ceil(granted / period)
    return None


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
