"""Experts beside the encoder: a forest for what is known; how far off and how rare for the rest.

E learns thresholds on single columns only from many rows, which trees tell at once, and is free to
map what it never met onto N(0, I), while the distance to the nearest normals, how dense they are
around a row, or how rare its categories are, need no anomaly to be learnt. Experts look at a row as
it is, without bins, and move its embedding away from the normals' centre by how surprising they
find it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anoean_cli.calibration.gaussian import (
    DEFAULT_COVARIANCE,
    Gaussian,
    fitting_estimator,
    leave_one_out,
)
from anoean_cli.errors import DataError, TrainingError
from anoean_cli.examples import differ
from anoean_cli.interfaces import ExampleSpec, FloatRows, Rows
from anoean_cli.training.density import log_density
from anoean_cli.training.export import onnx_graph
from anoean_cli.training.progress import embed
from anoean_cli.training.settings import AnoeanParameters
from anoean_plugins.experts.of_tables import experts_on_tables
from anoean_plugins.experts.opinions import FOLDS, expert_of
from anoean_plugins.experts.surprise import Experts, tail_scale
from anoean_plugins.experts.weights import are_few, weight_of_encoder
from anoean_plugins.scorers.modules import tensor
from anoean_plugins.scorers.trees import forest_graph

NOVELTY_BESIDE_KNOWN = 0.25  # of images, of which E tells far more than a density does
SMALLEST_DISTANCE = 1e-6
ROUNDING = 1e-6  # of graphs: a row that is like a normal is never further out than that
LEAST_TAIL = 0.01  # of E's log distances, which differ less


class Moved(nn.Module):
    """z′ = u·log(1 + exp(λ·(log a − m)/τ + Σ wᵢsᵢ)): embeddings as far out as they are surprising.

    a = ‖(z − μ)·W‖ is the Mahalanobis distance of z, no less than the least of normals, and u the
    direction of (z − μ)·W, of length 1. m is the median of normals' log a and τ the scale of its
    tail, each normal being measured by the Gaussian of the others, so that E's surprise and those
    of the experts add up in one unit, as Fisher (1932, Statistical methods for research workers)
    combines independent tests. z′ has the normals' centre at 0 and spreads alike in all
    directions, so that ‖z′‖ ranks rows as that sum does.

    Args:
        encoder: from (n, features) to (n, d).
        gaussian: of normals' embeddings.
        distances: (m,) theirs, each under the Gaussian of the others.
        weight: λ, of E's own surprise.
        experts: whose weighted surprises are added.
    """

    centre: Tensor
    whitener: Tensor
    nudge: Tensor

    def __init__(
        self,
        encoder: nn.Module,
        gaussian: Gaussian,
        distances: NDArray[np.float64],
        weight: float,
        experts: Experts,
    ) -> None:
        super().__init__()
        logs = np.log(np.maximum(distances, SMALLEST_DISTANCE))
        self.encoder = encoder
        self.register_buffer("centre", tensor(gaussian.mean))
        self.register_buffer("whitener", tensor(gaussian.whitener))
        # The centre itself has no direction, and experts may find a row there surprising.
        self.register_buffer("nudge", SMALLEST_DISTANCE * torch.eye(1, len(gaussian.mean))[0])
        self.least = float(np.exp(logs.min()))
        self.typical = float(np.median(logs))
        self.rate = weight / max(tail_scale(logs), LEAST_TAIL)
        self.experts = experts

    def forward(self, rows: Tensor, votes: Tensor | None = None) -> Tensor:
        """(n, features) and, where there is a forest, its (n, 1) votes → (n, d) float32."""
        return self.moved(self.encoder(rows), self.experts(rows, votes))

    def moved(self, z: Tensor, surprise: Tensor) -> Tensor:
        """(n, d) embeddings and the experts' (n,) surprises → (n, d) float32."""
        white = (z - self.centre) @ self.whitener + self.nudge
        distance = white.square().sum(dim=1).sqrt().clamp_min(SMALLEST_DISTANCE)
        own = self.rate * (distance.clamp_min(self.least).double().log() - self.typical)
        total = own + surprise
        # Exact for large ones, whose exponential would overflow.
        radius = total.clamp_min(0) + (1 + (-total.abs()).exp()).log()
        moved: Tensor = white * (radius.float() / distance).unsqueeze(1)
        return moved


