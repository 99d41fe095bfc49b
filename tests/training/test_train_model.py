"""From a dataset to a model, with checkpoints: the function that all commands call."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch
from anoean_plugins.datasets.mnist import Mnist
from anoean_plugins.datasets.toy import Toy
from anoean_plugins.encoders.mlp import Mlp
from threadpoolctl import threadpool_info

from anoean_cli import environment
from anoean_cli.data.splits import SplitRequest
from anoean_cli.errors import DataError, PluginError, UsageError
from anoean_cli.inference.model import load_model
from anoean_cli.inference.recalibration import Rule, recalibrated
from anoean_cli.interfaces import Apportionment, Dataset, LoadRequest
from anoean_cli.storage.checkpoint import Checkpoint
from anoean_cli.training import config, run
from anoean_cli.training.request import TrainRequest
from anoean_cli.training.run import Watcher, train_model


@pytest.fixture(scope="module")
def toy() -> Dataset:
    return Toy().load(LoadRequest())


def request(dataset: Dataset, **changes) -> TrainRequest:
    fixed = {"settings": {"epochs": 4, "batch_size": 20, "encoder.width": 0.1}, "threads": 1}
    return TrainRequest(
        split=SplitRequest(dataset.normal, dataset.apportionment), **(fixed | changes)
    )


def made_up(normals: int, anomalies: int, **columns) -> Dataset:
    n = normals + anomalies
    rng = np.random.default_rng(0)
    shift = np.repeat([0, 4], [normals, anomalies])
    table = {"x": rng.normal(size=n) + shift, "y": rng.normal(size=n) - shift, **columns}
    return Dataset(
        name="made-up",
        examples=pa.table(table),
        labels=np.repeat(["good", "bad"], [normals, anomalies]),
        provenance={"files": {}},
        normal=("good",),
        columns=(*table, "label"),
        label_column="label",
    )


def digest(model, folder) -> str:
    return model.save(folder / "model.h5", overwrite=True)


def test_the_same_seed_gives_the_same_digest_and_another_one_another(toy, tmp_path):
    digests = [digest(train_model(toy, request(toy, seed=s)), tmp_path) for s in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]


def test_a_resumed_run_has_the_digest_of_an_uninterrupted_one(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    whole = digest(train_model(toy, request(toy)), tmp_path)
    shown = []
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    first = Watcher(
        show=lambda record, epochs: shown.append(record["epoch"]),
        stopping=lambda: len(shown) >= 2,
        checkpoint=checkpoint,
    )
    interrupted = train_model(toy, request(toy), first)
    assert interrupted.config["detector"]["metadata"]["interrupted"] is True
    shown.clear()
    rest = Watcher(
        show=lambda record, epochs: shown.append(record["epoch"]),
        checkpoint=checkpoint,
        resume=True,
    )
    resumed = train_model(toy, request(toy), rest)
    assert shown == [3, 4]
    assert digest(resumed, tmp_path) == whole


def test_without_resume_a_checkpoint_is_not_read(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    train_model(toy, request(toy), Watcher(checkpoint=checkpoint))
    shown = []
    watcher = Watcher(show=lambda r, e: shown.append(r["epoch"]), checkpoint=checkpoint)
    train_model(toy, request(toy), watcher)
    assert shown == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("change", "named"),
    [({"seed": 1}, "seed"), ({"latent_dim": 1}, "encoder"), ({"settings": {}}, "detector")],
)
def test_a_checkpoint_of_another_run_is_refused(toy, tmp_path, monkeypatch, change, named):
    monkeypatch.setattr(run, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    train_model(toy, request(toy), Watcher(stopping=lambda: True, checkpoint=checkpoint))
    with pytest.raises(UsageError, match=f"another .*{named}"):
        train_model(toy, request(toy, **change), Watcher(checkpoint=checkpoint, resume=True))


def test_a_run_is_the_same_wherever_its_data_was_found():
    asked = {"dataset": {"source": "download", "files": {"a": "1"}}, "seed": 0}
    stored = {"dataset": {"source": "cache", "files": {"a": "1"}}, "seed": 0}
    assert config.differing(asked, stored) == []
    stored["dataset"]["files"] = {"a": "2"}
    assert config.differing(asked, {**stored, "seed": 1}) == ["dataset", "seed"]


def test_parameters_that_differ_are_named():
    def asked(rate, width):
        return {
            "dataset": {},
            "detector": {"name": "anoean", "parameters": {"learning_rate": rate, "beta1": 0.5}},
            "encoder": width and {"name": "mlp", "parameters": {"width": width}},
        }

    assert config.differing(asked(0.1, 1), asked(0.2, 1)) == ["detector.learning_rate"]
    assert config.differing(asked(0.1, 1), asked(0.1, 2)) == ["encoder.width"]
    assert config.differing(asked(0.1, 1), asked(0.1, None)) == ["encoder", "encoder.width"]


def test_a_model_survives_its_file(toy, tmp_path):
    model = train_model(toy, request(toy))
    path = tmp_path / "model.h5"
    model.save(path)
    loaded = load_model(path)
    X = np.random.default_rng(0).normal(size=(50, 2)) * 3
    np.testing.assert_array_equal(model.anomaly_score(X), loaded.anomaly_score(X))
    np.testing.assert_array_equal(model.p_value(X), loaded.p_value(X))
    assert loaded.calibration.threshold == model.calibration.threshold
    assert list(loaded.history["epoch"]) == [1, 2, 3, 4]


def test_reference_scores_are_those_of_the_calibration_rows(toy):
    model = train_model(toy, request(toy))
    rows = model.split["calibration"]
    examples = toy.examples.take(rows)
    np.testing.assert_array_equal(
        np.sort(model.anomaly_score(examples)), model.calibration.reference
    )
    assert model.calibration.exact
    assert (toy.labels[rows] == "normal").all()


def test_a_learned_model_scores_anomalies_higher(toy):
    model = train_model(toy, request(toy, settings={"epochs": 15, "batch_size": 50}))
    test = model.split["test"]
    scores = model.anomaly_score(toy.examples.take(test))
    anomalous = toy.labels[test] != "normal"
    assert np.median(scores[anomalous]) > np.quantile(scores[~anomalous], 0.95)


def test_all_that_splitting_noted_is_told():
    few = made_up(60, 8)
    told: list[str] = []
    model = train_model(few, request(few), Watcher(warn=told.append))
    assert any("only 8 anomalies" in line for line in told)
    assert any("too few to set a calibration base aside" in line for line in told)
    assert not model.calibration.exact


def test_dropped_columns_are_told_and_kept_out():
    dataset = made_up(120, 20, same=np.ones(140), id=[f"id-{i}" for i in range(140)])
    told: list[str] = []
    model = train_model(dataset, request(dataset), Watcher(warn=told.append))
    assert list(model.schema.columns) == ["x", "y"]
    assert any("'same' is constant" in line for line in told)
    assert any("'id'" in line for line in told)


def test_no_anomalies_train_against_artificial_ones():
    told: list[str] = []
    dataset = made_up(200, 0)
    model = train_model(dataset, request(dataset), Watcher(warn=told.append))
    assert model.config["detector"]["metadata"]["artificial_anomalies"] is True
    assert any("artificial" in line for line in told)
    assert model.config["seen_types"] == []
    assert "e_taught" not in model.history
    assert model.graph is not None
    assert b"TreeEnsemble" not in model.graph


@pytest.mark.parametrize(("normals", "expected"), [(29, True), (30, False)])
def test_references_that_were_learned_from_are_told(normals: int, expected: bool):
    few = made_up(normals, 0)
    told: list[str] = []
    train_model(few, request(few, detector="knn", settings={}), Watcher(warn=told.append))
    assert any("rows that knn has learned from" in line for line in told) is expected


@pytest.mark.parametrize(("settings", "expected"), [({"artificial": 0.5}, True), ({}, False)])
def test_known_anomalies_of_images_may_have_artificial_ones_and_a_generator_beside_them(
    settings: dict[str, float], expected: bool
):
    images = np.random.default_rng(0).integers(0, 256, (130, 1, 8, 8), dtype=np.uint8)
    images[120:, :, :4] = 0
    labels = np.repeat(["good", "bad"], [120, 10])
    dataset = Dataset("made-up", images, labels, {"files": {}}, normal=("good",))
    asked = {"epochs": 2, "encoder.width": 0.1, **settings}
    told: list[str] = []
    model = train_model(dataset, request(dataset, settings=asked), Watcher(warn=told.append))
    assert model.config["detector"]["metadata"]["artificial_anomalies"] is expected
    assert ("g_passed" in model.history) is expected
    assert not any("no known anomalies" in line for line in told)
    assert model.config["seen_types"] == ["bad"]


def test_images_like_no_normal_are_anomalous_though_they_are_like_no_known_anomaly():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 40, (330, 1, 14, 14), dtype=np.uint8)
    for image, column in zip(images[:300], rng.integers(4, 9, 300), strict=True):
        image[:, 2:12, column] = 250
    images[300:, :, 3:12, 2:12] = 250  # known ones are blocks
    labels = np.repeat(["good", "bad"], [300, 30])
    dataset = Dataset("made-up", images, labels, {"files": {}}, normal=("good",))
    model = train_model(dataset, request(dataset, settings={"epochs": 3, "encoder.width": 0.1}))
    checked = np.tile(np.kron([[0, 1], [1, 0]], np.full((1, 1), 250)), (7, 7))[None, None]
    assert model.anomaly_score(checked.astype(np.uint8)) > model.anomaly_score(images[:300]).max()


@pytest.mark.parametrize("normals", [3, 29, 30, 99, 100])
def test_the_fewest_rows_still_give_a_model(normals):
    dataset = made_up(normals, 6)
    model = train_model(dataset, request(dataset))
    scores = model.anomaly_score(dataset.examples)
    assert np.isfinite(scores).all()
    assert model.calibration.exact == (normals >= 100)


@pytest.mark.parametrize(("normals", "anomalies"), [(12, 6), (40, 0), (60, 6)])
def test_new_normals_are_flagged_as_rarely_as_few_references_allow(normals: int, anomalies: int):
    """Three times the rate is what so few references may miss it by."""
    dataset = made_up(normals, anomalies)
    model = train_model(dataset, request(dataset))
    rng = np.random.default_rng(1)
    new = pa.table({name: rng.normal(size=2000) for name in ("x", "y")})
    found = model.score(new)
    assert found.is_anomaly.mean() < 3 * model.calibration.rule["fpr"]
    assert 0.25 < np.median(found.p_values) < 0.75
    again = recalibrated(model, None, Rule(), covariance="spherical")
    assert again.calibration.threshold == pytest.approx(model.calibration.threshold)


def test_a_test_that_leaves_one_normal_is_refused():
    dataset = made_up(3, 30)
    sizes = Apportionment(train_size=5000, test_size=1700)
    asked = replace(request(dataset), split=SplitRequest(("good",), sizes))
    with pytest.raises((DataError, UsageError)):
        train_model(dataset, asked)


@pytest.mark.parametrize(
    ("settings", "culprit"),
    [({"epochz": 3}, "epochz"), ({"epochs": 0}, "epochs"), ({"encoder.width": "wide"}, "width")],
)
def test_bad_parameters_are_named(toy, settings, culprit):
    with pytest.raises(UsageError, match=culprit):
        train_model(toy, request(toy, settings=settings))


def test_a_dimension_goes_to_a_detector_that_has_its_own(toy):
    few = replace(request(toy, latent_dim=2, settings={"epochs": 1}), detector="egbad")
    parameters = train_model(toy, few).config["detector"]["parameters"]
    assert parameters["latent_dim"] == 2


@pytest.mark.parametrize(("preset", "is_normalised"), [("default", True), ("paper", False)])
def test_a_preset_holds_for_the_encoder_too(preset, is_normalised):
    digits = replace(Mnist().load(LoadRequest(source="sample")), normal=("3",))
    asked = request(digits, settings={"epochs": 1, "encoder.width": 0.1}, preset=preset)
    model = train_model(digits, asked)
    assert model.config["encoder"]["parameters"]["batch_norm"] is is_normalised
    assert any("running_mean" in name for name in model.weights) is is_normalised


def test_an_encoder_that_cannot_say_what_it_supports_is_blamed(toy, monkeypatch):
    monkeypatch.setattr(Mlp, "supports", lambda self, spec: 1 / 0)
    with pytest.raises(PluginError, match=r"^encoder plugin 'mlp' failed: ZeroDivisionError"):
        train_model(toy, request(toy))


def test_no_library_takes_more_threads_than_asked_for_and_all_get_theirs_back(toy):
    def threads() -> list[int]:
        return [torch.get_num_threads(), *(pool["num_threads"] for pool in threadpool_info())]

    train_model(toy, request(toy))  # all libraries are loaded now
    before, seen = threads(), []
    watcher = Watcher(show=lambda record, epochs: seen.append(threads()))
    small = {"epochs": 1, "encoder.width": 0.1}
    train_model(toy, request(toy, threads=before[0] + 1, settings=small), watcher)
    assert [set(numbers) for numbers in seen] == [{before[0] + 1}]
    assert threads() == before


@pytest.mark.parametrize(("share", "threads"), [("1", 1), ("3,2", 3), ("99", 4), ("", 4), ("x", 4)])
def test_images_take_the_cores_that_are_meant_for_the_process(monkeypatch, share, threads):
    monkeypatch.setattr(environment, "cores", lambda: 4)
    monkeypatch.setenv("OMP_NUM_THREADS", share)
    digits = replace(Mnist().load(LoadRequest(source="sample")), normal=("3",))
    asked = request(digits, settings={"epochs": 1, "encoder.width": 0.1}, threads=None)

    def begin(config):
        raise InterruptedError(config["threads"])

    with pytest.raises(InterruptedError, match=f"^{threads}$"):
        train_model(digits, asked, Watcher(begin=begin))


def test_tables_have_bins_where_no_known_anomaly_lets_a_forest_tell_thresholds():
    dataset = made_up(300, 30)
    asked = request(dataset)
    without = SplitRequest(dataset.normal, Apportionment(anomaly_fraction=0.0))
    assert train_model(dataset, asked).preprocessor.spec.bins == ()
    assert train_model(dataset, replace(asked, split=without)).preprocessor.spec.bins
    with_bins = replace(asked, settings={**asked.settings, "inputs": "bins"})
    assert train_model(dataset, with_bins).preprocessor.spec.bins


def mislabelled(wrong: int) -> Dataset:
    """The made-up rows, of whose anomalies so many are labelled normal."""
    dataset = made_up(600, 100)
    labels = dataset.labels.copy()
    labels[-wrong:] = "good"
    return replace(dataset, labels=labels)


def test_anomalies_that_are_labelled_normal_are_told_and_learnt_from_no_more():
    dataset = mislabelled(30)
    wrong = np.arange(len(dataset.labels) - 30, len(dataset.labels))
    told: list[str] = []
    filtered = train_model(dataset, request(dataset), Watcher(warn=told.append))
    everything = request(dataset, settings={**request(dataset).settings, "label_filter": 1.0})
    unfiltered = train_model(dataset, everything)
    had_roles, have_roles = (
        np.concatenate([model.split[role] for role in ("training", "selection", "calibration")])
        for model in (unfiltered, filtered)
    )
    assert np.isin(wrong, had_roles).any()
    assert not np.isin(wrong, have_roles).any()
    left_out = np.setdiff1d(had_roles, have_roles)
    np.testing.assert_array_equal(filtered.split["doubtful"], left_out)
    np.testing.assert_array_equal(filtered.split["test"], unfiltered.split["test"])
    (line,) = (line for line in told if "look like known anomalies" in line)
    assert line.startswith(f"anoean leaves out {len(left_out)} rows labelled normal")
    assert filtered.config["notes"] == [line]
    rows = dataset.examples.take(wrong)
    found, found_before = (model.score(rows).is_anomaly.mean() for model in (filtered, unfiltered))
    assert found > found_before
