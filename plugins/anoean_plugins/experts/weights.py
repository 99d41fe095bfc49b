"""How much each opinion is heard: by how many rows there are, and by what each tells."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from anoean_cli.interfaces import Rows

ENOUGH_NORMALS = 2000  # with fewer E counts for less, and more is done for the forest
ENOUGH_ANOMALIES = 100  # with fewer E counts for less, unless there is none
HEARD_OF_FEW = 2 / 3  # of the forest's weight: more tells known kinds hardly better, new ones worse
ANOMALIES_OF_A_FOREST = 6  # with fewer than these as well it counts for less
AREAS = (0.51, 0.95)  # under ROC curves: worse tells nothing, better is good enough
ANOMALIES_OF_DOUBT, DOUBTED_AREA = 10, 0.75  # what an area is thought to be before any is seen


def are_few(train: Rows) -> bool:
    return len(train.normals) < ENOUGH_NORMALS


def weight_of_encoder(normals: int, anomalies: int) -> float:
    """λ: from few rows of either class E learns less than the experts do, and least from anomalies
    that are all made up, of which there are enough."""
    of_normals = min(1.0, normals / ENOUGH_NORMALS)
    if anomalies == 0:
        return of_normals
    weight: float = min(of_normals, anomalies / ENOUGH_ANOMALIES) ** 0.5
    return weight


def shares_of_all(told: Sequence[float]) -> list[float]:
    """How much each is heard, 1 on average: its d′², divided by their mean."""
    squares = np.square(told)
    return list(squares / squares.mean())


def share_of_forest(of_forest: float, of_others: Sequence[float]) -> float:
    """What is left of a forest's weight where others tell known anomalies better: (d′ / max d′)².

    The others have no such share by known anomalies: they need none to be learnt, and what is new
    may be what they alone see.
    """
    return min(1.0, of_forest / max(of_others, default=of_forest)) ** 2


def share_by_number(normals: int, anomalies: int) -> float:
    """What is left of a forest's weight where normals are few: of a handful of anomalies its votes
    are chance, and new kinds, which it takes for normals, would be drowned."""
    if normals >= ENOUGH_NORMALS:
        return 1.0
    return HEARD_OF_FEW * min(1.0, anomalies / ANOMALIES_OF_A_FOREST)


def separation(of_normals: NDArray[np.floating], of_anomalies: NDArray[np.floating]) -> float:
    """d′ / √2 of opinions on rows that these were not learnt from, positive and bounded.

    d′ = √2·Φ⁻¹(AUC) is how many standard deviations apart two normal distributions of the same
    spread have such an area under the ROC curve (Green and Swets, 1966, Signal detection theory
    and psychophysics), and its square what an observation tells of which of them it is from.
    """
    from sklearn.metrics import roc_auc_score

    count = len(of_anomalies)
    is_anomaly = np.repeat([False, True], [len(of_normals), count])
    area = count * roc_auc_score(is_anomaly, np.concatenate([of_normals, of_anomalies]))
    doubted = (area + ANOMALIES_OF_DOUBT * DOUBTED_AREA) / (count + ANOMALIES_OF_DOUBT)
    low, high = AREAS
    return NormalDist().inv_cdf(min(max(doubted, low), high))
