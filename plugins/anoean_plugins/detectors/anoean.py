"""AnoEAN: the paper's detector (sections 3.1 to 3.3)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from anoean_cli.errors import PluginError
from anoean_cli.interfaces import Encoder, ExampleSpec, Fitted, Monitor, Rows
from anoean_cli.training.settings import PAPER, SMALL, AnoeanParameters

if TYPE_CHECKING:
    from anoean_cli.training.density import LogDensity
    from anoean_cli.training.generator import Outskirts


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
        """Algorithm 1; without known anomalies against artificial ones and a generator of them,
        with known ones, of images, against both if that is asked for."""
        from anoean_cli.training.adversarial import fit_encoder
        from anoean_cli.training.artificial import beside_known, selection_rows
        from anoean_cli.training.density import log_density
        from anoean_cli.training.distortions import shifted
        from anoean_cli.training.export import weights_of
        from anoean_plugins.experts.moved import graph_with_experts

        if encoder is None:
            raise PluginError("the detector anoean needs an encoder")
        spec = encoder.spec
        learnt, held, how = train, selection, parameters
        density = outskirts = None
        known, is_image = int(train.is_anomaly.sum()), spec.kind == "image"
        artificial = known == 0 or (is_image and parameters.artificial > 0)
        if artificial or (is_image and parameters.novelty > 0):
            density = log_density(train.normals, spec, rng)
        if artificial:
            assert density is not None
            learnt, outskirts = _artificial(train, selection, spec, density, parameters, rng)
            if known:
                learnt = beside_known(train, learnt, parameters.artificial, rng)
            else:
                monitor.warn("no known anomalies: training against artificial ones")
                held = selection_rows(selection, spec, density, rng)
                # A forest would teach what tells the artificial ones, of which E learns enough; and
                # what those of the withheld family say of an epoch is for the history, unless
                # asked.
                last = parameters.selection or "last"
                how = replace(parameters, distillation=0.0, selection=last)
        module, run = fit_encoder(learnt, held, encoder, how, rng, monitor, outskirts)
        sees_copies = is_image and parameters.shifted and parameters.distortion > 0
        scorer = shifted(module, spec) if sees_copies else module
        graph = graph_with_experts(scorer, train, selection, spec, parameters, rng, density)
        return Fitted(
            graph=graph.onnx,
            output="embedding",
            covariance=parameters.covariance or graph.covariance,
            held_out=graph.held_out,
            weights=weights_of(module),
            metadata={"best_epoch": run.best_epoch, "artificial_anomalies": artificial},
            history=run.history,
        )


def _artificial(
    train: Rows,
    selection: Rows,
    spec: ExampleSpec,
    density: LogDensity,
    parameters: AnoeanParameters,
    rng: np.random.Generator,
) -> tuple[Rows, Outskirts | None]:
    """The normals and unlearned artificial anomalies, which lie off them by the density, and what
    keeps G, which makes more of these, off the normals."""
    from anoean_cli.training.artificial import training_rows
    from anoean_cli.training.generator import Outskirts

    learnt = training_rows(train, spec, density, rng)
    if parameters.generated == 0:
        return learnt, None
    return learnt, Outskirts.of(density, selection.normals)
