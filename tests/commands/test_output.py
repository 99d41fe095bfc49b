"""What ``score`` writes, against Python's own writers."""

from __future__ import annotations

import io
import json

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from anoean_cli.commands.output import JsonLinesOutput

TEXTS = st.text(st.characters(codec="utf-8")) | st.sampled_from(['"', "\\", "\n", "\x1f", "plain"])
ROWS = st.fixed_dictionaries(
    {
        'the 100 % "file"': st.none() | TEXTS,
        "row": st.integers(-(2**63), 2**63 - 1),
        "score": st.none() | st.floats(allow_nan=False, allow_infinity=False),
        "anomaly": st.none() | st.booleans(),
    }
)


@given(st.lists(ROWS, max_size=8))
def test_json_lines_hold_the_values(rows: list[dict[str, object]]) -> None:
    types = [pa.string(), pa.int64(), pa.float64(), pa.bool_()]
    names = ['the 100 % "file"', "row", "score", "anomaly"]
    table = pa.Table.from_pylist(rows, pa.schema(list(zip(names, types, strict=True))))
    stream = io.BytesIO()
    output = JsonLinesOutput(stream, head=True)
    for at in range(0, len(table), 3):
        output.write(output.encoded(table.slice(at, 3)))
    output.close()
    lines = stream.getvalue().decode().removesuffix("\n").split("\n") if rows else []
    assert [json.loads(line) for line in lines] == rows
    for line, row in zip(lines, rows, strict=True):
        assert line == json.dumps({name: row[name] for name in names}, ensure_ascii=False)
