"""Random forest as a classifier of normals and known anomalies.

Breiman (2001), Random forests. Classes are weighted by their inverse frequency.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from anoean_cli.data.preprocessing import INPUTS, INPUTS_HELP
from anoean_cli.interfaces import Encoder, Fitted, Monitor, Rows
from anoean_cli.parameters import parameter
from anoean_cli.training.sampling import random_state
from anoean_plugins.scorers.rows import flat, of_both_classes


@dataclass(frozen=True)
class RandomForestParameters:
    n_estimators: int = parameter(500, "trees", low=1, high=10_000)
    min_samples_leaf: int = parameter(3, "fewest training rows in a leaf", low=1, high=100_000)
    max_features: float | None = parameter(
        None, "share of the features tried a split; none: their square root", low=1e-6, high=1
    )
    inputs: str = parameter("standard", INPUTS_HELP, choices=INPUTS)


class RandomForestDetector:
    name = "random-forest"
    summary = "class-weighted random forest on known anomalies"
    uses_anomalies = True
    uses_encoder = False
    uses_selection = False
    Parameters = RandomForestParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: RandomForestParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Grow trees on all rows: (n, *shape) rows get the mean share of anomalies in their leaves.

        Raises:
            DataError: no training anomalies.
        """
        from anoean_plugins.scorers.trees import fitted_forest, forest_graph

        train = of_both_classes(train, self.name)
        model = fitted_forest(
            flat(train.examples),
            train.is_anomaly,
            n_estimators=parameters.n_estimators,
            min_samples_leaf=parameters.min_samples_leaf,
            max_features=parameters.max_features or "sqrt",
            random_state=random_state(rng),
        )
        return Fitted(graph=forest_graph(model, train.examples.shape[1:]), output="score")
