"""How surprising an opinion is among those on normals: the unit in which experts add up."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anoean_plugins.scorers.modules import tensor

TIED = 1e-6  # the scale of a tail whose scores are all alike
ROUNDING = 1e-6  # of scores, relative where they are above 1: sums that should tie differ by less
TAIL_SHARE = 0.1
KNOTS = 16
FEWEST_APART = 10  # to tell a tail apart by


class Surprise(nn.Module):
    """−log p of a score among reference scores: piecewise linear, straight beyond the last knot.

    Args:
        knots: (k,) rising scores at which the slope changes.
        bends: (k,) by how much it grows there.
    """

    knots: Tensor
    bends: Tensor

    def __init__(self, knots: NDArray[np.float64], bends: NDArray[np.float64]) -> None:
        super().__init__()
        self.register_buffer("knots", tensor(knots, np.float64))
        self.register_buffer("bends", tensor(bends[:, None], np.float64))

    @classmethod
    def among(cls, references: NDArray[np.float64], least_scale: float = TIED) -> Self:
        """At quantiles of (n,) scores of normals p is the share of them that are at least as high.

        Past the last knot it goes on with the mean excess of the references over that knot: an
        empirical p-value would be the same for all scores above the highest of them. Where the step
        to the tail is longer than the tail, as of a table of doubles, the tail has quantiles of its
        own: the step is no unit for what lies beyond.

        Args:
            least_scale: of the tail, however alike they are.
        """
        references = _tied(references)
        knots, heights = _quantiles(references)
        tail = references
        apart = references[references > knots[-1]]
        if len(apart) >= FEWEST_APART and apart.min() - knots[-1] > np.ptp(apart):
            tail = apart
            more, higher = _quantiles(apart)
            knots = np.append(knots, more)
            heights = np.append(heights, higher - np.log(len(apart) / len(references)))
        scale = max(tail_scale(tail) or float(np.ptp(references)), least_scale)
        return cls._through(knots, heights, scale)

    @classmethod
    def among_counts(cls, references: NDArray[np.float64], scale: float, usual: float) -> Self:
        """The same of references most of which tie, as they count things: only what is above
        ``usual`` is said. Quantiles go on to a share of 1/n, and the tail beyond has the scale."""
        knots, heights = _quantiles(_tied(references), 1 / len(references))
        beyond = knots[-1] + usual * scale, heights[-1] + usual
        start = np.interp(usual, np.append(heights, beyond[1]), np.append(knots, beyond[0]))
        knots, heights = knots[heights > usual], heights[heights > usual] - usual
        return cls._through(np.append(start, knots), np.append(0.0, heights), scale)

    @classmethod
    def _through(
        cls, knots: NDArray[np.float64], heights: NDArray[np.float64], scale: float
    ) -> Self:
        """That which has the heights at rising knots, or no less than at any before, and the slope
        1 / scale beyond. Of knots that only rounding tells apart, the first is one."""
        apart = _apart(knots)
        knots, heights = knots[apart], np.maximum.accumulate(heights[apart])
        slopes = np.append(np.diff(heights) / np.diff(knots), 1 / scale)
        return cls(knots, np.diff(slopes, prepend=0.0))

    def above(self, score: float) -> Surprise:
        """What it is more than at the score, and nothing up to that."""
        knots, bends = self.knots.numpy(), self.bends.numpy().squeeze(1)
        later = knots > score
        slope = bends[~later].sum()
        return Surprise(np.append(score, knots[later]), np.append(slope, bends[later]))

    def forward(self, scores: Tensor) -> Tensor:
        """(n,) → (n,) float64."""
        beyond = (scores.double().unsqueeze(1) - self.knots).clamp_min(0)
        return (beyond @ self.bends).squeeze(1)


class Expert(nn.Module):
    """The surprise −log p at an opinion, p being the share of normals with one as high.

    Args:
        opinion: from rows, or from a forest's (n, 1) votes on them, to (n,).
        of_normals: (m,) opinions of normals that it has not learnt from.
        surprise: at an opinion, among those of normals.
        weight: factor on the surprise.
    """

    def __init__(
        self,
        opinion: nn.Module,
        of_normals: NDArray[np.float64],
        surprise: Surprise,
        weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.opinion = opinion
        self.surprise = surprise
        self.weight = weight
        self.of_normals = of_normals

    def at_normals(self) -> NDArray[np.float64]:
        """(m,) the weighted surprise at each of ``of_normals``."""
        surprise: Tensor = self.surprise(tensor(self.of_normals, np.float64))
        return self.weight * surprise.numpy()

    def forward(self, seen: Tensor) -> Tensor:
        """(n, features) rows, or (n, 1) votes → (n,) float64."""
        surprise: Tensor = self.weight * self.surprise(self.opinion(seen))
        return surprise


class Together(nn.Module):
    """Experts that judge by much the same: −log of the weighted harmonic mean of their p-values
    (Wilson, 2019, The harmonic mean p-value for combining dependent tests), as many times as they
    weigh together. Their sum would count twice what both see, and halve what one sees.

    Args:
        experts: those of rows.
    """

    shares: Tensor

    def __init__(self, experts: Sequence[Expert]) -> None:
        super().__init__()
        self.experts = nn.ModuleList(experts)
        self.of_each = [expert.at_normals() / expert.weight for expert in experts]
        weights = np.array([expert.weight for expert in experts])
        self.weight = float(weights.sum())
        self.register_buffer("shares", tensor(np.log(weights / self.weight), np.float64))

    def at_normals(self) -> NDArray[np.float64]:
        """(m,) the weighted surprise at normals."""
        said: NDArray[np.float64] = self._together(tensor(self.of_each, np.float64)).numpy()
        return said

    def forward(self, rows: Tensor) -> Tensor:
        """(n, features) rows → (n,) float64."""
        each = [expert(rows) / expert.weight for expert in self.experts]
        return self._together(torch.stack(each))

    def _together(self, surprises: Tensor) -> Tensor:
        """(experts, n) surprises that are not weighted → (n,)."""
        weighted = surprises + self.shares.unsqueeze(1)
        most = weighted.amax(dim=0)
        together: Tensor = self.weight * (most + (weighted - most).exp().sum(dim=0).log())
        return together


class Experts(nn.Module):
    """The surprises of several, added.

    Args:
        on_rows: those whose opinions are of rows.
        on_votes: the one whose opinion is of a forest's votes, if there is a forest.
    """

    def __init__(
        self, on_rows: Iterable[Expert | Together] = (), on_votes: Expert | None = None
    ) -> None:
        super().__init__()
        self.on_rows = nn.ModuleList(on_rows)
        self.on_votes = on_votes

    def __len__(self) -> int:
        return len(self.on_rows) + (self.on_votes is not None)

    def of_normals(self) -> NDArray[np.float64]:
        """(m,) their surprises at normals, added; all must have opinions of the same ones."""
        experts = [*self.on_rows, *([] if self.on_votes is None else [self.on_votes])]
        said: NDArray[np.float64] = np.sum([expert.at_normals() for expert in experts], axis=0)
        return said

    def forward(self, rows: Tensor, votes: Tensor | None = None) -> Tensor:
        """(n, features) and, where there is a forest, (n, 1) → (n,) float64."""
        of_votes = [] if self.on_votes is None else [self.on_votes(votes)]
        return torch.stack([*of_votes, *(expert(rows) for expert in self.on_rows)]).sum(dim=0)


def tail_scale(references: NDArray[np.float64]) -> float:
    """The mean excess over the quantile that `TAIL_SHARE` of the references lie beyond; 0 where
    none do, as they tie."""
    edge = np.quantile(references, 1 - TAIL_SHARE)
    excess = references[references > edge] - edge
    return float(excess.mean()) if len(excess) else 0.0


def _apart(rising: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(n,) which numbers are above the last such one by more than rounding."""
    apart, last = np.zeros(len(rising), np.bool_), -np.inf
    for at, number in enumerate(rising):
        if number - last > ROUNDING * max(1.0, abs(number)):
            apart[at], last = True, number
    return apart


def _tied(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) scores in rising order, those that only rounding tells apart made equal."""
    rising = np.sort(scores)
    apart = _apart(rising)
    tied: NDArray[np.float64] = rising[apart][np.cumsum(apart) - 1]
    return tied


def _quantiles(
    references: NDArray[np.float64], least_share: float = TAIL_SHARE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distinct quantiles of the references and −log of the share at least as high as each, down to
    the least share."""
    shares = np.geomspace(1, least_share, KNOTS)
    knots, first = np.unique(np.quantile(references, 1 - shares), return_index=True)
    return knots, -np.log(shares[first])
