"""Figures against scikit-learn as oracle, their intervals, and the test over seeds."""

import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
from sklearn import metrics as oracle

from anoean_cli.errors import DataError, UsageError
from anoean_cli.evaluation import metrics
from anoean_cli.evaluation.metrics import evaluate_scores, evaluate_with_types, nadeau_bengio

EXACT = {"rel": 1e-12, "abs": 1e-12}


def sample(seed, n=300, decimals=None, separation=1.0):
    """Return scores and labels; few decimals make many ties."""
    rng = np.random.default_rng(seed)
    is_anomaly = rng.random(n) < 0.2
    is_anomaly[:2] = True, False
    scores = rng.normal(size=n) + separation * is_anomaly
    return (scores if decimals is None else scores.round(decimals)), is_anomaly


def best_f1_in_hindsight(scores, is_anomaly, weights):
    """Return the best F1 and its accuracy by trying every threshold from the highest."""
    best = (-1.0, 0.0)
    for t in np.unique(scores)[::-1]:
        f1 = oracle.f1_score(is_anomaly, scores >= t, sample_weight=weights)
        if f1 > best[0] + 1e-12:
            best = f1, oracle.accuracy_score(is_anomaly, scores >= t, sample_weight=weights)
    return best


def figures_of_sklearn(scores, is_anomaly, threshold, weights=None):
    weighted = {"sample_weight": weights}
    precision, recall, _ = oracle.precision_recall_curve(is_anomaly, scores, **weighted)
    flagged = scores > threshold
    fprs, tprs, _ = oracle.roc_curve(is_anomaly, scores, drop_intermediate=False, **weighted)
    f1_best, accuracy_at_f1_best = best_f1_in_hindsight(scores, is_anomaly, weights)
    return {
        "auc_pr": oracle.average_precision_score(is_anomaly, scores, **weighted),
        "auc_pr_trapezoid": oracle.auc(recall, precision),
        "roc_auc": oracle.roc_auc_score(is_anomaly, scores, **weighted),
        "f1_best": f1_best,
        "accuracy_at_f1_best": accuracy_at_f1_best,
        "recall_at_fpr_0.01": tprs[fprs <= 0.01].max(),
        "threshold": threshold,
        "precision": oracle.precision_score(is_anomaly, flagged, zero_division=0, **weighted),
        "recall": oracle.recall_score(is_anomaly, flagged, **weighted),
        "f1": oracle.f1_score(is_anomaly, flagged, **weighted),
        "accuracy": oracle.accuracy_score(is_anomaly, flagged, **weighted),
        "fpr": 1 - oracle.recall_score(~is_anomaly, ~flagged, **weighted),
        "n_normals": np.sum(~is_anomaly),
        "n_anomalies": np.sum(is_anomaly),
    }


# --------------------------------------------------------------------------- point figures


@pytest.mark.parametrize("decimals", [None, 1, 0])
@pytest.mark.parametrize("weighting", [None, "multiplicities", "fractions"])
def test_all_figures_equal_those_of_sklearn(decimals, weighting):
    for seed in range(4):
        scores, is_anomaly = sample(seed, decimals=decimals)
        rng = np.random.default_rng(seed)
        weights = {
            None: None,
            "multiplicities": rng.integers(1, 6, len(scores)),
            "fractions": rng.uniform(0.1, 3, len(scores)),
        }[weighting]
        figures = evaluate_scores(scores, is_anomaly, 1.0, weights=weights, bootstrap=0)
        assert figures == pytest.approx(
            figures_of_sklearn(scores, is_anomaly, 1.0, weights), **EXACT
        )


@pytest.mark.parametrize("separation", [-20, 0, 20])
def test_figures_of_perfect_useless_and_inverted_scores(separation):
    scores, is_anomaly = sample(0, separation=separation)
    figures = evaluate_scores(scores, is_anomaly, 10.0, bootstrap=0)
    assert figures == pytest.approx(figures_of_sklearn(scores, is_anomaly, 10.0), **EXACT)


