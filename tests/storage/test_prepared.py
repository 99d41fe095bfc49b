"""Prepared files with valid checksums whose description is none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from anoean_cli.commands import info
from anoean_cli.errors import DataError, FileFormatError
from anoean_cli.interfaces import Apportionment, Dataset
from anoean_cli.storage import prepared, structure
from anoean_cli.storage.hdf5 import Reader, Writer
from anoean_cli.storage.prepared import (
    FORMAT,
    VERSION,
    PreparedReader,
    read_prepared,
    write_prepared,
)
from anoean_cli.storage.values import Json

DATASET = Dataset(
    name="small",
    examples=pa.table({"size": [1.0, 2.0, None], "kind": ["a", None, "b"]}),
    labels=np.array(["n", "n", ""]),
    provenance={"files": {}},
    normal=("n",),
    apportionment=Apportionment(train_size=2),
    columns=("size", "kind", "label"),
    label_column="label",
)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    write_prepared(DATASET, tmp_path / "p.h5", overwrite=False)
    return tmp_path / "p.h5"


def described(whole: Path, description: Any = lambda value: value, **others: Any) -> Path:
    """The same file with another description, or other arrays, by the number of their feature."""
    other = whole.with_name("other.h5")
    with (
        Reader(whole, format=FORMAT, version=VERSION) as reader,
        Writer(other, format=FORMAT, version=VERSION) as writer,
    ):
        for name in reader.names():
            value = reader.get(name)
            if name == "dataset":
                writer.put(name, Json(description(value)))
            elif name in others:
                writer.append(name, others[name])
            elif isinstance(value, list):
                writer.append_strings(name, value)
            else:
                writer.append(name, value)
    return other


@pytest.mark.parametrize(
    ("column", "most"),
    [
        (pa.array([1.0]), 40),
        (pa.array(["a"]), 10),
        (pa.array([0], pa.timestamp("us")), 20),
    ],
    ids=["numbers", "text", "dates"],
)
def test_a_table_too_wide_to_be_read_again_is_refused(
    column: pa.Array, most: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (prepared, structure):
        monkeypatch.setattr(module, "OBJECTS", 60)

    def write(count: int) -> Path:
        table = pa.table({f"c{at}": column for at in range(count)})
        one = np.array(["x"])
        rows = replace(
            DATASET, examples=table, labels=one, partition=one, family=one, positions=np.array([0])
        )
        write_prepared(rows, tmp_path / f"{count}.h5", overwrite=False)
        return tmp_path / f"{count}.h5"

    assert read_prepared(write(most)).examples.num_columns == most
    with pytest.raises(DataError, match=f"small has {most + 1} columns.*train from the table"):
        write(most + 1)
    assert [path.name for path in tmp_path.iterdir()] == [f"{most}.h5"]


def test_what_was_written_is_read(whole: Path) -> None:
    found = read_prepared(described(whole, lambda value: value))
    assert found.examples.equals(DATASET.examples)
    assert (found.normal, found.apportionment) == (DATASET.normal, DATASET.apportionment)


def test_columns_that_were_called_features_stay_so(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    write_prepared(replace(DATASET, vouched=("size",)), path, overwrite=False)
    assert read_prepared(path).vouched == ("size",)


@pytest.mark.parametrize(
    "numbers",
    [
        np.array([1.0, np.inf, 2.0]),
        np.array([1, 2, 3]),
        np.array([True, False, True]),
        np.ones((3, 2)),
    ],
    ids=["infinite", "whole", "truth values", "of two dimensions"],
)
def test_numbers_that_are_none_are_refused(whole: Path, numbers: Any) -> None:
    path = described(whole, **{"features/0": numbers})
    with pytest.raises(FileFormatError, match=r"other\.h5: it lacks or garbles"):
        read_prepared(path)
    with pytest.raises(FileFormatError):  # as `info --verify`
        info._prepared(path, verify=True)


@pytest.mark.parametrize("garbage", [None, [], {}, "x", -1, [["a", "b", "c"]]], ids=str)
def test_a_description_that_is_none(whole: Path, garbage: Any) -> None:
    path = described(whole, lambda value: garbage)
    with pytest.raises(FileFormatError, match=r"other\.h5: its dataset.*; prepare it anew"):
        PreparedReader(path)


@pytest.mark.parametrize(
    "name",
    [
        "name",
        "kind",
        "features",
        "provenance",
        "normal",
        "apportionment",
        "columns",
        "label_column",
    ],
)
def test_every_part_is_needed_and_of_its_type(whole: Path, name: str) -> None:
    def without(value: dict[str, Any]) -> dict[str, Any]:
        return {other: part for other, part in value.items() if other != name}

    changes = [without, lambda value: {**value, name: 5}, lambda value: {**value, name: [[["a"]]]}]
    for change in changes:
        with pytest.raises(FileFormatError, match=f"its dataset.{name}"):
            PreparedReader(described(whole, change))
