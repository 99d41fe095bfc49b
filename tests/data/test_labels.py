"""Which labels are meant, and which rows have them."""

from __future__ import annotations

import numpy as np
import pytest

from anoean_cli.data.labels import (
    Unlabelled,
    about_unlabelled,
    among,
    normal_labels,
    parts,
    told_apart,
)
from anoean_cli.errors import DataError, UsageError


@pytest.mark.parametrize(
    ("text", "labels", "normals"),
    [
        ("ok", ["ok", "bad"], ("ok",)),
        (" ok , idle ,", ["ok", "bad", "idle"], ("idle", "ok")),
        ("1", ["1.0", "0.0"], ("1.0",)),
        ("1.0", ["1", "0"], ("1",)),
        ("1", ["1", "1.0", "2"], ("1", "1.0")),
        ("True", ["true", "false"], ("true",)),
        ("false", ["False", "True"], ("False",)),
        ("7", ["7", "007"], ("7",)),
        ("a,b", ["a,b", "c"], ("a,b",)),
        ("a,b", ["a", "b", "c"], ("a", "b")),
        ('"a, b",c', ["a, b", "a", "c"], ("a, b", "c")),
        (None, ["n", "x"], ("n",)),
        (None, ["N", "n ", ""], ("n ",)),
    ],
)
def test_the_labels_that_are_normal(
    text: str | None, labels: list[str], normals: tuple[str, ...]
) -> None:
    found = normal_labels(text, ("n", "m"), labels * 2, "t.csv")
    assert found == normals
    assert among(labels, found).tolist() == [label in normals for label in labels]


@pytest.mark.parametrize(
    ("text", "known", "kind", "told"),
    [
        ("nope", ("ok",), DataError, r"t\.csv has the label 'nope'.* are: ' ok', 'a,b'$"),
        ("ok,nope", (), DataError, "'nope'"),
        ("None", (), DataError, "'None' that --normal names, .*missing value.*--null-values"),
        (",", (), UsageError, "names no label"),
        (None, (), UsageError, "Give --normal"),
        (None, ("n",), DataError, r"a label that is normal \('n'\)"),
    ],
)
def test_labels_that_are_not_there(
    text: str | None, known: tuple[str, ...], kind: type[Exception], told: str
) -> None:
    with pytest.raises(kind, match=told):
        normal_labels(text, known, [" ok", "a,b", ""], "t.csv", ("", "None"))


@pytest.mark.parametrize(
    ("unlabeled", "known", "told"),
    [
        ("drop", [True, True, False], "left out"),
        ("normal", [True, True, True], "taken as normal"),
    ],
)
def test_rows_without_a_label(unlabeled: Unlabelled, known: list[bool], told: str) -> None:
    labels = ["ok", "bad", ""]
    is_anomaly, is_known = told_apart(labels, ["ok"], unlabeled)
    assert is_anomaly.tolist() == [False, True, False]
    assert is_known.tolist() == known
    assert f"1 unlabelled rows {told}" in (about_unlabelled(labels, unlabeled) or "")
    assert about_unlabelled(labels[:2], unlabeled) is None


def test_rows_without_a_label_may_be_all_normals_there_are() -> None:
    for known in (("ok",), ()):
        assert normal_labels(None, known, ["bad", ""], "t.csv", unlabeled="normal") == ()
    with pytest.raises(UsageError, match="Give --normal"):
        normal_labels(None, (), ["bad", "ok"], "t.csv", unlabeled="normal")
    for labels in (["bad"], ["bad", "worse"]):
        with pytest.raises(DataError, match="has a label that is normal"):
            normal_labels(None, ("ok",), labels, "t.csv", unlabeled="normal")


def test_no_row_is_among_no_labels() -> None:
    assert among(np.array(["a", ""]), []).tolist() == [False, False]
    assert among([], ["a"]).tolist() == []


def test_an_option_with_commas() -> None:
    assert parts("a,b", {"a", "b", "a,b"}) == ("a,b",)
    assert parts(" a, b,,", {"x"}) == ("a", "b")
