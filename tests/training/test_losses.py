"""The losses against the paper's formulas, computed from probabilities in float64."""

import numpy as np
import pytest
import torch

from anoean_cli.training.discriminator import Discriminator
from anoean_cli.training.losses import (
    backward,
    discriminator_terms,
    encoder_terms,
    radial_terms,
    standard_radius,
    total,
)


def logits(n: int, seed: int) -> torch.Tensor:
    return 3 * torch.randn(n, generator=torch.Generator().manual_seed(seed))


def probability(values: torch.Tensor) -> np.ndarray:
    return 1 / (1 + np.exp(-values.double().numpy()))


def test_discriminator_loss_is_equation_1():
    prior, normal, anomalous = logits(12, 0), logits(7, 1), logits(5, 2)
    terms = discriminator_terms(prior, normal, anomalous)
    expected = {
        "d_prior": -np.log(probability(prior)).mean(),
        "d_normal": -np.log(1 - probability(normal)).mean(),
        "d_anomaly": -np.log(1 - probability(anomalous)).mean(),
    }
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)
    assert float(total(terms)) == pytest.approx(sum(expected.values()), rel=1e-5)


def test_encoder_loss_is_the_non_saturating_equation_2():
    normal, anomalous = logits(7, 1), logits(5, 2)
    terms = encoder_terms(normal, anomalous)
    expected = {
        "e_normal": -np.log(probability(normal)).mean(),
        "e_anomaly": -np.log(1 - probability(anomalous)).mean(),
    }
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)


def test_every_term_is_a_mean_over_its_own_sub_batch():
    normal, anomalous = logits(8, 0), logits(4, 1)
    once = encoder_terms(normal, anomalous)
    twice = encoder_terms(normal, anomalous.repeat(5))
    assert float(once["e_normal"]) == float(twice["e_normal"])
    assert float(once["e_anomaly"]) == pytest.approx(float(twice["e_anomaly"]), rel=1e-6)


@pytest.mark.parametrize("size", [-1e4, 1e4])
def test_extreme_logits_give_finite_losses(size):
    at = torch.full((3,), size)
    for terms in (discriminator_terms(at, at, at), encoder_terms(at, at)):
        assert torch.isfinite(total(terms))
        assert float(total(terms)) >= 1e4


def test_radial_terms_are_softplus_of_the_standardised_squared_norm():
    normal = torch.randn(9, 6, generator=torch.Generator().manual_seed(0))
    anomalous = 2 * torch.randn(4, 6, generator=torch.Generator().manual_seed(1))

    def radius(z):
        return ((z.double().numpy() ** 2).sum(axis=1) - 6) / np.sqrt(12)

    r_n, r_a = standard_radius(normal), standard_radius(anomalous)
    terms = radial_terms(r_n, r_a, normal_margin=2, anomaly_margin=8)
    expected = {
        "e_radial_normal": np.log1p(np.exp(radius(normal) - 2)).mean(),
        "e_radial_anomaly": np.log1p(np.exp(8 - radius(anomalous))).mean(),
    }
    assert {name: float(term) for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)


def test_gradients_are_those_of_the_weighted_sum():
    z, frozen = torch.randn(7, 6, requires_grad=True), torch.randn(6, requires_grad=True)
    terms = [(1.0, encoder_terms(z @ frozen, z[3:, 0])), (0.3, {"e": (z * frozen).square().mean()})]
    (expected,) = torch.autograd.grad(
        sum(weight * total(some) for weight, some in terms), z, retain_graph=True
    )
    backward(terms, [z])
    assert torch.equal(z.grad, expected)
    assert frozen.grad is None


def test_the_radius_of_normal_draws_is_standardised():
    z = torch.randn(100_000, 8, generator=torch.Generator().manual_seed(0))
    r = standard_radius(z)
    assert r.shape == (100_000,)
    assert float(r.mean()) == pytest.approx(0, abs=0.02)
    assert float(r.var()) == pytest.approx(1, abs=0.05)


def test_the_discriminator_is_the_papers():
    d = Discriminator(5)
    assert [m.out_features for m in d.layers if isinstance(m, torch.nn.Linear)] == [32, 16, 1]
    assert d(torch.zeros(7, 5)).shape == (7,)
