"""Rows made up for a forest to judge, and what the encoder learns from them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from anoean_cli.interfaces import Rows
from anoean_cli.training.losses import (
    encoder_terms,
    radial_taught_terms,
    radial_terms,
    taught_terms,
)
from anoean_cli.training.sampling import at_most_of_each
from anoean_cli.training.teacher import Lesson, crossed, lesson_of_forest


def rows(normals: int = 80, anomalies: int = 8, width: int = 6) -> Rows:
    rng = np.random.default_rng(0)
    examples = rng.normal(size=(normals + anomalies, width)).astype(np.float32)
    examples[normals:, 0] += 4
    return Rows(examples, np.repeat([False, True], [normals, anomalies]))


def lesson(train: Rows) -> Lesson:
    return lesson_of_forest(train, np.random.default_rng(0), torch.device("cpu"))


def test_of_many_rows_some_are_drawn_of_each_class():
    train = rows(50, 8)
    assert at_most_of_each(train, 50, np.random.default_rng(0)).examples.shape == (58, 6)
    fewer = at_most_of_each(train, 10, np.random.default_rng(0))
    assert (fewer.is_anomaly == np.repeat([False, True], [10, 8])).all()
    assert len(np.unique(fewer.examples, axis=0)) == 18
    assert np.isin(fewer.examples, train.examples).all()


def test_a_made_up_row_is_a_run_of_one_row_in_another():
    train = rows(width=9)
    known = [set(column) for column in train.examples.T]
    for made in crossed(train, 200, np.random.default_rng(1)):
        assert all(value in column for value, column in zip(made, known, strict=True))
        parents = (train.examples == made).sum(axis=1)
        assert parents.max() >= 5, "half of the features come from one row"
        assert np.sort(parents)[-2:].sum() >= 9, "two rows gave them all"


@pytest.mark.parametrize(("normals", "anomalies"), [(50, 1), (1, 50), (3, 3)])
def test_both_classes_are_parents_alike(normals, anomalies):
    taught = lesson(rows(normals, anomalies))
    assert taught.examples.isfinite().all()
    assert taught.opinion.min() >= 0
    assert taught.opinion.max() <= 1


def test_the_forest_sees_what_tells_the_classes_apart():
    taught = lesson(rows(400, 40))
    high, low = (
        taught.opinion[side] for side in (taught.examples[:, 0] > 3, taught.examples[:, 0] < 1)
    )
    assert low.mean() < 0.1
    assert high.mean() > 0.9


def test_opinions_of_0_and_1_give_the_terms_of_normals_and_anomalies():
    r, logits = torch.randn(10) * 5, torch.randn(10)
    opinion = torch.tensor([0.0] * 5 + [1.0] * 5)
    taught = taught_terms(logits, opinion) | radial_taught_terms(r, opinion, 2.0, 8.0)
    known = encoder_terms(logits[:5], logits[5:])
    radial = radial_terms(r[:5], r[5:], 2.0, 8.0)
    torch.testing.assert_close(2 * taught["e_taught"], known["e_normal"] + known["e_anomaly"])
    torch.testing.assert_close(
        2 * taught["e_radial_taught"], radial["e_radial_normal"] + radial["e_radial_anomaly"]
    )
