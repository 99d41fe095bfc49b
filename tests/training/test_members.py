"""Encoders side by side."""

from __future__ import annotations

import pytest
import torch
from anoean_plugins.encoders.mlp import Mlp

from anoean_cli.interfaces import Encoder, ExampleSpec
from anoean_cli.training.members import side_by_side


def encoder(latent_dim: int) -> Encoder:
    return Encoder(Mlp(), ExampleSpec("table", (5,)), latent_dim, Mlp.Parameters(width=0.1))


@pytest.mark.parametrize(
    ("latent_dim", "asked", "members"), [(32, 4, 4), (10, 4, 2), (7, 4, 1), (1, 4, 1), (6, 64, 6)]
)
def test_the_dimensions_of_the_decision_space_are_shared_out(latent_dim, asked, members):
    network, dimensions = side_by_side(encoder(latent_dim), asked)
    assert dimensions == latent_dim // members
    assert network(torch.zeros(3, 5)).shape == (3, latent_dim)


def test_each_member_has_weights_of_its_own():
    network, dimensions = side_by_side(encoder(4), 2)
    z = network(torch.ones(1, 5))
    assert not torch.equal(z[:, :dimensions], z[:, dimensions:])
