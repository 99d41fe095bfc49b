"""Embeddings stretched by how far rows lie from the training normals."""

from __future__ import annotations

import numpy as np
import torch
from anoean_plugins.scorers.novelty import stretched_by_novelty
from torch import nn

from anoean_cli.calibration.gaussian import Gaussian


def blind() -> nn.Module:
    """An encoder that sees the first of two columns only."""
    layer = nn.Linear(2, 2, bias=False)
    layer.weight.data = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    return nn.Sequential(layer, Second())


class Second(nn.Module):
    """Something in the second dimension that is not the first again."""

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return torch.stack([z[:, 0], torch.sin(7 * z[:, 1])], dim=1)


def normals(seed: int, count: int = 400) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 2)).astype(np.float32)


def distances(module: nn.Module, rows: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        references, z = (module(torch.from_numpy(some)).numpy() for some in (normals(1), rows))
    return Gaussian.from_embeddings(references, "ledoit-wolf").mahalanobis(z)


def stretched(weight: float = 1.0) -> nn.Module:
    return stretched_by_novelty(blind(), normals(0), normals(1), weight, "ledoit-wolf", seed=0)


def test_what_the_encoder_does_not_see_moves_outwards_the_further_it_is_from_all_normals():
    rows = np.array([[1, 0], [1, 4], [1, 8], [1, 1e3]], np.float32)
    alone, with_novelty = distances(blind().eval(), rows), distances(stretched(), rows)
    assert np.ptp(alone) == 0
    assert (np.diff(with_novelty) > 0).all()
    assert np.isfinite(with_novelty).all()


def test_a_smaller_weight_moves_less_and_directions_stay():
    rows = torch.tensor([[1.0, 8.0]])
    half, whole = stretched(0.5), stretched(1.0)
    with torch.no_grad():
        steps = [module(rows) - module.centre for module in (half, whole)]
    assert steps[0].norm() < steps[1].norm()
    torch.testing.assert_close(*(step / step.norm() for step in steps))