class Graph(NamedTuple):
    """What scores, and what calibration has to know of it.

    Attributes:
        onnx: from (n, *shape) float32 rows to their (n, d) embeddings.
        covariance: the estimator that suits these: moved by experts they spread alike in all
            directions, and all that few rows would tell beyond that is noise.
        held_out: (m, d) embeddings of the selection normals, moved by experts who have not learnt
            from them; None where these have not, or where of so many rows it makes no difference.
    """

    onnx: bytes
    covariance: str = DEFAULT_COVARIANCE
    held_out: FloatRows | None = None


def graph_with_experts(
    encoder: nn.Module,
    train: Rows,
    selection: Rows,
    spec: ExampleSpec,
    parameters: AnoeanParameters,
    rng: np.random.Generator,
    density: nn.Module | None = None,
) -> Graph:
    """The model that maps rows to their embeddings, moved as far out as they are surprising.

    Args:
        encoder: from (n, *shape) rows to (n, d).
        train: what E learned from; without known anomalies there is no forest. Images have no
            forest.
        selection: whose normals give μ, W, m and τ. The experts on tables learn from these rows
            as well, from at most 20,000 of each class, and judge a row by nothing that has learnt
            from it.
        spec: of the rows.
        parameters: ``forest`` and ``novelty`` are their weights; where both are 0, embeddings stay.
        rng: of folds, forests and centres.
        density: of images, fitted to those of ``train``; tables have one of their own.
    """
    experts, forest = Experts(), None
    if spec.kind == "table":
        experts, forest = experts_on_tables(train, selection, spec, parameters, rng)
    elif parameters.novelty > 0 and density is not None:
        depths = _depths(density, train.normals, selection.normals, spec, rng)
        share = NOVELTY_BESIDE_KNOWN if train.is_anomaly.any() else 1.0
        experts = Experts([expert_of((density, depths), parameters.novelty * share)])
    if len(experts) == 0:
        return Graph(onnx_graph(encoder, spec.shape, "embedding"))
    z = embed(encoder, selection.normals)
    weight = weight_of_encoder(len(train.normals), int(train.is_anomaly.sum()))
    if differ(selection.normals):
        estimator = _whitening(z, parameters.covariance)
        gaussian = Gaussian.from_embeddings(z, estimator)
        distances = _by_others(z, gaussian, estimator)
    else:  # E spreads them in no way that could be learnt from: the experts speak alone
        gaussian, weight = Gaussian.from_arrays(z[0], np.eye(z.shape[1])), 0.0
        distances = gaussian.mahalanobis(z)
    module = Moved(encoder, gaussian, distances, weight, experts).eval()
    held_out = None
    if are_few(train):
        surprises = experts.of_normals()[-len(z) :]
        as_far = distances / np.maximum(gaussian.mahalanobis(z), SMALLEST_DISTANCE)
        apart = gaussian.mean + as_far[:, None] * (z - gaussian.mean)
        moved = module.moved(tensor(apart), tensor(surprises, np.float64))
        held_out = ((1 + ROUNDING) * moved).numpy()
    onnx = (
        onnx_graph(module, spec.shape, "embedding")
        if forest is None
        else forest_graph(forest.model, spec.shape, module, "embedding", spec.plain)
    )
    return Graph(onnx, "spherical", held_out)


def _depths(
    density: nn.Module,
    train: FloatRows,
    selection: FloatRows,
    spec: ExampleSpec,
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """(m,) opinions of a density on selection's normals, which it has not been fitted to: where
    those are the training normals, as very few are, of such as were fitted to other folds."""
    if not np.array_equal(train, selection):
        return embed(density, selection).astype(np.float64)
    from sklearn.model_selection import KFold

    depths = np.empty(len(train))
    for kept, left in KFold(min(FOLDS, len(train))).split(train):
        depths[left] = embed(log_density(train[kept], spec, rng), train[left])
    return depths


def _by_others(z: FloatRows, gaussian: Gaussian, estimator: str) -> NDArray[np.float64]:
    """(m,) distances of (m, d) normals, each under the Gaussian of the others, as few rows lie
    close to one of their own; under that where the others are too few or too alike to have one."""
    try:
        return leave_one_out(z, estimator)
    except (DataError, TrainingError):
        return gaussian.mahalanobis(z)


def _whitening(z: FloatRows, covariance: str | None) -> str:
    """The estimator of W: the one asked for, but that E's embeddings are no sphere."""
    return fitting_estimator(z, None if covariance == "spherical" else covariance)
