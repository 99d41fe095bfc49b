"""A forest for what is known, distances to the nearest normals for what is not.

s = −log p_forest − log p_knn, as Fisher (1932, Statistical methods for research workers) combines
independent tests; each p is the share of the selection normals that score as high. Breiman (2001)
for the forest, Ramaswamy, Rastogi and Shim (2000) for the distances. An anomaly that is like a
known one is seen by the forest, a new one by its distance from all normals.
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
from anoean_plugins.scorers.rows import at_most, flat, of_both_classes, only_normals


@dataclass(frozen=True)
class ForestKnnParameters:
    n_estimators: int = parameter(500, "trees", low=1, high=10_000)
    min_samples_leaf: int = parameter(3, "fewest training rows in a leaf", low=1, high=100_000)
    n_neighbors: int = parameter(5, "nearest training normals that count", low=1, high=1000)
    max_rows: int = parameter(20_000, "most normals to keep", low=1, high=1_000_000)
    inputs: str = parameter("quantile", INPUTS_HELP, choices=INPUTS)


class ForestKnnDetector:
    name = "forest-knn"
    summary = "random forest and distance to the nearest normals, their p-values combined"
    uses_anomalies = True
    uses_encoder = False
    Parameters = ForestKnnParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: ForestKnnParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Fit both on the training rows: (n, *shape) rows get −log p_forest − log p_knn.

        Raises:
            DataError: no training anomalies.
        """

        from anoean_cli.training.progress import embed
        from anoean_plugins.experts.surprise import Expert, Experts, Surprise
        from anoean_plugins.scorers.modules import (
            LogOddsOfVotes,
            NeighbourDistance,
            log_odds,
            tensor,
        )
        from anoean_plugins.scorers.trees import fitted_forest, forest_graph

        train = of_both_classes(train, self.name)
        forest = fitted_forest(
            flat(train.examples),
            train.is_anomaly,
            n_estimators=parameters.n_estimators,
            min_samples_leaf=parameters.min_samples_leaf,
            random_state=random_state(rng),
        )
        kept = flat(at_most(only_normals(train), parameters.max_rows, rng, monitor).examples)
        neighbours = NeighbourDistance(kept, min(parameters.n_neighbors, len(kept)))
        normals = flat(selection.normals)
        half_a_vote = 0.5 / parameters.n_estimators
        votes = log_odds(tensor(forest.predict_proba(normals)[:, 1]), half_a_vote).numpy()
        distances = embed(neighbours, normals).astype(np.float64)
        on_votes = Expert(LogOddsOfVotes(half_a_vote), votes, Surprise.among(votes))
        head = Experts([Expert(neighbours, distances, Surprise.among(distances))], on_votes)
        graph = forest_graph(forest, train.examples.shape[1:], head)
        return Fitted(graph=graph, output="score", metadata={"normals": len(kept)})
