"""The parameters of AnoEAN, and those that its peers share. Importing this imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from anoean_cli.choices import COVARIANCES
from anoean_cli.data.preprocessing import INPUTS, INPUTS_HELP
from anoean_cli.parameters import parameter

AUTO_INPUTS = "auto"  # one of INPUTS, by what is known when training begins


@dataclass(frozen=True)
class LoopParameters:
    """What every training loop leaves to its user, of `anoean` and of its peers."""

    epochs: int | None = parameter(
        None,
        "epochs; none: up to 3200 steps for images, 3000 for tables, or one pass over the normals",
        low=1,
        high=1_000_000,
    )
    batch_size: int = parameter(200, "m = m_n + m_a of Algorithm 1", low=2, high=1_000_000)
    learning_rate: float = parameter(1e-3, "Adam's alpha (section 4.1)", low=1e-8, high=1)
    final_learning_rate: float = parameter(
        0.02, "what a cosine decay leaves of the learning rate; 1: constant", low=0, high=1
    )
    beta1: float = parameter(0.5, "Adam's beta (header of Algorithm 1)", low=0, high=0.9999)
    averaging: float = parameter(
        0.98, "decay a step of the average of the weights; 0: no average", low=0, high=0.99999
    )
    distortion: float = parameter(1.0, "strength of the distortions of images", low=0, high=10)
    selection: str | None = parameter(
        None,
        "figure that picks the epoch; none: ranking where anomalies are known, else the last",
        choices=("ranking", "auc_pr", "last"),
    )
    patience: int | None = parameter(
        None, "epochs without a better figure before training ends", low=1, high=1_000_000
    )
    inputs: str = parameter("quantile", INPUTS_HELP, choices=INPUTS)
    device: str = parameter("cpu", "torch device")


@dataclass(frozen=True)
class LabelledParameters(LoopParameters):
    """Of a loop whose batches hold anomalies as well."""

    inputs: str = parameter("bins", INPUTS_HELP, choices=INPUTS)
    anomaly_share: float | None = parameter(
        0.5, "m_a / m; none: the anomalies' share of the training rows", low=0.001, high=0.999
    )


@dataclass(frozen=True)
class AnoeanParameters(LabelledParameters):
    """Everything Algorithm 1 leaves to its user, and what goes past it."""

    inputs: str = parameter(
        AUTO_INPUTS,
        f"{INPUTS_HELP}; auto: quantiles, and bins where no anomaly is known",
        choices=(AUTO_INPUTS, *INPUTS),
    )
    discriminator_steps: int = parameter(1, "n_D of Algorithm 1", low=1, high=100)
    adversarial: float = parameter(1.0, "weight of the paper's L_E", low=0, high=1000)
    radial: float = parameter(1.0, "weight of the radial terms", low=0, high=1000)
    normal_margin: float = parameter(2.0, "radius that normals are kept inside", low=-100, high=100)
    anomaly_margin: float = parameter(
        8.0, "radius that anomalies are kept outside", low=0, high=1e4
    )
    members: int | None = parameter(
        None,
        "encoders side by side that share the dimensions; none: 1 for images, for tables 4 or as "
        "many fewer as divide these",
        low=1,
        high=64,
    )
    label_filter: float = parameter(
        0.7,
        "tables with known anomalies: normals are left out that a larger share of a forest's "
        "votes, by trees grown without them, takes for anomalies; 1: none",
        low=0.5,
        high=1,
    )
    distillation: float = parameter(
        1.0, "tables with known anomalies: weight of what a forest teaches", low=0, high=1000
    )
    forest: float = parameter(
        3.0,
        "tables with known anomalies: weight of a forest's surprise, of which two thirds count "
        "below 2,000 normals",
        low=0,
        high=100,
    )
    novelty: float = parameter(
        1.0,
        "weight of each surprise at how far from normals, or how rare, a row is; of images with "
        "known anomalies a quarter of it counts",
        low=0,
        high=100,
    )
    shifted: bool = parameter(
        True,
        "images are scored by E's mean over them and copies shifted by a 28th of the side, if "
        "training distorts",
    )
    artificial: float = parameter(
        0.0,
        "images with known anomalies: share of artificial ones among those to learn from",
        low=0,
        high=0.99,
    )
    generated: float = parameter(
        0.25,
        "where there are artificial anomalies: share of a batch's that a generator makes",
        low=0,
        high=1,
    )
    generator_distance: float = parameter(
        2.0,
        "how far from normals it stays; 1: where their farthest hundredth begins",
        low=0,
        high=100,
    )
    covariance: str | None = parameter(
        None,
        "estimator of Σ in the score, Eq. (3); none: ledoit-wolf, and spherical where experts move "
        "what E gives",
        choices=COVARIANCES,
    )


# Every choice that the paper leaves open is in the defaults above or here: Adam's beta1 from the
# header of Algorithm 1, the learning rate from section 4.1 (the header says 2e-4), batches
# that hold anomalies in the proportion of the training rows, ReLUs in conv and leaky ones in mlp
# and D, no normalisation layer (conv has a preset of this name, too), the sample covariance,
# standardised inputs, and early stopping after 20 epochs without a better AUC-PR.
PAPER: Mapping[str, Any] = {
    "epochs": 200,
    "anomaly_share": None,
    "final_learning_rate": 1.0,
    "averaging": 0.0,
    "radial": 0.0,
    "distortion": 0.0,
    "selection": "auc_pr",
    "covariance": "empirical",
    "patience": 20,
    "inputs": "standard",
    "members": 1,
    "label_filter": 1.0,
    "distillation": 0.0,
    "forest": 0.0,
    "novelty": 0.0,
    "shifted": False,
}

# For tables: encoders alone, which have learnt from a forest, a third of the network and two to
# three times as fast to score. Images have two encoders in place of one, and no copies.
SMALL: Mapping[str, Any] = {
    "inputs": "quantile",
    "members": 2,
    "forest": 0.0,
    "novelty": 0.0,
    "shifted": False,
}
