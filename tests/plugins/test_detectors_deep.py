"""The peers that are a network with one score a row: their losses, and what becomes of them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from anoean_plugins.detectors import autoencoder, deep_sad, devnet, mlp_classifier
from anoean_plugins.encoders.conv import Conv
from anoean_plugins.encoders.mlp import Mlp
from made_up import dataset
from torch import nn

from anoean_cli import registry
from anoean_cli.data.splits import SplitRequest
from anoean_cli.errors import DataError, TrainingError
from anoean_cli.inference.model import Model, load_model
from anoean_cli.interfaces import Dataset, Encoder, ExampleSpec, Fitted, Rows
from anoean_cli.storage.checkpoint import Checkpoint
from anoean_cli.training import peers
from anoean_cli.training import run as training
from anoean_cli.training.request import TrainRequest
from anoean_cli.training.run import Watcher, train_model
from anoean_cli.training.scorers import SquaredDistance

TERMS = {
    "autoencoder": {"normal"},
    "deep-sad": {"normal", "anomaly"},
    "devnet": {"normal", "anomaly"},
    "mlp-classifier": {"normal", "anomaly"},
}
KINDS = ("table", "image")
NORMALS, ANOMALIES = 300, 60
IS_ANOMALY = np.repeat([False, True], [NORMALS, ANOMALIES])


@pytest.fixture(autouse=True, scope="module")
def _one_thread():
    """Tiny networks train many times slower on threads that other tests compete for."""
    with training._at_most(1):
        yield


# --------------------------------------------------------------------------- losses


def numbers(*values: float) -> torch.Tensor:
    return torch.tensor(values, requires_grad=True)


def gradients(terms: dict[str, torch.Tensor], *inputs: torch.Tensor) -> list[list[float]]:
    sum(terms.values()).backward()
    return [each.grad.tolist() for each in inputs]


def test_logistic_loss_is_the_cross_entropy_of_each_class():
    normal, anomalous = numbers(-1.0, 2.0), numbers(0.5, 3.0, -4.0)
    terms = mlp_classifier.logistic_terms(normal, anomalous)
    probability = [1 / (1 + np.exp(-x.detach().double().numpy())) for x in (normal, anomalous)]
    assert terms["normal"].item() == pytest.approx(-np.log(1 - probability[0]).mean(), rel=1e-5)
    assert terms["anomaly"].item() == pytest.approx(-np.log(probability[1]).mean(), rel=1e-5)
    down, up = gradients(terms, normal, anomalous)
    assert min(down) > 0 > max(up)  # descent lowers normals and raises anomalies


def test_logistic_loss_of_extreme_logits_is_finite():
    terms = mlp_classifier.logistic_terms(numbers(1e4), numbers(-1e4))
    assert [term.item() for term in terms.values()] == [1e4, 1e4]


def test_deviation_loss_in_units_of_the_reference():
    reference = torch.tensor([0.0, 2.0, 4.0])  # mean 2, deviation 2
    terms = devnet.deviation_terms(numbers(2.0, 5.0), numbers(2.0, 4.0), reference, margin=5)
    assert terms["normal"].item() == pytest.approx((0 + 1.5) / 2)
    assert terms["anomaly"].item() == pytest.approx((5 + 4) / 2)


def test_deviation_loss_is_least_at_the_mean_and_beyond_the_margin():
    reference = torch.tensor([1.0, 2.0, 3.0])
    normal, anomalous = numbers(2.0), numbers(7.5)
    terms = devnet.deviation_terms(normal, anomalous, reference, margin=5)
    assert [term.item() for term in terms.values()] == [0, 0]
    assert gradients(terms, normal, anomalous) == [[0], [0]]
    below, above, near = numbers(1.0), numbers(3.0), numbers(6.5)
    gradients(devnet.deviation_terms(below, near, reference, margin=5))
    gradients(devnet.deviation_terms(above, near, reference, margin=5))
    assert below.grad < 0 < above.grad
    assert near.grad < 0


def test_reference_scores_are_standard_normal_draws_of_the_generator():
    first, again = (
        devnet.reference_scores(5000, torch.Generator().manual_seed(3)) for _ in range(2)
    )
    assert torch.equal(first, again)
    assert first.shape == (5000,)
    assert float(first.mean()) == pytest.approx(0, abs=0.05)
    assert float(first.std()) == pytest.approx(1, abs=0.05)


def test_distance_loss_pulls_normals_in_and_pushes_anomalies_out():
    normal, anomalous = numbers(1.0, 3.0), numbers(0.5, 4.0)
    terms = deep_sad.distance_terms(normal, anomalous, eta=2)
    assert terms["normal"].item() == 2
    assert terms["anomaly"].item() == pytest.approx(2 * (1 / 0.5 + 1 / 4) / 2, rel=1e-5)
    inwards, outwards = gradients(terms, normal, anomalous)
    assert inwards == [0.5, 0.5]
    assert outwards[0] < outwards[1] < 0  # the closer, the harder


def test_an_anomaly_on_the_centre_has_a_finite_loss():
    assert torch.isfinite(deep_sad.distance_terms(numbers(0.0), numbers(0.0), eta=1)["anomaly"])


# --------------------------------------------------------------------------- networks


def encoder(kind: str) -> Encoder:
    if kind == "table":
        return Encoder(Mlp(), ExampleSpec("table", (6,)), 3, Mlp.Parameters(width=0.1))
    return Encoder(Conv(), ExampleSpec("image", (3, 8, 13)), 5, Conv.Parameters(width=0.1))


def test_no_coordinate_of_the_centre_is_close_to_zero():
    network = torch.nn.Linear(4, 4)
    with torch.no_grad():
        network.weight.zero_()
        network.bias.copy_(torch.tensor([0.0, 0.03, -0.03, 2.0]))
    found = deep_sad.centre(network, np.zeros((5, 4), np.float32))
    assert found.tolist() == pytest.approx([0.1, 0.1, -0.1, 2.0])


def test_the_squared_distance_is_that_to_the_centre():
    network = SquaredDistance(torch.nn.Identity(), torch.tensor([1.0, 2.0]))
    assert network(torch.tensor([[1.0, 2.0], [4.0, -2.0]])).tolist() == [0, 25]


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_biases_map_zero_to_zero(kind):
    network = encoder(kind).build()
    deep_sad.freeze_biases(network)
    assert not network(torch.zeros(2, *encoder(kind).spec.shape)).any()
    trained = [name for name, weights in network.named_parameters() if weights.requires_grad]
    assert trained
    assert all(name.endswith("weight") for name in trained)


@pytest.mark.parametrize("kind", KINDS)
def test_the_decoder_mirrors_the_encoder(kind):
    built, mirrored = encoder(kind).build(), autoencoder.mirror(encoder(kind))
    rows = torch.rand(2, *encoder(kind).spec.shape)
    assert mirrored(built(rows)).shape == rows.shape
    weights = [
        [
            tuple(each.weight.shape)
            for each in network
            if isinstance(each, nn.Linear | nn.Conv2d | nn.ConvTranspose2d)
        ]
        for network in (built, mirrored)
    ]
    if kind == "image":  # a deconvolution stores its weights as the convolution it transposes
        assert weights[1][1:] == weights[0][:-1][::-1]
    else:
        assert weights[1] == [shape[::-1] for shape in weights[0][::-1]]


# --------------------------------------------------------------------------- whole models


def table() -> Dataset:
    """Six features: normals on a plane, anomalies to one side of it."""
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(2, 6))
    away = np.array([3.0, -3.0, 3.0, 3.0, -3.0, 3.0])
    normals = rng.normal(size=(NORMALS, 2)) @ plane + 0.1 * rng.normal(size=(NORMALS, 6))
    anomalies = away + rng.normal(size=(ANOMALIES, 6))
    columns = dict(zip("abcdef", np.concatenate([normals, anomalies]).T, strict=True))
    return dataset(pa.table(columns), IS_ANOMALY, 0.3)


def images() -> Dataset:
    """A bright left half on normals, a bright lower half on anomalies."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 60, size=(NORMALS + ANOMALIES, 1, 8, 9))
    pixels[:NORMALS, :, :, :4] += 150
    pixels[NORMALS:, :, 4:] += 150
    return dataset(pixels.astype(np.uint8), IS_ANOMALY, 0.3)


