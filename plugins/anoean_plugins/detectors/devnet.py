"""DevNet: anomalies deviate from a Gaussian prior of scores.

Pang, Shen, van den Hengel: Deep Anomaly Detection with Deviation Networks, KDD 2019
(arXiv:1911.08623), section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from anoean_cli.interfaces import Encoder, Fitted, Monitor, Rows
from anoean_cli.parameters import parameter
from anoean_cli.training.settings import LabelledParameters
from anoean_plugins.scorers.rows import of_both_classes

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from anoean_cli.training.losses import Terms


@dataclass(frozen=True)
class DevnetParameters(LabelledParameters):
    margin: float = parameter(
        5.0, "a of Eq. (7): deviations that anomalies are kept above", low=0, high=1000
    )
    references: int = parameter(
        5000, "l of Eq. (5): reference scores drawn for each batch", low=2, high=1_000_000
    )


class DevnetDetector:
    name = "devnet"
    summary = "a score that deviates from a Gaussian prior for anomalies only (Pang et al. 2019)"
    uses_anomalies = True
    uses_encoder = True
    Parameters = DevnetParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: DevnetParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Learn φ(x; Θ), Eq. (4): a linear score, Eq. (3), on E(x). It is the raw score.

        The publication's batches of 512, half of them anomalies, RMSprop and one hidden layer of
        20 units with an L2 penalty give way to what all peers have in common here.

        Raises:
            DataError: there are no known anomalies to deviate.
        """
        from anoean_cli.training import selection as figures
        from anoean_cli.training.peers import Peer, fit_scorer
        from anoean_cli.training.scorers import LinearScore

        assert encoder is not None  # uses_encoder
        train = of_both_classes(train, self.name)
        peer = Peer(
            build=lambda: LinearScore(encoder.build(), encoder.latent_dim),
            terms=lambda normal, anomalous, generator: deviation_terms(
                normal,
                anomalous,
                reference_scores(parameters.references, generator),
                parameters.margin,
            ),
            figures=figures.of_logits,
            anomaly_share=parameters.anomaly_share,
        )
        return fit_scorer(peer, train, selection, encoder.spec, parameters, rng, monitor)


def reference_scores(count: int, generator: torch.Generator) -> Tensor:
    """r_1 … r_l ~ N(0, 1), the prior of the scores of normals, Eq. (5); shape (l,)."""
    import torch

    return torch.randn(count, generator=generator)


def deviation_terms(normal: Tensor, anomalous: Tensor, reference: Tensor, margin: float) -> Terms:
    """The deviation loss, Eq. (7): |dev(x_n)| and max(0, a − dev(x_a)).

    dev(x) = (φ(x) − μ_R)/σ_R, Eq. (6), with mean and deviation of the reference scores. Each term
    is a mean over its own sub-batch.

    Args:
        normal: φ(x_n), shape (m_n,).
        anomalous: φ(x_a), shape (m_a,).
        reference: shape (l,).
        margin: a.
    """
    mean, deviation = reference.mean(), reference.std()
    return {
        "normal": ((normal - mean) / deviation).abs().mean(),
        "anomaly": (margin - (anomalous - mean) / deviation).clamp(min=0).mean(),
    }
