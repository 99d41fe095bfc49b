"""Small random distortions of training images: turn, shift, scale and shear."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

TURN = math.radians(14)
SHIFT = 2 * 2.5 / 28  # of half an image side, grid_sample's unit: 2.5 pixels of 28
SCALE = 0.15
SHEAR = 0.1


def distort(images: Tensor, strength: float, generator: torch.Generator) -> Tensor:
    """Return the images under random affine maps; ``strength`` scales every range.

    Args:
        images: (n, channels, height, width).
        strength: 0 returns the images as they are.
    """
    if strength == 0:
        return images
    n = len(images)
    spread = torch.rand(6, n, generator=generator).mul_(2).sub_(1).mul_(strength)
    turn, right, down, wide, high, shear = spread
    cos, sin = torch.cos(turn * TURN), torch.sin(turn * TURN)
    wide, high = 1 + wide * SCALE, 1 + high * SCALE
    shear = shear * SHEAR
    maps = torch.stack(
        [
            torch.stack([wide * cos, shear - sin, right * SHIFT], dim=1),
            torch.stack([shear + sin, high * cos, down * SHIFT], dim=1),
        ],
        dim=1,
    ).to(images.device)
    return warped(images, affine_grid(maps, list(images.shape), align_corners=False))


def warped(images: Tensor, grid: Tensor) -> Tensor:
    """The images as they are at the grid's points, and black outside.

    Args:
        grid: (n, height, width, 2) in the units of `grid_sample`.
    """
    return grid_sample(images, grid, mode="bilinear", align_corners=False)
