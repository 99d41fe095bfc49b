"""Distance to the nearest training normals.

Ramaswamy, Rastogi and Shim (2000), Efficient algorithms for mining outliers from large data sets;
the mean over neighbours is that of Angiulli and Pizzuti (2002), Fast outlier detection in high
dimensional spaces. The logarithm lets one near duplicate count as much as one far stranger.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from anoean_cli.data.preprocessing import INPUTS, INPUTS_HELP
from anoean_cli.interfaces import Encoder, Fitted, Monitor, Rows
from anoean_cli.parameters import parameter
from anoean_plugins.scorers.rows import at_most, flat, only_normals


@dataclass(frozen=True)
class KnnParameters:
    n_neighbors: int = parameter(5, "nearest training normals that count", low=1, high=1000)
    max_rows: int = parameter(20_000, "most normals to keep", low=1, high=1_000_000)
    inputs: str = parameter("quantile", INPUTS_HELP, choices=INPUTS)


class KnnDetector:
    name = "knn"
    summary = "mean log distance to the nearest normals"
    uses_anomalies = False
    uses_encoder = False
    uses_selection = False
    Parameters = KnnParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: KnnParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Keep the normals: (n, *shape) rows get the mean log distance to their nearest."""
        from anoean_cli.training.export import onnx_graph
        from anoean_plugins.scorers.modules import NeighbourDistance

        kept = at_most(only_normals(train), parameters.max_rows, rng, monitor)
        points = flat(kept.examples)
        module = NeighbourDistance(points, min(parameters.n_neighbors, len(points)))
        graph = onnx_graph(module, train.examples.shape[1:], output="score")
        return Fitted(graph=graph, output="score", metadata={"normals": len(points)})
