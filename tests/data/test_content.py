"""The digest of a data set's rows: it tells any change of content, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoean_cli.data.content import digest_of_rows, row_hashes
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


ROWS = st.tuples(
    st.one_of(st.none(), st.sampled_from([0.0, -0.0, 1.0, 2.0, 1e300])),
    st.one_of(st.none(), st.sampled_from(["", "a", "b", "None"])),
    st.one_of(st.none(), st.datetimes()),
)


@given(st.lists(ROWS, min_size=1, max_size=20))
def test_rows_have_the_same_hash_where_they_are_equal_and_nowhere_else(rows: list) -> None:
    types = (pa.float64(), pa.string(), pa.timestamp("us"))
    columns = [
        pa.array(each, kind) for each, kind in zip(zip(*rows, strict=True), types, strict=True)
    ]
    hashes = row_hashes(pa.table(columns, names=["x", "c", "at"]))
    by_row = set(zip(rows, hashes.tolist(), strict=True))
    assert len(by_row) == len(set(hashes.tolist())) == len(set(rows))


def test_a_row_has_the_same_hash_in_any_piece() -> None:
    table = pa.table({"x": [1.0, 2.0, 3.0], "c": ["a", None, "b"]})
    whole = row_hashes(table)
    assert (
        np.concatenate([row_hashes(table[at:])[:1] for at in range(3)]).tolist() == whole.tolist()
    )


def test_images_that_differ_in_a_pixel_have_other_hashes() -> None:
    images = np.zeros((4, 1, 3, 3), np.uint8)
    images[1, 0, 2, 2], images[2, 0, 0, 0] = 1, 1
    hashes = row_hashes(images)
    assert hashes[0] == hashes[3]
    assert len(set(hashes.tolist())) == 3
