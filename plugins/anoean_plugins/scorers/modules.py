"""Scores of fitted models as torch modules, which `onnx_graph` turns into what scoring runs.

Each maps (n, *shape) float32 rows, flattened first, to (n,) scores, high for anomalies. Weighted
sums are products with a matrix of one column: those with a vector ONNX Runtime does one by one.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from anoean_cli.examples import ExampleSpec
from anoean_cli.training.density import Features

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
