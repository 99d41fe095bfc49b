"""The loop of the peers: a network that gives each row one score, and a loss of these scores.

All else they have in common with `anoean`, so that they compare on equal terms: encoder plugin,
batches, distortions, falling learning rate, averaged weights, and how the epoch is picked.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from anoean_cli.interfaces import ExampleSpec, Fitted, Monitor, Rows, Scores
from anoean_cli.training import progress
from anoean_cli.training.batches import Plan, batches
from anoean_cli.training.distortions import distort
from anoean_cli.training.export import onnx_graph, weights_of
from anoean_cli.training.losses import Terms, total
from anoean_cli.training.settings import LoopParameters


@dataclass(frozen=True)
class Peer:
    """What tells one peer from another.

    Attributes:
        build: returns the untrained network, rows → (n,) scores, with a submodule ``encoder``.
        terms: loss terms of the scores of normals (m_n,) and of anomalies (m_a,); what is random
            in them comes from the generator.
        figures: selection figures of scores (n,) and of whether each row is an anomaly.
        anomaly_share: of a batch; None: as in the training rows, 0: batches of normals.
    """

    build: Callable[[], nn.Module]
    terms: Callable[[Tensor, Tensor, torch.Generator], Terms]
    figures: Callable[[Scores, NDArray[np.bool_]], dict[str, float]]
    anomaly_share: float | None


@dataclass(kw_only=True)
class Run(progress.AveragedRun):
    """All that changes while training runs."""

    network: nn.Module
    adam: torch.optim.Adam


def fit_scorer(
    peer: Peer,
    train: Rows,
    selection: Rows,
    spec: ExampleSpec,
    parameters: LoopParameters,
    rng: np.random.Generator,
    monitor: Monitor,
) -> Fitted:
    """Train the network by its loss and return it as of its best epoch.

    Raises:
        TrainingError: a loss or a score is no longer finite.
    """
    plan = Plan.of(train, spec.kind, parameters, peer.anomaly_share)
    run = start(peer, parameters, rng)
    device = progress.usable_device(parameters.device)
    normals = torch.from_numpy(train.normals).to(device)
    anomalies = torch.from_numpy(train.anomalies).to(device)
    distortion = parameters.distortion if spec.kind == "image" else 0.0

    def epoch() -> dict[str, float]:
        means = progress.Means()
        with progress.noise_after(run.generator):
            run.network.train()
            for step, examples in enumerate(
                batches(plan, normals, anomalies, run.generator, run.epoch)
            ):
                progress.set_learning_rate(run, plan, step, parameters)
                distorted = distort(examples, distortion, run.generator)
                means.add(_step(run, peer, distorted, plan.normals))
        return {**means.finite(run.epoch + 1), **_figures(run, peer, selection, device)}

    progress.run_epochs(run, plan.epochs, parameters, monitor, epoch)
    network = progress.best_of(run)
    return Fitted(
        graph=onnx_graph(network, spec.shape, "score"),
        output="score",
        weights=weights_of(network.get_submodule("encoder")),
        metadata={"best_epoch": run.best_epoch},
        history=run.history,
    )


def start(peer: Peer, parameters: LoopParameters, rng: np.random.Generator) -> Run:
    """Network and optimiser before the first step, the weights drawn from ``rng``."""
    device = progress.usable_device(parameters.device)
    with progress.weights_drawn_from(rng):
        network = peer.build().to(device)
    return Run(
        network=network,
        adam=progress.adam_of(network, parameters),
        averaged=progress.Average(network, parameters.averaging),
        generator=progress.generator_from(rng),
    )


def _step(run: Run, peer: Peer, examples: Tensor, normals: int) -> Terms:
    """One step on a batch that begins with its normals."""
    scores = run.network(examples)
    terms = peer.terms(scores[:normals], scores[normals:], run.generator)
    run.adam.zero_grad(set_to_none=True)
    total(terms).backward()
    run.adam.step()
    run.averaged.update()
    return terms


def _figures(run: Run, peer: Peer, selection: Rows, device: torch.device) -> dict[str, float]:
    scores = progress.embed(run.scorer, selection.examples, device).astype(np.float64)
    return peer.figures(progress.finite(scores, "scores"), selection.is_anomaly)