def test_weights_are_multiplicities():
    scores, is_anomaly = sample(1, decimals=1)
    times = np.random.default_rng(1).integers(1, 4, len(scores))
    weighted = evaluate_scores(scores, is_anomaly, 0.5, weights=times, bootstrap=0)
    repeated = evaluate_scores(
        np.repeat(scores, times), np.repeat(is_anomaly, times), 0.5, bootstrap=0
    )
    counts = {"n_normals", "n_anomalies"}
    assert {k: v for k, v in weighted.items() if k not in counts} == pytest.approx(
        {k: v for k, v in repeated.items() if k not in counts}, **EXACT
    )
    assert weighted["n_normals"] + weighted["n_anomalies"] == len(scores)


def test_the_threshold_itself_is_not_anomalous():
    figures = evaluate_scores([1, 2, 3, 4], [False, False, True, True], 3.0, bootstrap=0)
    assert (figures["recall"], figures["precision"], figures["fpr"]) == (0.5, 1.0, 0.0)
    assert figures["f1_best"] == 1.0  # in hindsight, 3 is flagged by score >= 3


def test_a_false_positive_rate_of_exactly_one_percent_is_within_it():
    scores = [9, 8, 7, 6, *[0] * 98]  # anomaly, normal, anomaly, normal, …
    is_anomaly = [True, False, True, False, *[False] * 98]
    assert evaluate_scores(scores, is_anomaly, None, bootstrap=0)["recall_at_fpr_0.01"] == 1
    assert (
        evaluate_scores(scores[:-1], is_anomaly[:-1], None, bootstrap=0)["recall_at_fpr_0.01"]
        == 0.5
    )


def test_precision_of_no_prediction_is_zero():
    figures = evaluate_scores([1, 2], [False, True], np.inf, bootstrap=0)
    assert [figures[name] for name in ("precision", "recall", "f1", "fpr")] == [0, 0, 0, 0]
    assert figures["accuracy"] == 0.5


def test_ties_of_the_best_f1_take_the_higher_threshold():
    # F1 is 2/3 for {4} and for {4, 3, 2, 1}; accuracies are 3/4 and 1/2.
    figures = evaluate_scores([4, 3, 2, 1], [True, False, False, True], None, bootstrap=0)
    assert figures["f1_best"] == pytest.approx(2 / 3)
    assert figures["accuracy_at_f1_best"] == 0.75


def test_without_a_threshold_there_are_no_figures_of_one():
    figures = evaluate_scores([1, 2], [False, True], None, bootstrap=10)
    at_threshold = {"threshold", "precision", "recall", "f1", "accuracy", "fpr"}
    assert not at_threshold & {name.removesuffix("_low") for name in figures}
    assert "recall_at_fpr_0.01" in figures


# --------------------------------------------------------------------------- intervals


def test_each_figure_lies_in_its_interval_but_counts_and_threshold_have_none():
    figures = evaluate_scores(*sample(2), 1.0, bootstrap=300)
    names = {name.removesuffix("_low") for name in figures if name.endswith("_low")}
    assert {name for name in figures if not name.endswith(("_low", "_high"))} - names == {
        "threshold",
        "n_normals",
        "n_anomalies",
    }
    for name in names:
        assert figures[f"{name}_low"] <= figures[name] <= figures[f"{name}_high"]
        assert figures[f"{name}_low"] < figures[f"{name}_high"]


@pytest.mark.parametrize("decimals", [None, 1])
def test_a_resample_has_the_figures_of_its_repeated_rows(decimals):
    scores, is_anomaly = sample(3, n=80, decimals=decimals)
    rows = metrics._Rows.ranked(scores, is_anomaly, 1.0, None, None)
    order = np.argsort(-scores, kind="stable")
    (weights,) = metrics._resamples(rows, bootstrap=30, seed=0)
    for drawn in (rows.is_anomaly, ~rows.is_anomaly):  # as many of each class as there were
        assert (weights[:, drawn].sum(axis=1) == drawn.sum()).all()
    assert (weights == 0).any()
    figures = metrics._figures(weights, rows)
    for i, times in enumerate(weights.astype(int)):
        drawn = np.repeat(order, times)
        expected = figures_of_sklearn(scores[drawn], is_anomaly[drawn], 1.0)
        for name, values in figures.items():
            assert values[i] == pytest.approx(expected[name], **EXACT), name


