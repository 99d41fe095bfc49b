"""Scores of fitted models as torch modules, which `onnx_graph` turns into what scoring runs.

Each maps (n, *shape) float32 rows, flattened first, to (n,) scores, high for anomalies. Weighted
sums are products with a matrix of one column: those with a vector ONNX Runtime does one by one.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from anoean_cli.examples import ExampleSpec
from anoean_cli.training.density import Features

TIED = 1e-6  # the scale of a tail whose scores are all alike
SMALLEST_SQUARE = 1e-8  # stands for the squared distance between equal rows, whose log is −∞


def tensor(values: ArrayLike, dtype: Any = np.float32) -> Tensor:
    """A tensor with a copy of the values."""
    return torch.from_numpy(np.array(values, dtype=dtype))


class SquaredDistances(nn.Module):
    """‖x − p‖² from each row to each point, as ‖x‖² + ‖p‖² − 2xp.

    In float64: the difference of large terms would leave float32 no digits for near points.

    Args:
        points: (m, features) float32.
    """

    points: Tensor

    def __init__(self, points: NDArray[np.float32]) -> None:
        super().__init__()
        self.register_buffer("points", tensor(points))

    def forward(self, rows: Tensor) -> Tensor:
        """(n, features) → (n, m) float64."""
        x, p = rows.flatten(1).double(), self.points.double()
        squares = x.square().sum(dim=1, keepdim=True) + p.square().sum(dim=1) - 2 * (x @ p.T)
        return squares.clamp_min(0)


class NearestDistance(nn.Module):
    """Log distance to the nearest of the points.

    Float32 finds the point in half the time of float64; the difference to it alone is then exact.
    ONNX Runtime finds the largest of many numbers far sooner than where it stands, so that is
    asked for twice among few: which group of points has it, and where in that group it is.

    Args:
        points: (m, features) float32.
    """

    points: Tensor
    bias: Tensor

    def __init__(self, points: NDArray[np.float32]) -> None:
        super().__init__()
        self.register_buffer("points", tensor(points))
        squares = np.square(points, dtype=np.float64).sum(axis=1)
        self.register_buffer("bias", tensor(-squares / 2))
        self.groups = next(
            groups for groups in range(math.isqrt(len(points)), 0, -1) if len(points) % groups == 0
        )

    def forward(self, rows: Tensor) -> Tensor:
        """(n, features) → (n,) float64."""
        # ‖x − p‖² is least where xp − ‖p‖²/2 is largest.
        likeness = nn.functional.linear(rows, self.points, self.bias)
        in_groups = likeness.reshape(-1, len(self.points) // self.groups)
        group = in_groups.amax(dim=1).reshape(-1, self.groups).argmax(dim=1)
        of_row = torch.arange(rows.shape[0]) * self.groups + group
        nearest = group * in_groups.shape[1] + in_groups[of_row].argmax(dim=1)
        square = (rows - self.points[nearest]).square().sum(dim=1)
        log_distance: Tensor = (square.double() + SMALLEST_SQUARE).log() / 2
        return log_distance


class NeighbourDistance(nn.Module):
    """Mean log distance to the nearest of the points.

    Which are near is found by a product, whose last digits depend on how many rows it has; how
    near they are is measured, since the logarithm shows them for a row that equals a point.

    Args:
        points: (m, features) float32.
        neighbours: how many count, at most m.
    """

    def __init__(self, points: NDArray[np.float32], neighbours: int) -> None:
        super().__init__()
        self.squared_distances = SquaredDistances(points)
        self.neighbours = neighbours

    def forward(self, rows: Tensor) -> Tensor:
        """(n, features) → (n,) float64."""
        squares: Tensor = self.squared_distances(rows)
        nearest = squares.topk(self.neighbours, dim=1, largest=False).indices
        apart = rows.flatten(1).unsqueeze(1) - self.squared_distances.points[nearest]
        exact = apart.square().sum(dim=2).double()
        # Half the log of the square is the log of the distance.
        return (exact + SMALLEST_SQUARE).log().mean(dim=1) / 2


class WeightedSum(nn.Module):
    """Σ wᵢxᵢ.

    Args:
        weights: (features,).
    """

    weights: Tensor

    def __init__(self, weights: NDArray[np.float64]) -> None:
        super().__init__()
        self.register_buffer("weights", tensor(weights[:, None], np.float64))

    def forward(self, rows: Tensor) -> Tensor:
        """(n, features) → (n,) float64."""
        return (rows.double() @ self.weights).squeeze(1)


class Ranked(nn.Module):
    """Quantiles in place of the numbers of table rows, and beside them how far the numbers lie
    beyond those of normals, where quantiles are all the same: the logarithm of one more than that,
    as a column that hardly varies has its next value at any distance.

    Args:
        normals: (m, features) float32.
        spec: of the rows.
    """

    least: Tensor
    largest: Tensor

    def __init__(self, normals: NDArray[np.float32], spec: ExampleSpec) -> None:
        super().__init__()
        self.ranked = Features(spec.ranked)
        self.numbers = Features(spec.numbers)
        values = normals[:, spec.numbers]
        self.register_buffer("least", tensor(values.min(axis=0)))
        self.register_buffer("largest", tensor(values.max(axis=0)))

    def forward(self, rows: Tensor) -> Tensor:
        """(n, features) → (n, k)."""
        numbers = self.numbers(rows)
        beyond = (numbers - numbers.maximum(self.least).minimum(self.largest)).abs()
        return torch.cat([self.ranked(rows), (1 + beyond).log()], dim=1)


class KernelSum(nn.Module):
    """Σ cᵢ·exp(−γ‖x − pᵢ‖²) + b: the decision function of a support vector machine.

    Args:
        points: (m, features) float32 support vectors.
        coefficients: (m,) signed.
        intercept: b.
        gamma: γ.
    """

    coefficients: Tensor

    def __init__(
        self,
        points: NDArray[np.float32],
        coefficients: NDArray[np.float64],
        intercept: float,
        gamma: float,
    ) -> None:
        super().__init__()
        self.squared_distances = SquaredDistances(points)
        self.register_buffer("coefficients", tensor(coefficients[:, None], np.float64))
        self.intercept = intercept
        self.gamma = gamma

    def forward(self, rows: Tensor) -> Tensor:
        """(n, features) → (n,) float64."""
        kernel: Tensor = (-self.gamma * self.squared_distances(rows)).exp()
        return (kernel @ self.coefficients).squeeze(1) + self.intercept


class LogKernelSum(nn.Module):
    """log ρ − log Σ αᵢ·exp(−γ‖x − pᵢ‖²): above 0 where a one-class SVM sees an anomaly.

    The sum itself is 0 for all rows that are far away; its logarithm keeps them apart.

    Args:
        points: (m, features) float32 support vectors.
        coefficients: (m,) positive.
        offset: ρ > 0.
        gamma: γ.
    """

    log_coefficients: Tensor

    def __init__(
        self,
        points: NDArray[np.float32],
        coefficients: NDArray[np.float64],
        offset: float,
        gamma: float,
    ) -> None:
        super().__init__()
        self.squared_distances = SquaredDistances(points)
        self.register_buffer("log_coefficients", tensor(np.log(coefficients), np.float64))
        self.log_offset = float(np.log(offset))
        self.gamma = gamma

    def forward(self, rows: Tensor) -> Tensor:
        """(n, features) → (n,) float64."""
        terms: Tensor = self.log_coefficients - self.gamma * self.squared_distances(rows)
        largest = terms.amax(1, keepdim=True)
        return self.log_offset - largest.squeeze(1) - (terms - largest).exp().sum(dim=1).log()


class LinearNorm(nn.Module):
    """‖(x − μ)·M‖: a Mahalanobis distance where M·Mᵀ is an inverse covariance.

    Args:
        mean: (features,).
        matrix: (features, k).
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: ArrayLike, matrix: ArrayLike) -> None:
        super().__init__()
        self.register_buffer("mean", tensor(mean))
        self.register_buffer("matrix", tensor(matrix))

    def forward(self, rows: Tensor) -> Tensor:
        """(n, *shape) → (n,)."""
        squares = ((rows.flatten(1) - self.mean) @ self.matrix).square()
        return squares.sum(dim=1).sqrt()


