"""The digest of a data set's rows: it tells any change of content, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from anoean_cli.data.content import digest_of_rows
from anoean_cli.interfaces import Dataset

TABLE = pa.table({"x": [1.0, None, 3.0], "c": ["a", None, "b"]})
LABELS = np.array(["ok", "bad", ""])


def digest(examples: object = TABLE, labels: np.ndarray = LABELS) -> str:
    return digest_of_rows(Dataset("d", examples, labels, {}))


@pytest.mark.parametrize(
    "same",
    [
        pa.concat_tables([TABLE[:1], TABLE[1:]]),
        pa.concat_tables([TABLE, TABLE])[3:],
        pa.table({"x": [1.0, float("nan"), 3.0], "c": ["a", None, "b"]}),
    ],
)
def test_the_form_of_a_table_does_not_matter(same: pa.Table) -> None:
    assert digest(same) == digest()


@pytest.mark.parametrize(
    "other",
    [
        TABLE.rename_columns(["y", "c"]),
        TABLE.select(["c", "x"]),
        TABLE[:2],
        pa.table({"x": [1.0, 2.0, 3.0], "c": ["a", None, "b"]}),
        pa.table({"x": [1.0, None, 3.0], "c": ["a", "", "b"]}),
        pa.table({"x": [1.0, None, 3.0], "c": ["a", None, "a"]}),
    ],
)
def test_any_other_table_is_told(other: pa.Table) -> None:
    assert digest(other) != digest()


def test_other_labels_and_other_pixels_are_told() -> None:
    assert digest(labels=np.array(["ok", "ok", ""])) != digest()
    images = np.zeros((3, 1, 2, 2), np.uint8)
    changed = images.copy()
    changed[2, 0, 1, 1] = 1
    found = {digest(images), digest(changed), digest(images.reshape(3, 1, 4, 1))}
    assert len(found) == 3
    dataset = Dataset("d", images, LABELS, {"source": "here"})
    moved = replace(dataset, name="e", provenance={"source": "there"})
    assert digest_of_rows(dataset) == digest_of_rows(moved)
