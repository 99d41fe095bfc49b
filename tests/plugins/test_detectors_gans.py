"""AnoGAN, EGBAD and ALAD: what they minimise, what they learn, and how they are stored."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from anoean_plugins.detectors import anogan as anogan_plugin
from anoean_plugins.gans import networks, training
from anoean_plugins.gans.alad import Alad
from anoean_plugins.gans.anogan import Gan, Search, Settings, players_of
from anoean_plugins.gans.egbad import BiGan, BiGanScore
from anoean_plugins.gans.settings import GanParameters
from torch import nn

from anoean_cli import registry
from anoean_cli.data.splits import SplitRequest
from anoean_cli.errors import FileFormatError, PluginError, TrainingError
from anoean_cli.inference.model import Model, load_model
from anoean_cli.inference.runner import GraphRunner, PluginRunner
from anoean_cli.interfaces import Apportionment, Dataset, ExampleSpec, Rows
from anoean_cli.parameters import build
from anoean_cli.storage.checkpoint import Checkpoint
from anoean_cli.training import run as train_run
from anoean_cli.training.export import onnx_graph
from anoean_cli.training.request import TrainRequest
from anoean_cli.training.run import Watcher, train_model

DETECTORS = ("alad", "anogan", "egbad")
TABLE, IMAGE = ExampleSpec("table", (6,)), ExampleSpec("image", (1, 9, 13))
SETTINGS = Settings(steps=20, step_size=0.1, feature_weight=0.1)
FEW = {"epochs": 3, "learning_rate": 1e-3}


def game(name: str, spec: ExampleSpec) -> training.Game:
    if name == "anogan":
        return Gan(spec, 0.1, torch.randn(8, 3), SETTINGS)
    return BiGan(spec, 0.1, 0.1) if name == "egbad" else Alad(spec, 0.1, True, "features")


def players(name: str, spec: ExampleSpec) -> nn.ModuleDict:
    return nn.ModuleDict(game(name, spec).build(3, 0.1))


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)  # more are slower for networks as small as these
    monkeypatch.setattr(anogan_plugin, "EPOCH_STEPS", {"table": 100, "image": 20})


# --------------------------------------------------------------------------- losses


def test_losses_of_hand_made_logits():
    real, fake = torch.tensor([0.0, math.log(3)]), torch.tensor([0.0, -math.log(3)])
    # D(real) = 1/2, 3/4 and D(fake) = 1/2, 1/4
    terms = training.told_apart("d", real, fake)
    expected = (math.log(2) + math.log(4 / 3)) / 2
    assert {name: pytest.approx(expected) for name in ("d_real", "d_fake")} == terms
    assert training.passed_off(fake) == pytest.approx((math.log(2) + math.log(4)) / 2)
    assert training.shunned(real) == pytest.approx((math.log(2) + math.log(4)) / 2)
    x = torch.tensor([[[[1.0, 2.0]]], [[[0.0, 0.0]]]])
    assert training.residual(x, torch.zeros_like(x)).tolist() == [3.0, 0.0]


@pytest.mark.parametrize("spec", [TABLE, IMAGE])
@pytest.mark.parametrize(
    ("name", "critic", "maker"),
    [
        ("anogan", ["d_real", "d_fake"], ["g"]),
        ("egbad", ["d_real", "d_fake"], ["g", "e"]),
        (
            "alad",
            [f"d_{pair}_{side}" for pair in ("xz", "xx", "zz") for side in ("real", "fake")],
            ["g_xz", "e_xz", "ge_xx", "ge_zz"],
        ),
    ],
)
def test_every_term_is_a_number_of_its_own(name, spec, critic, maker):
    playing, made_of = game(name, spec), players(name, spec)
    x, z = torch.rand(4, *spec.shape), torch.randn(4, 3)
    made = playing.make(made_of, x, z)
    terms = playing.critic_terms(made_of, x, z, made), playing.maker_terms(made_of, x, z, made)
    assert [list(part) for part in terms] == [critic, maker]
    assert all(value.shape == () and value > 0 for part in terms for value in part.values())


def test_a_step_moves_every_weight_of_both_sides():
    playing = game("alad", TABLE)
    parameters = GanParameters(latent_dim=3)
    run = training.start(playing, TABLE, torch.rand(20, 6), parameters, seed=0)
    before = {name: weight.clone() for name, weight in run.players.named_parameters()}
    for _ in range(2):  # a bias behind an output of zeros has no slope at first
        training._step(playing, run, torch.rand(20, 6), torch.randn(20, 3))
    same = [n for n, weight in run.players.named_parameters() if torch.equal(weight, before[n])]
    assert same == []


MAPS = [(64, 1, 4, 4), (64, 64, 4, 4)]
PUBLISHED = {  # for KDD99 and MNIST: shapes of weights, rates of dropout, batch normalisations
    ("egbad", "encoder"): (
        ([(64, 121), (32, 64)], [], 0),
        ([(32, 1, 3, 3), (64, 32, 3, 3), (128, 64, 3, 3), (200, 6272)], [], 2),
    ),
    ("egbad", "generator"): (
        ([(64, 32), (128, 64), (121, 128)], [], 0),
        ([(1024, 200), (6272, 1024), (128, 64, 4, 4), (64, 1, 4, 4)], [], 3),
    ),
    ("egbad", "critic"): (
        ([(128, 121), (128, 32), (128, 256), (1, 128)], [0.2] * 3, 0),
        ([*MAPS, (512, 200), (1024, 3648), (1, 1024)], [0.5] * 4, 1),
    ),
    ("anogan", "critic"): (
        ([(256, 121), (128, 256), (128, 128), (1, 128)], [0.2] * 3, 0),
        ([*MAPS, (1024, 3136), (1, 1024)], [0.2], 1),  # published: no dropout, 2 normalisations
    ),
    ("alad", "critic_xz"): (
        ([(128, 121), (128, 32), (128, 256), (1, 128)], [0.5] * 2, 1),
        ([*MAPS, (512, 200), (512, 512), (1024, 3648), (1, 1024)], [0.2] * 3, 1),
    ),
    ("alad", "critic_xx"): (
        ([(128, 242), (1, 128)], [0.2], 0),
        ([(64, 2, 5, 5), (128, 64, 5, 5), (1, 6272)], [0.2] * 2, 0),
    ),
    ("alad", "critic_zz"): (
        ([(32, 64), (1, 32)], [0.2], 0),
        ([(64, 400), (32, 64), (1, 32)], [0.2] * 2, 0),
    ),
}


@pytest.mark.parametrize(("name", "player"), PUBLISHED)
def test_networks_are_those_published(name, player):
    specs = (ExampleSpec("table", (121,)), 32), (ExampleSpec("image", (1, 28, 28)), 200)
    for (spec, latent_dim), expected in zip(specs, PUBLISHED[name, player], strict=True):
        playing = Alad(spec, 0.1, False, "features") if name == "alad" else game(name, spec)
        parts = list(playing.build(latent_dim, width=1)[player].modules())
        norms = [part for part in parts if isinstance(part, nn.BatchNorm1d | nn.BatchNorm2d)]
        weights = [part.weight for part in parts if hasattr(part, "weight") and part not in norms]
        rates = [part.p for part in parts if isinstance(part, nn.Dropout)]
        assert ([tuple(w.shape) for w in weights], rates, len(norms)) == expected


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 9, 13), (1, 70, 4), (1, 1, 1)])
def test_networks_fit_images_of_any_size(shape):
    spec = ExampleSpec("image", shape)
    made_of = players("alad", spec).eval()
    x, z = torch.rand(2, *shape), torch.randn(2, 3)
    assert made_of["generator"](z).shape == x.shape
    assert made_of["encoder"](x).shape == z.shape
    assert made_of["critic_xz"](x, z).shape == (2,)
    assert made_of["critic_xx"](x, x).shape == (2,)


def test_both_batches_get_the_logits_they_get_alone():
    for spec in (TABLE, IMAGE):
        critic = networks.critic_of(players("egbad", spec)).eval()
        real = torch.rand(3, *spec.shape), torch.randn(3, 3)
        fake = torch.rand(3, *spec.shape), torch.randn(3, 3)
        for found, expected in zip(
            critic.both(real, fake), (critic(*real), critic(*fake)), strict=True
        ):
            torch.testing.assert_close(found, expected)


def test_spectral_norms_are_one_and_folded_into_plain_weights():
    normalised = players("alad", TABLE)["encoder"]
    for _ in range(100):
        normalised(torch.rand(2, 6))
    plain = networks.folded(normalised)
    *layers, last = [part for part in plain.modules() if isinstance(part, nn.Linear)]
    assert not any(isinstance(part, networks.Spectral) for part in plain.modules())
    for layer in layers:
        assert torch.linalg.matrix_norm(layer.weight, ord=2) == pytest.approx(1, abs=1e-5)
    assert torch.equal(last.weight, normalised[-1].weight)  # the last is left as it is
    x = torch.rand(5, 6)
    torch.testing.assert_close(plain(x), normalised.eval()(x), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("columns", [5, 6, 17, 106])
def test_a_graph_gives_a_row_the_same_bits_anywhere(columns):
    spec = ExampleSpec("table", (columns,))
    score = BiGanScore(BiGan(spec, 0.0, 0.1), players("egbad", spec))
    run = GraphRunner(onnx_graph(score, spec.shape, "score"), spec)
    rows = np.random.default_rng(0).random((1024, columns), np.float32)
    order = np.random.default_rng(1).permutation(1024)
    np.testing.assert_array_equal(run(rows[order]), run(rows)[order])


def test_columns_are_scaled_by_the_range_of_normals():
    scaling = networks.Scaling(ExampleSpec("table", (2,)))
    scaling.fit(torch.tensor([[1.0, 5.0], [3.0, 5.0]]))
    assert scaling(torch.tensor([[2.0, 7.0]])).tolist() == [[0.5, 2.0]]


# --------------------------------------------------------------------------- scores by hand


class Fixed(nn.Module):
    """A network that is a function."""

    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        return self.function(*inputs)


def by_hand(spec: ExampleSpec, features, **others) -> nn.ModuleDict:
    critic = networks.Critic([nn.Identity()] * 2, Fixed(features), nn.Identity())
    scaling = networks.Scaling(spec)
    return nn.ModuleDict({"scaling": scaling, "critic": critic, **others})


def test_egbads_score_is_nine_parts_residual_and_one_part_features():
    spec = ExampleSpec("table", (2,))
    made_of = by_hand(
        spec,
        lambda both: 10 * both[:, :1],
        encoder=Fixed(lambda x: x[:, :1]),
        generator=Fixed(lambda z: torch.cat([z + 1, z], dim=1)),
    )
    # x = (1, 3), z = 1, G(z) = (2, 1): residual 1 + 2, features |10 - 20|
    score = BiGanScore(BiGan(spec, 0.0, 0.1), made_of)(torch.tensor([[1.0, 3.0]]))
    assert score.tolist() == pytest.approx([0.9 * 3 + 0.1 * 10])


def test_anogans_search_finds_what_the_generator_can_make():
    spec = ExampleSpec("table", (2,))
    critic = networks.Critic([nn.Identity()], nn.Identity(), nn.Identity())
    generator = nn.Sequential(nn.Linear(1, 2))
    generator.load_state_dict({"0.weight": torch.tensor([[1.0], [2.0]]), "0.bias": torch.zeros(2)})
    made_of = nn.ModuleDict(
        {"scaling": networks.Scaling(spec), "critic": critic, "generator": generator}
    )
    search = Search(spec, made_of, torch.tensor([[0.0], [3.0]]), replace(SETTINGS, steps=200))
    rows = np.array([[1, 2], [1, 1], [-2, -4], [4, 8]], np.float32)
    # (1, 1) is nearest in L1 to z = 1/2, which leaves 1/2
    np.testing.assert_allclose(search(rows), [0, 0.5, 0, 0], atol=0.02)


# --------------------------------------------------------------------------- learning


def curve(normals: int = 500, anomalies: int = 100) -> Dataset:
    """Normals along a curve in six dimensions; anomalies have the same columns, shuffled."""
    rng = np.random.default_rng(0)
    t = rng.uniform(-2, 2, normals + anomalies)
    X = np.stack([t, -t, t**2, -(t**2), np.sin(2 * t), np.cos(2 * t)], axis=1)
    X += rng.normal(0, 0.05, X.shape)
    for column in X.T:
        column[normals:] = rng.permutation(column[normals:])
    names = tuple("abcdef")
    return Dataset(
        name="curve",
        examples=pa.table(dict(zip(names, X.T, strict=True))),
        labels=np.repeat(["good", "bad"], [normals, anomalies]),
        provenance={"files": {}},
        normal=("good",),
        apportionment=Apportionment(test_size=0.3),
        columns=(*names, "label"),
        label_column="label",
    )


def request(detector: str, **settings) -> TrainRequest:
    dataset = curve()
    split = SplitRequest(dataset.normal, dataset.apportionment)
    return TrainRequest(split, detector=detector, settings=FEW | settings, threads=1)


def bars(count: int, vertical: bool, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    images = np.zeros((count, 1, 9, 13), np.float32)
    for image in images:
        at = rng.integers(1, 8)
        image[0, :, at : at + 2] = 1
        if not vertical:
            image[0] = 0
            image[0, at : at + 2, :] = 1
    return images


class Quiet:
    """A monitor that nobody watches."""

    def report(self, record, epochs):
        assert all(math.isfinite(value) for value in record.values())

    def warn(self, message):
        pass

    def stopping(self):
        return False

    def restore(self):
        return None

    def save(self, state):
        pass


def fit(detector: str, rows: Rows, selection: Rows, **settings):
    plugin = registry.get("detectors", detector)
    parameters = build(detector, plugin.Parameters, settings)
    return plugin.fit(rows, selection, None, parameters, np.random.default_rng(0), Quiet())


def labelled(normals: np.ndarray, anomalies: np.ndarray) -> Rows:
    flags = np.repeat([False, True], [len(normals), len(anomalies)])
    return Rows(np.concatenate([normals, anomalies]), flags)


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anogan_plugin, "EPOCH_STEPS", {"table": 100})
        return {name: train_model(curve(), request(name, epochs=15)) for name in DETECTORS}


def roc_auc(scores: np.ndarray, is_anomaly: np.ndarray) -> float:
    return float(np.mean(scores[is_anomaly][:, None] > scores[~is_anomaly][None, :]))


@pytest.mark.parametrize("name", DETECTORS)
def test_rows_off_the_curve_score_higher(models, name):
    dataset, model = curve(), models[name]
    rows = model.split["test"]
    scores = model.anomaly_score(dataset.examples.take(rows))
    assert roc_auc(scores, dataset.labels[rows] == "bad") > 0.8


@pytest.mark.parametrize("name", DETECTORS)
def test_images_are_learned_too(name):
    train = labelled(bars(300, True, 0), bars(0, True, 0))
    selection = labelled(bars(40, True, 1), bars(20, False, 1))
    settings = {"width": 0.1, "latent_dim": 4, "epochs": 4, "learning_rate": 2e-3}
    fitted = fit(name, train, selection, **settings, batch_size=20)
    assert max(record["auc_pr"] for record in fitted.history) > 0.8


@pytest.mark.parametrize("name", DETECTORS)
def test_scores_depend_on_the_row_alone(models, name):
    model, X = models[name], curve().examples
    scores = model.anomaly_score(X)
    order = np.random.default_rng(0).permutation(len(scores))
    assert len(np.unique(scores)) > 0.9 * len(scores)
    np.testing.assert_array_equal(model.anomaly_score(X.take(order)), scores[order])
    for at in (0, 63, 64, 599):
        np.testing.assert_array_equal(model.anomaly_score(X.slice(at, 1)), scores[at : at + 1])


@pytest.mark.parametrize("shape", [(6,), (29,), (118,), (1, 28, 28), (3, 9, 13)])
def test_a_search_gives_a_row_the_same_bits_anywhere(shape):
    spec = ExampleSpec("image" if len(shape) == 3 else "table", shape)
    found = nn.ModuleDict(players_of(spec, 3, 0.2))
    search = Search(spec, found, torch.randn(30, 3), SETTINGS)
    rows = np.random.default_rng(0).random((64, *shape), np.float32)
    scores = search(rows)
    assert len(np.unique(scores)) == 64
    order = np.random.default_rng(1).permutation(64)
    np.testing.assert_array_equal(search(rows[order]), scores[order])
    np.testing.assert_array_equal(search(np.repeat(rows[:1], 64, axis=0)), scores[:1].repeat(64))


@pytest.mark.parametrize("name", DETECTORS)
def test_a_resumed_run_has_the_digest_of_an_uninterrupted_one(name, tmp_path, monkeypatch):
    monkeypatch.setattr(train_run, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    path, checkpoint = tmp_path / "model.h5", Checkpoint(tmp_path / "checkpoint")
    whole = train_model(curve(), request(name)).save(path)
    epochs: list[float] = []

    def watcher(stop_after: int, resume: bool) -> Watcher:
        return Watcher(
            show=lambda record, most: epochs.append(record["epoch"]),
            stopping=lambda: len(epochs) >= stop_after,
            checkpoint=checkpoint,
            resume=resume,
        )

    train_model(curve(), request(name), watcher(2, resume=False))
    resumed = train_model(curve(), request(name), watcher(9, resume=True))
    assert epochs == [1, 2, 3]
    assert resumed.save(path, overwrite=True) == whole


def test_training_ends_when_selection_no_longer_improves():
    rows = np.random.default_rng(0).random((60, 6), np.float32)
    train, selection = labelled(rows[:40], rows[:0]), labelled(rows[40:50], rows[50:])
    fitted = fit("egbad", train, selection, epochs=50, patience=2, learning_rate=1e-8)
    figures = [record["auc_pr"] for record in fitted.history]
    assert len(figures) == 1 + int(np.argmax(figures)) + 2 < 50
    best = fitted.metadata["best_epoch"]  # of equal ones the last
    assert figures[best - 1] == max(figures) > max(figures[best:], default=0)


def test_without_selection_anomalies_the_last_epoch_is_taken():
    rows = np.random.default_rng(0).random((60, 6), np.float32)
    normals = labelled(rows, rows[:0])
    assert fit("egbad", normals, normals, epochs=3, patience=1).metadata["best_epoch"] == 3


def test_divergence_is_a_failed_training():
    rows = labelled(np.full((20, 6), np.nan, np.float32), np.zeros((0, 6), np.float32))
    with pytest.raises(TrainingError, match=r"diverged in epoch 1.*d_real nan"):
        fit("egbad", rows, rows)


def test_a_generator_of_one_row_is_a_failed_training():
    made_of = players("egbad", TABLE)
    nn.init.zeros_(made_of["generator"][-1].weight)
    with pytest.raises(TrainingError, match="collapsed"):
        training._refuse_one_row(made_of, torch.rand(20, 6), 3, seed=0)


# --------------------------------------------------------------------------- stored


@pytest.fixture
def stored(models, tmp_path) -> Path:
    path = tmp_path / "anogan.h5"
    models["anogan"].save(path)
    return path


@pytest.mark.parametrize("name", DETECTORS)
def test_a_model_survives_its_file(models, name, tmp_path):
    models[name].save(tmp_path / "model.h5")
    loaded, X = load_model(tmp_path / "model.h5"), curve().examples
    assert (loaded.graph is None) == (name == "anogan")
    np.testing.assert_array_equal(loaded.anomaly_score(X), models[name].anomaly_score(X))


def in_a_process(*command: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "ANOEAN_THREADS": "2"}
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, env=environment
    )


def test_anogan_scores_alike_in_a_fresh_process(models, stored, tmp_path):
    import pyarrow.csv

    X = curve().examples
    pyarrow.csv.write_csv(X, tmp_path / "rows.csv")
    done = in_a_process("-m", "anoean_cli", "score", tmp_path / "rows.csv", "-m", stored)
    assert done.returncode == 0, done.stderr
    scores = [float(line.split(",")[2]) for line in done.stdout.splitlines()[1:]]
    assert scores == models["anogan"].anomaly_score(X).tolist()


@pytest.mark.parametrize("name", ["alad", "egbad"])
def test_the_others_score_without_torch_and_without_their_plugin(models, name, tmp_path):
    models[name].save(tmp_path / "model.h5")
    script = (
        "import sys, numpy as np; from anoean_cli.inference.model import load_model\n"
        "load_model(sys.argv[1]).anomaly_score(np.zeros((3, 6)))\n"
        "sys.exit(any(name in sys.modules for name in ('torch', 'anoean_plugins')))"
    )
    assert in_a_process("-c", script, tmp_path / "model.h5").returncode == 0


def test_info_calibrate_and_evaluate_know_a_model_without_a_graph(stored, tmp_path):
    import pyarrow.csv

    dataset = curve()
    rows = dataset.examples.append_column("label", pa.array(dataset.labels))
    pyarrow.csv.write_csv(rows, tmp_path / "rows.csv")
    data = ("--data", tmp_path / "rows.csv", "--label", "label", "-m", stored)
    shown = in_a_process("-m", "anoean_cli", "info", stored, "--json")
    assert json.loads(shown.stdout)["detector"]["name"] == "anogan"
    for command in ("calibrate", "evaluate"):
        done = in_a_process("-m", "anoean_cli", command, *data, "--json")
        assert done.returncode == 0, done.stderr


def garbled(arrays: dict, change: str) -> dict:
    first = "generator.0.weight"
    return {
        "an array is missing": {k: v for k, v in arrays.items() if k != first},
        "an array too many": arrays | {"more": np.zeros(3)},
        "another shape": arrays | {first: arrays[first][:-1]},
        "another type": arrays | {first: arrays[first].astype(np.float64)},
        "starts of no rows": arrays | {"starts": np.zeros((0, 3), np.float32)},
        "starts that are wide": arrays | {"starts": np.zeros((1, 5000), np.float32)},
        "too many steps": arrays | {"steps": np.array(1e12)},
        "steps without a number": arrays | {"steps": np.array(math.nan)},
        "a list of widths": arrays | {"width": np.ones(3)},
        "weights that are not finite": arrays | {first: np.full_like(arrays[first], np.inf)},
    }[change]


@pytest.mark.parametrize(
    "change",
    [
        "an array is missing",
        "an array too many",
        "another shape",
        "another type",
        "starts of no rows",
        "starts that are wide",
        "too many steps",
        "steps without a number",
        "a list of widths",
        "weights that are not finite",
    ],
)
def test_garbled_arrays_are_refused(models, change, tmp_path):
    model = models["anogan"]
    replace(model, arrays=garbled(model.arrays, change)).save(tmp_path / "garbled.h5")
    with pytest.raises(FileFormatError):
        load_model(tmp_path / "garbled.h5").anomaly_score(np.zeros((2, 6)))


@pytest.mark.parametrize("detector", ["egbad", "no-such"])
def test_a_file_that_names_another_detector_is_refused(models, detector, tmp_path):
    model, path = models["anogan"], tmp_path / "garbled.h5"
    config = {**model.config, "detector": {**model.config["detector"], "name": detector}}
    replace(model, config=config).save(path)
    with pytest.raises(FileFormatError):
        load_model(path).anomaly_score(np.zeros((2, 6)))
    (tmp_path / "rows.csv").write_text("1,2,3,4,5,6\n")
    done = in_a_process("-m", "anoean_cli", "score", tmp_path / "rows.csv", "-m", path)
    assert done.returncode == 4, done.stderr
    assert "Traceback" not in done.stderr


def test_a_model_with_neither_graph_nor_arrays_is_refused(models, tmp_path):
    """Saving reads what it wrote before the file gets its name."""
    with pytest.raises(FileFormatError, match="no graph"):
        replace(models["anogan"], arrays={}).save(tmp_path / "empty.h5")
    assert not list(tmp_path.iterdir())


def test_scores_of_a_wrong_shape_are_blamed_on_the_plugin(models, monkeypatch):
    monkeypatch.setattr(
        anogan_plugin.AnoganDetector, "restore", lambda self, arrays, spec: lambda rows: rows
    )
    with pytest.raises(PluginError, match=r"'anogan' gives scores of shape \(64, 6\)"):
        PluginRunner("anogan", {}, TABLE)(np.zeros((3, 6), np.float32))
