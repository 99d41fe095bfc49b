"""Stacks of layers that several networks are made of."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn


def dense(widths: Sequence[int], slope: float) -> nn.Sequential:
    """Linear layers between these widths, with leaky ReLUs of that slope between them."""
    layers: list[nn.Module] = []
    for wide, units in pairwise(widths):
        layers += [nn.Linear(wide, units), nn.LeakyReLU(slope)]
    return nn.Sequential(*layers[:-1])