DATASETS = {"table": table(), "image": images()}


def train(name: str, kind: str, watcher: Watcher | None = None, **changes: object) -> Model:
    fixed = {
        "settings": {"epochs": 10, "batch_size": 50, "encoder.width": 0.25},
        "latent_dim": 2,
        "threads": 1,
    }
    given = DATASETS[kind]
    asked = SplitRequest(given.normal, given.apportionment)
    return train_model(given, TrainRequest(asked, detector=name, **(fixed | changes)), watcher)


def scores_of(model: Model, kind: str, rows: np.ndarray) -> np.ndarray:
    examples = DATASETS[kind].examples
    return model.anomaly_score(examples[rows] if kind == "image" else examples.take(rows))


@pytest.fixture(scope="module", params=[(name, kind) for name in TERMS for kind in KINDS])
def case(request) -> tuple[str, str, Model]:
    name, kind = request.param
    return name, kind, train(name, kind)


def test_it_learns_a_separable_set(case):
    _, kind, model = case
    test = model.split["test"]
    scores = scores_of(model, kind, test)
    anomalous = test >= NORMALS
    assert np.median(scores[anomalous]) > np.quantile(scores[~anomalous], 0.95)
    assert len(np.unique(scores)) > len(scores) / 2


def test_a_score_depends_on_its_row_alone(case):
    _, kind, model = case
    rows = np.arange(70)
    whole = scores_of(model, kind, rows)
    one_by_one = [scores_of(model, kind, rows[at : at + 1])[0] for at in rows]
    np.testing.assert_array_equal(whole, one_by_one)
    np.testing.assert_array_equal(whole, scores_of(model, kind, rows[::-1])[::-1])