class Residual(nn.Module):
    """‖x̃ − x̃VᵀV‖ with x̃ = x − μ: what the principal components do not explain.

    Args:
        mean: (features,).
        components: (k, features) orthonormal rows V.
    """

    mean: Tensor
    components: Tensor

    def __init__(self, mean: ArrayLike, components: ArrayLike) -> None:
        super().__init__()
        self.register_buffer("mean", tensor(mean))
        self.register_buffer("components", tensor(components))

    def forward(self, rows: Tensor) -> Tensor:
        """(n, *shape) → (n,)."""
        centred = rows.flatten(1) - self.mean
        residual = centred - centred @ self.components.T @ self.components
        return residual.square().sum(dim=1).sqrt()


class Surprise(nn.Module):
    """−log p of a score among reference scores, beyond them as an exponential tail.

    Piecewise linear through quantiles of the references, so that p is the share of references
    at least as high; past the last knot it goes on with the mean excess of the references over
    that knot. An empirical p-value would be the same for all scores above the highest reference.

    Args:
        references: (n,) scores of normals.
        least_scale: of the tail, however alike they are.
        usual: −log p up to which nothing is said, of references most of which tie as they count
            things. Quantiles then go on to the highest, and the tail beyond has ``least_scale``.
            None: of other references.
    """

    knots: Tensor
    bends: Tensor

    def __init__(
        self,
        references: NDArray[np.float64],
        least_scale: float = TIED,
        usual: float | None = None,
    ) -> None:
        super().__init__()
        if usual is None:
            knots, bends = _surprise_knots(references, least_scale)
        else:
            knots, bends = _knots_of_counts(references, least_scale, usual)
        self.register_buffer("knots", tensor(knots, np.float64))
        self.register_buffer("bends", tensor(bends[:, None], np.float64))

    def forward(self, scores: Tensor) -> Tensor:
        """(n,) → (n,) float64."""
        beyond = (scores.double().unsqueeze(1) - self.knots).clamp_min(0)
        return (beyond @ self.bends).squeeze(1)


