"""Histogram gradient boosting as a classifier of normals and known anomalies.

Friedman (2001), Greedy function approximation: a gradient boosting machine; Ke et al. (2017),
LightGBM, for the histograms. Classes are weighted by their inverse frequency.
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
class BoostingParameters:
    max_iter: int = parameter(100, "trees", low=1, high=10_000)
    learning_rate: float = parameter(0.1, "shrinkage of each tree", low=1e-5, high=1)
    max_leaf_nodes: int = parameter(31, "most leaves of a tree", low=2, high=10_000)
    min_samples_leaf: int = parameter(
        20, "fewest training rows in a leaf, but at most a twentieth of them", low=1, high=100_000
    )
    l2_regularization: float = parameter(0.0, "penalty on leaves' values", low=0, high=1e6)
    inputs: str = parameter("standard", INPUTS_HELP, choices=INPUTS)


class HistGradientBoostingDetector:
    name = "hist-gradient-boosting"
    summary = "class-weighted gradient boosting on known anomalies"
    uses_anomalies = True
    uses_encoder = False
    uses_selection = False
    Parameters = BoostingParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: BoostingParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Boost trees on all rows: (n, *shape) rows get the logit of being an anomaly.

        Raises:
            DataError: no training anomalies.
        """
        from sklearn.ensemble import HistGradientBoostingClassifier

        from anoean_plugins.scorers.trees import boosting_graph

        train = of_both_classes(train, self.name)
        model = HistGradientBoostingClassifier(
            max_iter=parameters.max_iter,
            learning_rate=parameters.learning_rate,
            max_leaf_nodes=parameters.max_leaf_nodes,
            min_samples_leaf=min(parameters.min_samples_leaf, max(1, len(train.is_anomaly) // 20)),
            l2_regularization=parameters.l2_regularization,
            class_weight="balanced",
            early_stopping=False,
            random_state=random_state(rng),
        ).fit(flat(train.examples), train.is_anomaly)
        return Fitted(graph=boosting_graph(model, train.examples.shape[1:]), output="score")
