"""The figures of a model on labelled rows."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from anoean_cli.data.content import digest_of_rows
from anoean_cli.data.schema import TableSchema
from anoean_cli.errors import FileFormatError
from anoean_cli.evaluation.run import (
    Labelled,
    figures,
    score_rows_set_aside,
    score_test_rows,
)
from anoean_cli.interfaces import Dataset

MODEL = SimpleNamespace(calibration=SimpleNamespace(threshold=2.0), config={"seen_types": ["leak"]})


def test_figures_with_duplicates_count_every_copy():
    scores = np.array([1.0, 1.5, 3.0, 4.0])
    types = np.array(["ok", "ok", "leak", "burst"])
    labelled = Labelled(scores, types != "ok", types, np.array([2, 3, 5, 7]))
    found = figures(MODEL, labelled)
    assert (found["n_normals"], found["n_anomalies"]) == (2, 2)
    repeated = found["with_duplicates"]
    assert (repeated["n_normals"], repeated["n_anomalies"]) == (5, 12)
    single = Labelled(scores, types != "ok", types, np.ones(4, np.int64))
    assert "with_duplicates" not in figures(MODEL, single)


def test_intervals_draw_copies_of_a_row_together():
    rng = np.random.default_rng(0)
    scores = np.concatenate([rng.normal(size=30), rng.normal(1, size=30)])
    types = np.repeat(["ok", "leak"], 30)
    hashes = np.arange(60, dtype=np.uint64)

    def interval(times: int, hashes: np.ndarray | None) -> float:
        copies = [np.tile(each, times) for each in (scores, types != "ok", types)]
        told = None if hashes is None else np.tile(hashes, times)
        found = figures(MODEL, Labelled(*copies, hashes=told))
        return found["auc_pr_high"] - found["auc_pr_low"]

    assert interval(9, hashes) == pytest.approx(interval(1, None))
    assert interval(9, None) < interval(9, hashes) / 2


def test_of_equal_rows_one_is_distinct():
    is_anomaly = np.repeat([False, True], [5, 8])
    labels = np.where(is_anomaly, "leak", "ok")
    apart = Labelled(np.zeros(13), is_anomaly, labels)
    assert apart.fewest_distinct() == 5
    alike = replace(apart, hashes=np.array([*range(5), *[9] * 8], np.uint64))
    assert (alike.fewest_distinct(), alike.distinct()) == (1, 6)


@pytest.mark.parametrize(
    ("rows", "schema"),
    [
        ([1, 3], {"size": "numeric"}),
        ([1], {"size": "categorical"}),
        ([1], {"weight": "numeric"}),
        ([1], None),
    ],
)
def test_a_model_that_names_what_its_data_has_not_is_refused(rows, schema):
    examples = pa.table({"size": [1.0, 2.0, 3.0], "kind": ["a", "b", "a"]})
    dataset = Dataset("small", examples, np.array(["n", "n", "x"]), {"files": {}})
    model = SimpleNamespace(
        split={"test": np.array(rows)},
        config={"dataset": {"content": digest_of_rows(dataset)}},
        schema=None if schema is None else TableSchema(schema),
    )
    with pytest.raises(FileFormatError, match="small"):
        score_test_rows(model, dataset)


def test_rows_of_a_drawn_table_are_told_by_where_they_stand_in_the_file():
    examples = pa.table({"size": [1.0, 2.0, 3.0]})
    labels, drawn = np.array(["n", "n", "x"]), np.array([10, 40, 70])
    dataset = Dataset("small", examples, labels, {"files": {}}, positions=drawn)
    model = SimpleNamespace(
        split={"test": np.array([1, 2])},
        config={"normal": ["n"]},
        schema=TableSchema({"size": "numeric"}),
        score=lambda rows: SimpleNamespace(scores=np.zeros(rows.num_rows), output=None),
    )
    assert score_rows_set_aside(model, dataset).rows.tolist() == [41, 71]
