"""The discriminator D: a multi-layer network 32, 16, 1 (section 4.1)."""

from __future__ import annotations

import torch
from torch import nn

from anoean_cli.training.layers import dense

WIDTHS = (32, 16)
NEGATIVE_SLOPE = 0.2


class Discriminator(nn.Module):
    """Gives the logit of the probability that z was drawn from N(0, I), shape (n,)."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.layers = dense([latent_dim, *WIDTHS, 1], NEGATIVE_SLOPE)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        """(n, d) → (n,) logits of "drawn from N(0, I)"."""
        logits: torch.Tensor = self.layers(z)
        return logits.squeeze(1)
