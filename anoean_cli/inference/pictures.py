"""Pictures of images and of what makes them anomalous, as arrays and as PNG files."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

RED, BLUE = np.array([214, 39, 40]), np.array([31, 119, 180])


def in_colours(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(channels, height, width) → (height, width, 3)."""
    colours = np.moveaxis(image, 0, -1)
    return colours if colours.shape[2] == 3 else np.repeat(colours[:, :, :1], 3, axis=2)


def heat_map(
    image: NDArray[np.uint8], contributions: NDArray[np.float64], smallest_side: int = 0
) -> NDArray[np.uint8]:
    """An image, and beside it in grey with what makes it anomalous red, what speaks against blue.

    Args:
        image: (channels, height, width).
        contributions: (height·width,); the largest has the full colour.
        smallest_side: smaller images are enlarged by a whole number, to this or more.

    Returns:
        (height, 2·width, 3) uint8, both enlarged.
    """
    _, height, width = image.shape
    colours = in_colours(image).astype(np.float64)
    heat = contributions.reshape(height, width, 1)
    strength = np.abs(heat) / max(float(np.abs(heat).max()), np.finfo(np.float64).tiny)
    grey = colours.mean(axis=2, keepdims=True) / 2 + 255 / 4
    painted = grey + strength * (np.where(heat > 0, RED, BLUE) - grey)
    both = np.concatenate([colours, painted], axis=1).round().astype(np.uint8)
    times = max(1, -(-smallest_side // min(height, width)))
    return both.repeat(times, axis=0).repeat(times, axis=1)


def reduced(picture: NDArray[np.uint8], largest_side: int) -> NDArray[np.uint8]:
    """(height, width, 3), made smaller where a side is longer than that."""
    from PIL import Image

    image = Image.fromarray(picture)
    image.thumbnail((largest_side, largest_side), Image.Resampling.BOX)
    return np.asarray(image)


def png(picture: NDArray[np.uint8], compress_level: int = 6) -> bytes:
    """(height, width, 3) uint8 as a PNG file."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG", compress_level=compress_level)
    return file.getvalue()
