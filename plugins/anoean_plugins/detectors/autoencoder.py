"""An autoencoder of normals: what it cannot reconstruct is anomalous.

Hawkins, He, Williams, Baxter: Outlier Detection Using Replicator Neural Networks, DaWaK 2002
(tables); Masci, Meier, Cireşan, Schmidhuber: Stacked Convolutional Auto-Encoders, ICANN 2011.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from anoean_cli.interfaces import Encoder, Fitted, Monitor, Rows, Scores
from anoean_cli.parameters import parameter
from anoean_cli.training.settings import LoopParameters
from anoean_plugins.encoders.conv import FILTERS
from anoean_plugins.encoders.mlp import WIDTHS

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from anoean_cli.training.losses import Terms


@dataclass(frozen=True)
class AutoencoderParameters(LoopParameters):
    selection: str = parameter(
        "reconstruction",
        "figure that picks the epoch: minus the error of selection normals, or none",
        choices=("reconstruction", "last"),
    )


class AutoencoderDetector:
    name = "autoencoder"
    summary = "reconstruction error of an autoencoder that has seen normals only"
    uses_anomalies = False
    uses_encoder = True
    Parameters = AutoencoderParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: AutoencoderParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Learn to reconstruct normals; anomalies are used neither to train nor to select."""
        from anoean_cli.training.peers import Peer, fit_scorer
        from anoean_cli.training.scorers import ReconstructionError

        assert encoder is not None  # uses_encoder
        peer = Peer(
            build=lambda: ReconstructionError(encoder.build(), mirror(encoder)),
            terms=lambda normal, _anomalous, _generator: reconstruction_terms(normal),
            figures=_figures,
            anomaly_share=0.0,
        )
        return fit_scorer(peer, train, selection, encoder.spec, parameters, rng, monitor)


def reconstruction_terms(errors: Tensor) -> Terms:
    """The mean squared error over normals and features.

    Args:
        errors: mean squared error of each normal, shape (m_n,).
    """
    return {"normal": errors.mean()}


def _figures(scores: Scores, is_anomaly: NDArray[np.bool_]) -> dict[str, float]:
    return {"reconstruction": -float(scores[~is_anomaly].mean())}


# --------------------------------------------------------------------------- decoders


def mirror(encoder: Encoder) -> nn.Module:
    """A decoder from (n, d) to (n, *shape) that mirrors `conv` for images and `mlp` for tables,
    without batch normalisation.

    It takes ``width`` and ``negative_slope`` from the encoder's parameters where it has them.
    """
    from anoean_cli.training.layers import dense

    width = getattr(encoder.parameters, "width", 1.0)
    slope = getattr(encoder.parameters, "negative_slope", 0.2)
    if encoder.spec.kind == "image":
        filters = [max(1, round(each * width)) for each in FILTERS]
        return deconvolutions(encoder.latent_dim, filters, encoder.spec.shape, slope)
    units = [max(1, round(each * width)) for each in WIDTHS]
    return dense([encoder.latent_dim, *reversed(units), *encoder.spec.shape], slope)


def deconvolutions(
    latent_dim: int, filters: list[int], shape: tuple[int, ...], slope: float
) -> nn.Module:
    """4×4 deconvolutions of stride 2 from d numbers to an image with pixels from 0 to 1."""
    from torch import nn

    channels = [shape[0], *filters]
    sizes = [(shape[1] >> halvings, shape[2] >> halvings) for halvings in range(len(channels))]
    smallest = (channels[-1], *sizes[-1])
    steps: list[nn.Module] = [
        nn.Linear(latent_dim, math.prod(smallest)),
        nn.Unflatten(1, smallest),
    ]
    for i in reversed(range(len(filters))):
        odd = (sizes[i][0] % 2, sizes[i][1] % 2)  # what halving a side of odd length lost
        steps += [
            nn.LeakyReLU(slope),
            nn.ConvTranspose2d(
                channels[i + 1], channels[i], 4, stride=2, padding=1, output_padding=odd
            ),
        ]
    return nn.Sequential(*steps, nn.Sigmoid())
