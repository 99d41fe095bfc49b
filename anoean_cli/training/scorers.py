"""Networks that give each row one score: an encoder, and what makes a score of its embedding."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class LinearScore(nn.Module):
    """s = w·E(x) + b, shape (n,)."""

    def __init__(self, encoder: nn.Module, latent_dim: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(latent_dim, 1)

    def forward(self, rows: Tensor) -> Tensor:
        """(n, *shape) → (n,)."""
        scores: Tensor = self.head(self.encoder(rows))
        return scores.squeeze(1)


class SquaredDistance(nn.Module):
    """s = ‖E(x) − c‖², shape (n,), with a centre c of shape (d,) that does not learn."""

    centre: Tensor

    def __init__(self, encoder: nn.Module, centre: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("centre", centre)

    def forward(self, rows: Tensor) -> Tensor:
        """(n, *shape) → (n,)."""
        difference: Tensor = self.encoder(rows) - self.centre
        return difference.square().sum(dim=1)


class ReconstructionError(nn.Module):
    """s = the mean over the features of (Dec(E(x)) − x)², shape (n,)."""

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def forward(self, rows: Tensor) -> Tensor:
        """(n, *shape) → (n,)."""
        difference: Tensor = self.decoder(self.encoder(rows)) - rows
        return torch.flatten(difference.square(), start_dim=1).mean(dim=1)