def test_the_file_restores_the_scores(case, tmp_path):
    _, kind, model = case
    model.save(tmp_path / "model.h5")
    loaded = load_model(tmp_path / "model.h5")
    assert loaded.output == "score"
    rows = np.arange(NORMALS + ANOMALIES)
    np.testing.assert_array_equal(scores_of(model, kind, rows), scores_of(loaded, kind, rows))


def test_the_history_holds_every_term_apart(case):
    name, _, model = case
    figures = {"reconstruction"} if name == "autoencoder" else {"auc_pr", "ranking"}
    assert set(model.history) == {"epoch", "seconds", *TERMS[name], *figures}
    assert model.config["detector"]["metadata"]["best_epoch"] in model.history["epoch"]
    assert model.weights["0.weight"].any()  # the encoder's, by its own names


def test_a_resumed_run_has_the_digest_of_an_uninterrupted_one(case, tmp_path, monkeypatch):
    name, kind, whole = case
    monkeypatch.setattr(training, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    shown: list[float] = []
    first = Watcher(
        show=lambda record, epochs: shown.append(record["epoch"]),
        stopping=lambda: len(shown) == 3,
        checkpoint=Checkpoint(tmp_path / "checkpoint"),
    )
    train(name, kind, first)
    shown.clear()
    resumed = train(name, kind, replace(first, stopping=lambda: False, resume=True))
    assert shown == [4, 5, 6, 7, 8, 9, 10]
    digests = [model.save(tmp_path / "m.h5", overwrite=True) for model in (whole, resumed)]
    assert digests[0] == digests[1]


# --------------------------------------------------------------------------- odd rows


class Told:
    """A monitor that keeps warnings."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def report(self, record: object, epochs: int) -> None: ...

    def save(self, state: object) -> None: ...

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def stopping(self) -> bool:
        return False

    def restore(self) -> None:
        return None


def fit(name: str, rows: Rows, monitor: Told | None = None, **settings: object) -> Fitted:
    plugin = registry.get("detectors", name)
    parameters = plugin.Parameters(epochs=1, batch_size=20, **settings)
    rng = np.random.default_rng(0)
    return plugin.fit(rows, rows, encoder("table"), parameters, rng, monitor or Told())


def rows(anomalies: int) -> Rows:
    examples = np.random.default_rng(0).normal(size=(40 + anomalies, 6)).astype(np.float32)
    return Rows(examples, np.repeat([False, True], [40, anomalies]))


@pytest.mark.parametrize("name", TERMS)
def test_a_loss_that_is_not_finite_ends_training(name):
    broken = rows(10)
    broken.examples[3] = np.nan
    with pytest.raises(TrainingError, match="diverged in epoch 1"):
        fit(name, broken)


@pytest.mark.parametrize("kept", [False, True])
def test_deep_sad_keeps_the_encoders_biases_only_when_asked(kept):
    fitted = fit("deep-sad", rows(10), bias=kept)
    biases = [values for name, values in fitted.weights.items() if name.endswith("bias")]
    assert len(biases) == 4
    assert all(values.any() == kept for values in biases)


@pytest.mark.parametrize("name", TERMS)
def test_images_are_distorted_as_asked_and_tables_are_not(name, monkeypatch):
    strengths = []

    def distort(examples, strength, generator):
        strengths.append(strength)
        return examples

    monkeypatch.setattr(peers, "distort", distort)
    for kind in KINDS:
        train(name, kind, settings={"epochs": 1, "distortion": 0.7})
    assert set(strengths[: len(strengths) // 2]) == {0.0}
    assert set(strengths[len(strengths) // 2 :]) == {0.7}


@pytest.mark.parametrize("name", ["mlp-classifier", "devnet"])
def test_what_needs_anomalies_says_so(name):
    with pytest.raises(
        DataError, match=f"detector {name} learns from known anomalies.*such as knn"
    ):
        fit(name, rows(0))


def test_deep_sad_becomes_deep_svdd_and_says_so():
    monitor = Told()
    fitted = fit("deep-sad", rows(0), monitor)
    assert set(fitted.history[0]) == {"epoch", "normal", "seconds"}
    assert [line for line in monitor.warnings if "Deep SVDD" in line]


def test_an_autoencoder_looks_at_no_anomaly():
    with_them, without = fit("autoencoder", rows(10)), fit("autoencoder", rows(0))
    assert with_them.graph == without.graph
    for name in ("normal", "reconstruction"):
        assert with_them.history[0][name] == without.history[0][name]
    assert registry.get("detectors", "autoencoder").uses_anomalies is False


# --------------------------------------------------------------------------- without torch


def test_plugins_are_imported_and_models_score_without_torch(tmp_path):
    for name in TERMS:
        train(name, "table", settings={"epochs": 1}).save(tmp_path / f"{name}.h5")
    script = f"""
import sys
from importlib import import_module
for name in {[each.replace("-", "_") for each in TERMS]}:
    import_module("anoean_plugins.detectors." + name)
assert "torch" not in sys.modules
sys.modules.update(dict.fromkeys(["torch", "anoean_plugins"]))  # importing them fails from here
import numpy as np
from anoean_cli.inference.model import load_model
for name in {list(TERMS)}:
    scores = load_model(f"{{name}}.h5").anomaly_score(np.random.default_rng(0).normal(size=(9, 6)))
    assert len(set(scores)) > 1
"""
    subprocess.run([sys.executable, "-c", script], cwd=Path(tmp_path), check=True)
