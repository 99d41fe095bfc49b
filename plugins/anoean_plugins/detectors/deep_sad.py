"""Deep SAD: normals close to a centre, anomalies away from it.

Ruff et al.: Deep Semi-Supervised Anomaly Detection, ICLR 2020 (arXiv:1906.02694), section 3.
Without anomalies it is the one-class Deep SVDD of Ruff et al., ICML 2018.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from anoean_cli.interfaces import Encoder, Fitted, FloatRows, Monitor, Rows, Scores
from anoean_cli.parameters import parameter
from anoean_cli.training.settings import LabelledParameters

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from anoean_cli.training.losses import Terms

FARTHEST_FROM_ZERO = 0.1
EPSILON = 1e-6


@dataclass(frozen=True)
class DeepSadParameters(LabelledParameters):
    eta: float = parameter(1.0, "η of Eq. (7): weight of the anomalies", low=0, high=1000)
    bias: bool = parameter(False, "whether the encoder keeps its bias terms")


class DeepSadDetector:
    name = "deep-sad"
    summary = "normals close to a fixed centre, anomalies away from it (Ruff et al. 2020)"
    uses_anomalies = True
    uses_encoder = True
    Parameters = DeepSadParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: DeepSadParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Minimise Eq. (7); the score is ‖E(x) − c‖². Without anomalies this is Deep SVDD.

        c is the mean embedding of the training normals under the network's first weights. All
        normals count as unlabelled ones, so η weighs the anomalies alone. Left out of the
        publication: pre-training by an autoencoder, and the weight decay (its code has 1e-6).
        """
        from anoean_cli.training.peers import Peer, fit_scorer
        from anoean_cli.training.scorers import SquaredDistance

        assert encoder is not None  # uses_encoder
        known = bool(train.is_anomaly.any())
        if not known:
            monitor.warn("no known anomalies: deep-sad becomes Deep SVDD, a one-class method")

        def build() -> nn.Module:
            network = encoder.build()
            if not parameters.bias:
                freeze_biases(network)
            return SquaredDistance(network, centre(network, train.normals))

        peer = Peer(
            build=build,
            terms=lambda normal, anomalous, _: (
                distance_terms(normal, anomalous, parameters.eta) if known else svdd_terms(normal)
            ),
            figures=_figures,
            anomaly_share=parameters.anomaly_share if known else 0.0,
        )
        return fit_scorer(peer, train, selection, encoder.spec, parameters, rng, monitor)


def svdd_terms(normal: Tensor) -> Terms:
    """Deep SVDD's one-class objective: the mean of ‖E(x_n) − c‖².

    Args:
        normal: squared distances of normals, shape (m_n,).
    """
    return {"normal": normal.mean()}


def distance_terms(normal: Tensor, anomalous: Tensor, eta: float) -> Terms:
    """Eq. (7): ‖E(x_n) − c‖² and η·(‖E(x_a) − c‖²)^−1, each a mean over its own sub-batch.

    Args:
        normal: squared distances of normals, shape (m_n,).
        anomalous: squared distances of anomalies, shape (m_a,).
    """
    return svdd_terms(normal) | {"anomaly": eta * (anomalous + EPSILON).reciprocal().mean()}


def centre(network: nn.Module, normals: FloatRows) -> Tensor:
    """c, shape (d,): the mean embedding, with no coordinate closer to 0 than 0.1.

    A coordinate of 0 can be met by weights of 0, whatever the row.
    """
    import torch

    from anoean_cli.training.progress import embed

    mean = torch.from_numpy(embed(network, normals).mean(axis=0))
    far_enough = torch.where(mean < 0, -FARTHEST_FROM_ZERO, FARTHEST_FROM_ZERO)
    return torch.where(mean.abs() < FARTHEST_FROM_ZERO, far_enough, mean)


def freeze_biases(network: nn.Module) -> None:
    """Set all bias terms to 0 and keep them there.

    With them a network can give c for every row, by weights of 0 (Ruff et al. 2018, section 3.3).
    """
    for name, weights in network.named_parameters():
        if name.rpartition(".")[2] == "bias":
            weights.detach().zero_()
            weights.requires_grad_(False)


def _figures(scores: Scores, is_anomaly: NDArray[np.bool_]) -> dict[str, float]:
    # Of distances, not of their squares, as for `anoean`.
    from anoean_cli.training import selection as figures

    return figures.of_distances(np.sqrt(scores), is_anomaly)
