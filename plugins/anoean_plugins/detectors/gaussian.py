"""Mahalanobis distance in input space.

Mahalanobis (1936), On the generalised distance in statistics. Images are blurred first, by
[1, 2, 1] along rows and columns, so that a stroke a pixel aside is no stranger; a ridge on the
covariance keeps pixels that hardly vary from deciding alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from anoean_cli.data.preprocessing import INPUTS, INPUTS_HELP
from anoean_cli.errors import UsageError
from anoean_cli.interfaces import Encoder, Fitted, Monitor, Rows
from anoean_cli.parameters import parameter
from anoean_plugins.scorers.rows import flat

MOST_FEATURES = 4096


@dataclass(frozen=True)
class GaussianParameters:
    ridge: float | None = parameter(
        None,
        "added to each feature's variance; none: 0.03 for images, 0.0001 for tables",
        low=1e-9,
        high=1e6,
    )
    blur: bool = parameter(True, "blur images first")
    inputs: str = parameter("quantile", INPUTS_HELP, choices=INPUTS)


class GaussianDetector:
    name = "gaussian"
    summary = "Mahalanobis distance from the normals in input space"
    uses_anomalies = False
    uses_encoder = False
    uses_selection = False
    Parameters = GaussianParameters
    presets: ClassVar[Mapping[str, Mapping[str, Any]]] = {"default": {}}

    def fit(
        self,
        train: Rows,
        selection: Rows,
        encoder: Encoder | None,
        parameters: GaussianParameters,
        rng: np.random.Generator,
        monitor: Monitor,
    ) -> Fitted:
        """Fit mean and covariance on the normals: (n, *shape) rows get their distance."""
        from anoean_cli.training.export import onnx_graph
        from anoean_plugins.scorers.modules import LinearNorm

        shape = train.examples.shape[1:]
        features = int(np.prod(shape))
        if features > MOST_FEATURES:
            raise UsageError(
                f"the detector gaussian takes up to {MOST_FEATURES:,} features, rows have "
                f"{features:,}: resize the images, or take the detector pca"
            )
        is_image = len(shape) == 3
        blur = blurring(shape) if is_image and parameters.blur else np.eye(features)
        ridge = parameters.ridge or (0.03 if is_image else 1e-4)
        normals = flat(train.normals).astype(np.float64)
        covariance = np.cov(normals @ blur, rowvar=False).reshape(features, features)
        root = np.linalg.cholesky(covariance + ridge * np.eye(features))
        # ‖L⁻¹·Bᵀ·(x − μ)‖, so that one matrix blurs and whitens.
        module = LinearNorm(normals.mean(axis=0), np.linalg.solve(root, blur.T).T)
        return Fitted(graph=onnx_graph(module, shape, output="score"), output="score")


def blurring(shape: tuple[int, ...]) -> NDArray[np.float64]:
    """The (features, features) matrix B, so that the row x·B is the image x, blurred."""
    import torch

    from anoean_cli.training.density import Blurred

    one_pixel = torch.eye(int(np.prod(shape))).reshape(-1, *shape)
    matrix: NDArray[np.float64] = Blurred(shape[0])(one_pixel).flatten(1).double().numpy()
    return matrix
