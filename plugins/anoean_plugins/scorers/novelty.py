"""How far a row lies from all training normals, as a stretch of its embedding.

E is free to map what it never met onto N(0, I). The distance to the nearest training normals needs
no anomaly to be learnt, and sees novelty where E does not.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from anoean_cli.calibration.gaussian import Gaussian, fitting_estimator
from anoean_cli.interfaces import FloatRows
from anoean_cli.training.progress import embed
from anoean_plugins.scorers.modules import NeighbourDistance, Surprise, tail_scale, tensor
from anoean_plugins.scorers.rows import flat

MOST_CENTRES = 500
NORMALS_A_CENTRE = 3
LARGEST_LOG = 20.0


class Stretched(nn.Module):
    """z′ = μ + (z − μ)·exp(τ·s): embeddings moved away from the normals' centre.

    s = −log p is the surprise at the row's distance to the nearest of some centres of the training
    normals, p the share of selection normals at least as far. τ is the scale of the tail of the
    logarithm of Mahalanobis distances, log a, so that log a′ = log a + τ·s adds what is surprising
    in E(x) to what is surprising in x, in the same unit (as Fisher combines independent tests).

    Args:
        encoder: from rows to (n, d).
        centre: μ, (d,).
        neighbours: from rows to log distances.
        surprise: from these to −log p.
        rate: τ.
    """

    centre: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        centre: np.ndarray,
        neighbours: NeighbourDistance,
        surprise: Surprise,
        rate: float,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("centre", tensor(centre))
        self.neighbours = neighbours
        self.surprise = surprise
        self.rate = rate

    def forward(self, rows: Tensor) -> Tensor:
        logarithm = self.rate * self.surprise(self.neighbours(rows))
        factor = logarithm.clamp_max(LARGEST_LOG).exp().float().unsqueeze(1)
        stretched: Tensor = self.centre + (self.encoder(rows) - self.centre) * factor
        return stretched


def stretched_by_novelty(
    encoder: nn.Module,
    normals: FloatRows,
    selection_normals: FloatRows,
    weight: float,
    covariance: str,
    seed: int,
) -> nn.Module:
    """Return the encoder with its embeddings stretched.

    Args:
        normals: training normals.
        selection_normals: normals that training has not seen.
        weight: factor on τ.
        covariance: the estimator of Σ in the distances that τ is the scale of.
    """
    neighbours = NeighbourDistance(_centres(flat(normals), seed), 1)
    cpu = torch.device("cpu")
    references = embed(neighbours, selection_normals, cpu).astype(np.float64)
    z = embed(encoder, selection_normals, cpu)
    gaussian = Gaussian.from_embeddings(z, fitting_estimator(z, covariance))
    rate = weight * tail_scale(np.log(gaussian.mahalanobis(z)))
    return Stretched(encoder, gaussian.mean, neighbours, Surprise(references), rate).eval()


def _centres(normals: FloatRows, seed: int) -> FloatRows:
    from sklearn.cluster import MiniBatchKMeans

    count = min(MOST_CENTRES, max(1, len(normals) // NORMALS_A_CENTRE))
    means = MiniBatchKMeans(count, random_state=seed, n_init=1, batch_size=1024).fit(normals)
    centres: FloatRows = means.cluster_centers_.astype(np.float32)
    return centres
