"""The parameters that the detectors by generative adversarial networks share. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from anoean_cli.data.preprocessing import INPUTS, INPUTS_HELP
from anoean_cli.interfaces import ExampleSpec, Rows
from anoean_cli.parameters import parameter


@dataclass(frozen=True)
class GanParameters:
    """What `anogan`, `egbad` and `alad` leave to their user.

    Zenati et al., who published the last two and compare them with the first (2018; see
    `networks`), train at a rate of 1e-5, without noise, on hundreds of thousands of rows. On
    some thousand rows discriminators then win before E and G have learned to be each other's
    inverse, most of all on one-hot columns, whose exact zeros and ones give generated rows away.
    Noise on what they see keeps the game open, and a higher rate ends it in minutes. Both were
    chosen on selection rows of NSL-KDD. Images get 32 dimensions (published: 200, by ALAD 100)
    and a quarter of the filters, for the time that training takes.

    Further, their code draws a second batch for the step of E and G; here one serves both steps,
    so that nothing is made twice. It averages weights by 0.9999 in EGBAD, and in AnoGAN beside it,
    on KDD99, which takes many more steps, and else by 0.999; but not what batch normalisation
    counts, nor in effect AnoGAN's discriminator. Here all are averaged. ALAD's settings for images,
    a rate of 2e-4 and batches of 32, belong to deeper networks. Training ends there after a number
    of epochs, or in ALAD when held-out normals no longer score less; here rows with known anomalies
    pick the epoch.
    """

    epochs: int | None = parameter(None, "at most; none: as fits the data", low=1, high=1_000_000)
    patience: int | None = parameter(
        30, "epochs without a better figure before training ends", low=1, high=1_000_000
    )
    selection: str = parameter(
        "auc_pr", "figure that picks the epoch", choices=("auc_pr", "ranking", "last")
    )
    batch_size: int | None = parameter(
        None, "normals in a batch; none: 50 for tables, 100 for images", low=2, high=1_000_000
    )
    learning_rate: float = parameter(5e-4, "Adam's alpha", low=1e-8, high=1)
    beta1: float = parameter(0.5, "Adam's beta", low=0, high=0.9999)
    averaging: float = parameter(
        0.999, "decay a step of the average of all weights; 0: no average", low=0, high=0.99999
    )
    latent_dim: int | None = parameter(
        None, "dimension of z; none: 32, or half the columns where that is less", low=1, high=4096
    )
    noise: float = parameter(
        0.2, "deviation of the noise on examples that discriminators see", low=0, high=10
    )
    width: float = parameter(
        0.25, "images: share of the publication's filters and units", low=0.01, high=16
    )
    scaling: str = parameter(
        "range", "table columns: normals in 0..1, or as preprocessed", choices=("range", "none")
    )
    inputs: str = parameter("standard", INPUTS_HELP, choices=INPUTS)


def spec_of(rows: Rows) -> ExampleSpec:
    """What one of those rows looks like: images have channels, height and width."""
    shape = rows.examples.shape[1:]
    return ExampleSpec("image" if len(shape) == 3 else "table", shape)
