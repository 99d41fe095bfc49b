"""EGBAD, *Efficient GAN-Based Anomaly Detection* (Zenati et al. 2018, arXiv:1802.06222): a BiGAN
on normals.

Networks, losses and score are the publication's: 0.9 of the residual and 0.1 of feature matching.
Its other score, which takes cross-entropy for feature matching, is left out. `GanParameters` says
how training differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from anoean_cli.interfaces import Encoder, Fitted, Monitor, Rows
from anoean_cli.parameters import parameter
from anoean_plugins.gans.settings import GanParameters, spec_of

EPOCHS = {"table": 150, "image": 60}


@dataclass(frozen=True)
class EgbadParameters(GanParameters):
    feature_weight: float = parameter(
        0.1, "share of feature matching in the score; the rest is the residual", low=0, high=1
    )


class EgbadDetector:
    name = "egbad"
    summary = "a BiGAN on normals: how badly G(E(x)) rebuilds x"
    uses_anomalies = False
    uses_encoder = False
    Parameters = EgbadParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: EgbadParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Learn from the training normals; take the epoch that ranks selection rows best."""
        from anoean_cli.training.export import onnx_graph, weights_of
        from anoean_plugins.gans import training
        from anoean_plugins.gans.egbad import BiGan, BiGanScore

        spec = spec_of(train)
        game = BiGan(spec, parameters.noise, parameters.feature_weight)
        players, run = training.train(
            game, train, selection, spec, parameters, rng, monitor, EPOCHS[spec.kind]
        )
        return Fitted(
            graph=onnx_graph(BiGanScore(game, players), spec.shape, "score"),
            output="score",
            weights=weights_of(players),
            metadata={"best_epoch": run.best_epoch},
            history=run.history,
        )
