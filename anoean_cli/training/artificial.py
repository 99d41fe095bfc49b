"""Artificial anomalies that are not learned: what training makes do with where none is known.

Each family breaks normals in one way. One of them is withheld from training: the figures of an
epoch are by its rows, so that E is not judged by what it was shown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import affine_grid, interpolate

from anoean_cli.interfaces import ExampleSpec, FloatRows, Rows
from anoean_cli.training.distortions import warped
from anoean_cli.training.progress import embed, generator_from

LARGEST_STRETCH = 3.0
ENOUGH_BYTES = 2**28  # of images; where there are more normals, as many as these
MOST_IMAGES = 20_000
AT_ONCE = 256
AMONG_NORMALS = 0.9  # the share of normals within which an artificial anomaly is none

Family = Callable[[FloatRows, ExampleSpec, int, np.random.Generator], FloatRows]


def training_rows(
    train: Rows, spec: ExampleSpec, density: nn.Module, rng: np.random.Generator
) -> Rows:
    """The normals, and artificial anomalies of the families for training.

    Args:
        density: high where normals are rare; what it finds among them is left out.
    """
    normals = train.normals
    if spec.kind == "table":
        return _beside(normals, [resampled], spec, len(normals), density, rng)
    count = min(MOST_IMAGES, max(len(normals), ENOUGH_BYTES // normals[0].nbytes))
    return _beside(normals, [turned, bent, joined, erased, laid_over], spec, count, density, rng)


def beside_known(train: Rows, learnt: Rows, share: float, rng: np.random.Generator) -> Rows:
    """The normals, the known anomalies, as many or as often as it takes, and the artificial ones.

    Args:
        train: normals and known anomalies.
        learnt: normals and artificial anomalies, as `training_rows` gives them.
        share: of the anomalies that are artificial, between 0 and 1.
    """
    known, made = train.anomalies, learnt.anomalies
    taken = max(1, round(len(made) * (1 - share) / share))
    times, more = divmod(taken, len(known))
    some = known[rng.choice(len(known), more, replace=False)]
    return _rows(train.normals, np.concatenate([*[known] * times, some, made]))


def selection_rows(
    selection: Rows, spec: ExampleSpec, density: nn.Module, rng: np.random.Generator
) -> Rows:
    """The normals, and as many artificial anomalies of the family withheld from training."""
    normals = selection.normals
    family = exchanged if spec.kind == "table" else scribbled
    return _beside(normals, [family], spec, len(normals), density, rng)


def _beside(
    normals: FloatRows,
    families: Sequence[Family],
    spec: ExampleSpec,
    count: int,
    density: nn.Module,
    rng: np.random.Generator,
) -> Rows:
    each = math.ceil(count / len(families))
    made = np.concatenate([family(normals, spec, each, rng) for family in families])
    edge = np.quantile(embed(density, normals), AMONG_NORMALS)
    is_outside = embed(density, made) > edge
    return _rows(normals, made[is_outside] if is_outside.any() else made)


def _rows(normals: FloatRows, anomalies: FloatRows) -> Rows:
    return Rows(
        np.concatenate([normals, anomalies]),
        np.repeat([False, True], [len(normals), len(anomalies)]),
    )


# --------------------------------------------------------------------------- of tables


def resampled(
    normals: FloatRows, spec: ExampleSpec, count: int, rng: np.random.Generator
) -> FloatRows:
    """Draw rows put together of normals' columns, stretched away from the median.

    The stretch (a factor from 1 to 3 a row, about the features' medians) reaches what lies outside
    of columns' ranges, and is all there is when rows have one column. Flags stay as they are, and
    bins say what their quantile says.

    Args:
        normals: (n, features) float32.
        count: how many rows to draw.
    """
    drawn = recombined(normals, spec, count, rng)
    median = np.median(normals, axis=0).astype(np.float32)
    stretch = rng.uniform(1.0, LARGEST_STRETCH, size=(count, 1)).astype(np.float32)
    is_flag = ((normals == 0) | (normals == 1)).all(axis=0)
    rows = np.where(is_flag, drawn, median + stretch * (drawn - median)).astype(np.float32)
    return _spelled_out(rows, normals, spec)


def _spelled_out(rows: FloatRows, normals: FloatRows, spec: ExampleSpec) -> FloatRows:
    """Rows whose bins are those of normals with such a quantile, which goes no further than these;
    between two of them it is linear, as bins are."""
    if not spec.bins:
        return rows
    bins = np.array(spec.bins)
    for run in np.split(bins, 1 + np.flatnonzero(np.diff(bins) > 1)):
        order = np.argsort(normals[:, run[0] - 1])
        known = normals[order, run[0] - 1]
        quantile = rows[:, run[0] - 1] = rows[:, run[0] - 1].clip(known[0], known[-1])
        above = np.searchsorted(known, quantile).clip(1, len(known) - 1)
        gap = known[above] - known[above - 1]
        way = np.divide(quantile - known[above - 1], gap, out=np.zeros_like(gap), where=gap > 0)
        low, high = (normals[order[at]][:, run] for at in (above - 1, above))
        rows[:, run] = low + way[:, None] * (high - low)
    return rows


def recombined(
    normals: FloatRows, spec: ExampleSpec, count: int, rng: np.random.Generator
) -> FloatRows:
    """Draw rows each of whose columns is that of a normal of its own: no column tells that a row
    is none, and what binds columns together is broken.

    Args:
        normals: (n, features) float32.
    """
    column = spec.columns
    drawn = rng.integers(len(normals), size=(count, column[-1] + 1))
    rows: FloatRows = normals[drawn[:, column], np.arange(len(column))]
    return rows


def exchanged(
    normals: FloatRows, spec: ExampleSpec, count: int, rng: np.random.Generator
) -> FloatRows:
    """Normals of which half of the columns, drawn at random, are those of another normal."""
    own, other = normals[rng.integers(len(normals), size=(2, count))]
    column = spec.columns
    is_own = rng.random((count, column[-1] + 1)) < 0.5
    mixed: FloatRows = np.where(is_own[:, column], own, other)
    return mixed


# --------------------------------------------------------------------------- of images


def _of_images(edit: Callable[[Tensor, Tensor, torch.Generator], Tensor]) -> Family:
    """A family from an edit of one batch of normals with another beside it."""

    def family(
        normals: FloatRows, _: ExampleSpec, count: int, rng: np.random.Generator
    ) -> FloatRows:
        generator = generator_from(rng)
        own, other = (normals[rng.integers(len(normals), size=count)] for _ in range(2))
        pairs = zip(*(torch.from_numpy(each).split(AT_ONCE) for each in (own, other)), strict=True)
        made = torch.cat([edit(own, other, generator) for own, other in pairs])
        return made.clamp(0, 1).numpy()

    return family


def _turned(images: Tensor, _: Tensor, generator: torch.Generator) -> Tensor:
    """Turned by any angle, mirrored now and then, much narrower, wider or sheared."""
    n = len(images)
    angle = 2 * math.pi * torch.rand(n, generator=generator)
    mirror = torch.where(torch.rand(n, generator=generator) < 0.3, -1.0, 1.0)
    wide, high = (0.25 * torch.randn(2, n, generator=generator)).exp()
    shear = 0.3 * torch.randn(n, generator=generator)
    right, down = 0.1 * torch.randn(2, n, generator=generator)
    cos, sin = angle.cos(), angle.sin()
    maps = torch.stack(
        [
            torch.stack([mirror * wide * cos, shear - high * sin, right], dim=1),
            torch.stack([mirror * wide * sin, high * cos, down], dim=1),
        ],
        dim=1,
    )
    return warped(images, affine_grid(maps, list(images.shape), align_corners=False))


def _bent(images: Tensor, _: Tensor, generator: torch.Generator) -> Tensor:
    """Under a smooth displacement of up to a quarter of a side."""
    n = len(images)
    still = affine_grid(torch.eye(2, 3).repeat(n, 1, 1), list(images.shape), align_corners=False)
    strength = torch.empty(n, 1, 1, 1).uniform_(0.15, 0.5, generator=generator)
    pull = strength * _waves(images, 2, 4, generator)
    return warped(images, still + pull.permute(0, 2, 3, 1))


def _joined(images: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """On one side of a straight line another normal, turned as often as not."""
    n = len(images)
    turned = torch.rand(n, 1, 1, 1, generator=generator) < 0.5
    others = torch.where(turned, _turned(others, images, generator), others)
    angle = 2 * math.pi * torch.rand(n, 1, 1, generator=generator)
    offset = 0.3 * torch.randn(n, 1, 1, generator=generator)
    down, right = _grid(images)
    mask = torch.sigmoid(14 * (angle.cos() * right + angle.sin() * down - offset)).unsqueeze(1)
    return images * mask + others * (1 - mask)


def _erased(images: Tensor, _: Tensor, generator: torch.Generator) -> Tensor:
    """Without what lies in some smooth spots."""
    kept = torch.empty(len(images), 1, 1, 1).uniform_(0.0, 0.45, generator=generator)
    waves = _waves(images, 1, 6, generator)
    return images * torch.sigmoid(8 * (waves + kept))


def _laid_over(images: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
    """The brighter of a normal and another, turned, or of parts of both."""
    others = _turned(others, images, generator)
    whole = torch.rand(len(images), 1, 1, 1, generator=generator) < 0.5
    parts = [_erased(each, each, generator) for each in (images, others)]
    return torch.where(whole, images.maximum(others), parts[0].maximum(parts[1]))


def _scribbled(images: Tensor, _: Tensor, generator: torch.Generator) -> Tensor:
    """With a curved stroke across, as bright as the image."""
    n = len(images)
    ends = torch.empty(n, 3, 2).uniform_(-0.8, 0.8, generator=generator)
    t = torch.linspace(0, 1, 24).view(1, -1, 1)
    curve = (1 - t) ** 2 * ends[:, :1] + 2 * t * (1 - t) * ends[:, 1:2] + t**2 * ends[:, 2:]
    down, right = _grid(images)
    pixels = torch.stack([down, right], dim=-1).reshape(1, -1, 2).expand(n, -1, -1)
    distance = torch.cdist(pixels, curve).amin(dim=2).reshape(n, 1, *images.shape[2:])
    width = torch.empty(n, 1, 1, 1).uniform_(0.06, 0.14, generator=generator)
    stroke = torch.sigmoid(42 * (width - distance)) * images.amax(dim=(1, 2, 3), keepdim=True)
    return images.maximum(stroke)


turned, bent, joined, erased, laid_over, scribbled = map(
    _of_images, (_turned, _bent, _joined, _erased, _laid_over, _scribbled)
)


def _grid(images: Tensor) -> tuple[Tensor, Tensor]:
    """Where pixels lie, from −1 to 1 down and to the right, each (height, width)."""
    height, width = images.shape[2:]
    down, right = torch.meshgrid(
        torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij"
    )
    return down, right


def _waves(images: Tensor, channels: int, cells: int, generator: torch.Generator) -> Tensor:
    """Smooth noise: values of N(0, 1) at cells x cells points, and between them a spline."""
    noise = torch.randn(len(images), channels, cells, cells, generator=generator)
    return interpolate(noise, size=images.shape[2:], mode="bicubic", align_corners=True)