def test_intervals_cover_the_truth_as_often_as_they_say():
    truth = 0.760249938906523  # Φ(1/√2), the ROC AUC of two normals one apart
    covered = 0
    for seed in range(150):
        figures = evaluate_scores(*sample(seed), None, bootstrap=200, confidence=0.9)
        covered += figures["roc_auc_low"] <= truth <= figures["roc_auc_high"]
    assert 0.82 < covered / 150 < 0.97


def test_rows_of_a_group_are_resampled_together():
    scores, is_anomaly = sample(4, n=150)
    identity = np.arange(150)
    alone = evaluate_scores(scores, is_anomaly, 1.0)
    copies = [np.tile(each, 4) for each in (scores, is_anomaly, identity)]
    grouped = evaluate_scores(copies[0], copies[1], 1.0, groups=copies[2])
    ungrouped = evaluate_scores(copies[0], copies[1], 1.0)

    def width(figures):
        return figures["roc_auc_high"] - figures["roc_auc_low"]

    assert width(grouped) == pytest.approx(width(alone), rel=0.15)
    assert width(ungrouped) < 0.65 * width(alone)


def test_weighted_rows_have_the_intervals_of_repeated_rows_in_groups():
    scores, is_anomaly = sample(4, n=100)
    times = np.random.default_rng(4).integers(1, 5, 100)
    weighted = evaluate_scores(scores, is_anomaly, 1.0, weights=times, bootstrap=50)
    copies = np.repeat(np.arange(100), times)
    repeated = evaluate_scores(scores[copies], is_anomaly[copies], 1.0, groups=copies, bootstrap=50)
    for name in weighted.keys() - {"n_normals", "n_anomalies"}:
        assert weighted[name] == pytest.approx(repeated[name], **EXACT), name


def test_groups_may_be_of_any_kind_and_span_classes():
    scores, is_anomaly = sample(5, n=60)
    number = np.arange(60) // 3
    name = np.array([f"row {99 - i}" for i in number])
    by_number = evaluate_scores(scores, is_anomaly, None, groups=number, bootstrap=50)
    by_name = evaluate_scores(scores, is_anomaly, None, groups=name, bootstrap=50)
    assert by_number["roc_auc"] == by_name["roc_auc"]
    assert by_name["roc_auc_low"] < by_name["roc_auc"] < by_name["roc_auc_high"]


def test_intervals_depend_on_the_seed_only(monkeypatch):
    data = sample(6)
    first = evaluate_scores(*data, 1.0, bootstrap=100, seed=1)
    assert evaluate_scores(*data, 1.0, bootstrap=100, seed=2) != first
    monkeypatch.setattr(metrics, "_BLOCK", 7 * len(data[0]))
    assert evaluate_scores(*data, 1.0, bootstrap=100, seed=1) == first


def test_blocks_stay_small_and_resamples_of_many_rows_few(monkeypatch):
    monkeypatch.setattr(metrics, "_MANY_ROWS", 299)
    monkeypatch.setattr(metrics, "_RESAMPLES_OF_MANY_ROWS", 20)
    monkeypatch.setattr(metrics, "_BLOCK", 2000)
    shapes = []
    figures = metrics._figures

    def spy(weights, rows):
        shapes.append(weights.shape)
        return figures(weights, rows)

    monkeypatch.setattr(metrics, "_figures", spy)
    evaluate_scores(*sample(7), 1.0)
    assert shapes[1:] == [(6, 300)] * 3 + [(2, 300)]


def test_memory_does_not_grow_with_the_resamples():
    data = sample(8, n=30_000)
    peaks = []
    for bootstrap in (5, 40):
        tracemalloc.start()
        evaluate_scores(*data, 1.0, bootstrap=bootstrap)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


# --------------------------------------------------------------------------- refusals


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_scores_must_be_finite(value):
    with pytest.raises(DataError, match=r"position 1 is not finite \(1 of 3"):
        evaluate_scores([1, value, 2], [True, False, False], None)


