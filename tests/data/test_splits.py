"""Who plays which role: sizes of the protocols, and that no row plays two."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anoean_cli.data.splits import (
    Split,
    SplitRequest,
    draw,
    is_anomaly,
    set_aside,
)
from anoean_cli.errors import DataError, UsageError
from anoean_cli.interfaces import Apportionment, Dataset
from anoean_cli.wording import counted

ROLES = ("training", "selection", "calibration", "test")
MNIST = Apportionment(
    train_size=5000, test_size=1700, anomaly_fraction=0.1, seen_types=4, pooled=True
)
KDD = Apportionment(train_size=5000, test_size=1700, anomaly_fraction=0.1, distinct=True)


def dataset(labels, **about) -> Dataset:
    """Rows that are all different, with these labels."""
    labels = np.asarray(labels, dtype=np.str_)
    fixed = {"examples": pa.table({"x": np.arange(len(labels), dtype=float)}), "provenance": {}}
    return Dataset(name="made-up", labels=labels, **(fixed | about))


def digits(counts: dict[str, int]) -> Dataset:
    return dataset(np.random.default_rng(0).permutation(np.repeat([*counts], [*counts.values()])))


def split(data: Dataset, sizes: Apportionment = Apportionment(), seed: int = 0, **asked) -> Split:
    request = SplitRequest(asked.pop("normal", ("n",)), sizes, **asked)
    return draw(data, request, np.random.default_rng(seed))


def counts(found: Split) -> dict[str, tuple[int, int]]:
    """(normals, anomalies) by role."""
    flags = {role: found.is_anomaly[getattr(found, role)] for role in ROLES}
    return {role: (int((~f).sum()), int(f.sum())) for role, f in flags.items()}


def assert_disjoint(found: Split, roles=ROLES) -> None:
    rows = np.concatenate([getattr(found, role) for role in roles])
    assert len(rows) == len(np.unique(rows))


# --------------------------------------------------------------------------- no row twice


@settings(max_examples=150, deadline=None)
@given(
    normals=st.integers(30, 700),
    anomalies=st.integers(0, 150),
    train_size=st.none() | st.integers(30, 900),
    test_size=st.integers(0, 300) | st.floats(0.01, 0.5),
    fraction=st.none() | st.floats(0, 2),
    seed=st.integers(0, 3),
)
def test_roles_are_disjoint_and_hold_what_they_should(
    normals, anomalies, train_size, test_size, fraction, seed
):
    data = dataset(np.repeat(["n", "a", "b"], [normals, anomalies, anomalies // 2]))
    sizes = Apportionment(train_size, test_size, fraction)
    try:
        found = split(data, sizes, seed)
    except (UsageError, DataError):
        assert train_size is None  # or else training and test shrink together
        assert round(0.8 * test_size) > normals - 3
        return
    sized = counts(found)
    normal = {
        role: set(getattr(found, role)[~found.is_anomaly[getattr(found, role)]]) for role in ROLES
    }
    shared = normal["training"] == normal["selection"]  # with fewer than 30 normals
    assert not shared or len(normal["training"]) < 30
    assert_disjoint(found, ("training", "test") if shared else ROLES)
    assert sized["calibration"][1] == 0
    assert sized["training"][0] > 0
    assert sized["selection"][0] > 0
    assert sized["training"][0] <= (train_size or normals)
    for role in ROLES:
        rows = getattr(found, role)
        assert (np.diff(rows) > 0).all()
        assert ((rows >= 0) & (rows < len(data.labels))).all()
    if fraction is not None:
        own = len(normal["training"] | normal["selection"] | normal["calibration"])
        drawn = sized["training"][1] + sized["selection"][1]
        assert drawn <= max(fraction > 0, round(fraction * own))


def test_rows_without_a_limit_are_all_used():
    found = split(dataset(np.repeat(["n", "a"], [1000, 60])))
    assert counts(found) == {
        "training": (800, 50),
        "selection": (100, 10),
        "calibration": (100, 0),
        "test": (0, 0),
    }


# --------------------------------------------------------------------------- the protocols


def test_one_digit_against_all_has_the_papers_sizes():
    found = split(digits({str(d): 7000 for d in range(10)}), MNIST, normal=("3",))
    assert counts(found) == {
        "training": (4000, 450),
        "selection": (500, 50),
        "calibration": (500, 0),
        "test": (1360, 340),
    }
    assert found.notes == ()


def test_training_shows_four_digits_and_the_test_all_nine():
    data = digits({str(d): 7000 for d in range(10)})
    found = split(data, MNIST, normal=("3",))
    assert len(found.seen) == 4
    for role in ("training", "selection"):
        labels = set(data.labels[getattr(found, role)]) - {"3"}
        assert labels == set(found.seen)
    assert set(data.labels[found.test]) == {str(d) for d in range(10)}


def test_digit_5_leaves_its_shortage_to_training():
    data = digits({"5": 6313} | {str(d): 7000 for d in (0, 1, 2, 3, 4, 6, 7, 8, 9)})
    found = split(data, MNIST, normal=("5",))
    sized = counts(found)
    assert sized["test"] == (1360, 340)
    assert sum(sized[role][0] for role in ROLES[:3]) == 4953
    assert sized["training"][1] + sized["selection"][1] == 495
    assert any("4,953" in note for note in found.notes)


def test_a_sample_shrinks_in_proportion():
    data = digits({str(d): 500 for d in range(10)})
    found = split(data, MNIST, normal=("3",))
    sized = counts(found)
    normals = sum(sized[role][0] for role in ROLES[:3])
    assert (normals, *sized["test"]) == (393, 106, 26)  # 5000, 1360, 340 times 500/6360
    assert sized["training"][1] + sized["selection"][1] == 39
    assert any("fewer than training and test ask for" in note for note in found.notes)


def test_few_anomalies_shrink_the_test_and_keep_half_for_training():
    found = split(dataset(np.repeat(["n", "a"], [2000, 40])), Apportionment(test_size=500))
    sized = counts(found)
    assert sized["test"] == (80, 20)  # still 80 % normal
    assert sized["training"][1] + sized["selection"][1] == 20
    assert any("the test shrinks" in note for note in found.notes)


def test_what_a_shrunk_test_leaves_is_trained_on():
    found = split(dataset(np.repeat(["n", "a"], [1000, 100])), Apportionment(test_size=1000))
    sized = counts(found)
    assert sized["test"] == (200, 50)
    assert sum(sized[role][0] for role in ROLES[:3]) == 800


def test_a_share_sets_that_share_of_each_class_aside():
    found = split(dataset(np.repeat(["n", "a"], [1000, 200])), Apportionment(test_size=0.25))
    assert counts(found)["test"] == (250, 50)


def test_anomaly_fraction_0_is_one_class_training():
    sizes = Apportionment(test_size=100, anomaly_fraction=0)
    found = split(dataset(np.repeat(["n", "a"], [1000, 200])), sizes)
    sized = counts(found)
    assert (sized["training"][1], sized["selection"][1], sized["test"][1]) == (0, 0, 20)
    assert found.seen == ()


def test_a_test_that_leaves_nothing_is_refused():
    with pytest.raises(UsageError, match="--test-size"):
        split(dataset(np.repeat(["n", "a"], [100, 100])), Apportionment(test_size=200))


def test_a_shortage_of_anomalies_is_noted():
    found = split(dataset(np.repeat(["n", "a"], [1000, 30])), Apportionment(anomaly_fraction=0.5))
    assert any("500 training anomalies were asked for, 30 are there" in n for n in found.notes)


# --------------------------------------------------------------------------- few rows


@pytest.mark.parametrize("normals", [1, 2])
def test_one_or_two_normals_are_refused(normals):
    with pytest.raises(DataError, match=f"{normals} normal rows? of made-up: too few"):
        split(dataset(np.repeat(["n", "a"], [normals, 30])))


@pytest.mark.parametrize("normals", [3, 29])
def test_very_few_normals_are_all_used_twice(normals):
    found = split(dataset(np.repeat(["n", "a"], [normals, 30])))
    flags = found.is_anomaly
    np.testing.assert_array_equal(
        found.training[~flags[found.training]], found.selection[~flags[found.selection]]
    )
    assert counts(found)["training"][0] == normals
    assert len(found.calibration) == 0
    assert any("approximate" in note for note in found.notes)


@pytest.mark.parametrize(("normals", "selection"), [(30, 7), (99, 24)])
def test_with_few_normals_selection_also_calibrates(normals, selection):
    found = split(dataset(np.repeat(["n", "a"], [normals, 30])))
    sized = counts(found)
    assert sized["selection"][0] == selection
    assert sized["training"][0] == normals - selection
    assert sized["calibration"] == (0, 0)
    assert_disjoint(found)
    assert any("approximate" in note for note in found.notes)


def test_from_100_normals_on_there_is_a_calibration_base():
    found = split(dataset(np.repeat(["n", "a"], [100, 30])))
    assert counts(found)["calibration"] == (20, 0)
    assert any("calibration base of 20 rows is too small" in note for note in found.notes)
    assert_disjoint(found)


@given(st.integers(100, 10_000_000))
def test_a_tenth_is_set_aside_or_enough_for_one_percent(n):
    aside = set_aside(n)
    assert aside <= max(n // 5, round(n / 10))
    assert aside <= 20_000
    if n >= 495:
        assert aside >= 99
    if 990 <= n <= 200_000:
        assert aside == round(n / 10)


def test_no_anomalies_at_all():
    found = split(dataset(["n"] * 300))
    assert counts(found) == {
        "training": (180, 0),
        "selection": (60, 0),
        "calibration": (60, 0),
        "test": (0, 0),
    }


@pytest.mark.parametrize("anomalies", [1, 2, 5])
def test_few_anomalies_are_warned_of_and_mostly_train(anomalies):
    found = split(dataset(np.repeat(["n", "a"], [300, anomalies])))
    sized = counts(found)
    assert sized["training"][1] >= 2 * sized["selection"][1]
    assert sized["training"][1] + sized["selection"][1] == anomalies
    assert any(f"only {counted(anomalies, 'anomaly')} to" in note for note in found.notes)


# --------------------------------------------------------------------------- seen types

FAMILIES = {"n": "normal", "a": "dos", "b": "dos", "c": "probe", "d": "r2l"}
KINDS = dataset(
    np.repeat([*FAMILIES], [400, 30, 30, 30, 30]),
    family=np.repeat([*FAMILIES.values()], [400, 30, 30, 30, 30]),
)


def test_seen_types_differ_between_seeds():
    sizes = Apportionment(seen_types=2)
    seen = {split(KINDS, sizes, seed).seen for seed in range(20)}
    assert len(seen) > 2
    assert all(len(each) == 2 for each in seen)


@pytest.mark.parametrize("wanted", [None, 4, 9])
def test_all_types_are_seen_unless_fewer_are_asked_for(wanted):
    found = split(KINDS, Apportionment(seen_types=wanted))
    assert found.seen == ("a", "b", "c", "d")
    asked = [note for note in found.notes if "types were asked for" in note]
    assert asked == (["9 anomaly types were asked for, 4 are there"] if wanted == 9 else [])


@pytest.mark.parametrize(
    ("names", "seen"),
    [(("c",), ("c",)), (("dos",), ("a", "b")), (("dos", "d"), ("a", "b", "d"))],
)
def test_types_are_named_by_label_or_family(names, seen):
    found = split(KINDS, Apportionment(test_size=100), anomaly_types=names)
    assert found.seen == seen
    assert set(KINDS.labels[found.selection]) - {"n"} <= set(seen)
    assert set(KINDS.labels[found.test]) == {"n", "a", "b", "c", "d"}


@pytest.mark.parametrize("name", ["x", "n", "normal"])
def test_an_unknown_type_is_refused_by_name(name):
    with pytest.raises(UsageError, match=f"'{name}' is not an anomaly"):
        split(KINDS, anomaly_types=(name,))


# --------------------------------------------------------------------------- labels


def test_unlabelled_rows_are_left_out_or_normal():
    data = dataset(np.repeat(["n", "a", ""], [100, 30, 50]))
    dropped = split(data)
    assert all("" not in data.labels[getattr(dropped, role)] for role in ROLES)
    assert any("50 unlabelled rows left out" in note for note in dropped.notes)
    taken = split(data, unlabeled="normal")
    assert sum(c[0] for c in counts(taken).values()) == 150
    assert any("50 unlabelled rows taken as normal" in note for note in taken.notes)


def test_several_labels_may_be_normal():
    data = dataset(np.repeat(["a", "b", "c"], [50, 60, 70]))
    np.testing.assert_array_equal(is_anomaly(data, ("a", "c")), data.labels == "b")


def test_a_normal_label_that_no_row_has_is_refused():
    with pytest.raises(DataError, match=r"label 'z'.*the labels are: 'a', 'n'"):
        split(dataset(["n", "a"] * 20), normal=("n", "z"))


def test_no_normal_rows_are_refused():
    data = dataset(["n", "a"] * 20, partition=np.array(["test", "train"] * 20))
    with pytest.raises(DataError, match="no normal rows"):
        split(data)


# --------------------------------------------------------------------------- partitions


PARTED = dataset(
    np.tile(np.repeat(["n", "a"], [200, 50]), 2),
    partition=np.repeat(["train", "test"], 250),
)


def test_the_publishers_test_is_the_test():
    found = split(PARTED, scheme="publisher")
    np.testing.assert_array_equal(found.test, np.arange(250, 500))
    assert all(getattr(found, role).max() < 250 for role in ROLES[:3])


def test_the_publishers_test_may_be_thinned():
    found = split(PARTED, Apportionment(test_size=60), scheme="publisher")
    assert len(found.test) == 60
    assert found.test.min() >= 250
    share = split(PARTED, Apportionment(test_size=0.3), scheme="publisher")
    assert share.test.min() >= 250
    assert np.bincount(share.is_anomaly[share.test]).tolist() == [60, 15]


def test_drawn_rows_come_from_the_training_partition_unless_pooled():
    assert max(getattr(split(PARTED), role).max(initial=0) for role in ROLES) < 250
    pooled = split(PARTED, Apportionment(pooled=True))
    assert pooled.training.max() >= 250


def test_without_a_partition_there_is_no_publishers_test():
    with pytest.raises(UsageError, match="no test partition"):
        split(dataset(["n", "a"] * 50), scheme="publisher")


@pytest.mark.parametrize(("size", "expected"), [(100, (80, 20)), (5000, (100, 900))])
def test_a_number_of_the_publishers_test_rows_is_drawn_by_class(
    size: int, expected: tuple[int, int]
):
    labels = ["n"] * 300 + ["a"] * 100 + ["n"] * 100 + ["a"] * 900
    partition = np.repeat(["train", "test"], [400, 1000])
    found = split(
        dataset(labels, partition=partition), Apportionment(test_size=size), scheme="publisher"
    )
    of_test = np.array(labels)[found.test]
    assert ((of_test == "n").sum(), (of_test == "a").sum()) == expected
    assert any("4,000 test normals were asked for" in note for note in found.notes) == (
        size == 5000
    )


@pytest.mark.parametrize(("anomalies", "size"), [(0, 100), (1, 100), (1, 0.6), (1, 0.3)])
def test_a_test_without_anomalies_has_its_normals(anomalies: int, size: float):
    found = split(dataset(["n"] * 1000 + ["a"] * anomalies), Apportionment(test_size=size))
    assert len(found.test) == (80 if size == 100 else size * 1000)
    assert any("of normals alone" in note for note in found.notes)


# --------------------------------------------------------------------------- duplicates


def test_copies_of_what_is_learned_from_are_told_of():
    few = np.random.default_rng(0).normal(size=50)
    data = dataset(["n"] * 300 + ["a"] * 30, examples=pa.table({"x": np.resize(few, 330)}))
    notes = split(data, Apportionment(test_size=0.3)).notes
    told = [note for note in notes if "--distinct" in note]
    assert len(told) == 1
    assert told[0].startswith("1")  # nearly all of the 139
    for other in (Apportionment(test_size=0.3, distinct=True), Apportionment(test_size=0.3)):
        found = split(data if other.distinct else dataset(["n"] * 300 + ["a"] * 30), other)
        assert not any("--distinct" in note for note in found.notes)


def test_a_fraction_of_anomalies_is_never_none():
    found = split(digits({"n": 400, "a": 40}), Apportionment(anomaly_fraction=0.001))
    assert counts(found)["training"][1] + counts(found)["selection"][1] == 1


def test_duplicates_are_dropped_counted_and_conflicts_left_out():
    # x: 0..99 once; 100 three times; 101 normal and anomalous; 102 twice, anomalous
    x = [*range(100), 100, 100, 100, 101, 101, 102, 102, *range(200, 230)]
    labels = ["n"] * 100 + ["n"] * 3 + ["n", "a"] + ["a"] * 2 + ["a"] * 30
    data = dataset(labels, examples=pa.table({"x": np.array(x, dtype=float)}))
    found = split(data, Apportionment(distinct=True))
    rows = np.concatenate([getattr(found, role) for role in ROLES])
    values = [x[i] for i in rows]
    assert sorted(values) == [*range(101), 102, *range(200, 230)]
    multiplicity = dict(zip(values, found.multiplicity[rows], strict=True))
    assert multiplicity[100] == 3
    assert multiplicity[102] == 2
    assert multiplicity[0] == 1
    assert any("137 rows" in n and "133 distinct" in n and "1 of them" in n for n in found.notes)


def test_rows_are_repeated_unless_distinct_ones_are_asked_for():
    data = dataset(["n"] * 100, examples=pa.table({"x": np.zeros(100)}))
    found = split(data)
    assert found.multiplicity is None
    assert sum(c[0] for c in counts(found).values()) == 100


def test_each_of_the_publishers_parts_is_made_distinct():
    data = dataset(
        np.repeat(["n"], 400),
        examples=pa.table({"x": np.repeat(np.arange(200.0), 2)}),
        partition=np.repeat(["train", "test"], 200),
    )
    found = split(data, Apportionment(distinct=True), scheme="publisher")
    assert len(found.test) == 100
    assert (found.multiplicity[found.test] == 2).all()


@pytest.mark.parametrize("distinct", [False, True])
def test_what_equals_a_row_of_the_publishers_test_is_not_trained_on(distinct):
    # rows 0..299 train with x 0..299; rows 300..499 test with x 200..399: 100 are in both
    data = dataset(
        np.resize(["n", "n", "n", "a"], 500),
        examples=pa.table({"x": np.concatenate([np.arange(300.0), np.arange(200.0, 400.0)])}),
        partition=np.repeat(["train", "test"], [300, 200]),
    )
    found = split(data, Apportionment(distinct=distinct), scheme="publisher")
    own = np.concatenate([found.training, found.selection, found.calibration])
    np.testing.assert_array_equal(np.sort(own), np.arange(200))
    assert len(found.test) == 200
    assert any("100 training rows of made-up equal a row of the test" in n for n in found.notes)


# --------------------------------------------------------------------------- drawn by chance


def test_the_same_seed_draws_the_same_rows_and_another_one_others():
    data = digits({str(d): 900 for d in range(10)})
    sizes = replace(MNIST, train_size=500, test_size=100)
    first, again, other = (split(data, sizes, seed, normal=("3",)) for seed in (0, 0, 1))
    for role in ROLES:
        np.testing.assert_array_equal(getattr(first, role), getattr(again, role))
        assert not np.array_equal(getattr(first, role), getattr(other, role))


def test_rows_are_drawn_evenly():
    data = dataset(["n"] * 400 + ["a"] * 100)
    sizes = Apportionment(train_size=200, test_size=100)
    drawn = np.zeros(500)
    for seed in range(200):
        drawn[split(data, sizes, seed).test] += 1
    # 80 of 400 and 20 of 100: one in five; five standard deviations of a binomial
    assert np.abs(drawn / 200 - 0.2).max() < 5 * np.sqrt(0.2 * 0.8 / 200)


def test_a_detectors_choice_does_not_change_the_split():
    from anoean_plugins.datasets.toy import Toy

    from anoean_cli.interfaces import LoadRequest
    from anoean_cli.training.request import TrainRequest
    from anoean_cli.training.run import train_model

    toy = Toy().load(LoadRequest())
    asked = SplitRequest(toy.normal, toy.apportionment)
    small = {"epochs": 1, "encoder.width": 0.1}
    plain = train_model(toy, TrainRequest(asked, settings=small))
    paper = train_model(toy, TrainRequest(asked, preset="paper", settings=small, latent_dim=1))
    for role in ROLES:
        np.testing.assert_array_equal(plain.split[role], paper.split[role])
