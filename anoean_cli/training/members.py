"""Several encoders side by side, which share the dimensions of the decision space."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn

from anoean_cli.interfaces import Encoder


class SideBySide(nn.Module):
    """(n, *shape) → (n, members · d): each encoder's d dimensions after those of the one before."""

    def __init__(self, encoders: list[nn.Module]) -> None:
        super().__init__()
        self.encoders = nn.ModuleList(encoders)

    def forward(self, rows: Tensor) -> Tensor:
        """(n, *shape) → (n, members · d)."""
        return torch.cat([encoder(rows) for encoder in self.encoders], dim=1)


def side_by_side(encoder: Encoder, members: int) -> tuple[nn.Module, int]:
    """Return untrained networks as one, and how many dimensions each of them has.

    There are as many as ``members``, or the next smaller number that divides the dimensions.
    """
    members = max(k for k in range(1, members + 1) if encoder.latent_dim % k == 0)
    if members == 1:
        return encoder.build(), encoder.latent_dim
    part = replace(encoder, latent_dim=encoder.latent_dim // members)
    return SideBySide([part.build() for _ in range(members)]), part.latent_dim
