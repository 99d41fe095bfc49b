"""ALAD, *Adversarially Learned Anomaly Detection* (Zenati et al., ICDM 2018, arXiv:1812.02288).

Losses, score and the widths for tables (KDD99) are the publication's, and so are D(x, x) and
D(z, z) for images; E, G and D(x, z) have fewer filters there (see `networks`). Of its ways to
score, the distances of features and of examples, both L1, are here; L2 and the logit are not.

Spectral normalisation is the publication's: in E and all discriminators, but in the last layer of
none. Its code has it for images alone; here tables get it too. Discriminators that have it do
without batch normalisation, which would undo the bound. The two images that D(x, x) sees are
stacked by channels; the code puts one below the other.

`GanParameters` says how training differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from anoean_cli.interfaces import Encoder, Fitted, Monitor, Rows
from anoean_cli.parameters import parameter
from anoean_plugins.gans.settings import GanParameters, spec_of

EPOCHS = {"table": 150, "image": 35}


@dataclass(frozen=True)
class AladParameters(GanParameters):
    spectral_norm: bool = parameter(True, "bind the spectral norm of E and the critics to 1")
    score: str = parameter("features", "L1 distance there", choices=("features", "l1"))


class AladDetector:
    name = "alad"
    summary = "a BiGAN with cycle consistency on normals: |f(x, x) - f(x, G(E(x)))|"
    uses_anomalies = False
    uses_encoder = False
    Parameters = AladParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: AladParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Learn from the training normals; take the epoch that ranks selection rows best."""
        from anoean_cli.training.export import onnx_graph, weights_of
        from anoean_plugins.gans import training
        from anoean_plugins.gans.alad import Alad, AladScore

        spec = spec_of(train)
        game = Alad(spec, parameters.noise, parameters.spectral_norm, parameters.score)
        players, run = training.train(
            game, train, selection, spec, parameters, rng, monitor, EPOCHS[spec.kind]
        )
        return Fitted(
            graph=onnx_graph(AladScore(game, players), spec.shape, "score"),
            output="score",
            weights=weights_of(players),
            metadata={"best_epoch": run.best_epoch},
            history=run.history,
        )
