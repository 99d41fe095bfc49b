"""Whether rows score as the calibration rows did: p-values hold for rows like these only.

A detector is there to meet anomalies, so that some rows score above nearly all calibration rows is
no drift. Rows are therefore parted at the 95 % quantile of the reference scores. Below it, in the
*body*, the distributions of incoming and reference scores are compared, each as of the rows in the
body alone; of what lies above, the *tail*, only the share counts, and only when it is large.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from anoean_cli.calibration.conformal import checked_reference, checked_scores
from anoean_cli.examples import Json

BINS = 20  # of the reference scores; the last one is the tail
DISTANCE = 0.05
EXCESS = 0.25
FALSE_ALARMS = 0.005


class ScoreDrift(NamedTuple):
    """Incoming scores beside the reference scores.

    Attributes:
        rows: how many came in.
        references: how many reference scores there are.
        distance: the largest difference of the two distribution functions in the body, at the
            quantiles of the references (Kolmogorov and Smirnov's distance): 0 alike, 1 disjoint.
        distance_limit: a distance above it is more than 0.05 beyond what chance explains.
        tail: share of rows in the tail.
        tail_expected: share of the references in it.
        tail_limit: a share above it is 0.25 more than expected, beyond what chance explains.
    """

    rows: int
    references: int
    distance: float
    distance_limit: float
    tail: float
    tail_expected: float
    tail_limit: float

    @property
    def has_moved(self) -> bool:
        """Whether the body is not that of the references."""
        return self.distance > self.distance_limit

    @property
    def is_heavy(self) -> bool:
        """Whether the tail holds too many rows."""
        return self.tail > self.tail_limit

    def to_json(self) -> dict[str, Json]:
        return self._asdict()


class ScoreCounts:
    """How many scores fell between the quantiles of the references.

    It is fed as rows are scored, and takes the same memory however many. Counts of parts of the
    rows add up to those of all, in any order.

    Args:
        reference: (n,) finite and rising.
    """

    def __init__(self, reference: ArrayLike) -> None:
        rising = checked_reference(reference)
        n = len(rising)
        at = (np.arange(BINS) * n + BINS - 1) // BINS - 1  # ⌈n·i/20⌉ − 1
        quantiles = rising[at.clip(0)]
        # Just below each as well: so the share of rows that have a repeated score itself counts.
        self.edges = np.sort(np.concatenate([np.nextafter(quantiles, -np.inf), quantiles]))
        self.references = self._counted(rising)
        self.counts = np.zeros_like(self.references)

    def add(self, scores: ArrayLike) -> None:
        """Count (m,) scores.

        Raises:
            DataError: a score that is not a number.
        """
        self.counts += self._counted(checked_scores(scores))

    def merge(self, other: Self) -> None:
        """Add what another one counted beside the same references."""
        self.counts += other.counts

    def compared(self) -> ScoreDrift:
        """Return the figures of all scores so far.

        The limits are those of the Dvoretzky–Kiefer–Wolfowitz inequality for two samples: scores
        that come from the distribution of the references exceed one of them with a probability of
        at most 0.5 %, up to the approximation that this is for samples of different sizes.
        """
        rows, n = int(self.counts.sum()), int(self.references.sum())
        incoming, reference = np.cumsum(self.counts), np.cumsum(self.references)
        in_body, of_body = int(incoming[-2]), int(reference[-2])
        distance = 0.0
        if in_body:
            apart = np.abs(incoming[:-1] / in_body - reference[:-1] / of_body)
            distance = float(apart.max())
        expected = (n - of_body) / n
        return ScoreDrift(
            rows=rows,
            references=n,
            distance=distance,
            distance_limit=min(1.0, DISTANCE + _chance(in_body, of_body)),
            tail=(rows - in_body) / max(1, rows),
            tail_expected=expected,
            tail_limit=min(1.0, expected + EXCESS + _chance(rows, n)),
        )

    def _counted(self, scores: NDArray[np.float64]) -> NDArray[np.int64]:
        """How many are in (-∞, e₁], (e₁, e₂], …, (e_k, ∞)."""
        bins = np.searchsorted(self.edges, scores, side="left")
        return np.bincount(bins, minlength=len(self.edges) + 1)


def _chance(m: int, n: int) -> float:
    """How far two samples of one distribution lie apart, but for half of the false alarms."""
    if m == 0:
        return math.inf
    return math.sqrt(math.log(2 / (FALSE_ALARMS / 2)) / 2 * (1 / m + 1 / n))
