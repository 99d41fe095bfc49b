"""A model calibrated anew: which rows serve for what, and that p-values are valid."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score

from anoean_cli.calibration.conformal import Calibration, p_values
from anoean_cli.calibration.gaussian import (
    Gaussian,
    fitting_estimator,
    leave_one_out,
)
from anoean_cli.choices import COVARIANCES
from anoean_cli.errors import DataError, UsageError
from anoean_cli.inference.model import KeptRows, Model, raw_scores
from anoean_cli.inference.recalibration import Observed, Rule, recalibrated

D = 3


def embeddings(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(n, D)) + shift).astype(np.float32)


def kept(z: np.ndarray) -> KeptRows:
    return KeptRows(z, ["n"] * len(z), np.zeros(len(z), bool), np.arange(len(z)))


@pytest.fixture
def model() -> Model:
    """A model of which only the calibration is looked at."""
    selection, calibration = embeddings(200, 0), embeddings(300, 1)
    gaussian = Gaussian.from_embeddings(selection)
    reference = np.sort(gaussian.mahalanobis(calibration))
    return Model(
        config={},
        schema=None,
        preprocessor=None,
        graph=b"",
        output="embedding",
        gaussian=gaussian,
        calibration=Calibration(reference, 3.5, {"rule": "fpr", "fpr": 0.01}, True),
        kept={"selection": kept(selection), "calibration": kept(calibration)},
        digest="old",
    )


def test_a_rate_moves_the_threshold_only(model):
    renewed = recalibrated(model, None, Rule(fpr=0.05))
    assert renewed.gaussian is model.gaussian
    np.testing.assert_array_equal(renewed.calibration.reference, model.calibration.reference)
    # ⌊0.05 · 301⌋ = 15: the 15th largest of the references
    assert renewed.calibration.threshold == np.sort(model.calibration.reference)[-15]
    assert renewed.calibration.rule["fpr"] == 0.05
    assert renewed.digest == ""


def test_without_a_rule_the_default_rate_is_taken(model):
    renewed = recalibrated(model, None, Rule())
    assert renewed.calibration.threshold == np.sort(model.calibration.reference)[-3]


def test_a_threshold_may_be_given(model):
    renewed = recalibrated(model, None, Rule(threshold=2.25))
    assert renewed.calibration.threshold == 2.25
    assert renewed.calibration.rule["rule"] == "given"


@pytest.mark.parametrize("estimator", COVARIANCES)
def test_another_covariance_is_estimated_on_the_kept_selection_normals(model, estimator):
    renewed = recalibrated(model, None, Rule(), estimator)
    expected = Gaussian.from_embeddings(model.kept["selection"].output, estimator)
    np.testing.assert_array_equal(renewed.gaussian.covariance, expected.covariance)
    np.testing.assert_array_equal(
        renewed.calibration.reference,
        np.sort(expected.mahalanobis(model.kept["calibration"].output)),
    )


def test_without_calibration_rows_another_covariance_is_cross_fitted(model):
    few = replace(
        model,
        kept={"selection": model.kept["selection"]},
        calibration=replace(model.calibration, exact=False),
    )
    renewed = recalibrated(few, None, Rule(), "ledoit-wolf")
    expected = leave_one_out(model.kept["selection"].output, "ledoit-wolf")
    np.testing.assert_array_equal(renewed.calibration.reference, np.sort(expected))
    assert not renewed.calibration.exact


def test_kept_rows_that_are_all_the_same_have_a_sphere_and_no_other_covariance(model):
    same = {role: part._replace(output=0 * part.output + 1) for role, part in model.kept.items()}
    equal = replace(model, kept=same)
    assert recalibrated(equal, None, Rule(), "spherical").calibration.rule["rule"] == "fpr"
    with pytest.raises(DataError, match=r"rows that the model keeps: all .* are the same"):
        recalibrated(equal, None, Rule(), "ledoit-wolf")


@pytest.mark.parametrize("n", [6, 7, 401])
def test_new_rows_are_split_in_halves_that_share_no_row(model, n):
    z = embeddings(n, 2)
    renewed = recalibrated(model, Observed(z, None), Rule())
    parts = [renewed.kept[role].rows for role in ("selection", "calibration")]
    assert sorted(np.concatenate(parts)) == list(range(n))
    assert (len(parts[0]), len(parts[1])) == (n // 2, n - n // 2)
    gaussian = Gaussian.from_embeddings(z[parts[0]], fitting_estimator(z[parts[0]]))
    np.testing.assert_array_equal(renewed.gaussian.covariance, gaussian.covariance)
    np.testing.assert_array_equal(
        renewed.calibration.reference, np.sort(gaussian.mahalanobis(z[parts[1]]))
    )
    for role, rows in zip(("selection", "calibration"), parts, strict=True):
        np.testing.assert_array_equal(renewed.kept[role].output, z[rows])
    assert renewed.calibration.exact


def test_anomalies_among_new_rows_touch_neither_gaussian_nor_references(model):
    normals, anomalies = embeddings(300, 2), embeddings(40, 3, shift=50)
    flags = np.repeat([False, True], [300, 40])
    mixed = Observed(np.concatenate([normals, anomalies]), flags)
    with_anomalies = recalibrated(model, mixed, Rule())
    alone = recalibrated(model, Observed(normals, None), Rule())
    np.testing.assert_array_equal(with_anomalies.calibration.reference, alone.calibration.reference)
    np.testing.assert_array_equal(with_anomalies.gaussian.mean, alone.gaussian.mean)


def test_the_best_f1_parts_the_classes(model):
    flags = np.repeat([False, True], [300, 40])
    z = np.concatenate([embeddings(300, 2), embeddings(40, 3, shift=50)])
    renewed = recalibrated(model, Observed(z, flags), Rule(maximize_f1=True))
    scores = raw_scores(z, renewed.gaussian)
    np.testing.assert_array_equal(scores > renewed.calibration.threshold, flags)


def test_the_best_f1_is_that_of_all_rows_where_classes_overlap(model):
    flags = np.repeat([False, True], [600, 60])
    z = np.concatenate([embeddings(600, 2), embeddings(60, 3, shift=1)])
    renewed = recalibrated(model, Observed(z, flags), Rule(maximize_f1=True))
    scores = raw_scores(z, renewed.gaussian)
    best = max(f1_score(flags, scores > threshold) for threshold in scores)
    assert f1_score(flags, scores > renewed.calibration.threshold) == best
    assert renewed.calibration.rule["rows"] == len(z)


def test_all_normals_are_references_of_a_detector_that_gives_scores(model):
    scores = np.random.default_rng(2).normal(size=(100, 1)).astype(np.float32)
    model = replace(model, gaussian=None, output="score")
    renewed = recalibrated(model, Observed(scores, None), Rule(fpr=0.01))
    assert sorted(scores.ravel()) == pytest.approx(renewed.calibration.reference)


def test_a_contamination_flags_that_share_and_leaves_the_rest(model):
    z = np.concatenate([embeddings(180, 2), embeddings(20, 3, shift=9)])
    renewed = recalibrated(model, Observed(z, None), Rule(contamination=0.1))
    flagged = raw_scores(z, renewed.gaussian) > renewed.calibration.threshold
    np.testing.assert_array_equal(flagged, np.repeat([False, True], [180, 20]))
    assert renewed.gaussian is model.gaussian
    np.testing.assert_array_equal(renewed.calibration.reference, model.calibration.reference)


@pytest.mark.parametrize(
    ("observed", "rule", "covariance", "told"),
    [
        (None, {"contamination": 0.1}, None, "--data"),
        (Observed(embeddings(9, 0), np.zeros(9, bool)), {"contamination": 0.1}, None, "--label"),
        (Observed(embeddings(9, 0), None), {"contamination": 0.1}, "mcd", "one of them"),
        (None, {"maximize_f1": True}, None, "labelled"),
        (Observed(embeddings(9, 0), None), {"maximize_f1": True}, None, "labelled"),
        (None, {"fpr": 0.001}, None, "finer than 300"),
        (None, {"fpr": 1.5}, None, "between 0 and 1"),
    ],
)
def test_rules_that_lack_their_rows_are_refused(model, observed, rule, covariance, told):
    with pytest.raises(UsageError, match=told):
        recalibrated(model, observed, Rule(**rule), covariance)


@pytest.mark.parametrize(
    "given",
    [
        {"fpr": 0.1, "threshold": 0.0},
        {"contamination": 0.1, "maximize_f1": True},
        {"fpr": 0.1, "contamination": 0.1, "maximize_f1": True, "threshold": 1.0},
        {"confidence": 0.9, "threshold": 1.0},
        {"confidence": 0.9, "contamination": 0.1},
        {"confidence": 0.9, "maximize_f1": True},
        {"confidence": 1.0},
        {"threshold": float("nan")},
        {"threshold": float("inf")},
    ],
)
def test_rules_that_contradict_each_other_are_refused(given):
    with pytest.raises(UsageError):
        Rule(**given)


@pytest.mark.parametrize("normals", [0, 5])
def test_too_few_normals_are_refused(model, normals):
    flags = np.repeat([False, True], [normals, 20])
    with pytest.raises(DataError, match=f"{normals} normal rows: too few"):
        recalibrated(model, Observed(embeddings(normals + 20, 0), flags), Rule())


def test_a_detector_of_raw_scores_is_calibrated_by_its_scores(model):
    scores = np.random.default_rng(0).random((60, 1)).astype(np.float32)
    plain = replace(model, gaussian=None, output="score")
    renewed = recalibrated(plain, Observed(scores, None), Rule())
    assert renewed.gaussian is None
    assert "covariance" not in renewed.calibration.rule
    rows = renewed.kept["calibration"].rows
    np.testing.assert_array_equal(renewed.calibration.reference, np.sort(scores[rows, 0]))
    for observed in (None, Observed(scores, None)):
        with pytest.raises(UsageError, match="not embeddings"):
            recalibrated(plain, observed, Rule(), "mcd")


def calibrated(model: Model, threshold: float, **rule: object) -> Model:
    return replace(model, calibration=replace(model.calibration, threshold=threshold, rule=rule))


NEW_ROWS = Observed(embeddings(400, 3), None)


@pytest.mark.parametrize(("observed", "covariance"), [(None, "mcd"), (NEW_ROWS, None)])
def test_the_rule_of_before_is_kept(model, observed, covariance):
    told: list[str] = []
    before = calibrated(model, 3.0, rule="fpr", fpr=0.05)
    after = recalibrated(before, observed, Rule(), covariance, told.append).calibration
    assert after.rule["fpr"] == 0.05
    assert (after.reference > after.threshold).mean() == pytest.approx(0.05, abs=0.006)
    assert told == []
    before = calibrated(model, 9.0, rule="given")
    after = recalibrated(before, observed, Rule(), covariance, told.append).calibration
    assert (after.threshold, after.rule["rule"]) == (9.0, "given")
    assert len(told) == 1
    assert "threshold 9 that was given before is kept" in told[0]
    before = calibrated(model, 3.0, rule="f1", rows=100)
    after = recalibrated(before, observed, Rule(), covariance, told.append).calibration
    assert after.rule["fpr"] == 0.01
    assert "needs its rows anew (f1)" in told[1]
    named = recalibrated(before, observed, Rule(fpr=0.2), covariance, told.append).calibration
    assert named.rule["fpr"] == 0.2
    assert len(told) == 2


def test_a_rate_that_new_rows_cannot_give_becomes_the_default(model):
    told: list[str] = []
    few = Observed(embeddings(100, 3), None)
    before = calibrated(model, 3.0, rule="fpr", fpr=0.004)
    after = recalibrated(before, few, Rule(), None, told.append).calibration
    assert after.rule["fpr"] == 1 / 51
    assert "0.004, is finer than 50 calibration rows can give" in told[0]
    default = calibrated(model, 3.0, rule="fpr", fpr=0.01)  # of 300 references
    after = recalibrated(default, few, Rule(), None, told.append).calibration
    assert after.rule["fpr"] == 1 / 51
    assert len(told) == 1


def test_the_estimator_of_the_covariance_stays_known(model):
    noted = replace(
        model,
        calibration=replace(model.calibration, rule={"rule": "fpr", "covariance": "ledoit-wolf"}),
    )
    for rule in (Rule(fpr=0.05), Rule(threshold=2.0)):
        assert recalibrated(noted, None, rule).calibration.rule["covariance"] == "ledoit-wolf"
    assert recalibrated(noted, None, Rule(), "mcd").calibration.rule["covariance"] == "mcd"


@pytest.mark.parametrize("estimator", COVARIANCES)
def test_p_values_after_recalibration_are_valid(model, estimator):
    """P(p <= 0.05) over calibrations: 0.05 but for the grain of 1/(n + 1) and sampling error."""
    repeats = 60 if estimator == "mcd" else 300
    hits = []
    for seed in range(repeats):
        z = embeddings(78, 1000 + seed)  # 39 references: 0.05 is a multiple of 1/40
        renewed = recalibrated(model, Observed(z, None), Rule(), estimator)
        test = raw_scores(embeddings(50, 50_000 + seed), renewed.gaussian)
        hits.append((p_values(renewed.calibration.reference, test) <= 0.05).mean())
    error = np.std(hits) / np.sqrt(repeats)
    assert abs(np.mean(hits) - 0.05) < 4 * error
    assert error < 0.01


# --------------------------------------------------------------------------- confidence


def test_a_confidence_is_noted_down_and_kept_for_new_rows(model):
    with_confidence = recalibrated(model, None, Rule(fpr=0.05, confidence=0.9))
    assert with_confidence.calibration.rule == {"rule": "fpr", "fpr": 0.05, "confidence": 0.9}
    on_average = recalibrated(model, None, Rule(fpr=0.05))
    assert with_confidence.calibration.threshold > on_average.calibration.threshold
    renewed = recalibrated(with_confidence, Observed(embeddings(500, 3), None), Rule())
    assert renewed.calibration.rule["confidence"] == 0.9
    assert renewed.calibration.rule["fpr"] == 0.05


def test_the_default_rate_with_confidence_is_what_rows_can_give(model):
    renewed = recalibrated(model, None, Rule(confidence=0.99))
    assert renewed.calibration.rule["fpr"] == pytest.approx(1 - 0.01 ** (1 / 300))
    assert renewed.calibration.threshold == model.calibration.reference[-1]
    fewer = recalibrated(renewed, Observed(embeddings(100, 3), None), Rule())
    assert fewer.calibration.rule["fpr"] == pytest.approx(1 - 0.01 ** (1 / 50))


def test_no_confidence_comes_of_rows_that_were_learned_from(model):
    known = Observed(embeddings(500, 3), None, are_new=False)
    with pytest.raises(UsageError, match="nothing has learned from"):
        recalibrated(model, known, Rule(confidence=0.9))
    told: list[str] = []
    before = recalibrated(model, None, Rule(fpr=0.05, confidence=0.9))
    renewed = recalibrated(before, known, Rule(), warn=told.append)
    assert "confidence" not in renewed.calibration.rule
    assert renewed.calibration.rule["fpr"] == 0.05
    assert "the confidence of before, 0.9, cannot be had" in told[0]
