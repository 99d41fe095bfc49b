"""How much of a table is in memory at once."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from anoean_cli.data.columnar import BLOCK_BYTES
from anoean_cli.inference.model import FEATURE_BYTES

LEAST_BLOCK = 64 << 10
A_BLOCK_AS_TABLES = 8  # its text, columns of it, output columns and output lines, against its size


class Bound:
    """A bound on the memory of this process, in bytes, and what of it is left for pieces.

    What the libraries and the model take counts, and is there already. Where next to nothing is
    left, one small piece is worked on at a time, whatever the bound.
    """

    def __init__(self, memory: int) -> None:
        self._memory = memory
        self._before = peak_bytes()
        left = memory - self._before
        self.block_bytes = min(BLOCK_BYTES, max(LEAST_BLOCK, left // (4 * A_BLOCK_AS_TABLES)))

    def __str__(self) -> str:
        return f"{self._memory >> 20}MiB"

    def pieces(self) -> int:
        """How many pieces may be in flight, once one of them was worked on: at least 1."""
        peak = peak_bytes()
        least = A_BLOCK_AS_TABLES * self.block_bytes + 2 * FEATURE_BYTES
        each = max(least, peak - self._before)
        return max(1, 1 + (self._memory - peak) // each)


def peak_bytes() -> int:
    """The most memory that this process has had so far."""
    with suppress(OSError, IndexError, ValueError):
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return int(status.partition("VmHWM:")[2].split()[0]) << 10
    import resource

    # Elsewhere; on Linux it would count what the parent took before it started this process.
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak << 10
