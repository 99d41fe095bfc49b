"""G, the third network: it makes the artificial anomalies that E is least sure of.

Section 5 of the paper wishes for artificial anomalies made "against the encoder and the
discriminator in an adversarial way". Given a normal x, an artificial anomaly x⁻ of an unlearned
family, and noise w, G decides feature by feature how far to go from one to the other:

    x̃ = x + g ⊙ (x⁻ − x),   g = sigmoid(G(x, x⁻, w))

It learns to be taken for a normal by E and D while it stays off the normals (`generator_terms`).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from anoean_cli.examples import ExampleSpec, FloatRows
from anoean_cli.training.density import LogDensity
from anoean_cli.training.progress import embed

SLOPE = 0.2
NOISE = 8  # numbers, of an image noise at 7 x 7 points
NOISE_SIDE = 7
HIDDEN = 64
START = 1.0  # of the logits of g: the first edits go most of the way
FARTHEST_NORMAL = 0.99


class ImageEditor(nn.Module):
    """G for images: one gate for all channels of a pixel, at a quarter of the resolution."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.gates = nn.Sequential(
            nn.Conv2d(2 * channels + 1, 16, 4, stride=2, padding=1),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(16, 32, 4, stride=2, padding=1),
            nn.BatchNorm2d(32),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(32, 32, 3, padding=1),
            nn.BatchNorm2d(32),
            nn.LeakyReLU(SLOPE),
            nn.Conv2d(32, 1, 3, padding=1),
        )

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, 1, NOISE_SIDE, NOISE_SIDE), standard normal."""
        return torch.randn(count, 1, NOISE_SIDE, NOISE_SIDE, generator=generator)

    def forward(self, normals: Tensor, anomalies: Tensor, noise: Tensor) -> Tensor:
        """Images, images of unlearned anomalies and noise → images between them."""
        size = normals.shape[2:]
        noise = interpolate(noise, size=size, mode="bilinear")
        logits = self.gates(torch.cat([normals, anomalies, noise], dim=1))
        gates = torch.sigmoid(interpolate(logits, size=size, mode="bilinear") + START)
        return normals + gates * (anomalies - normals)


class RowEditor(nn.Module):
    """G for table rows: a gate for each feature."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = nn.Sequential(
            nn.Linear(2 * width + NOISE, HIDDEN),
            nn.LeakyReLU(SLOPE),
            nn.Linear(HIDDEN, HIDDEN),
            nn.LeakyReLU(SLOPE),
            nn.Linear(HIDDEN, width),
        )

    def noise(self, count: int, generator: torch.Generator) -> Tensor:
        """(count, NOISE), standard normal."""
        return torch.randn(count, NOISE, generator=generator)

    def forward(self, normals: Tensor, anomalies: Tensor, noise: Tensor) -> Tensor:
        """Rows, rows of unlearned anomalies and noise → rows between them."""
        logits = self.gates(torch.cat([normals, anomalies, noise], dim=1))
        return normals + torch.sigmoid(logits + START) * (anomalies - normals)


Editor = ImageEditor | RowEditor


def editor_of(spec: ExampleSpec) -> Editor:
    """An untrained G."""
    return ImageEditor(spec.shape[0]) if spec.kind == "image" else RowEditor(*spec.shape)


@dataclass(frozen=True)
class Outskirts:
    """How far rows lie off the normals: 0 at their median, 1 where the farthest hundredth begins.

    Attributes:
        density: −log p.
        median: of the density of normals.
        width: from there to its 99 % quantile.
    """

    density: LogDensity
    median: float
    width: float

    @classmethod
    def of(cls, density: LogDensity, normals: FloatRows) -> Outskirts:
        """The unit by (n, *shape) normals, best by such as the density was not fitted to."""
        depths = embed(density, normals)
        median, edge = np.quantile(depths, [0.5, FARTHEST_NORMAL])
        return cls(density, float(median), max(float(edge - median), 1e-3))

    def on(self, device: torch.device) -> Outskirts:
        """The same for rows on a device."""
        return replace(self, density=copy.deepcopy(self.density).to(device))

    def __call__(self, rows: Tensor) -> Tensor:
        """(n, *shape) → (n,)."""
        distance: Tensor = (self.density(rows) - self.median) / self.width
        return distance
