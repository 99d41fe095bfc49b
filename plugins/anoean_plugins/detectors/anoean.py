"""AnoEAN: the paper's detector (sections 3.1 to 3.3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anoean_cli.errors import PluginError
from anoean_cli.interfaces import Encoder, Fitted, Monitor, Rows
from anoean_cli.training.settings import PAPER, AnoeanParameters


class Detector:
    name = "anoean"
    summary = "an encoder learns against a discriminator to make normals look like N(0, I)"
    uses_anomalies = True
    uses_encoder = True
    Parameters = AnoeanParameters
    presets = {"default": {}, "paper": PAPER}  # noqa: RUF012 - the contract asks for a mapping

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: AnoeanParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Algorithm 1; without known anomalies, against artificial ones."""
        from anoean_cli.training.adversarial import fit_encoder
        from anoean_cli.training.artificial import with_artificial_anomalies
        from anoean_cli.training.export import onnx_graph, weights_of
        from anoean_plugins.scorers.experts import graph_with_experts

        if encoder is None:
            raise PluginError("the detector anoean needs an encoder")
        artificial = not train.is_anomaly.any()
        known, held = train, selection
        if artificial:
            monitor.warn(
                "no known anomalies: training against artificial ones, which is experimental"
            )
            train = with_artificial_anomalies(train, rng)
            selection = with_artificial_anomalies(selection, rng)
            # A forest would teach what tells the artificial ones, of which E learns enough.
            parameters = replace(parameters, distillation=0.0)
        module, run = fit_encoder(train, selection, encoder, parameters, rng, monitor)
        if encoder.spec.kind == "table":
            graph = graph_with_experts(module, known, held, encoder.spec, parameters, rng)
        else:
            graph = onnx_graph(module, encoder.spec.shape)
        return Fitted(
            graph=graph,
            output="embedding",
            covariance=parameters.covariance,
            weights=weights_of(module),
            metadata={"best_epoch": run.best_epoch, "artificial_anomalies": artificial},
            history=run.history,
        )
