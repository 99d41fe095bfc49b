"""The figures of a model on labelled rows."""

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from anoean_cli.data.content import digest_of_rows
from anoean_cli.data.schema import TableSchema
from anoean_cli.errors import FileFormatError
from anoean_cli.evaluation.run import Labelled, figures, score_test_rows
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
