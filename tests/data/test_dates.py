"""Which texts are dates, read alike by Arrow and row by row, and what is learned of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from streaming import stream_table

from anoean_cli.data.dates import as_seconds, is_date, parsed_dates, phase
from anoean_cli.data.exploring import read_table
from anoean_cli.data.fitting import fit_table
from anoean_cli.data.preprocessing import Census, DateColumn, TablePreprocessor
from anoean_cli.data.readers import Batch, Wanted
from anoean_cli.data.schema import TableSchema
from anoean_cli.errors import DataError, FileFormatError
from anoean_cli.inference.inputs import as_examples
from anoean_cli.interfaces import First, TableOptions, firsts_of

LOCAL = [
    ("2026-01-31", datetime(2026, 1, 31)),
    ("2024-02-29 23:59", datetime(2024, 2, 29, 23, 59)),
    ("2026-01-31T08:15:00", datetime(2026, 1, 31, 8, 15)),
    ("2026-01-31 08:15:00.25", datetime(2026, 1, 31, 8, 15, 0, 250_000)),
    ("2026-01-31 08:15:00,250", datetime(2026, 1, 31, 8, 15, 0, 250_000)),  # Python's logging
    ("1969-12-31 23:59:59.123456789", datetime(1969, 12, 31, 23, 59, 59, 123_456)),
    ("0001-01-01T00:00:00", datetime(1, 1, 1)),
    ("9999-12-31", datetime(9999, 12, 31)),
    ("2026/01/31 08:15", datetime(2026, 1, 31, 8, 15)),
    ("2026.1.3 8:15:00", datetime(2026, 1, 3, 8, 15)),
    ("2026-1-31", datetime(2026, 1, 31)),
]
ZONED = [
    ("2026-01-31T08:15:00Z", datetime(2026, 1, 31, 8, 15, tzinfo=UTC)),
    ("2026-01-31 08:15:00 UTC", datetime(2026, 1, 31, 8, 15, tzinfo=UTC)),
    ("2026-01-31 08:15:00 +01:00", datetime(2026, 1, 31, 7, 15, tzinfo=UTC)),
    ("2026-01-31 08:15+01", datetime(2026, 1, 31, 7, 15, tzinfo=UTC)),
    ("2026-01-31 08:15:00.5-0130", datetime(2026, 1, 31, 9, 45, 0, 500_000, tzinfo=UTC)),
    ("2026-01-31T00:15:00,5+01:00", datetime(2026, 1, 30, 23, 15, 0, 500_000, tzinfo=UTC)),
]
NONE = """31.01.26|01/31/26|26-1-31|2026-01-32|2026-13-01|2026-02-30|2023-02-29|1900-02-29
2026-01-31T24:00:00|2026-01-31T08:60|2026-01-31T08:15:60|2026-01-31T08|2026-01|20260131|08:15:00
2026-01-31T08:15:00.|2026-01-31x|2026-01-31 08:15:00 CET|2026-01-31T08:15+24:00|2026-01-31Z
٢٠٢٦-01-31
2026-01-31\t08:15|-2026-01-31|12026-01-31|2026-01-31  08:15|x|2026-01-31T08:15:00.1234567891"""


@pytest.mark.parametrize(("text", "moment"), LOCAL + ZONED)
def test_texts_that_are_dates(text: str, moment: datetime) -> None:
    zoned = moment.tzinfo is not None
    assert parsed_dates(pa.array([text, None]), zoned).to_pylist() == [moment, None]
    assert is_date(text.encode(), zoned)
    assert is_date(f" {text}\t".encode(), zoned)
    assert not is_date(text.encode(), not zoned)
    with pytest.raises(pa.ArrowInvalid):
        parsed_dates(pa.array([text]), not zoned)


@pytest.mark.parametrize("text", [t for line in NONE.splitlines() for t in line.split("|")])
@pytest.mark.parametrize("zoned", [False, True])
def test_texts_that_are_none(text: str, zoned: bool) -> None:
    assert not is_date(text.encode(), zoned)
    with pytest.raises(pa.ArrowInvalid):
        parsed_dates(pa.array([text]), zoned)


@pytest.mark.parametrize("moment", [datetime(2026, 11, 29, 18, tzinfo=UTC), *(m for _, m in LOCAL)])
def test_phases_are_those_of_the_calendar(moment: datetime) -> None:
    kind = pa.timestamp("us", "UTC" if moment.tzinfo else None)
    seconds = as_seconds(pa.array([moment, None], kind))
    second = moment.hour * 3600 + moment.minute * 60 + moment.second + moment.microsecond / 1e6
    found = [phase(seconds, "day")[0] * 86_400, phase(seconds, "week")[0] * 7]
    assert found == pytest.approx([second, moment.weekday()], abs=1e-4)
    assert np.isnan(seconds[1])


@pytest.mark.parametrize(
    ("first", "text", "moment"),
    [
        ("day", "31/01/2026", datetime(2026, 1, 31)),
        ("day", "3.2.2026 8:15", datetime(2026, 2, 3, 8, 15)),
        ("day", "29-02-2024T23:59:00,25", datetime(2024, 2, 29, 23, 59, 0, 250_000)),
        ("day", "2026-02-03", datetime(2026, 2, 3)),
        ("day", "03/02/2026 08:15 +01:00", datetime(2026, 2, 3, 7, 15, tzinfo=UTC)),
        ("month", "01/31/2026", datetime(2026, 1, 31)),
        ("month", "2/3/2026 08:15", datetime(2026, 2, 3, 8, 15)),
        ("month", "2/3/2026 8:15Z", datetime(2026, 2, 3, 8, 15, tzinfo=UTC)),
    ],
)
def test_days_and_months_that_come_first(first: First, text: str, moment: datetime) -> None:
    zoned = moment.tzinfo is not None
    assert parsed_dates(pa.array([text, None]), zoned, first).to_pylist() == [moment, None]
    assert is_date(text.encode(), zoned, first)


@pytest.mark.parametrize(
    ("first", "text"),
    [("day", "01/31/2026"), ("month", "31/01/2026"), ("day", "31/06/2026"), ("day", "29/02/2023")],
)
def test_days_that_no_month_has(first: First, text: str) -> None:
    assert not is_date(text.encode(), False, first)
    with pytest.raises(pa.ArrowInvalid):
        parsed_dates(pa.array([text]), False, first)


# --------------------------------------------------------------------------- features


def dates(*texts: str | None) -> pa.Table:
    return pa.table({"at": parsed_dates(pa.array(texts, pa.string()), zoned=False)})


def fitted(table: pa.Table, cycles: int = 2) -> TablePreprocessor:
    found = fit_table(table, np.zeros(len(table), bool), TableSchema({"at": "datetime"}))
    assert found.spec.shape == (2 * cycles + table["at"].null_count,)
    return found


def test_a_time_becomes_two_pairs_of_features() -> None:
    table = dates("2026-01-01 12:00", "2026-01-05 06:00", "2026-01-20", None)
    rows = fitted(table).transform(table)
    angle = 2 * np.pi * np.array([[12 / 24, 3 / 7], [6 / 24, 0], [0, 1 / 7]])
    np.testing.assert_allclose(rows[:3, [0, 2]], np.sin(angle), atol=1e-6)
    np.testing.assert_allclose(rows[:3, [1, 3]], np.cos(angle), atol=1e-6)
    assert rows[:, 4].tolist() == [0, 0, 0, 1]
    assert rows[3].tolist() == [0, 0, 0, 0, 1]  # in no direction


def test_what_does_not_vary_or_come_again_is_no_feature() -> None:
    days = dates(*(f"2026-01-{day:02}" for day in range(1, 29)))
    column = fitted(days, cycles=1).columns["at"]
    assert isinstance(column, DateColumn)
    assert column.cycles == ("week",)
    few = dates("2026-01-01 12:00", "2026-01-05 06:00", "2026-01-08 07:00")
    assert fitted(few, cycles=1).columns["at"].cycles == ("day",)  # type: ignore[union-attr]
    assert fitted(few[:1]).columns["at"].cycles == ("day", "week")  # type: ignore[union-attr]


def test_a_moment_a_year_later_is_as_it_was() -> None:
    first = dates("2026-01-01 12:00", "2026-01-05 06:30", "2026-01-20 18:45")
    later = dates("2028-01-06 12:00", "2026-12-28 06:30", "2026-12-29 18:45")
    preprocessor, census = fitted(first), Census()
    np.testing.assert_allclose(
        preprocessor.transform(later, census), preprocessor.transform(first), atol=1e-6
    )
    assert preprocessor.shares(census)["at"].keys() == {"missing"}


def test_arrays_hold_all_there_is() -> None:
    schema = TableSchema({"x": "numeric", "at": "datetime", "c": "categorical"})
    table = dates("2026-01-01 12:00", None, "2026-01-20").append_column("x", pa.array([1.0, 2, 3]))
    table = table.append_column("c", pa.array(["a", None, "b"]))
    preprocessor = fit_table(table, np.zeros(3, bool), schema)
    arrays = preprocessor.arrays()
    again = TablePreprocessor.from_arrays(schema, arrays)
    assert again.columns["at"] == preprocessor.columns["at"]
    np.testing.assert_array_equal(again.transform(table), preprocessor.transform(table))
    more = Census()
    again.transform(
        dates(*[None] * 4)
        .append_column("x", pa.array([1.0] * 4))
        .append_column("c", pa.array(["a"] * 4)),
        more,
    )
    assert again.expecting(more).columns["at"].missing == 1
    for name in ("day", "week"):
        for damaged in (np.array([True, True]), np.array([], bool), np.array([1.0])):
            with pytest.raises(FileFormatError):
                TablePreprocessor.from_arrays(schema, {**arrays, name: damaged})


# --------------------------------------------------------------------------- from files


def written(folder: Path, *texts: str) -> Path:
    path = folder / "t.csv"
    path.write_text("\n".join(["at,x", *(f"{text},{i}" for i, text in enumerate(texts))]) + "\n")
    return path


def stream(path: Path, on_error: str, zoned: bool = False) -> Batch:
    wanted = Wanted(numeric=("x",), source_columns=("at", "x"), dates={"at": zoned})
    (batch,) = stream_table(path, "t", wanted, TableOptions(), on_error)  # type: ignore[arg-type]
    return batch


def test_bad_dates_are_flagged_and_good_ones_kept(tmp_path: Path) -> None:
    path = written(
        tmp_path, "2026-01-31", "x", "", " 2026-02-01 ", "2026-02-30", "2026-02-01Z", "NA"
    )
    batch = stream(path, "flag")
    assert batch.rows.tolist() == [1, 3, 4, 7]
    assert batch.table["at"].to_pylist() == [
        datetime(2026, 1, 31),
        None,
        datetime(2026, 2, 1),
        None,
    ]
    assert [row.row for row in batch.flagged] == [2, 5, 6]
    assert batch.flagged[1].reason.startswith(
        "column 'at': '2026-02-30' is not a date such as 2026"
    )


@pytest.mark.parametrize(
    ("texts", "zoned", "says"),
    [
        (["2026-01-31", "gestern"], False, r"line 3, column 'at': 'gestern' is not a date such as"),
        (["2026-01-31T08:00Z"], False, "has a time zone, and the other dates .* have no time zone"),
        (["2026-01-31"], True, "has no time zone, and the other dates .* have a time zone"),
    ],
)
def test_a_bad_date_is_told(tmp_path: Path, texts: list[str], zoned: bool, says: str) -> None:
    with pytest.raises(DataError, match=says):
        stream(written(tmp_path, *texts), "stop", zoned)


def test_dates_are_found(tmp_path: Path) -> None:
    for texts, kind in [
        (["2026-01-31", "", "2026-01-31 08:00"], pa.timestamp("us")),
        (["", "2026-01-31T08:00Z", "2026-01-31T08:00+02:00"], pa.timestamp("us", "UTC")),
        (["2026-01-31", "2026-01-31T08:00Z"], pa.string()),
        (["2026/01/31", "2026.02.01 08:00"], pa.timestamp("us")),
        (["01/02/2026", "31/01/2026"], pa.timestamp("us")),
        (["01/02/2026", "02/03/2026"], pa.string()),
        (["31/01/2026", "01/31/2026"], pa.string()),
        (["2026", "2027"], pa.float64()),
        (["", "NA"], pa.float64()),
    ]:
        table = read_table(written(tmp_path, *texts), TableOptions()).table
        assert table.schema.field("at").type == kind, texts
    path = written(tmp_path, "2026-01-31", "2026-02-01")
    as_text = read_table(path, TableOptions(categorical=("at",))).table
    assert as_text["at"].to_pylist() == ["2026-01-31", "2026-02-01"]


def test_other_dates_tell_whether_days_or_months_come_first(tmp_path: Path) -> None:
    for last, first, moment in [
        ("31/01/2026", "day", datetime(2026, 2, 1)),
        ("01/31/2026 10:00", "month", datetime(2026, 1, 2)),
    ]:
        table = read_table(written(tmp_path, "01/02/2026", last), TableOptions()).table
        assert table["at"][0].as_py() == moment
        assert firsts_of(table.take([1]).select(["at"])) == {"at": first}


def test_dates_that_could_be_either_are_refused_where_the_user_says_dates(tmp_path: Path) -> None:
    path = written(tmp_path, "01/02/2026", "02/03/2026")
    with pytest.raises(DataError, match="line 2, column 'at': holds dates that may have the day"):
        read_table(path, TableOptions(datetime=("at",)))


def test_the_user_settles_dates_that_could_be_either(tmp_path: Path) -> None:
    open_ones = written(tmp_path, "01/02/2026", "02/03/2026")
    for options, moment in [
        (TableOptions(dates="day-first"), datetime(2026, 2, 1)),
        (TableOptions(dates="month-first"), datetime(2026, 1, 2)),
        (TableOptions(datetime=("at",), month_first=("at",)), datetime(2026, 1, 2)),
        (TableOptions(dates="month-first", day_first=("1",)), datetime(2026, 2, 1)),
    ]:
        table = read_table(open_ones, options).table
        assert table["at"][0].as_py() == moment, options
        first = "day" if moment.month == 2 else "month"
        assert firsts_of(table) == {"at": first}


def test_dates_that_tell_it_themselves_are_read_as_they_tell(tmp_path: Path) -> None:
    for told in ("12/31/2026", "2026-12-31"):
        table = read_table(written(tmp_path, told), TableOptions(dates="day-first")).table
        assert table["at"][0].as_py() == datetime(2026, 12, 31)


def test_dates_against_what_is_said_of_their_column_are_refused(tmp_path: Path) -> None:
    path = written(tmp_path, "01/02/2026", "12/31/2026", "2026-12-31")
    says = "line 3, .*: '12/31/2026' is not a date such as 31/01/2026 .* what --schema says is"
    with pytest.raises(DataError, match=says):
        read_table(path, TableOptions(datetime=("at",), day_first=("at",)))


def test_of_dates_that_contradict_each_other_the_user_says_which_is_wrong(tmp_path: Path) -> None:
    path = written(tmp_path, *["01/02/2026"] * 18, "01/31/2026", "31/01/2026")
    for dates, line, value in [("day-first", 20, "01/31/2026"), ("month-first", 21, "31/01/2026")]:
        with pytest.raises(DataError, match=f"line {line}, column 'at': '{value}' is not a date"):
            read_table(path, TableOptions(datetime=("at",), dates=dates))  # type: ignore[arg-type]


def test_a_few_other_texts_among_dates_are_told(tmp_path: Path) -> None:
    path, told = written(tmp_path, *["2026-01-31"] * 30, "unknown", "2026-01-31"), []
    table = read_table(path, TableOptions(), told.append).table
    assert table.schema.field("at").type == pa.string()
    (line,) = told
    assert "line 32, column 'at': 'unknown' is not a date" in line
    assert "31 of its 32 values are written as dates" in line
    with pytest.raises(DataError, match=r"line 32, column 'at': 'unknown' is not a date"):
        read_table(path, TableOptions(datetime=("at",)))
    nulls = TableOptions(datetime=("at",), null_values=("unknown",))
    assert read_table(path, nulls).table["at"].null_count == 1
    with pytest.raises(DataError, match=r"line 2, column 'x': '0' is not a date"):
        read_table(path, TableOptions(datetime=("x",), categorical=("at",)))


def test_columns_that_are_no_dates_are_refused_by_name() -> None:
    schema, spec = TableSchema({"at": "datetime"}), fitted(dates("2026-01-31")).spec
    for column, says in [
        (pa.array([1, 2]), "int64 is not a date"),
        (
            pa.array([1, 2], pa.timestamp("s", "UTC")),
            "its dates have a time zone, those of training no",
        ),
        (pa.array(["2026-01-31", "x"]), "'x' is not a date"),
        (pa.array([2**62, 1], pa.timestamp("s")), "out of bounds|overflow"),
    ]:
        with pytest.raises(DataError, match=f"column 'at' of X is not datetime: .*{says}"):
            as_examples(pa.table({"at": column}), schema, spec)
