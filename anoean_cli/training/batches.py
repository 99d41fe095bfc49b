"""How large batches are, how many there are, and which rows they hold."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from anoean_cli.interfaces import Rows
from anoean_cli.training.settings import LoopParameters

MOST_STEPS = {"image": 3200, "table": 3000}
FEWEST_STEPS = 300
STEPS_PER_NORMAL = 2
EPOCH_STEPS = (20, 500)


@dataclass(frozen=True)
class Plan:
    """The sizes that follow from the rows and the parameters."""

    epochs: int
    steps: int
    normals: int
    anomalies: int

    @classmethod
    def of(
        cls, train: Rows, kind: str, parameters: LoopParameters, anomaly_share: float | None
    ) -> Plan:
        """Split a batch between normals and anomalies, and the training into epochs.

        An epoch is one pass over the normals, but no fewer than 20 and no more than 500 steps;
        where these are too few for a pass, it takes as many epochs.
        Without a number of epochs, training takes one pass, and steps that grow with the
        normals from 300 to 3200 for images and 3000 for tables.

        Args:
            anomaly_share: m_a / m; None: as in the training rows, 0: no anomalies.
        """
        if anomaly_share is None:
            anomaly_share = float(train.is_anomaly.mean())
        m = parameters.batch_size
        m_a = min(m - 1, max(1, round(m * anomaly_share))) if anomaly_share > 0 else 0
        m_n = m - m_a
        normals = int((~train.is_anomaly).sum())
        one_pass = math.ceil(normals / m_n)
        steps = min(max(one_pass, EPOCH_STEPS[0]), EPOCH_STEPS[1])
        wanted = min(max(STEPS_PER_NORMAL * normals, FEWEST_STEPS), MOST_STEPS[kind])
        epochs = parameters.epochs or math.ceil(max(wanted, one_pass) / steps)
        return cls(epochs, steps, m_n, m_a)


def batches(
    plan: Plan, normals: Tensor, anomalies: Tensor, generator: torch.Generator, epoch: int
) -> Iterator[Tensor]:
    """The batches of one epoch: m_n normals in turn, then m_a anomalies with replacement.

    Args:
        epoch: from 0; where a pass takes several, each goes on where the one before ended.
    """
    order = _order(len(normals), plan.steps * plan.normals, epoch, generator)
    for step in range(plan.steps):
        chosen = taken(normals, order[step * plan.normals : (step + 1) * plan.normals])
        if plan.anomalies == 0:
            yield chosen
            continue
        also = torch.randint(len(anomalies), (plan.anomalies,), generator=generator)
        yield torch.cat([chosen, taken(anomalies, also)])


def _order(count: int, needed: int, epoch: int, generator: torch.Generator) -> Tensor:
    """(needed,) which of ``count`` normals an epoch takes. Passes follow each other until the last
    batch is full, so that all batches have one size."""
    if needed >= count:
        passes = math.ceil(needed / count)
        return torch.cat([torch.randperm(count, generator=generator) for _ in range(passes)])
    # A pass has its own seed, so that each of its epochs knows what the others take.
    first, start = divmod(epoch * needed, count)
    seed = generator.initial_seed() + first
    own = (torch.Generator().manual_seed(each) for each in (seed, seed + 1))
    order = torch.cat([torch.randperm(count, generator=each) for each in own])
    return order[start : start + needed]


def taken(rows: Tensor, at: Tensor) -> Tensor:
    """Rows at these positions, which are on the CPU: ``rows[at]``, several times as fast."""
    return rows.index_select(0, at.to(rows.device))
