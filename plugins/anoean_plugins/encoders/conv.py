"""The paper's convolutional encoder for images (section 4.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from anoean_cli.interfaces import ExampleSpec
from anoean_cli.parameters import parameter

if TYPE_CHECKING:
    import torch

FILTERS = (32, 64, 128)
SMALLEST_SIDE = 2 ** len(FILTERS)


@dataclass(frozen=True)
class ConvParameters:
    """What users may set: ``--set width=0.5``."""

    width: float = parameter(1.0, "factor on the numbers of filters 32, 64, 128", low=0.05, high=16)
    negative_slope: float = parameter(0.0, "slope of the ReLU below 0", low=0, high=1)
    batch_norm: bool = parameter(True, "batch normalisation after each convolution")


class Conv:
    """The encoder plugin ``conv``."""

    name = "conv"
    summary = "images: 4x4 convolutions of stride 2 with 32, 64, 128 filters, then linear"
    Parameters = ConvParameters
    # The paper names no normalisation layer.
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"paper": {"batch_norm": False}}

    def supports(self, spec: ExampleSpec) -> bool:
        """Any number of channels; each stride halves the image, so sides of 8 or more."""
        return spec.kind == "image" and min(spec.shape[1:]) >= SMALLEST_SIDE

    def build(
        self, spec: ExampleSpec, latent_dim: int, parameters: ConvParameters
    ) -> torch.nn.Module:
        """An untrained network from (n, channels, height, width) to (n, latent_dim) float32."""
        from torch import nn

        channels, height, width = spec.shape
        layers: list[nn.Module] = []
        for filters in FILTERS:
            wide = max(1, round(filters * parameters.width))
            layers.append(nn.Conv2d(channels, wide, kernel_size=4, stride=2, padding=1))
            layers += [nn.BatchNorm2d(wide)] if parameters.batch_norm else []
            layers.append(nn.LeakyReLU(parameters.negative_slope))
            channels, height, width = wide, height // 2, width // 2
        return nn.Sequential(
            *layers, nn.Flatten(), nn.Linear(channels * height * width, latent_dim)
        )
