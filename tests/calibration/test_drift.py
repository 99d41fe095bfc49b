"""Drift of scores: false alarms as rare as promised, anomalies no drift, drift found."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anoean_cli.calibration.drift import FALSE_ALARMS, ScoreCounts, ScoreDrift
from anoean_cli.errors import DataError

any_scores = st.lists(st.floats(-1e9, 1e9) | st.integers(-3, 3).map(float), max_size=60)
some_scores = any_scores.filter(len)


def compared(reference, scores) -> ScoreDrift:
    counts = ScoreCounts(np.sort(reference))
    counts.add(scores)
    return counts.compared()


def is_told(drift: ScoreDrift) -> bool:
    return drift.has_moved or drift.is_heavy


# --------------------------------------------------------------------------- figures


@settings(deadline=None)
@given(some_scores, any_scores)
def test_the_distance_is_that_of_the_bodies(reference, scores):
    reference, scores = np.sort(reference), np.array(scores)
    drift = compared(reference, scores)
    quantiles = reference[[max(0, -(-len(reference) * i // 20) - 1) for i in range(20)]]
    edge = quantiles[-1]
    body, of_body = scores[scores <= edge], reference[reference <= edge]
    apart = [0.0]
    if len(body):
        for q in quantiles:
            apart.append(abs(np.mean(body <= q) - np.mean(of_body <= q)))
            apart.append(abs(np.mean(body < q) - np.mean(of_body < q)))
    assert drift.distance == pytest.approx(max(apart), abs=1e-12)
    assert drift.tail == (np.mean(scores > edge) if len(scores) else 0)
    assert drift.tail_expected == pytest.approx(np.mean(reference > edge))
    assert (drift.rows, drift.references) == (len(scores), len(reference))


@given(some_scores, any_scores, st.randoms())
def test_parts_add_up_to_the_whole_in_any_order(reference, scores, random):
    parts = []
    rest = list(scores)
    random.shuffle(rest)
    while rest:
        size = random.randint(1, len(rest))
        parts.append(ScoreCounts(np.sort(reference)))
        parts[-1].add(rest[:size])
        rest = rest[size:]
    merged = ScoreCounts(np.sort(reference))
    for part in pickle.loads(pickle.dumps(parts)):  # as from another process
        merged.merge(part)
    assert merged.compared() == compared(reference, scores)


def test_no_rows_and_few_rows_are_no_drift():
    reference = np.arange(500.0)
    assert not is_told(ScoreCounts(reference).compared())
    assert not is_told(compared(reference, [1e9]))
    assert not is_told(compared(reference, [-1e9] * 3))
    assert not is_told(compared([1.0], [5.0] * 10))


def test_memory_does_not_grow_with_the_rows():
    counts = ScoreCounts(np.arange(20_000.0))
    for _ in range(20):
        counts.add(np.random.default_rng(0).uniform(0, 20_000, 10_000))
    assert len(pickle.dumps(counts)) < 2_000
    assert counts.compared().rows == 200_000


def test_a_score_that_is_not_a_number_is_refused():
    with pytest.raises(DataError, match="not a number"):
        ScoreCounts([1.0]).add([np.nan])


# --------------------------------------------------------------------------- what is told


@pytest.mark.parametrize("references", [99, 500])
@pytest.mark.parametrize("rows", [5, 50, 1000])
def test_rows_like_the_references_are_hardly_ever_told_of(references, rows):
    rng = np.random.default_rng(0)
    told = [
        is_told(compared(rng.gamma(3, size=references), rng.gamma(3, size=rows)))
        for _ in range(400)
    ]
    assert np.mean(told) <= FALSE_ALARMS + 3 * np.sqrt(FALSE_ALARMS / len(told))


@pytest.mark.parametrize("share", [0.01, 0.05, 0.2])
def test_anomalies_are_no_drift(share):
    rng = np.random.default_rng(1)
    scores = rng.gamma(3, size=20_000)
    scores[: int(share * len(scores))] += 100
    assert not is_told(compared(rng.gamma(3, size=2000), scores))


def test_anomalies_that_nothing_tells_from_normals_are_no_drift_either():
    rng = np.random.default_rng(1)
    scores = rng.gamma(3, size=20_000)
    scores[:800] = 1.0
    assert not is_told(compared(rng.gamma(3, size=2000), scores))


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        (lambda s: s * 1.3, "has_moved"),
        (lambda s: s * 0.7, "has_moved"),
        (lambda s: np.full_like(s, 2.0), "has_moved"),
        (lambda s: s + 100, "is_heavy"),
        (lambda s: np.where(np.arange(len(s)) % 2, s, s + 100), "is_heavy"),
    ],
    ids=["larger", "smaller", "all the same", "all large", "half large"],
)
def test_scores_that_have_changed_are_told_of(changed, told):
    rng = np.random.default_rng(2)
    drift = compared(rng.gamma(3, size=1000), changed(rng.gamma(3, size=1000)))
    assert getattr(drift, told)


def test_scores_that_repeat_are_compared_by_how_often_they_do():
    reference = np.repeat([0.0, 1.0, 2.0], [400, 400, 200])
    rng = np.random.default_rng(3)
    assert not is_told(compared(reference, rng.permutation(reference)[:300]))
    assert compared(reference, np.repeat([0.0, 1.0, 2.0], [700, 100, 200])).has_moved
    assert compared(reference, np.repeat(-1.0, 100)).has_moved
