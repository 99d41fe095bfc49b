"""The encoder with a logistic output: what a classifier makes of the same labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from anoean_cli.interfaces import Encoder, Fitted, Monitor, Rows
from anoean_cli.training.settings import LabelledParameters
from anoean_plugins.scorers.rows import of_both_classes

if TYPE_CHECKING:
    from torch import Tensor

    from anoean_cli.training.losses import Terms


class MlpClassifierDetector:
    name = "mlp-classifier"
    summary = "the encoder with a logistic output, trained on balanced batches"
    uses_anomalies = True
    uses_encoder = True
    Parameters = LabelledParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: LabelledParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Logistic regression on E(x); the score is the logit of "anomaly".

        Raises:
            DataError: there are no known anomalies to tell normals from.
        """
        from anoean_cli.training import selection as figures
        from anoean_cli.training.peers import Peer, fit_scorer
        from anoean_cli.training.scorers import LinearScore

        assert encoder is not None  # uses_encoder
        train = of_both_classes(train, self.name)
        peer = Peer(
            build=lambda: LinearScore(encoder.build(), encoder.latent_dim),
            terms=lambda normal, anomalous, _: logistic_terms(normal, anomalous),
            figures=figures.of_logits,
            anomaly_share=parameters.anomaly_share,
        )
        return fit_scorer(peer, train, selection, encoder.spec, parameters, rng, monitor)


def logistic_terms(normal: Tensor, anomalous: Tensor) -> Terms:
    """Cross entropy from logits l of "anomaly": softplus(l_n) + softplus(−l_a).

    Each term is a mean over its own sub-batch, so that both classes weigh the same.

    Args:
        normal: logits of normals, shape (m_n,).
        anomalous: logits of anomalies, shape (m_a,).
    """
    from torch.nn.functional import softplus

    return {"normal": softplus(normal).mean(), "anomaly": softplus(-anomalous).mean()}
