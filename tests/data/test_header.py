"""Whether a first row is a header, and which columns options mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from anoean_cli.data.exploring import RawTable, read_table
from anoean_cli.data.header import Roles, names_features
from anoean_cli.errors import DataError, UsageError
from anoean_cli.interfaces import TableOptions

PANDAS = "0,1,y\n0.5,7,ok\n0.25,8,ok\n1.5,9,bad\n"  # its names of an array's columns
DATA = PANDAS.split("\n", 1)[1]
FRACTIONS = "0.5,7.25,3.5\n0.25,8.5,NA\n1.5,9.75,2.5\n"
WHOLE = "4,2,7\n0,8,1\n2,2,2\n"


def explore(folder: Path, content: str, warnings: list[str], **options: Any) -> RawTable:
    path = folder / "t.csv"
    path.write_text(content)
    return read_table(path, TableOptions(**options), warnings.append)


@pytest.mark.parametrize(
    ("content", "options", "warned"),
    [
        (PANDAS, {"label": "y"}, False),
        (PANDAS, {"ignore": ("y",)}, False),
        (PANDAS, {}, True),
        (PANDAS, {"label": "2"}, True),
        (PANDAS, {"label": "-1"}, True),
        (PANDAS, {"label": "3"}, True),
        (PANDAS.replace("y", ""), {"header": True}, False),
        ("a,1,y\n" + DATA, {}, True),  # a above numbers
        ("a,b,a b\n" + DATA, {}, False),
        ("0,1,2\n" + FRACTIONS, {}, True),
        ("2019,2020,2021\n" + FRACTIONS, {}, True),
        (",0,1\n0,0.5,1.5\n1,0.25,2.5\n2,1.5,3.5\n", {}, True),  # with the index
        ("0,1,2,3\n0.5,17,0,a\n0.25,18,1,b\n1.5,16,0,b\n", {}, True),
    ],
)
def test_a_header(tmp_path: Path, content: str, options: dict[str, Any], warned: bool) -> None:
    warnings: list[str] = []
    found = explore(tmp_path, content, warnings, **options)
    assert found.had_header
    assert len(found.table) == 3
    assert len(warnings) == warned
    assert all("--header no" in warning for warning in warnings)


@pytest.mark.parametrize(
    ("content", "options"),
    [
        (FRACTIONS, {}),
        (WHOLE, {}),
        ("0,1,2\n3,4,5\n6,7,8\n9,10,11\n", {}),  # every row goes up by one
        ("0,0,0\n" + FRACTIONS, {}),
        ("0,1,ok\n" + DATA, {}),
        (WHOLE.replace("2,7", "2,9"), {"label": "2"}),
        (DATA, {"label": "-1"}),
        (PANDAS, {"label": "-1", "header": False}),
    ],
)
def test_no_header(tmp_path: Path, content: str, options: dict[str, Any]) -> None:
    warnings: list[str] = []
    found = explore(tmp_path, content, warnings, **options)
    assert not found.had_header
    assert len(found.table) == content.count("\n")
    assert warnings == []


@pytest.mark.parametrize(
    "content",
    [
        "0,1,2\n" + WHOLE,
        "400,410,420\n" + FRACTIONS,  # wavelengths
    ],
)
def test_names_that_could_be_data_are_told(tmp_path: Path, content: str) -> None:
    warnings: list[str] = []
    found = explore(tmp_path, content, warnings)
    assert not found.had_header
    assert len(warnings) == 1
    assert "is taken for data; say --header yes" in warnings[0]
    for header in (True, False):
        explore(tmp_path, content, warnings, header=header)
    assert len(warnings) == 1


@pytest.mark.parametrize("options", [{}, {"label": "y"}, {"label": "-1"}])
@pytest.mark.parametrize("rows", ["0,0,bad\n1,1,ok\n2,2,ok\n", "m,n,bad\nm,o,ok\nn,m,ok\n"])
def test_doubled_names_are_refused(tmp_path: Path, options: dict[str, Any], rows: str) -> None:
    with pytest.raises(DataError, match=r"more than one column 'a'; .*--header no"):
        explore(tmp_path, f"a,a,y\n{rows}", [], **options)


def test_a_name_that_is_not_found_for_want_of_a_header(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds '0', '1', '2': .*--header yes"):
        explore(tmp_path, "0,1,2\n" + WHOLE, [], label="Y")
    with pytest.raises(UsageError, match=r"t\.csv has no such column; it has: 0, 1, y$"):
        explore(tmp_path, PANDAS, [], label="Y", header=True)


def test_columns_by_name_and_by_position(tmp_path: Path) -> None:
    content = "a,b,c,d,e\n1,2,3,4,x\n2,3,4,5,y\n"
    found = explore(tmp_path, content, [], label="-1", ignore=("a", "2"), numeric=("c",))
    assert found.roles == Roles("e", ("a", "b"), ("c",))
    assert found.columns == tuple("abcde")
    assert found.table.column_names == ["c", "d", "e"]
    for options in ({"ignore": ("0",)}, {"ignore": ("6",)}, {"categorical": ("-6",)}):
        with pytest.raises(UsageError, match="no such column"):
            explore(tmp_path, content, [], **options)
    for options in (
        {"label": "e", "categorical": ("5",)},
        {"ignore": ("a",), "numeric": ("a",)},
        {"numeric": ("a",), "categorical": ("a",)},
    ):
        with pytest.raises(UsageError, match="another option says"):
            explore(tmp_path, content, [], **options)
    with pytest.raises(UsageError, match="leaves no column"):
        explore(tmp_path, content, [], ignore=tuple("abcde"))


@pytest.mark.parametrize(
    ("row", "features", "expected"),
    [
        (["x", "9"], ("x", "y"), True),
        (["x", "9"], ("x", "y", "z"), False),
        (["x", "label"], ("x", "y", "z"), True),
        (["0", "1", "7"], ("0", "1", "2"), False),  # two numbers that happen to be names
        (["0", "1", "2", "y"], ("0", "1", "2"), True),
        (["X", "Y", "z"], ("x", "y", "z"), True),  # of which it is told what is missing
    ],
)
def test_a_header_in_the_eyes_of_a_model(
    row: list[str], features: tuple[str, ...], expected: bool
) -> None:
    assert names_features([name.encode() for name in row], features, ".") is expected


# ---------------------------------------------------------------------------- nearly all numbers


def mostly(bad: str, count: int = 39) -> str:
    return "x,y\n" + "".join(f"{x},ok\n" for x in [*range(count), bad])


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (
            [*range(99), "oops"],
            "line 101, column 'x': 'oops' is not a number, although 99 of its 100",
        ),
        ([f'"{n},{n + 100}"' for n in range(1, 99)], "'1,101' .* without thousands separators"),
    ],
)
def test_a_column_of_numbers_is_no_identifier_for_what_is_none_among_them(
    tmp_path: Path, values: list[object], told: str
) -> None:
    content = "x,y\n" + "".join(f"{value},ok\n" for value in values)
    with pytest.raises(DataError, match=told):
        explore(tmp_path, content, [])
    for options in ({"categorical": ("x",)}, {"ignore": ("x",)}):
        explore(tmp_path, content, [], **options)


@pytest.mark.parametrize("value", ["€ {}.50", "{}%", "$1,{}.00", "{} %"])
def test_numbers_written_for_people_are_told(tmp_path: Path, value: str) -> None:
    warnings: list[str] = []
    rows = "".join(f'"{value.format(n)}",ok\n' for n in range(100, 160))
    explore(tmp_path, "x,y\n" + rows, warnings)
    (warning,) = warnings
    assert "line 2, column 'x'" in warning
    assert "currency or per cent signs" in warning
    explore(tmp_path, "x,y\n,ok\n" + rows, warnings)
    assert "line 3, column 'x'" in warnings[-1], "the first value, not the first row"


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (mostly("oops"), ("line 41, column 'x': 'oops'", "39 of its 40", "--null-values")),
        (
            mostly("ERR", 60) + "ERR,ok\n" * 29,
            ("line 62", "'ERR'", "60 of its 90", "--null-values"),
        ),
        (mostly('"1,5"'), ("line 41", "'1,5'", "--decimal ,", "--numeric")),
        ("x;y\n0;ok\n1;ok\n1,5;ok\n", ("line 4", "3 of its 3", "--decimal ,")),
    ],
)
def test_text_among_numbers_is_told_once(
    tmp_path: Path, content: str, told: tuple[str, ...]
) -> None:
    warnings: list[str] = []
    table = explore(tmp_path, content, warnings).table
    assert table["x"].to_pylist()[0] == "0", "it is taken as text"
    assert len(warnings) == 1
    assert all(part in warnings[0] for part in told)
    for options in ({"categorical": ("x",)}, {"ignore": ("x",)}, {"label": "x"}):
        explore(tmp_path, content, warnings, **options)
    assert len(warnings) == 1
    with pytest.raises(DataError, match=r"t\.csv, line \d+, column 'x': '.*' is not a number; "):
        explore(tmp_path, content, [], numeric=("x",))


def test_categories_are_not_told(tmp_path: Path) -> None:
    warnings: list[str] = []
    explore(tmp_path, mostly("oops", count=18), warnings)
    explore(tmp_path, "x,y\na,1\nb,NA\nNA,\n", warnings)
    assert warnings == []
    with pytest.raises(DataError, match="line 2, column 'x': 'a' is not a number"):
        explore(tmp_path, "x,y\na,1\nb,2\n", [], numeric=("x",))
