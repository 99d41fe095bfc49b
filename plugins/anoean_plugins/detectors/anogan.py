"""AnoGAN, *Unsupervised Anomaly Detection with Generative Adversarial Networks to Guide Marker
Discovery* (Schlegl et al., IPMI 2017): a GAN on normals, and a search through its latent space.

The score is the publication's, 0.9 of the residual and 0.1 of feature matching. Its DCGAN for
patches of 64 × 64 pixels, with z from a uniform distribution, gives way to the networks and the
Gaussian z by which Zenati et al. compare AnoGAN with EGBAD, because those exist for tables too.
Only D's dense layer for images differs from theirs: it has dropout, as for tables, where theirs
normalises batches. With that, G had not learned the 300 images of a test after 80 steps, where
with dropout it had. On MNIST, after 600 steps and more, neither was clearly better.

The search differs from both. They start from one z drawn at random for each row and take 500
steps, Zenati et al. of sizes from 0.01 down. Here it starts from the best of 256 that are the same
for all rows, takes 100 steps of sizes from 0.1 down, and the least loss counts, not the last: a
fifth of the steps, and no chance in a score.

`GanParameters` says how training differs. It ends sooner than EGBAD's, since each epoch is judged
by a search.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from anoean_cli.interfaces import Encoder, ExampleSpec, Fitted, Monitor, Rows, Scoring, State
from anoean_cli.parameters import parameter
from anoean_cli.training.sampling import at_most_of_each
from anoean_plugins.gans.settings import GanParameters, spec_of

EPOCHS = {"table": 20, "image": 15}
EPOCH_STEPS = {"table": 1000, "image": 200}
SELECTION_ROWS = 100


@dataclass(frozen=True)
class AnoganParameters(GanParameters):
    patience: int | None = parameter(
        6, "epochs without a better figure before training ends", low=1, high=1_000_000
    )
    steps: int = parameter(100, "of the search", low=1, high=100_000)
    step_size: float = parameter(0.1, "of the search; it falls to 0", low=1e-6, high=100)
    starts: int = parameter(256, "latent vectors to start a search from", low=1, high=4096)
    feature_weight: float = parameter(
        0.1, "share of feature matching in the score; the rest is the residual", low=0, high=1
    )


class AnoganDetector:
    name = "anogan"
    summary = "a GAN on normals: how badly any G(z) explains x; searches when it scores"
    uses_anomalies = False
    uses_encoder = False
    needs_plugin = True
    Parameters = AnoganParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: AnoganParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Learn from the training normals; take the epoch that ranks selection rows best."""
        import torch

        from anoean_plugins.gans import training
        from anoean_plugins.gans.anogan import Gan, Settings, arrays_of

        spec = spec_of(train)
        shape = (parameters.starts, training.latent_dim(spec, parameters))
        starts = torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
        settings = Settings(parameters.steps, parameters.step_size, parameters.feature_weight)
        players, run = training.train(
            Gan(spec, parameters.noise, starts, settings),
            train,
            at_most_of_each(selection, SELECTION_ROWS, rng),  # each costs a search an epoch
            spec,
            parameters,
            rng,
            monitor,
            EPOCHS[spec.kind],
            fewest_steps=EPOCH_STEPS[spec.kind],
        )
        return Fitted(
            output="score",
            arrays=arrays_of(players, starts, settings, parameters.width),
            metadata={"best_epoch": run.best_epoch},
            history=run.history,
        )

    def restore(self, arrays: State, spec: ExampleSpec) -> Scoring:
        """The search by a stored generator and critic."""
        from anoean_plugins.gans.anogan import restored

        return restored(arrays, spec)
