"""A forest that teaches the encoder what to think of rows between those that are known.

Trees tell classes apart by thresholds on single columns, which a network learns only from many
rows. So a forest is fitted to the training rows, is asked about any number of made-up rows, and
the encoder learns from its answers as well: model compression after Buciluǎ, Caruana and
Niculescu-Mizil (2006), distillation after Hinton, Vinyals and Dean (2015). The forest is not kept.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from anoean_cli.interfaces import FloatRows, Rows
from anoean_cli.training.batches import taken
from anoean_cli.training.sampling import MOST_ROWS, at_most_of_each, random_state

TREES = 100
TAUGHT = 20_000
LARGEST_SHARE = 0.5


@dataclass(frozen=True)
class Lesson:
    """Made-up rows with the forest's opinion.

    Attributes:
        examples: (n, features) float32.
        opinion: (n,) float32 from 0 to 1, the share of the forest's votes for an anomaly.
    """

    examples: Tensor
    opinion: Tensor

    def some(self, count: int, generator: torch.Generator) -> Lesson:
        """That many of the rows, drawn with replacement."""
        chosen = torch.randint(len(self.examples), (count,), generator=generator)
        return Lesson(taken(self.examples, chosen), taken(self.opinion, chosen))


def lesson_of_forest(train: Rows, rng: np.random.Generator, device: torch.device) -> Lesson:
    """Fit a class-weighted forest and ask it about rows crossed from two training rows each.

    Args:
        train: table rows of both classes.
    """
    from sklearn.ensemble import RandomForestClassifier

    known = at_most_of_each(train, MOST_ROWS, rng)
    forest = RandomForestClassifier(
        TREES, class_weight="balanced", random_state=random_state(rng), n_jobs=1
    )
    forest.fit(known.examples, known.is_anomaly)
    made = crossed(train, TAUGHT, rng)
    opinion = forest.predict_proba(made)[:, 1].astype(np.float32)
    return Lesson(torch.from_numpy(made).to(device), torch.from_numpy(opinion).to(device))


def crossed(train: Rows, count: int, rng: np.random.Generator) -> FloatRows:
    """Rows of which a run of features, up to half of them, comes from another row.

    Both parents are as often normal as anomalous. Features of one column lie side by side, so
    that a run of them keeps nearly all columns whole (the crossover of genetic algorithms).
    """
    width = train.examples.shape[1]
    own, other = (_balanced(train.is_anomaly, count, rng) for _ in range(2))
    start = rng.integers(width, size=(count, 1))
    length = rng.uniform(0, LARGEST_SHARE, size=(count, 1)) * width
    foreign = (np.arange(width) - start) % width < length
    return np.where(foreign, train.examples[other], train.examples[own])


def _balanced(
    is_anomaly: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> NDArray[np.intp]:
    """Positions of ``count`` rows, half of them anomalies, in random order."""
    anomalies = rng.choice(np.flatnonzero(is_anomaly), count // 2)
    normals = rng.choice(np.flatnonzero(~is_anomaly), count - count // 2)
    return rng.permutation(np.concatenate([normals, anomalies]))
