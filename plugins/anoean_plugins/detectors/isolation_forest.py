"""Isolation forest.

Liu, Ting and Zhou (2008), Isolation forest: anomalies are parted from the rest by few random
splits.
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
from anoean_plugins.scorers.rows import flat


@dataclass(frozen=True)
class IsolationForestParameters:
    n_estimators: int = parameter(300, "trees", low=1, high=10_000)
    max_samples: int = parameter(256, "normals that each tree is grown on", low=2, high=1_000_000)
    inputs: str = parameter("standard", INPUTS_HELP, choices=INPUTS)


class IsolationForestDetector:
    name = "isolation-forest"
    summary = "how few random splits part a row from the normals"
    uses_anomalies = False
    uses_encoder = False
    uses_selection = False
    Parameters = IsolationForestParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: IsolationForestParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Grow trees on the normals: (n, *shape) rows get 2^(−mean depth / expected depth)."""
        from sklearn.ensemble import IsolationForest

        from anoean_plugins.scorers.trees import isolation_graph

        rows = flat(train.normals)
        model = IsolationForest(
            n_estimators=parameters.n_estimators,
            max_samples=min(parameters.max_samples, len(rows)),
            random_state=random_state(rng),
        ).fit(rows)
        return Fitted(graph=isolation_graph(model, train.examples.shape[1:]), output="score")
