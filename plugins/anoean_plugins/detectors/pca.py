"""Reconstruction error of principal components.

Shyu, Chen, Sarinnapakorn and Chang (2003), A novel anomaly detection scheme based on principal
component classifier; Hotelling (1933) for the components.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from anoean_cli.data.preprocessing import INPUTS, INPUTS_HELP
from anoean_cli.interfaces import Encoder, Fitted, Monitor, Rows
from anoean_cli.parameters import parameter
from anoean_plugins.scorers.rows import flat


@dataclass(frozen=True)
class PcaParameters:
    explained_variance: float | None = parameter(
        None,
        "share of the normals' variance that the components explain; none: 0.9 for images, "
        "0.99 for tables",
        low=0.01,
        high=0.9999,
    )
    inputs: str = parameter("quantile", INPUTS_HELP, choices=INPUTS)


class PcaDetector:
    name = "pca"
    summary = "what the normals' principal components do not explain"
    uses_anomalies = False
    uses_encoder = False
    uses_selection = False
    Parameters = PcaParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: PcaParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Fit the components on the normals: (n, *shape) rows get the norm of their residual."""
        from sklearn.decomposition import PCA

        from anoean_cli.training.export import onnx_graph
        from anoean_plugins.scorers.modules import Residual

        shape = train.examples.shape[1:]
        share = parameters.explained_variance or (0.9 if len(shape) == 3 else 0.99)
        model = PCA(share, svd_solver="full").fit(flat(train.normals))
        graph = onnx_graph(Residual(model.mean_, model.components_), shape, output="score")
        return Fitted(
            graph=graph, output="score", metadata={"components": int(model.n_components_)}
        )
