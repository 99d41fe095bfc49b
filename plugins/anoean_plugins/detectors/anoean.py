"""AnoEAN: the paper's detector (sections 3.1 to 3.3)."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from anoean_cli.errors import PluginError
from anoean_cli.interfaces import Encoder, Fitted, Monitor, Rows
from anoean_cli.training.settings import PAPER, SMALL, AnoeanParameters


class AnoeanDetector:
    name = "anoean"
    summary = "an encoder learns against a discriminator to make normals look like N(0, I)"
    uses_anomalies = True
    uses_encoder = True
    Parameters = AnoeanParameters
    presets = {"default": {}, "paper": PAPER, "small": SMALL}  # noqa: RUF012

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: AnoeanParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Algorithm 1; without known anomalies, against artificial ones and a generator of them."""
        from anoean_cli.training.adversarial import fit_encoder
        from anoean_cli.training.artificial import selection_rows, training_rows
        from anoean_cli.training.density import log_density
        from anoean_cli.training.export import weights_of
        from anoean_cli.training.generator import Outskirts
        from anoean_plugins.scorers.experts import graph_with_experts

        if encoder is None:
            raise PluginError("the detector anoean needs an encoder")
        spec = encoder.spec
        learnt, held, how = train, selection, parameters
        density = outskirts = None
        artificial = not train.is_anomaly.any()
        if artificial:
            monitor.warn("no known anomalies: training against artificial ones")
            density = log_density(train.normals, spec, rng)
            learnt = training_rows(train, spec, density, rng)
            held = selection_rows(selection, spec, density, rng)
            # A forest would teach what tells the artificial ones, of which E learns enough; and
            # what those of the withheld family say of an epoch is for the history, unless asked.
            how = replace(parameters, distillation=0.0, selection=parameters.selection or "last")
            if parameters.generated > 0:
                outskirts = Outskirts.of(density, selection.normals)
        module, run = fit_encoder(learnt, held, encoder, how, rng, monitor, outskirts)
        graph = graph_with_experts(module, train, selection, spec, parameters, rng, density)
        return Fitted(
            graph=graph.onnx,
            output="embedding",
            covariance=parameters.covariance or graph.covariance,
            held_out=graph.held_out,
            weights=weights_of(module),
            metadata={"best_epoch": run.best_epoch, "artificial_anomalies": artificial},
            history=run.history,
        )
