"""P-values, the thresholds that go with them, and their validity by simulation."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.stats import beta
from sklearn.metrics import f1_score

from anoean_cli.calibration.conformal import (
    ROUNDING,
    default_rate,
    p_values,
    threshold_for_contamination,
    threshold_for_f1,
    threshold_for_rate,
)
from anoean_cli.calibration.gaussian import COVARIANCES, Gaussian, leave_one_out
from anoean_cli.errors import DataError, UsageError

tied_scores = st.lists(st.integers(-5, 5), min_size=1, max_size=60)
any_scores = st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60)


# --------------------------------------------------------------------------- p-values


@given(st.one_of(tied_scores, any_scores), st.one_of(tied_scores, any_scores))
def test_p_values_are_the_counted_share(reference, scores):
    reference = np.sort(np.array(reference, dtype=float))
    expected = [(1 + np.sum(reference >= s)) / (len(reference) + 1) for s in scores]
    np.testing.assert_array_equal(p_values(reference, scores), expected)


@given(st.one_of(tied_scores, any_scores), st.one_of(tied_scores, any_scores))
def test_p_values_fall_with_the_score_and_are_never_zero(reference, scores):
    p = p_values(np.sort(reference), [-np.inf, *np.sort(scores), np.inf])
    assert (np.diff(p) <= 0).all()
    assert (p[0], p[-1]) == (1, 1 / (len(reference) + 1))


def test_no_scores_have_no_p_values():
    assert p_values([1.0], []).shape == (0,)


@pytest.mark.parametrize("reference", [[], [2.0, 1.0], [np.nan], [1.0, np.inf], [[1.0]]])
def test_references_must_be_finite_and_rising(reference):
    for call in (lambda: p_values(reference, [1.0]), lambda: threshold_for_rate(reference, 0.5)):
        with pytest.raises(DataError):
            call()


def test_a_score_that_is_not_a_number_has_no_p_value():
    with pytest.raises(DataError, match="position 1"):
        p_values([1.0], [0.0, np.nan])


# --------------------------------------------------------------------------- rates


@settings(max_examples=300)
@given(
    st.one_of(tied_scores, any_scores),
    st.lists(st.integers(-6, 6), max_size=20),
    st.one_of(st.floats(0.001, 0.999), st.integers(1, 99).map(lambda k: k / 100)),
)
def test_above_the_threshold_is_a_p_value_within_the_rate(reference, scores, rate):
    reference = np.sort(np.array(reference, dtype=float))
    scores = np.concatenate([scores, reference])
    p = p_values(reference, scores)
    try:
        threshold = threshold_for_rate(reference, rate)
    except UsageError:
        assert rate < 1 / (len(reference) + 1)
    else:
        np.testing.assert_array_equal(scores > threshold, p <= rate)


@pytest.mark.parametrize("n", [9, 19, 39, 59, 99, 199, 499, 999, 1999])
def test_decimal_rates_mean_whole_counts(n):
    reference = np.arange(n, dtype=float)
    for percent in range(1, 100):
        k = percent * (n + 1) // 100  # in whole numbers
        if k:
            assert threshold_for_rate(reference, percent / 100) == n - k


def test_a_rate_too_fine_is_refused_with_the_remedy():
    with pytest.raises(UsageError, match=r"1/\(49 \+ 1\) = 0\.02.*at least 99 calibration rows"):
        threshold_for_rate(np.arange(49), 0.01)
    assert threshold_for_rate(np.arange(49), 0.02) == 48
    assert threshold_for_rate(np.arange(99), 0.01) == 98


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2, np.nan, np.inf, 5e-324])
def test_rates_outside_zero_and_one_are_refused(rate):
    with pytest.raises(UsageError):
        threshold_for_rate([1.0, 2.0], rate)
    with pytest.raises(UsageError):
        threshold_for_contamination([1.0, 2.0], rate)


@pytest.mark.parametrize("n", [1, 5, 48, 49, 98, 99, 100, 5000])
def test_the_default_rate_is_always_possible(n):
    rate = default_rate(n)
    assert rate == (0.01 if n >= 99 else 1 / (n + 1))
    assert threshold_for_rate(np.arange(n), rate) <= n - 1


# --------------------------------------------------------------------------- confidence


@settings(deadline=None)
@given(st.integers(1, 400), st.floats(0.005, 0.6), st.floats(0.05, 0.999))
@example(15, 0.5, 0.5)
def test_with_confidence_the_largest_count_is_taken_that_keeps_it(n, rate, confidence):
    counts = np.arange(1, n + 1)
    # SciPy misses by some last digits: at n = 15 and a rate of 0.5 the 8th has exactly 0.5.
    enough = beta.cdf(rate, counts, n + 1 - counts) >= confidence * (1 - ROUNDING)
    kept = counts[enough]
    if len(kept):
        assert threshold_for_rate(np.arange(n), rate, confidence) == n - kept.max()
    else:
        with pytest.raises(UsageError, match=f"with confidence {confidence:g} is finer than {n} "):
            threshold_for_rate(np.arange(n), rate, confidence)


def test_confidence_is_kept_over_calibrations():
    """Of uniform scores the rate of a threshold t is 1 - t."""
    rng = np.random.default_rng(0)
    kept = [
        1 - threshold_for_rate(np.sort(rng.random(250)), 0.05, 0.9) <= 0.05 for _ in range(2000)
    ]
    on_average = [1 - threshold_for_rate(np.sort(rng.random(250)), 0.05) for _ in range(2000)]
    expected = beta.cdf(0.05, 8, 243)  # of the largest count that keeps it, 8
    assert 0.9 <= expected < 0.95
    assert abs(np.mean(kept) - expected) < 4 * np.sqrt(0.1 * 0.9 / 2000)
    assert np.mean(np.array(on_average) <= 0.05) < 0.7


def test_the_remedy_of_a_confidence_too_fine_is_one():
    with pytest.raises(UsageError, match=r"smallest is 0\.0295.*at least 299 calibration rows"):
        threshold_for_rate(np.arange(100), 0.01, 0.95)
    with pytest.raises(UsageError, match="at least 299"):
        threshold_for_rate(np.arange(298), 0.01, 0.95)
    assert threshold_for_rate(np.arange(299), 0.01, 0.95) == 298


@pytest.mark.parametrize("n", [1, 20, 100, 299, 5000])
@pytest.mark.parametrize("confidence", [1e-6, 0.5, 0.95, 0.999999])
def test_the_default_rate_is_possible_with_confidence_too(n, confidence):
    assert threshold_for_rate(np.arange(n), default_rate(n, confidence), confidence) <= n - 1


@pytest.mark.parametrize("confidence", [0, 1, -0.5, 2, np.nan])
def test_confidences_outside_zero_and_one_are_refused(confidence):
    with pytest.raises(UsageError, match="confidence"):
        threshold_for_rate(np.arange(500), 0.05, confidence)
    with pytest.raises(UsageError, match="confidence"):
        default_rate(500, confidence)


# --------------------------------------------------------------------------- other rules


@given(st.one_of(tied_scores, any_scores), st.integers(1, 99))
def test_contamination_is_never_exceeded_and_as_near_as_ties_allow(scores, percent):
    scores = np.array(scores, dtype=float)
    allowed = percent * len(scores) // 100
    if allowed == 0:
        with pytest.raises(UsageError, match="less than one of"):
            threshold_for_contamination(scores, percent / 100)
        return
    threshold = threshold_for_contamination(scores, percent / 100)
    assert np.sum(scores > threshold) <= allowed < np.sum(scores >= threshold)


@given(
    st.one_of(
        st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40),
        st.lists(st.tuples(st.floats(-9, 9), st.booleans()), min_size=2, max_size=40),
    )
)
def test_the_best_f1_is_found_at_the_highest_threshold(rows):
    scores = np.array([score for score, _ in rows], dtype=float)
    labels = np.array([label for _, label in rows])
    if labels.all() or not labels.any():
        with pytest.raises(DataError):
            threshold_for_f1(scores, labels)
        return
    threshold = threshold_for_f1(scores, labels)
    flagged = scores > threshold
    candidates = [scores >= t for t in np.unique(scores)]
    figures = [f1_score(labels, each) for each in candidates]
    assert f1_score(labels, flagged) == pytest.approx(max(figures))
    fewest = min(np.sum(c) for c, f1 in zip(candidates, figures, strict=True) if f1 == max(figures))
    assert np.sum(flagged) == fewest
    assert threshold in scores or flagged.all()


def test_labels_of_another_length_are_refused():
    with pytest.raises(DataError, match="labels"):
        threshold_for_f1([1.0, 2.0], [True, False, True])


# --------------------------------------------------------------------------- validity


@pytest.mark.parametrize("estimator", COVARIANCES)
def test_split_conformal_p_values_are_exactly_valid(estimator):
    """P(p <= 0.05) = 5/100 for n = 99, whatever estimated μ and Σ from separate rows."""
    rng = np.random.default_rng(7)
    shares = []
    for _ in range(15):
        gaussian = Gaussian.from_embeddings(skewed(rng, 20), estimator)
        for _ in range(20):
            reference = np.sort(gaussian.mahalanobis(skewed(rng, 99)))
            p = p_values(reference, gaussian.mahalanobis(skewed(rng, 200)))
            shares.append(np.mean(p <= 0.05))
    error = np.std(shares, ddof=1) / np.sqrt(len(shares))
    assert error < 0.0025
    assert abs(np.mean(shares) - 0.05) < 4 * error


def test_references_of_fitting_rows_are_invalid_and_left_out_ones_nearly_valid():
    rng = np.random.default_rng(8)
    in_sample, left_out = [], []
    for _ in range(60):
        rows, test = rng.normal(size=(200, 32)), rng.normal(size=(100, 32))
        gaussian = Gaussian.from_embeddings(rows)
        scores = gaussian.mahalanobis(test)
        in_sample.append(p_values(np.sort(gaussian.mahalanobis(rows)), scores) <= 0.05)
        left_out.append(p_values(np.sort(leave_one_out(rows)), scores) <= 0.05)
    assert np.mean(in_sample) > 0.2
    assert 0.04 < np.mean(left_out) < 0.065


def skewed(rng, n):
    """Return (n, 3) rows that are far from normal."""
    return rng.exponential(size=(n, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0.5], [0, 0, 1]])
