"""Rows drawn from a table that has more of them than are kept."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anoean_cli.data import readers
from anoean_cli.data.drawing import Drawn, Reservoir, level, quotas
from anoean_cli.data.exploring import RawTable, read_table
from anoean_cli.errors import DataError
from anoean_cli.interfaces import Drawing, TableOptions

OF = {"ok": 5000, "burst": 700, "leak": 300, "crack": 20, "": 80}


def labels() -> list[str | None]:
    every = [label or None for label, count in OF.items() for _ in range(count)]
    return [every[at] for at in np.random.default_rng(1).permutation(len(every))]


def drawn(drawing: Drawing | None, block: int) -> Drawn:
    column = pa.array(labels(), pa.string())
    table = pa.table({"n": np.arange(len(column)), "label": column})
    kept = Reservoir("t.csv", drawing)
    for at in range(0, len(table), block):
        part = table.slice(at, block)
        kept.add(part, part["label"])
    return kept.drawn()


def test_every_row_stays_where_there_are_not_too_many() -> None:
    n = sum(OF.values())
    for drawing in (None, Drawing(n), Drawing(n + 1)):
        found = drawn(drawing, 97)
        assert found.table["n"].to_pylist() == found.rows.tolist() == list(range(n))
        assert found.kept == found.of == OF


def test_half_is_for_normals_and_rare_labels_stay_whole() -> None:
    found = drawn(Drawing(1000, ("ok",), seed=3), 97)
    assert found.of == OF
    assert found.kept == {"ok": 500, "burst": 200, "leak": 200, "crack": 20, "": 80}
    rows = found.table["n"].to_pylist()
    assert rows == sorted(rows) == found.rows.tolist()
    assert found.table["label"].to_pylist() == [labels()[at] for at in rows]


def test_what_is_drawn_does_not_depend_on_the_size_of_the_blocks() -> None:
    drawing = Drawing(1000, ("ok",), seed=3)
    rows = [drawn(drawing, block).rows.tolist() for block in (13, 97, 1500, 10_000)]
    assert rows[1:] == rows[:1] * 3
    assert drawn(Drawing(1000, ("ok",), seed=4), 97).rows.tolist() != rows[0]


def test_every_row_has_the_same_chance() -> None:
    times = np.zeros(60)
    table = pa.table({"n": np.arange(60)})
    for seed in range(800):
        kept = Reservoir("t", Drawing(15, seed=seed))
        for at in range(0, 60, 7):
            kept.add(table.slice(at, 7))
        times[kept.drawn().rows] += 1
    assert times.sum() == 800 * 15
    assert abs(times - 200).max() < 5 * np.sqrt(800 * 0.25 * 0.75)


@given(st.lists(st.integers(0, 50), min_size=1, max_size=9), st.integers(0, 300))
def test_a_level_uses_the_room_and_no_more(counts: list[int], room: int) -> None:
    def taken(most: int) -> int:
        return sum(min(count, most) for count in counts)

    found = level(np.array(counts), room)
    if sum(counts) <= room:
        assert taken(found) == sum(counts)
    else:
        assert taken(found) <= room < taken(found + 1)


def test_one_class_alone_gets_all_the_room() -> None:
    counts, nobody = np.array([900, 50]), np.array([False, False])
    assert quotas(counts, nobody, 100).tolist() == [50, 50]
    assert quotas(counts, ~nobody, 100).tolist() == [50, 50]
    assert quotas(counts, np.array([True, False]), 300).tolist() == [250, 50]


def test_labels_that_are_nearly_all_different_are_refused() -> None:
    kept = Reservoir("t.csv", Drawing(10))
    kept.add(pa.table({"n": np.arange(8)}), pa.array([f"id {n}" for n in range(8)]))
    assert len(kept.drawn().rows) == 8
    with pytest.raises(DataError, match=r"t\.csv: .* 20 labels; correct --label"):
        kept.add(pa.table({"n": np.arange(12)}), pa.array([f"id {n}" for n in range(8, 20)]))


def both(folder: Path, table: pa.Table) -> list[Path]:
    pa_csv.write_csv(table, folder / "t.csv")
    pq.write_table(table, folder / "t.parquet", row_group_size=100)
    return [folder / "t.csv", folder / "t.parquet"]


def test_text_and_parquet_draw_the_same_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    n = 3000
    table = pa.table(
        {"size": np.arange(n) / 4, "kind": ["a", "b", None] * 1000, "label": ["ok", "bad"] * 1500}
    )
    found: list[RawTable] = []
    for block in (1 << 20, 700):
        monkeypatch.setattr(readers, "BLOCK_BYTES", block)
        for path in both(tmp_path, table):
            drawing = Drawing(200, ("ok",), seed=7)
            found.append(read_table(path, TableOptions(label="label"), drawing=drawing))
    for raw in found:
        assert raw.table.to_pydict() == found[0].table.to_pydict()
        assert raw.table.schema == found[0].table.schema
        assert raw.drawn.of == {"ok": 1500, "bad": 1500}
        assert raw.drawn.kept == {"ok": 100, "bad": 100}


def test_a_drawn_value_that_is_wrong_is_told_where_it_is_in_the_file(tmp_path: Path) -> None:
    table = pa.table({"size": [*np.arange(999.0), np.inf], "label": ["ok"] * 999 + ["bad"]})
    for path, place in zip(both(tmp_path, table), ("line 1001", "row 1000"), strict=True):
        with pytest.raises(DataError, match=f"{place}, column 'size'"):
            read_table(path, TableOptions(label="label"), drawing=Drawing(10))


def test_a_row_that_is_not_drawn_has_to_be_readable_too(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("size,label\n" + "1,ok\n" * 500 + "1,ok,3\n" + "1,ok\n" * 500)
    with pytest.raises(DataError, match="line 502: 3 fields where 2 are expected"):
        read_table(path, TableOptions(label="label"), drawing=Drawing(3))
