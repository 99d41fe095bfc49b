"""A row's score is its own to the last bit, whatever the detector and however wide the row."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from made_up import dataset

from anoean_cli import registry
from anoean_cli.data.splits import SplitRequest
from anoean_cli.interfaces import Dataset
from anoean_cli.training.request import TrainRequest
from anoean_cli.training.run import train_model

SHORT = {"epochs": 1, "max_iter": 5, "n_estimators": 10, "starts": 4, "steps": 3}
DETECTORS = registry.names("detectors")
WIDTHS = (3, 5, 7, 17, 29)  # none is a multiple of what a processor adds up at once
LATENT_DIMS = (1, 5, 7, 18)


IS_ANOMALY = np.repeat([False, True], [160, 30])


def table(width: int) -> Dataset:
    rng = np.random.default_rng(width)
    values = rng.normal(size=(len(IS_ANOMALY), width)) + 2 * IS_ANOMALY[:, None]
    names = tuple(f"x{column}" for column in range(width))
    return dataset(pa.table(dict(zip(names, values.T, strict=True))), IS_ANOMALY, 0.1)


def images() -> Dataset:
    rng = np.random.default_rng(0)
    pixels = (
        rng.integers(0, 200, (len(IS_ANOMALY), 1, 9, 11)) + 50 * IS_ANOMALY[:, None, None, None]
    )
    return dataset(pixels.astype(np.uint8), IS_ANOMALY, 0.1)


def check_scores(name: str, data: Dataset, latent_dim: int | None = None, **more: float) -> None:
    parameters = registry.get("detectors", name).Parameters
    settings = {key: value for key, value in SHORT.items() if hasattr(parameters, key)}
    request = TrainRequest(
        split=SplitRequest(data.normal, data.apportionment),
        detector=name,
        settings=settings | more | {"inputs": "standard"},  # so that a row is as wide as the table
        latent_dim=latent_dim,
        threads=1,
    )
    model = train_model(data, request)
    rows = data.examples
    scores = model.score(rows).scores

    def check(order: np.ndarray) -> None:
        some = rows.take(order) if data.kind == "table" else rows[order]
        np.testing.assert_array_equal(model.score(some).scores, scores[order])

    everything = np.arange(len(rows))
    check(np.random.default_rng(0).permutation(everything))
    for positions in range(1, 9):
        check(np.roll(everything, positions))
    for alone in (0, 3, 101, len(rows) - 1):
        check(np.array([alone]))
    check(everything[50:52])


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", DETECTORS)
def test_a_score_depends_on_its_row_alone(name, width):
    check_scores(name, table(width))


@pytest.mark.parametrize("latent_dim", LATENT_DIMS)
@pytest.mark.parametrize("name", ["anoean", "autoencoder", "deep-sad", "devnet"])
def test_a_score_depends_on_its_row_alone_for_any_latent_dim(name, latent_dim):
    check_scores(name, table(7), latent_dim)


@pytest.mark.parametrize(
    "name", ["anoean", "autoencoder", "deep-sad", "forest-knn", "gaussian", "pca"]
)
def test_a_score_depends_on_its_image_alone(name):
    check_scores(name, images())


@pytest.mark.parametrize("width", WIDTHS)
def test_experts_and_members_leave_each_row_its_score(width: int):
    check_scores("anoean", table(width), 8, members=4, distillation=1, forest=2, novelty=1)