def log_odds(votes: Tensor, smallest: float) -> Tensor:
    """log of v / (1 − v), finite since ``smallest`` is added to both; float64."""
    votes = votes.double()
    return (votes + smallest).log() - (1 - votes + smallest).log()


class LogOddsOfVotes(nn.Module):
    """The log odds of a forest's votes.

    Args:
        smallest_vote: keeps them finite.
    """

    def __init__(self, smallest_vote: float) -> None:
        super().__init__()
        self.smallest_vote = smallest_vote

    def forward(self, votes: Tensor) -> Tensor:
        """(n, 1) → (n,) float64."""
        return log_odds(votes.squeeze(1), self.smallest_vote)


class Expert(nn.Module):
    """The surprise −log p at an opinion, p being the share of normals with one as high.

    Args:
        opinion: from rows, or from a forest's (n, 1) votes on them, to (n,).
        of_normals: (m,) opinions of normals that it has not learnt from.
        weight: factor on the surprise.
        least_scale: as `Surprise` takes it.
        usual: as `Surprise` takes it.
    """

    def __init__(
        self,
        opinion: nn.Module,
        of_normals: NDArray[np.float64],
        weight: float = 1.0,
        least_scale: float = TIED,
        usual: float | None = None,
    ) -> None:
        super().__init__()
        self.opinion = opinion
        self.surprise = Surprise(of_normals, least_scale, usual)
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


class Experts(nn.Module):
    """The surprises of several, added.

    Args:
        on_rows: those whose opinions are of rows.
        on_votes: the one whose opinion is of a forest's votes, if there is a forest.
    """

    def __init__(self, on_rows: Iterable[Expert] = (), on_votes: Expert | None = None) -> None:
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


TAIL_SHARE = 0.1
KNOTS = 16
FEWEST_APART = 10  # to tell a tail apart by


def tail_scale(references: NDArray[np.float64]) -> float:
    """The mean excess over the quantile that `TAIL_SHARE` of the references lie beyond; 0 where
    none do, as they tie."""
    edge = np.quantile(references, 1 - TAIL_SHARE)
    excess = references[references > edge] - edge
    return float(excess.mean()) if len(excess) else 0.0


def _surprise_knots(
    references: NDArray[np.float64], least_scale: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Where −log p bends, and by how much its slope grows there.

    Where the step to the tail is longer than the tail, as of a table of doubles, the tail has
    quantiles of its own: the step is no unit for what lies beyond.
    """
    knots, heights = _quantile_knots(references)
    tail = references
    apart = references[references > knots[-1]]
    if len(apart) >= FEWEST_APART and apart.min() - knots[-1] > np.ptp(apart):
        tail = apart
        more, higher = _quantile_knots(apart)
        knots = np.append(knots, more)
        heights = np.append(heights, higher - np.log(len(apart) / len(references)))
    scale = max(tail_scale(tail) or float(np.ptp(references)), least_scale)
    return knots, _bends(knots, heights, scale)


def _knots_of_counts(
    references: NDArray[np.float64], scale: float, usual: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The same of references that tie, where what is above ``usual`` counts alone."""
    knots, heights = _quantile_knots(references, 1 / len(references))
    beyond = knots[-1] + usual * scale, heights[-1] + usual
    start = np.interp(usual, np.append(heights, beyond[1]), np.append(knots, beyond[0]))
    knots, heights = knots[heights > usual], heights[heights > usual] - usual
    knots, heights = np.append(start, knots), np.append(0.0, heights)
    return knots, _bends(knots, heights, scale)


def _bends(
    knots: NDArray[np.float64], heights: NDArray[np.float64], scale: float
) -> NDArray[np.float64]:
    """By how much the slope grows at each knot, the last slope being 1 / scale."""
    slopes = np.append(np.diff(heights) / np.diff(knots), 1 / scale)
    return np.diff(slopes, prepend=0.0)


def _quantile_knots(
    references: NDArray[np.float64], least_share: float = TAIL_SHARE
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distinct quantiles of the references and −log of the share at least as high as each, down to
    the least share."""
    shares = np.geomspace(1, least_share, KNOTS)
    knots, first = np.unique(np.quantile(references, 1 - shares), return_index=True)
    return knots, -np.log(shares[first])
