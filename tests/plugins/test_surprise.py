"""How surprising opinions are: of references that tie, but for rounding, and of few."""

import numpy as np
import pytest
import torch
from anoean_plugins.experts.surprise import Expert, Surprise, Together
from hypothesis import given
from hypothesis import strategies as st

WAYS = {
    "of numbers": lambda references: Surprise.among(references, 0.1),
    "of counts": lambda references: Surprise.among_counts(references, 1.0, 2.0),
}


def said(surprise: Surprise, references: np.ndarray) -> np.ndarray:
    """At rising scores, from below all references to far above them."""
    low, high = references.min() - 1, references.max() + 20
    return surprise(torch.linspace(float(low), float(high), 2001, dtype=torch.float64)).numpy()


@pytest.mark.parametrize("way", WAYS)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(3, 400), values=st.integers(1, 12))
def test_sums_that_tie_but_for_rounding_say_what_ties_say(way: str, seed: int, n: int, values: int):
    rng = np.random.default_rng(seed)
    frequent_low_ones = np.minimum(rng.geometric(0.4, n), values)
    ties = np.log1p(np.arange(1, values + 1) * 7.3)[frequent_low_ones - 1]
    rounded = ties * (1 + rng.integers(-2, 3, n) * np.finfo(float).eps)
    of_ties, of_rounded = (said(WAYS[way](of), ties) for of in (ties, rounded))
    assert np.isfinite(of_rounded).all()
    np.testing.assert_allclose(of_rounded, of_ties, atol=1e-3)


def test_experts_that_see_the_same_say_what_one_of_them_says():
    rng = np.random.default_rng(0)
    numbers, noise = rng.normal(size=500), rng.normal(size=500)

    def expert(column: int, weight: float) -> Expert:
        of_normals = (numbers, noise)[column]
        return Expert(Column(column), of_normals, Surprise.among(of_normals, 0.1), weight)

    rows = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]], dtype=torch.float64)
    neither, first, second, both = Together([expert(0, 1), expert(1, 1)])(rows).tolist()
    alone = expert(0, 1)(rows)[1].item()
    assert 0 <= neither < 2
    assert first == pytest.approx(2 * (alone - np.log(2)), rel=0.05)
    assert max(first, second) < both < first + second
    less, more = Together([expert(0, 0.2), expert(1, 1.8)])(rows)[1:3].tolist()
    assert less == pytest.approx(2 * (alone + np.log(0.1)), rel=0.05)
    assert less < more
    np.testing.assert_allclose(
        Together([expert(0, 1)]).at_normals(), expert(0, 1).at_normals(), atol=1e-9
    )


class Column(torch.nn.Module):
    """The opinion that a column is."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return rows[:, self.at]


def test_many_close_references_are_no_tie():
    references = np.linspace(0, 1e-3, 20_000)
    said_of = Surprise.among(references)(torch.tensor([5e-4, 1e-3], dtype=torch.float64))
    assert said_of[0].item() == pytest.approx(np.log(2), rel=0.01)
    assert said_of[1].item() < 10


@given(seed=st.integers(0, 2**32 - 1), n=st.integers(10, 140), usual=st.floats(-2, 5))
def test_above_what_is_usual_it_is_so_much_less(seed: int, n: int, usual: float):
    references = np.random.default_rng(seed).normal(size=n)
    surprise = Surprise.among(references, 0.1)
    at_usual = surprise(torch.tensor([usual], dtype=torch.float64)).item()
    less = np.maximum(said(surprise, references) - at_usual, 0)
    np.testing.assert_allclose(said(surprise.above(usual), references), less, atol=1e-9)


@pytest.mark.parametrize("way", WAYS)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(10, 140), far=st.integers(0, 20))
def test_what_is_farther_off_is_no_less_surprising(way: str, seed: int, n: int, far: int):
    rng = np.random.default_rng(seed)
    references = np.concatenate([rng.random(n), 100 + rng.random(far)])
    assert np.diff(said(WAYS[way](references), references)).min() >= -1e-9
