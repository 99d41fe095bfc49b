"""Anomalies that are labelled normal are left out, and hard normals are not."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from anoean_cli.interfaces import Rows
from anoean_cli.training import mislabelled
from anoean_cli.training.mislabelled import doubtful

BOTH = np.array([0, 1])


def rows(normals: int, anomalies: int, wrong: int, apart: float = 6) -> Rows:
    """Two clumps; so many of the second, in front of all rows, are labelled normal."""
    rng = np.random.default_rng(0)
    examples = rng.normal(size=(wrong + normals + anomalies, 2)).astype(np.float32)
    is_second = np.repeat([True, False, True], [wrong, normals, anomalies])
    examples[is_second] += apart
    return Rows(examples, np.repeat([False, True], [wrong + normals, anomalies]))


def found(
    given: Rows, held: NDArray[np.bool_] | None = None, features: NDArray[np.intp] = BOTH
) -> NDArray[np.intp]:
    if held is None:
        held = np.zeros(len(given.examples), np.bool_)
    return np.flatnonzero(doubtful(given, held, features, 0.7, np.random.default_rng(0)))


@pytest.mark.parametrize("wrong", [10, 50, 100])
def test_what_lies_among_the_anomalies_is_found_and_nothing_else(wrong: int):
    left_out = found(rows(1000, 150, wrong))
    assert len(left_out) >= 0.95 * wrong
    assert (left_out < wrong).all()


def test_rows_beyond_those_that_the_forest_learns_from_are_judged_too(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(mislabelled, "MOST_ROWS", 300)
    np.testing.assert_array_equal(found(rows(1000, 150, 50)), np.arange(50))


def test_rows_that_are_held_are_judged_and_teach_nothing():
    given = rows(1000, 150, 100)
    first = np.arange(len(given.examples)) < 50
    told = found(given, held=first)
    assert (told < 50).sum() >= 45
    assert (told < 100).all()
    only_those_wrong = np.arange(len(given.examples)) < 100
    assert len(found(given, held=only_those_wrong)) == 0


@pytest.mark.parametrize(
    ("normals", "anomalies", "wrong", "apart"),
    [
        (1000, 0, 50, 6),  # nothing to compare with
        (4, 150, 10, 6),  # trees know hardly any normal
        (4000, 150, 8, 6),  # as few as there are normals that are hard to tell
        (150, 150, 4, 6),
        (300, 290, 0, 0.2),  # classes that overlap
        (300, 1000, 0, 1),
        (1000, 1000, 0, 1.4),
        (3000, 2000, 0, 2),
        (3000, 30, 150, 6),  # a kind of normals, for all that one can tell
        (1000, 3000, 400, 6),  # more than a fifth
    ],
)
def test_nothing_is_left_out_where_little_can_be_told(
    normals: int, anomalies: int, wrong: int, apart: float
):
    assert len(found(rows(normals, anomalies, wrong, apart))) == 0


def test_a_kind_of_normals_that_some_anomalies_resemble_stays():
    """Most anomalies lie among these few normals, and yet most rows there are normal."""
    rng = np.random.default_rng(0)
    parts = [
        rng.normal(size=(1920, 2)),
        rng.normal(4, 0.7, size=(80, 2)),  # normals still
        rng.normal(4, 0.7, size=(30, 2)),
        rng.normal([-2.2, 2.2], 0.5, size=(30, 2)),
    ]
    is_anomaly = np.repeat([False, False, True, True], [len(part) for part in parts])
    assert len(found(Rows(np.concatenate(parts).astype(np.float32), is_anomaly))) == 0


def test_features_that_it_is_not_given_count_for_nothing():
    given = rows(1000, 150, 50)
    noise = np.random.default_rng(1).normal(size=(len(given.examples), 1)).astype(np.float32)
    with_noise = Rows(np.concatenate([given.examples, noise], axis=1), given.is_anomaly)
    assert len(found(with_noise, features=np.array([2]))) == 0


def test_a_row_on_its_own_and_one_of_each_class_are_no_trouble():
    assert len(found(rows(1, 1, 0))) == 0
    assert len(found(rows(1, 0, 0))) == 0
