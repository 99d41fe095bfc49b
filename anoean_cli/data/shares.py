"""Whether a share of values is more than there was before, beyond what chance explains."""

from __future__ import annotations

import math
from dataclasses import dataclass

MORE = 0.1
FALSE_ALARMS = 0.005


@dataclass(frozen=True)
class Share:
    """Values of a column that are out of the ordinary.

    Attributes:
        count: how many.
        of: of how many values.
        expected: the share of them that there was before; NaN where that is not known.
    """

    count: int
    of: int
    expected: float

    @property
    def value(self) -> float:
        """Between 0 and 1; 0 of nothing."""
        return self.count / self.of if self.of else 0.0

    def is_more(self, rows: int, comparisons: int) -> bool:
        """Whether the share has grown by more than 0.1.

        Both the share now and the one before come from samples, so half of the false alarms is
        spent on either: Hoeffding's inequality bounds the true share before, and Chernoff's the
        probability of as many values as there are now if the share were 0.1 above that bound.
        Where no share has grown by more than 0.1, the probability that any of them is said to
        have is at most 0.5 %.

        Args:
            rows: how many the share before was counted in.
            comparisons: how many shares are looked at together.
        """
        if not self.of or rows < 1 or math.isnan(self.expected):
            return False
        level = math.log(2 * comparisons / FALSE_ALARMS)
        bound = self.expected + math.sqrt(level / (2 * rows)) + MORE
        return self.value > bound and self.of * _divergence(self.value, bound) > level


def _divergence(p: float, q: float) -> float:
    """Kullback and Leibler's divergence of two coins, q inside (0, 1)."""
    heads = p * math.log(p / q) if p else 0.0
    tails = (1 - p) * math.log((1 - p) / (1 - q)) if p < 1 else 0.0
    return heads + tails
