"""The losses of section 3 of the paper, and the radial term, each as its separate terms.

All take logits l = logit D(·), so that −log D = softplus(−l) and −log(1 − D) = softplus(l) never
overflow. Every term is a mean over its own sub-batch; the loss is the sum of its terms.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import relu, softplus

Terms = dict[str, Tensor]

LIGHT = 0.25
DIFFERENT = 0.05  # mean absolute difference of features between two edits of one row


def discriminator_terms(prior: Tensor, normal: Tensor, anomalous: Tensor) -> Terms:
    """L_D, Eq. (1): D tells draws of N(0, I) from everything that E gives.

    Args:
        prior: logits of z ~ N(0, I), shape (m,).
        normal: logits of E(x_n), shape (m_n,).
        anomalous: logits of E(x_a), shape (m_a,).
    """
    return {
        "d_prior": softplus(-prior).mean(),
        "d_normal": softplus(normal).mean(),
        "d_anomaly": softplus(anomalous).mean(),
    }


def encoder_terms(normal: Tensor, anomalous: Tensor) -> Terms:
    """L_E in its non-saturating form (section 3.3): E passes normals off as draws of N(0, I).

    Args:
        normal: logits of E(x_n), shape (m_n,).
        anomalous: logits of E(x_a), shape (m_a,).
    """
    return {
        "e_normal": softplus(-normal).mean(),
        "e_anomaly": softplus(anomalous).mean(),
    }


def radial_terms(
    normal: Tensor, anomalous: Tensor, normal_margin: float, anomaly_margin: float
) -> Terms:
    """Push normals inside and anomalies outside a shell, in the units that the score measures.

    D saturates and is not radial, the score is: with r = (‖z‖² − d)/√(2d), which has mean 0 and
    variance 1 under N(0, I), the terms are softplus(r_n − normal_margin) and
    softplus(anomaly_margin − r_a). Not in the paper.

    Args:
        normal: `standard_radius` of E(x_n), shape (m_n,).
        anomalous: the same of E(x_a), shape (m_a,).
    """
    return {
        "e_radial_normal": softplus(normal - normal_margin).mean(),
        "e_radial_anomaly": softplus(anomaly_margin - anomalous).mean(),
    }


def taught_terms(logits: Tensor, opinion: Tensor) -> Terms:
    """`encoder_terms` for rows that are anomalies in part. Not in the paper.

    A row counts as an anomaly to the share that its teacher thinks it one, and as normal to the
    rest.

    Args:
        logits: of E(x), shape (n,).
        opinion: the share, shape (n,), from 0 to 1.
    """
    terms = (1 - opinion) * softplus(-logits) + opinion * softplus(logits)
    return {"e_taught": terms.mean()}


def radial_taught_terms(
    r: Tensor, opinion: Tensor, normal_margin: float, anomaly_margin: float
) -> Terms:
    """`radial_terms` for rows that are anomalies in part. Not in the paper.

    Args:
        r: `standard_radius` of E(x), shape (n,).
        opinion: as `taught_terms` takes it.
    """
    inside, outside = softplus(r - normal_margin), softplus(anomaly_margin - r)
    return {"e_radial_taught": ((1 - opinion) * inside + opinion * outside).mean()}


def generator_terms(
    logits: Tensor,
    z: Tensor,
    distance: Tensor,
    difference: Tensor,
    normal_margin: float,
    least: float,
) -> Terms:
    """L_G: be to E and D what normals are, off the normals, and not always the same.

    The first two terms are those of normals in `encoder_terms` and `radial_terms`, the latter with
    a smaller weight, as it has no bound. relu(r − M(x̃))² keeps G from giving normals back, and the
    last from making one thing of whatever noise. Section 5 of the paper asks for such a network
    and leaves its loss open.

    Args:
        logits: of E(x̃), shape (n,).
        z: E(x̃), shape (n, d).
        distance: M(x̃), how far what G makes lies off the normals, shape (n,).
        difference: between what G makes of the same rows with two noises, shape (n, *shape).
        least: r, how far M should be at least.
    """
    moved = difference.abs().flatten(1).mean(dim=1)
    return {
        "g_passed": softplus(-logits).mean(),
        "g_radial": LIGHT * softplus(standard_radius(z) - normal_margin).mean(),
        "g_near": relu(least - distance).square().mean(),
        "g_alike": LIGHT * relu(1 - moved / DIFFERENT).mean(),
    }


def standard_radius(z: Tensor) -> Tensor:
    """r = (‖z‖² − d)/√(2d), shape (n,): the squared norm, standardised under N(0, I)."""
    d = z.shape[1]
    return (z.square().sum(dim=1) - d) / math.sqrt(2 * d)


def total(terms: Terms) -> Tensor:
    """The sum of the terms."""
    return torch.stack(list(terms.values())).sum()


def backward(weighted: Sequence[tuple[float, Terms]], weights: Sequence[Tensor]) -> None:
    """Set the gradients of a weighted sum of terms at a network's weights.

    The sum itself nobody asks for, and of small networks making it takes time.
    """
    terms: list[Tensor] = []
    shares: list[Tensor] = []
    for share, some in weighted:
        terms += some.values()
        shares += [terms[-1].new_tensor(share)] * len(some)
    torch.autograd.backward(terms, shares, inputs=weights)
