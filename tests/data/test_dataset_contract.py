"""What a data set plugin's ``load`` may give; all else is blamed on the plugin."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from anoean_cli.data.contract import checked
from anoean_cli.errors import PluginError
from anoean_cli.interfaces import Dataset

ROWS = 6
TABLE = Dataset(
    name="x",
    examples=pa.table({"size": np.arange(6.0), "kind": list("aabbcc")}),
    labels=np.array(["good"] * 4 + ["bad", ""]),
    provenance={"files": {}},
    normal=("good",),
    columns=("kind", "size", "label"),
    label_column="label",
)
IMAGES = replace(TABLE, examples=np.zeros((ROWS, 1, 8, 8), np.uint8), columns=())


@pytest.mark.parametrize(
    "dataset",
    [
        TABLE,
        IMAGES,
        replace(TABLE, columns=(), partition=np.repeat(["train", "test"], 3)),
        replace(TABLE, name="a file.csv", provenance={"files": {}, "source": "file"}),
    ],
)
def test_what_fulfils_the_contract_passes(dataset: Dataset) -> None:
    assert checked(dataset, "x") is dataset


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("labels", np.array(["good"] * 4), r"its labels have shape \(4,\) for 6 rows"),
        ("labels", ["good"] * ROWS, "its labels are list, not an array of numpy.str_"),
        ("labels", np.array(["good"] * 5 + [None]), "its labels are ndarray of object"),
        ("labels", None, "its labels are NoneType"),
        ("family", np.array(["a"]), r"its family have shape \(1,\)"),
        ("partition", ["train"] * ROWS, "its partition are list"),
        ("examples", pd.DataFrame({"size": range(6)}), "its examples are DataFrame"),
        ("examples", np.zeros((ROWS, 1, 8, 8)), "its images are float64 of shape"),
        ("examples", np.zeros((ROWS, 8), np.uint8), r"its images are uint8 of shape \(6, 8\)"),
        ("examples", pa.table({"size": range(6)}), "its column 'size' is int64, neither"),
        (
            "examples",
            pa.table({"size": [1.0, None, np.inf]}),
            "its column 'size' holds an infinite",
        ),
        ("columns", ("size", "label"), "its columns lack the features kind"),
        ("columns", ["kind", "size"], "its columns is no tuple of strings"),
        ("normal", "good", "its normal is no tuple of strings"),
        ("provenance", {"files": {}, "by": object()}, "its provenance is no JSON object"),
        ("provenance", {"source": "here"}, "its provenance lacks 'files'"),
        ("name", "other", "its name is 'other', not that of the plugin"),
        ("apportionment", None, "its apportionment is NoneType"),
    ],
)
def test_what_breaks_the_contract_is_told(field: str, value: Any, told: str) -> None:
    with pytest.raises(PluginError, match=f"^dataset plugin 'x' breaks its contract: .*{told}"):
        checked(replace(TABLE, **{field: value}), "x")


def test_what_is_no_dataset_is_told() -> None:
    with pytest.raises(PluginError, match="its load returns a NoneType, not a Dataset"):
        checked(None, "x")
