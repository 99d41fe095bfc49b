"""How dense the normals are around a row: a mixture of Gaussians among principal components.

It is an expert on normals beside the encoder. Training without known anomalies asks it which
artificial ones are none, and keeps the generator off the normals by it.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn.functional import conv2d, linear

from anoean_cli.examples import ExampleSpec, FloatRows
from anoean_cli.training.sampling import MOST_ROWS, random_state

COMPONENTS = 50  # principal ones, or half as many as there are rows
MIXED = 30
FEWEST_ROWS = 50  # of one Gaussian
MOST_BYTES = 2**28  # of rows
PASSES = 5  # of expectation and maximisation
SMALLEST_RARITY = 1e-6  # whose log is finite
VARIANCE = 0.03  # added to that in every direction, of pixels from 0 to 1
LITTLE_VARIANCE = 0.001  # of numbers to scale, which laws among columns bind as closely


class Blurred(nn.Module):
    """Each channel under the kernel [1, 2, 1] both ways: a stroke half a pixel off is the same."""

    kernel: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        line = torch.tensor([0.25, 0.5, 0.25])
        self.channels = channels
        self.register_buffer("kernel", line.outer(line).expand(channels, 1, 3, 3).clone())

    def forward(self, images: Tensor) -> Tensor:
        """(n, c, h, w) → the same."""
        return conv2d(images, self.kernel, padding=1, groups=self.channels)


class LogDensity(nn.Module):
    """−log p(x), up to a constant: high where normals are rare.

    p is a mixture of Gaussians of the principal components times a Gaussian of one variance in all
    directions beside them (probabilistic principal components: Tipping and Bishop 1999).

    Args:
        features: from (n, *shape) to what is flattened to (n, features).
        mean: (features,).
        components: (k, features) orthonormal rows.
        weights: (m,) of the mixture.
        centres: (m, k).
        whitening: (m, k, k); Lᵢ with Lᵢ·Lᵢᵀ the inverse of the i-th covariance.
        variance: in the directions beside the components: on average that of normals there.
    """

    mean: Tensor
    components: Tensor
    whitening: Tensor
    offsets: Tensor
    constants: Tensor

    def __init__(
        self,
        features: nn.Module,
        mean: NDArray[Any],
        components: NDArray[Any],
        weights: NDArray[Any],
        centres: NDArray[Any],
        whitening: NDArray[Any],
        variance: float,
    ) -> None:
        super().__init__()
        self.features = features
        self.variance = variance
        self.mixed, self.dimensions = centres.shape
        side_by_side = np.concatenate(list(whitening), axis=1).T
        whitened = np.einsum("mk,mkj->mj", centres, whitening).ravel()
        volumes = np.log(np.diagonal(whitening, axis1=1, axis2=2)).sum(axis=1)
        # What −log p would be where all of the Gaussians had their centres.
        self.least = -float(np.logaddexp.reduce(np.log(weights) + volumes))
        for name, values in {
            "mean": mean,
            "components": components,
            "whitening": side_by_side,
            "offsets": -whitened,
            "constants": np.log(weights) + volumes,
        }.items():
            self.register_buffer(name, torch.from_numpy(np.array(values, np.float32)))

    def forward(self, rows: Tensor) -> Tensor:
        """(n, *shape) → (n,)."""
        centred = self.features(rows).flatten(1) - self.mean
        u = centred @ self.components.T
        beside = (centred.square().sum(dim=1) - u.square().sum(dim=1)).clamp_min(0)
        white = linear(u, self.whitening, self.offsets).reshape(-1, self.mixed, self.dimensions)
        # The norm is one operation where the sum of squares is two, of many numbers.
        logs = self.constants - vector_norm(white, dim=2).square() / 2
        density: Tensor = beside / (2 * self.variance) - logs.logsumexp(dim=1)
        return density


class LogRarity(nn.Module):
    """The logarithm of how far −log p is above its least value.

    Of one Gaussian in as many dimensions as there are features it is the log of half the squared
    Mahalanobis distance. −log p itself grows with the square of the distance, so that a normal with
    what no other has would outweigh all else.
    """

    def __init__(self, density: LogDensity) -> None:
        super().__init__()
        self.density = density

    def forward(self, rows: Tensor) -> Tensor:
        """(n, *shape) → (n,) float64."""
        rarity: Tensor = self.density(rows).double() - self.density.least
        return rarity.clamp_min(SMALLEST_RARITY).log()


def log_density(
    normals: FloatRows,
    spec: ExampleSpec,
    rng: np.random.Generator,
    mixed: int | None = None,
    to_scale: bool = False,
) -> LogDensity:
    """Fit the density of normals.

    Args:
        normals: (n, *shape) float32. Of more than 20,000, or than 256 MiB hold as float64, as many
            are drawn.
        mixed: how many Gaussians; None: one for each 50 normals, at most 30.
        to_scale: of table rows, whether only numbers to scale and categories count, with
            `LITTLE_VARIANCE`; else what the spec calls plain features, with `VARIANCE`.
    """
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    most = min(MOST_ROWS, max(FEWEST_ROWS, MOST_BYTES // (8 * normals[0].size)))
    if len(normals) > most:
        normals = normals[np.sort(rng.choice(len(normals), most, replace=False))]
    variance = LITTLE_VARIANCE if to_scale else VARIANCE
    features: nn.Module = (
        Blurred(spec.shape[0])
        if spec.kind == "image"
        else features_at(spec.to_scale if to_scale else spec.plain, spec)
    )
    with torch.no_grad():
        flat = features(torch.from_numpy(normals)).flatten(1).numpy().astype(np.float64)
    seed = random_state(rng)
    rows, width = flat.shape
    pca = PCA(min(COMPONENTS, width, max(1, rows // 2)), random_state=seed)
    # Threads that share matrices as small as a Gaussian's wait for each other most of the time; and
    # of normals that are all the same a component has no share of the variance.
    with warnings.catch_warnings(), threadpool_limits(1), np.errstate(invalid="ignore"):
        warnings.simplefilter("ignore", ConvergenceWarning)  # few passes are enough
        u = pca.fit_transform(flat)
        default = min(MIXED, max(1, len(u) // FEWEST_ROWS))
        mixture = GaussianMixture(
            min(mixed or default, len(np.unique(u, axis=0))),
            reg_covar=variance,
            max_iter=PASSES,
            random_state=seed,
        ).fit(u)
    return LogDensity(
        features,
        pca.mean_,
        pca.components_,
        mixture.weights_,
        mixture.means_,
        mixture.precisions_cholesky_,
        max(variance, _variance_beside(flat, pca.explained_variance_)),
    ).eval()


def _variance_beside(rows: NDArray[np.float64], explained: NDArray[np.float64]) -> float:
    """The mean variance of new rows in the directions beside k components, 0 if there are none.

    That of (n, features) rows which these were fitted to is smaller: as residuals of a regression
    have n − 1 − k degrees of freedom.
    """
    (n, features), k = rows.shape, len(explained)
    if features == k:
        return 0.0
    left = max(0.0, float(rows.var(axis=0, ddof=1).sum() - explained.sum()))
    return float(left / (features - k) * (n - 1) / max(1, n - 1 - k))


def features_at(positions: NDArray[np.intp], spec: ExampleSpec) -> nn.Module:
    """Takes some of the features of table rows, at (k,) rising positions: all of them, often."""
    return nn.Identity() if len(positions) == spec.shape[0] else Features(positions)


class Features(nn.Module):
    """Some of the features of table rows.

    Args:
        positions: (k,) in rising order.
    """

    positions: Tensor

    def __init__(self, positions: NDArray[np.intp]) -> None:
        super().__init__()
        self.register_buffer("positions", torch.from_numpy(positions.astype(np.int64)))

    def forward(self, rows: Tensor) -> Tensor:
        """(n, features) → (n, positions)."""
        return rows[:, self.positions]
