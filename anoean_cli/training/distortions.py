"""Small random distortions of training images: turn, shift, scale and shear; and the shifted copies
by which images are scored."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, pad

from anoean_cli.examples import ExampleSpec

TURN = math.radians(14)
SIDE = 28  # of the images that these were chosen on, in pixels
SHIFT = 2 * 2.5 / SIDE  # of half an image side, grid_sample's unit: 2.5 pixels of 28
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


class Shifted(nn.Module):
    """The mean of what E gives of an image and of its copies shifted by a step in four directions.

    E has learnt to see these as alike, and errs on each in its own way. What comes in at a border
    is as the border was.

    Args:
        encoder: from (n, channels, height, width) to (n, d).
        step: in pixels.
    """

    def __init__(self, encoder: nn.Module, step: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.step = step

    def forward(self, images: Tensor) -> Tensor:
        """(n, channels, height, width) → (n, d)."""
        step = self.step
        wide = pad(images, [step, step, 0, 0], mode="replicate")
        high = pad(images, [0, 0, step, step], mode="replicate")
        views = [
            images,
            wide[..., : -2 * step],
            wide[..., 2 * step :],
            high[..., : -2 * step, :],
            high[..., 2 * step :, :],
        ]
        return torch.stack([self.encoder(view) for view in views]).mean(dim=0)


def shifted(encoder: nn.Module, spec: ExampleSpec) -> nn.Module:
    """`Shifted` by a 28th of the shorter side; E as it is where that is at most half a pixel."""
    step = round(min(spec.shape[1:]) / SIDE)
    return Shifted(encoder, step) if step else encoder
