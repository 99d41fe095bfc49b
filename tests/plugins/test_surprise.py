"""How surprising opinions are: of references that tie, but for rounding, and of few."""

import numpy as np
import pytest
import torch
from anoean_plugins.experts.surprise import Surprise
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
