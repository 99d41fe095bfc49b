import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from anoean_cli.interfaces import ExampleSpec
from anoean_cli.training.density import Blurred, log_density
from anoean_cli.training.export import onnx_graph

TABLE = ExampleSpec("table", (4,), bins=(3,))
IMAGE = ExampleSpec("image", (2, 9, 10))


def rows(n: int, seed: int = 0) -> np.ndarray:
    """Two clusters of dependent features, and bins that nobody is to look at."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 1)) + np.where(rng.random((n, 1)) < 0.5, -4, 4)
    columns = [x, x + rng.normal(size=(n, 1), scale=0.3), rng.normal(size=(n, 1))]
    return np.concatenate([*columns, np.full((n, 1), np.nan)], axis=1).astype(np.float32)


def images(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((n, *IMAGE.shape)).astype(np.float32)


def depth(density: torch.nn.Module, examples: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return density(torch.from_numpy(examples)).numpy()


def test_what_lies_between_clusters_or_breaks_their_shape_is_rare():
    density = log_density(rows(600), TABLE, np.random.default_rng(0))
    normals = depth(density, rows(200, seed=1))
    rare = np.array([[0, 0, 0, np.nan], [4, 2, 0, np.nan], [-4, -4, 9, np.nan]], np.float32)
    assert (depth(density, rare) > np.quantile(normals, 0.99)).all()


def test_it_is_the_mixture_of_scikit_learn_where_no_component_is_left_out():
    from sklearn.mixture import GaussianMixture

    x = rows(60)  # so few that there is one Gaussian
    density = log_density(x, TABLE, np.random.default_rng(0))
    gaussian = GaussianMixture(1, reg_covar=density.variance).fit(x[:, :3])
    differences = depth(density, x) + gaussian.score_samples(x[:, :3])
    assert np.ptp(differences) < 1e-3


def test_blurring_forgives_half_a_pixel():
    spot = torch.zeros(1, 1, 9, 9)
    spot[..., 4, 4] = 1
    blurred = Blurred(1)(spot)
    assert blurred.sum() == 1
    assert blurred[0, 0, 3, 4] == 0.125


def test_images_unlike_the_normals_are_rare():
    density = log_density(images(200), IMAGE, np.random.default_rng(0))
    normals = depth(density, images(100, seed=1))
    flat = depth(density, np.full((20, *IMAGE.shape), 0.9, np.float32))
    assert roc_auc_score(np.repeat([0, 1], [100, 20]), np.concatenate([normals, flat])) == 1


@pytest.mark.parametrize("normals", [2, 3, 30])
def test_a_few_rows_are_enough(normals):
    density = log_density(rows(normals), TABLE, np.random.default_rng(0))
    assert np.isfinite(depth(density, rows(50))).all()


def test_equal_rows_are_enough():
    density = log_density(np.repeat(rows(1), 80, axis=0), TABLE, np.random.default_rng(0))
    depths = depth(density, np.concatenate([rows(1), rows(9, seed=3)]))
    assert (depths[1:] > depths[0]).all()


def test_it_becomes_a_graph():
    import onnxruntime

    density = log_density(images(120), IMAGE, np.random.default_rng(0))
    session = onnxruntime.InferenceSession(onnx_graph(density, IMAGE.shape, "score"))
    (given,) = session.run(None, {"rows": images(10, seed=2)})
    np.testing.assert_allclose(given, depth(density, images(10, seed=2)), rtol=1e-4)


def test_of_many_rows_some_are_drawn(monkeypatch):
    whole = log_density(rows(600), TABLE, np.random.default_rng(0))
    monkeypatch.setattr("anoean_cli.training.density.MOST_ROWS", 600)
    np.testing.assert_array_equal(
        depth(log_density(rows(600), TABLE, np.random.default_rng(0)), rows(50, 1)),
        depth(whole, rows(50, 1)),
        err_msg="nothing is drawn where there are not too many",
    )
    monkeypatch.setattr("anoean_cli.training.density.MOST_ROWS", 200)
    fewer = log_density(rows(600), TABLE, np.random.default_rng(0))
    assert fewer.mixed == 200 // 50
    assert whole.mixed == 600 // 50