@pytest.mark.parametrize(("label", "missing"), [(True, "normal"), (False, "anomalous")])
def test_one_class_has_no_figures(label, missing):
    with pytest.raises(DataError, match=f"all 3 rows .* at least one {missing} row"):
        evaluate_scores([1, 2, 3], [label] * 3, None)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"weights": [1, 0]}, DataError),
        ({"weights": [1, np.nan]}, DataError),
        ({"weights": [1]}, DataError),
        ({"groups": [1, 2, 3]}, DataError),
        ({"threshold": np.nan}, UsageError),
        ({"confidence": 1.0}, UsageError),
        ({"bootstrap": -1}, UsageError),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, error):
    with pytest.raises(error):
        evaluate_scores([1, 2], [True, False], **{"threshold": None} | arguments)


def test_empty_input_is_refused():
    with pytest.raises(DataError):
        evaluate_scores([], [], None)


# --------------------------------------------------------------------------- types


def test_seen_and_unseen_types_meet_all_normals():
    scores, is_anomaly = sample(9)
    types = np.where(is_anomaly, np.where(np.arange(300) % 2, "dos", "probe"), "normal")
    figures = evaluate_with_types(
        scores, is_anomaly, types, {"dos", "normal"}, 1.0, groups=np.arange(300), bootstrap=20
    )
    for name, kind in (("seen", "dos"), ("unseen", "probe")):
        rows = np.isin(types, [kind, "normal"])
        assert figures[name] == evaluate_scores(scores[rows], is_anomaly[rows], 1.0, bootstrap=20)
    overall = {key: value for key, value in figures.items() if key not in ("seen", "unseen")}
    assert overall == evaluate_scores(scores, is_anomaly, 1.0, bootstrap=20)


@pytest.mark.parametrize(("seen", "key"), [(["dos"], "seen"), ([], "unseen")])
def test_a_kind_without_anomalies_is_left_out(seen, key):
    figures = evaluate_with_types([1, 2], [False, True], ["", "dos"], seen, None, bootstrap=0)
    assert {"seen", "unseen"} & set(figures) == {key}


def test_types_of_another_length_are_refused():
    with pytest.raises(DataError, match="shape"):
        evaluate_with_types([1, 2], [False, True], ["dos"], ["dos"], None)


# --------------------------------------------------------------------------- over seeds


def test_disjoint_splits_give_the_ordinary_t_test():
    from scipy import stats

    differences = np.random.default_rng(0).normal(0.3, 1, 10)
    expected = stats.ttest_1samp(differences, 0)
    result = nadeau_bengio(differences, 0)
    assert result.p_value == pytest.approx(expected.pvalue)
    assert result[:3] == pytest.approx([differences.mean(), *expected.confidence_interval(0.95)])


def test_shared_rows_widen_the_interval_as_published():
    differences = np.random.default_rng(0).normal(0.3, 1, 10)
    plain, shared = nadeau_bengio(differences, 0), nadeau_bengio(differences, 0.25)
    ratio = (shared.high - shared.mean) / (plain.high - plain.mean)
    assert ratio == pytest.approx(np.sqrt((1 / 10 + 0.25) / (1 / 10)))
    assert shared.p_value > plain.p_value


def test_one_seed_has_a_mean_only():
    mean, *rest = nadeau_bengio([0.5], 0.25)
    assert mean == 0.5
    assert np.isnan(rest).all()


@pytest.mark.parametrize(("value", "p_value"), [(0.0, 1.0), (0.5, 0.0)])
def test_differences_without_spread(value, p_value):
    assert nadeau_bengio([value] * 4, 0.25) == (value, value, value, p_value)


@pytest.mark.parametrize("differences", [[], [1, np.nan]])
def test_differences_must_be_finite(differences):
    with pytest.raises(DataError):
        nadeau_bengio(differences, 0.25)


def test_a_negative_test_share_is_refused():
    with pytest.raises(UsageError):
        nadeau_bengio([1, 2], -0.1)


@pytest.mark.parametrize(
    "module", ["evaluation.metrics", "calibration.gaussian", "calibration.conformal"]
)
def test_numerics_are_light_to_import(module):
    code = (
        f"import sys, anoean_cli.{module}; "
        "print([m for m in ('sklearn', 'scipy', 'torch', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
