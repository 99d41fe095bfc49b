"""The paper's multi-layer encoder for tables (section 4.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from anoean_cli.interfaces import ExampleSpec
from anoean_cli.parameters import parameter

if TYPE_CHECKING:
    import torch

WIDTHS = (128, 64, 32)


@dataclass(frozen=True)
class MlpParameters:
    """What users may set: ``--set width=2``."""

    width: float = parameter(1.0, "factor on the layer widths 128, 64, 32", low=0.05, high=64)
    negative_slope: float = parameter(0.2, "slope of the ReLU below 0", low=0, high=1)


class Mlp:
    """The encoder plugin ``mlp``."""

    name = "mlp"
    summary = "tables: layers of 128, 64, 32 units, then linear"
    Parameters = MlpParameters

    def supports(self, spec: ExampleSpec) -> bool:
        """Tables of any width."""
        return spec.kind == "table"

    def build(
        self, spec: ExampleSpec, latent_dim: int, parameters: MlpParameters
    ) -> torch.nn.Module:
        """An untrained network from (n, features) float32 to (n, latent_dim) float32."""
        from anoean_cli.training.layers import dense

        hidden = [max(1, round(units * parameters.width)) for units in WIDTHS]
        return dense([*spec.shape, *hidden, latent_dim], parameters.negative_slope)
